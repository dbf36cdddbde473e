// What must compile, with the types that come out, and what must not (ts-expect-error fails if the next line compiles).
import { open, ToonStore, ToonCache, ToonError, encode, decode, encodeLines, decodeStream } from 'toonstore'
import type { DeepReadonly, Value, Key, Range, Stats, JsonValue, ErrorCode } from 'toonstore'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
function expect<A, B> (..._same: Equal<A, B> extends true ? [] : ['the types differ']): void {}

interface User { name: string, tags: string[], address: { city: string } }

const db = await open<User>('./data', { capacity: 10, durability: 'interval' })
expect<typeof db, ToonCache<User>>()
const user = db.get('a')
expect<typeof user, DeepReadonly<User> | undefined>()
const name: string | undefined = user?.address.city
void name
if (user) {
  // @ts-expect-error values are frozen
  user.name = 'x'
  // @ts-expect-error nested ones too
  user.tags.push('x')
  // @ts-expect-error and objects in them
  user.address.city = 'x'
}
const own = db.get('a', { mutable: true })
if (own) own.tags.push('x')

// @ts-expect-error a number is not a key
db.get(1)
// @ts-expect-error
db.has(1)
// @ts-expect-error a value of another type
await db.put('a', { name: 'x' })
// @ts-expect-error one argument
await db.put({ name: 'x', tags: [], address: { city: 'y' } })
// @ts-expect-error unknown option
await db.put('a', own!, { expires: 1 })
// @ts-expect-error BigInt cannot be stored
await (await open('x')).put('a', 1n)
// @ts-expect-error nor functions
await (await open('x')).put('a', () => 1)

const anything = await ToonStore.open('./data')
expect<typeof anything, ToonStore<Value>>()
await anything.put('a', null)
await anything.put(Buffer.from([1]), new Uint8Array(3))
await anything.put('a', [1, 'two', { three: [true] }])
const plain = await anything.put('a', 1, { ttl: 1000 })
expect<typeof plain, void>()
const written = await anything.put('a', 1, { ifAbsent: true })
expect<typeof written, boolean>()
const either = await anything.put('a', 1, { ifAbsent: Math.random() > 0.5 })
expect<typeof either, boolean | void>()
const certain = await anything.put('a', 1, { ifAbsent: false })
expect<typeof certain, void>()
const swapped = await anything.put('a', 1, { ifVersion: 3, ttl: 5 })
expect<typeof swapped, boolean>()
// @ts-expect-error a ToonStore has no cache
await ToonStore.open('./data', { capacity: 5 })
// @ts-expect-error unknown durability
await open('./data', { durability: 'never' })
// @ts-expect-error unknown option
await open('./data', { createIfMising: true })
// @ts-expect-error
new ToonStore()

const cache = await ToonCache.open<User>(new URL('file:///tmp/x'), 500, { readOnly: true })
const cache2 = await ToonCache.open('./data', { capacity: 5 })
expect<typeof cache, ToonCache<User>>()
expect<typeof cache2, ToonCache<Value>>()
const capacity: number = cache.capacity
void capacity

const entry = db.getEntry('a')
if (entry) {
  const facts: [number, number | null] = [entry.version, entry.expiresAt]
  void facts
}
expect<ReturnType<typeof db.getText>, string | undefined>()
expect<ReturnType<typeof db.getBuffer>, Buffer | undefined>()
const later = await db.getAsync('a')
expect<typeof later, DeepReadonly<User> | undefined>()
const many = db.getMany(['a', Buffer.from('b')])
expect<typeof many, (DeepReadonly<User> | undefined)[]>()
expect<ReturnType<typeof db.hasMany>, boolean[]>()

