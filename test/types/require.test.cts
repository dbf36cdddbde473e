// The same names by require.
import toonstore = require('toonstore')

async function main (): Promise<void> {
  const db: toonstore.ToonCache<string> = await toonstore.open<string>('./data')
  const value: string | undefined = db.get('a')
  console.log(value, toonstore.encode(value))
  await db.close()
}
void main
