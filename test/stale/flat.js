'use strict'
// Does memory stay flat? node test/stale/flat.js [MILLIONS]: 10 million cached gets of a key set that changes all the time,
// of texts, objects and rows, with puts between. Prints the resident memory on the way, without the pages of the store's files,
// of which more are met all the time; status 1 if it has grown by more than 32 MiB since the caches were full and warm.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setFlagsFromString } = require('node:v8')
const { runInNewContext } = require('node:vm')
const { open } = require('../..')

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')

const MILLION = 1e6
const KEYS = 200e3
const ALLOWED = 32 * 2 ** 20

// Bytes of memory that is no file's.
const anonymous = () => 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1])

async function main () {
  const millions = Number(process.argv[2] ?? 10)
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-flat-'))
  const db = await open(dir, { durability: 'interval', capacity: 10e3, cacheBytes: 16 * 2 ** 20 })
  try {
    const ids = []
    for (let i = 0; i < KEYS; i += 1000) {
      await db.batch(Array.from({ length: 1000 }, (_, k) => ({ type: 'put', key: `key-${i + k}`, value: (i + k) % 2 ? 'x'.repeat(k) : { n: k, list: [k] } })))
      ids.push(await db.rows.put('row '.repeat(i % 100)))
    }
    let warm
    for (let n = 1; n <= millions; n++) {
      let found = 0
      for (let i = 0; i < MILLION; i++) {
        // A window of 5,000 keys that moves on by one key every 50 reads.
        const key = (n * MILLION / 50 + Math.floor(i / 50) + (i * 7919) % 5000) % KEYS
        if (i % 10 === 0) found += db.rows.get(ids[i % ids.length]) === undefined ? 0 : 1
        else found += db.get('key-' + key) === undefined ? 0 : 1
        if (i % 100e3 === 0) await db.put('key-' + key, { n: i, list: [n] })
      }
      if (found !== MILLION) throw new Error(`found ${found} of ${MILLION}`)
      collect()
      const rss = anonymous()
      const { heapUsed } = process.memoryUsage()
      const { rows, bytes, ratio } = db.stats().cache
      console.log(`${n} M gets: ${(rss / 2 ** 20).toFixed(0)} MiB of memory, ${(heapUsed / 2 ** 20).toFixed(0)} MiB of heap; ` +
        `${rows} rows, ${(bytes / 2 ** 20).toFixed(1)} MiB in the cache, ${(100 * ratio).toFixed(0)} % hits`)
      if (n === 3) warm = { rss, heapUsed }
      if (n > 3 && (rss > warm.rss + ALLOWED || heapUsed > warm.heapUsed + ALLOWED)) throw new Error('memory has grown')
    }
  } finally {
    await db.close()
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

main().catch(err => {
  console.error(err.message)
  process.exitCode = 1
})