for (const [key, value] of db.range({ prefix: 'users/', limit: 5, reverse: true })) {
  expect<typeof key, string>()
  expect<typeof value, DeepReadonly<User>>()
}
for await (const [key, text] of db.range({ as: 'text', keyAs: 'buffer' })) {
  expect<typeof key, Buffer>()
  expect<typeof text, string>()
}
const buffers: Range<Buffer> = db.values({ as: 'buffer' })
const keys: string[] = db.keys({ gte: 'a', lt: Buffer.from('b') }).toArray()
void buffers
void keys
// @ts-expect-error unknown option
db.range({ start: 'a' })
// @ts-expect-error
db.range({ as: 'json' })

const lapses: boolean = await db.expire('a', 1000) && await db.persist(Buffer.from('a'))
void lapses
expect<ReturnType<typeof db.ttl>, number | null | undefined>()
// @ts-expect-error a ttl is needed
await db.expire('a')

await db.batch([{ type: 'put', key: 'a', value: own!, ttl: 5 }, { type: 'del', key: 'b' }])
// @ts-expect-error unknown type of operation
await db.batch([{ type: 'remove', key: 'a' }])
// @ts-expect-error a put needs a value
await db.batch([{ type: 'put', key: 'a' }])
const cleared: number = await db.clear({ prefix: 'x' })
const counted: number = db.count({ prefix: 'x' })
void cleared
void counted

const id: number = await anything.rows.put('line')
const row = anything.rows.get(id)
expect<typeof row, DeepReadonly<Value> | undefined>()
const changed: boolean = await anything.rows.update(id, 'other') && await anything.rows.delete(id)
void changed
for (const [rowId] of anything.rows.scan({ gte: 5, limit: 3 })) expect<typeof rowId, number>()
// @ts-expect-error ids are numbers
anything.rows.get('1')
// @ts-expect-error bounds of rows are numbers
anything.rows.scan({ gte: 'a' })

{
  using then = db.snapshot()
  const seen = then.get('a')
  expect<typeof seen, DeepReadonly<User> | undefined>()
  for (const [key, toon] of then.range({ as: 'text' })) expect<[typeof key, typeof toon], [string, string]>()
  const rowThen = then.rows.get(1)
  expect<typeof rowThen, DeepReadonly<User> | undefined>()
  // @ts-expect-error a snapshot is not written
  then.put('a', own!)
  // @ts-expect-error nor are its rows
  then.rows.put(own!)
  then.close()
}

{
  const tx = db.begin({ isolation: 'serializable' })
  const read = tx.get('a')
  expect<typeof read, DeepReadonly<User> | undefined>()
  tx.put('a', own!, { ttl: 5 })
  const gone: boolean = tx.delete('a')
  void gone
  tx.savepoint().rollback()
  for (const [key, value] of tx.range({ prefix: 'a', reverse: true })) expect<[typeof key, typeof value], [string, DeepReadonly<User>]>()
  await tx.commit()
  tx.rollback()
  // @ts-expect-error a value of another type
  tx.put('a', 1)
  // @ts-expect-error unknown isolation
  db.begin({ isolation: 'none' })
  const of5 = await db.transaction(_tx => 5, { retries: 3, timeout: 1000, isolation: 'snapshot', signal: new AbortController().signal })
  expect<typeof of5, number>()
  const later5 = await db.transaction(async t => { t.put('a', own!); return t.attempt })
  expect<typeof later5, number>()
  const now5 = db.transactionSync(t => t.has('a'))
  expect<typeof now5, boolean>()
  const updated = await anything.update('n', n => typeof n === 'number' ? n + 1 : undefined, { retries: 5 })
  expect<typeof updated, DeepReadonly<Value> | undefined>()
  // @ts-expect-error unknown option
  await db.transaction(() => 1, { retry: 1 })
}

