'use strict'
// npm run bench:collections: collections beside better-sqlite3, over documents of 10 fields. Writes the section "Collections" of
// bench/results.md. `COLLECTION_ROWS=100000 npm run bench:collections` takes fewer documents than 1,000,000.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const Database = require('better-sqlite3')
const { open } = require('..')
const { plain, markdown, writeSection } = require('./report')

const ROWS = Number(process.env.COLLECTION_ROWS ?? 1e6)
const BATCH = 1000
const ROUNDS = 3
const CITIES = ['Bonn', 'Ulm', 'Kiel', 'Jena', 'Trier', 'Mainz', 'Halle', 'Essen', 'Hagen', 'Gera']
const FIELDS = ['id', 'name', 'city', 'price', 'stock', 'active', 'sku', 'note', 'rating', 'added']

function document (i) {
  return {
    id: i,
    name: `Product number ${i}`,
    city: CITIES[(i * 7919) % CITIES.length],
    price: ((i * 7907) % 100000) / 100,
    stock: (i * 31) % 50,
    active: i % 3 === 0,
    sku: `sku-${(i * 2654435761) % 4294967296}-${i}`,
    note: 'a sentence of some length that nobody asks for in these queries',
    rating: (i % 50) / 10,
    added: 1.7e12 + i * 1000
  }
}

let columnsLine = ''
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-bench-'))
const results = [['what', 'toonstore', 'better-sqlite3', 'ratio', 'wanted']]
const median = list => [...list].sort((a, b) => a - b)[list.length >> 1]
const seconds = async fn => {
  const times = []
  for (let i = 0; i < ROUNDS; i++) {
    const start = process.hrtime.bigint()
    await fn(i)
    times.push(Number(process.hrtime.bigint() - start) / 1e9)
  }
  return median(times)
}
const rate = value => value >= 1e6 ? `${(value / 1e6).toFixed(2)} M/s` : `${(value / 1e3).toFixed(0)} k/s`

function note (what, ours, theirs, wanted, show = rate, better = (a, b) => a / b) {
  results.push([what, show(ours), theirs === undefined ? '' : show(theirs), theirs === undefined ? '' : `${better(ours, theirs).toFixed(2)} x`, wanted])
  console.log(results.at(-1).join(' | '))
}

