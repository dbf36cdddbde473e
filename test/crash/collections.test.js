'use strict'
// kill -9 while documents are written, indexes made and dropped, and column files made: afterwards the entries of each index are
// those of the documents and no others, and queries by columns and by indexes give what the documents say.
// TOONSTORE_CRASH_ROUNDS: as in kill.test.js; every third is one of these.

const assert = require('node:assert')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')
const { spawn } = require('node:child_process')
const { ToonStore } = require('../..')
const { entryOf } = require('../../lib/indexkeys')

const ROUNDS = Math.ceil(Number(process.env.TOONSTORE_CRASH_ROUNDS ?? 36) / 3)
const OPTIONS = { durability: 'close', segmentSize: 64 * 1024, checkpointBytes: 24 * 1024 }
const KEPT = { columns: ['n', 'city', 'price'], indexes: ['city', { fields: 'sku', unique: true }] }

// The process that is killed: writes at random, with columns and another index made in between.
const WRITER = `
  const { ToonStore } = require(${JSON.stringify(path.join(__dirname, '../..'))})
  ToonStore.open(process.argv[1], ${JSON.stringify(OPTIONS)}).then(async db => {
    const docs = db.collection('docs', ${JSON.stringify(KEPT)})
    const pick = n => Math.floor(Math.random() * n)
    const refused = err => { if (err.code !== 'TOON_EUNIQUE') throw err }
    process.stdout.write('ready\\n')
    const indexes = async () => {
      for (;;) {
        await docs.createIndex(['n', 'city'])
        await docs.dropIndex(['n', 'city'])
      }
    }
    const writes = async () => {
      for (;;) {
        const many = Array.from({ length: 50 }, () => String(pick(3000)))
        await Promise.all(many.map(id => pick(4) === 0 ? docs.delete(id)
          : docs.put(id, { n: pick(1000), city: 'c' + pick(5), price: pick(10000) / 100, sku: pick(3) ? 's' + id : pick(1000) }).catch(refused)))
        if (pick(3) === 0) await docs.buildColumns()
        if (pick(6) === 0) await db.checkpoint()
        if (pick(20) === 0) await db.compact()
      }
    }
    await Promise.all([indexes(), writes()])
  })`

async function writeAndKill (dir, most) {
  const child = spawn(process.execPath, ['-e', WRITER, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), Math.random() * most))
  await new Promise((resolve, reject) => child.on('error', reject).on('close', (code, signal) => signal === 'SIGKILL' ? resolve() : reject(new Error(`ended with ${code}`))))
}

// The entries that the documents should have in all indexes: [key, value].
function entriesOf (db, all) {
  const { indexes } = db.get('$collection/docs')
  return indexes.flatMap(index => all.map(document => {
    const { key, alone } = entryOf(index, document._id, document)
    return [key, alone ? document._id : null]
  })).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

describe('collections over a kill', () => {
  const dir = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-crash-')), 'data')
  after(() => fs.rmSync(path.dirname(dir), { recursive: true, force: true }))

  it(`have the entries of their documents, and columns that say what the documents say, ${ROUNDS} times`, async function () {
    this.timeout(ROUNDS * 20000)
    let used = 0
    for (let round = 0; round < ROUNDS || (used === 0 && round < 10 * ROUNDS); round++) { // on a slow machine they live longer
      await writeAndKill(dir, 150 * Math.ceil((round + 1) / ROUNDS))
      const db = await ToonStore.open(dir, OPTIONS)
      const docs = db.collection('docs', round % 2 ? KEPT : {})
      await docs.ready()
      while (docs.indexes().some(({ state }) => state !== 'ready')) await sleep(1) // what the process had begun is finished
      const all = db.range({ prefix: 'docs/' }).toArray().map(([key, document]) => ({ _id: key.slice(5), ...document }))
      assert.deepStrictEqual(db.range({ prefix: '$index/' }).toArray(), entriesOf(db, all))

      const fields = ['n', 'city', 'price']
      const plain = all.map(({ n, city, price }) => ({ n, city, price }))
      if (docs.explain({ fields }).plan === 'columns') used++
      assert.deepStrictEqual(docs.find({ fields }).toArray(), plain)
      assert.strictEqual(docs.aggregate({ sum: 'n' }).sum.n, plain.reduce((sum, d) => sum + d.n, 0))
      if (round % 2) {
        assert.strictEqual(docs.explain({ where: { city: 'c1' } }).plan, 'index')
        assert.deepStrictEqual(docs.find({ where: { city: 'c1' } }).toArray(), all.filter(({ city }) => city === 'c1'))
        for (const document of all.slice(0, 20)) assert.deepStrictEqual(docs.findOne({ where: { sku: document.sku } }), document)
      }
      await db.close()
    }
    assert.ok(used > 0)
  })
})