const existed: boolean = db.deleteSync('a')
const putSync: void = db.putSync('a', own!)
void existed
void putSync
const stats: Stats = db.stats()
void stats
const text: string = db.toToon({ prefix: 'a', fields: ['name'], name: 'users', delimiter: '|' }) + encode({ a: 1 }, { indentSize: 4 })
const within: string = db.snapshot().toToon({ fields: ['a.b', ['a.b']], maxTokens: 5, countTokens: part => part.length, note: true })
void within
// @ts-expect-error
db.toToon({ fields: [[]] })
// @ts-expect-error
db.toToon({ countTokens: (part: string) => part })
const decoded = decode(text)
expect<typeof decoded, JsonValue>()
const typed = decode<User>(text, { strict: false })
expect<typeof typed, User>()
// @ts-expect-error
encode(1, { delimiter: ';' })
encode(1, { indent: 4, replacer: (key, value, path) => path.length && key.length ? undefined : value })
decode('a: 1', { indent: 4 })
const lines: string[] = [...encodeLines({ a: 1 }, { delimiter: '|' })]
for await (const event of decodeStream([text, new Uint8Array(1)], { strict: true })) {
  if (event.type === 'startArray') lines.length = event.length
}
// @ts-expect-error chunks are in an iterable, and not numbers
decodeStream([1])

interface Product { name: string, price: number, tags: string[], maker?: { city: string } }
const products = db.collection<Product>('products', { indexes: ['price', { fields: ['name', 'price'], unique: true }] })
const productId = await products.insert({ name: 'a', price: 1, tags: [] })
expect<typeof productId, string>()
const productIds = await products.insert([{ _id: 'x', name: 'a', price: 1, tags: [] }])
expect<typeof productIds, string[]>()
const product = products.findOne({ where: { price: { $gt: 1 }, tags: 'new', 'maker.city': /^B/, $or: [{ name: 'a' }, { _id: 'x' }] } })
const price: number | undefined = product?.price
void price
const picked = products.find({ fields: ['name', 'maker.city'], orderBy: { price: 'desc' }, limit: 2 }).toArray()
expect<typeof picked, { name?: string, 'maker.city'?: JsonValue }[]>()
const sums = products.aggregate({ groupBy: 'name', count: true, avg: ['price'] })
const average: number | null | undefined = sums[0]?.avg.price
const documents: number = products.aggregate({ count: true }).count
void average
void documents
const updated = await products.update('x', old => old && { ...old, price: 2 })
void updated?._id
for await (const one of products.find()) void one.tags.length
await db.transaction(tx => tx.collection<Product>('products').put('y', { name: 'b', price: 1, tags: [] }))
const renamed = await db.transaction(async tx => tx.collection<Product>('products').update('y', async old => ({ ...old!, name: 'c' })))
expect<typeof renamed, typeof updated>()
const context: string = db.context([{ title: 'a', query: { collection: 'products', where: { price: 1 } } }, { title: 'b', priority: 1 }], { maxTokens: 9 })
for await (const chunk of db.exportToon({ prefix: 'a', fields: ['name'] })) void (chunk + context)
for await (const chunk of products.exportToon({ where: { price: 1 }, name: 'x' })) void chunk.length
// @ts-expect-error an export has no budget
db.exportToon({ maxTokens: 5 })
// @ts-expect-error a document must have the fields of its type
products.insert({ name: 'a' })
// @ts-expect-error there is no such field
products.find({ where: { cost: 1 } })
// @ts-expect-error nor such an operator
products.find({ where: { price: { $gtt: 1 } } })
// @ts-expect-error
products.find({ orderBy: { price: 2 } })
// @ts-expect-error a snapshot cannot be written to
db.snapshot().collection<Product>('products').insert({})

db.on('error', err => { const code: ErrorCode = err.code; void code })
db.on('warning', warning => { const code: ErrorCode = warning.code; void code })
db.on('close', () => {})
try {
  await db.sync()
  await db.checkpoint()
  await db.compact()
  await db.compact({ signal: new AbortController().signal, onProgress: share => { const n: number = share; void n } })
  // @ts-expect-error
  await db.compact({ progress: () => {} })
} catch (err) {
  if (err instanceof ToonError && err.code === 'TOON_EIO') {
    const facts: [number | undefined, string | undefined, Key | number | undefined] = [err.errno, err.path, err.key]
    void facts
  }
}
await db.close()
{
  await using again = await open('./data')
  void again
}