async function main () {
  const db = await open(path.join(dir, 'toonstore'), { durability: 'interval', maxDbSize: 8e9 })
  const docs = db.collection('docs', { columns: true, indexes: ['stock', { fields: 'sku', unique: true }] })
  await docs.ready()
  const sql = new Database(path.join(dir, 'sqlite.db'))
  sql.pragma('journal_mode = WAL')
  sql.pragma('synchronous = NORMAL')
  sql.exec(`create table docs (_id text primary key, ${FIELDS.join(', ')}); create index s on docs (stock); create unique index k on docs (sku)`)
  const put = sql.prepare(`insert into docs values (${['?', ...FIELDS.map(() => '?')].join(', ')})`)
  const putAll = sql.transaction(list => { for (const d of list) put.run(String(d.id), ...FIELDS.map(f => typeof d[f] === 'boolean' ? Number(d[f]) : d[f])) })

  let ours = 0n
  let theirs = 0n
  let last = Promise.resolve()
  for (let i = 0; i < ROWS; i += BATCH) {
    const list = Array.from({ length: BATCH }, (_, j) => document(i + j))
    const start = process.hrtime.bigint()
    const next = docs.insert(list) // two batches under way
    await last
    last = next
    ours += process.hrtime.bigint() - start
  }
  const start = process.hrtime.bigint()
  await last
  ours += process.hrtime.bigint() - start
  for (let i = 0; i < ROWS; i += BATCH) {
    const list = Array.from({ length: BATCH }, (_, j) => document(i + j))
    const begin = process.hrtime.bigint()
    putAll(list)
    theirs += process.hrtime.bigint() - begin
  }
  note('insert in batches of 1,000, two indexes', ROWS / Number(ours) * 1e9, ROWS / Number(theirs) * 1e9, '200 k/s')
  await db.checkpoint()

  const begun = process.hrtime.bigint()
  await docs.buildColumns()
  const built = Number(process.hrtime.bigint() - begun) / 1e9
  const { rows: inColumns, bytes: columnBytes } = db.stats().columns
  columnsLine = `${(columnBytes / 1e6).toFixed(0)} MB, brought up to date after the load in ${built.toFixed(2)} s`
  console.log(`columns: ${inColumns} rows, ${(columnBytes / 1e6).toFixed(0)} MB, brought up to date in ${built.toFixed(2)} s`)

  const two = { fields: ['id', 'price'] }
  const textBytes = docs.explain({ where: { $not: { 'no.such': 1 } }, limit: ROWS }).bytesRead // a path that no column has: from the log
  const select = sql.prepare('select id, price from docs')
  const scan = await seconds(() => { let n = 0; for (const [, d] of db.range({ prefix: 'docs/', fields: ['id', 'price'] })) n += d.id; return n })
  const found = await seconds(() => docs.find(two).toArray().length)
  const rows = await seconds(() => select.all().length)
  const typed = await seconds(() => docs.findColumns(two).rows)
  const read = docs.explain(two)
  note('find, 2 of 10 fields, all documents', ROWS / found, ROWS / rows, '4 x')
  results.push(['  the same beside range({ fields })', rate(ROWS / found), rate(ROWS / scan), `${(scan / found).toFixed(2)} x`, '5 x'])
  results.push(['  bytes read, beside the text of all documents', `${(read.bytesRead / 1e6).toFixed(1)} MB`, `${(textBytes / 1e6).toFixed(1)} MB`,
    `${(read.bytesRead / textBytes * 100).toFixed(1)} %`, '20 %'])
  note('findColumns, the same two fields as typed arrays', ROWS / typed, ROWS / rows, '')

  const query = { where: { city: 'Ulm', price: { $lt: 100 } }, fields: ['id', 'price'] }
  const filter = sql.prepare("select id, price from docs where city = 'Ulm' and price < 100")
  note('find by a filter without an index', ROWS / await seconds(() => docs.find(query).toArray().length), ROWS / await seconds(() => filter.all().length), '')
  const explained = docs.explain(query)
  console.log(JSON.stringify(explained))

  const group = sql.prepare('select city, count(*), sum(price), avg(price) from docs group by city')
  const ms = value => `${(value * 1e3).toFixed(0)} ms`
  note('aggregate with groupBy, all documents', await seconds(() => docs.aggregate({ groupBy: 'city', count: true, sum: 'price', avg: 'price' })),
    await seconds(() => group.all()), '20 ms, 10 x', ms, (a, b) => b / a)

  const skus = Array.from({ length: 20000 }, (_, i) => document((i * 7919) % ROWS).sku)
  const bySku = sql.prepare('select * from docs where sku = ?')
  note('findOne by a unique index', skus.length / await seconds(() => { for (const sku of skus) docs.findOne({ where: { sku } }) }),
    skus.length / await seconds(() => { for (const sku of skus) bySku.get(sku) }), '300 k/s')

  const newest = sql.prepare('select id, name, price from docs where stock = 7 order by stock limit 20')
  note('20 documents by an index', 2000 / await seconds(() => { for (let i = 0; i < 2000; i++) docs.find({ where: { stock: 7 }, fields: ['id', 'name', 'price'], limit: 20 }).toArray() }),
    2000 / await seconds(() => { for (let i = 0; i < 2000; i++) newest.all() }), '')

  const most = Math.min(ROWS, 100000)
  let length = 0
  const toon = await seconds(() => { length = docs.toToon({ fields: ['id', 'name', 'price'], limit: most, name: 'docs' }).length })
  note(`toToon of ${most} documents, 3 fields`, length / toon / 1e6, undefined, '300 MB/s', value => `${value.toFixed(0)} MB/s`)

  const report = await db.stats()
  console.log(`${(report.log.bytes / 1e6).toFixed(0)} MB of log`)
  sql.close()
  await db.close()
}

main().then(() => {
  console.log(plain(results))
  writeSection('collections', `## Collections

${ROWS.toLocaleString('en')} documents of 10 fields with two indexes, one of them unique, beside better-sqlite3 (WAL, synchronous = NORMAL) with the same
table and indexes; \`npm run bench:collections\`, medians of ${ROUNDS}, the columns up to date (${columnsLine}).

${markdown(results)}
`)
}).finally(() => fs.rmSync(dir, { recursive: true, force: true }))
