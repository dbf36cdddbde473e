'use strict'
// kill -9 while column files are made and documents written: what columns give afterwards is what the documents say.
// TOONSTORE_CRASH_ROUNDS: as in kill.test.js; every third is one of these.

const assert = require('node:assert')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawn } = require('node:child_process')
const { ToonStore } = require('../..')

const ROUNDS = Math.ceil(Number(process.env.TOONSTORE_CRASH_ROUNDS ?? 36) / 3)
const OPTIONS = { durability: 'close', segmentSize: 64 * 1024, checkpointBytes: 24 * 1024 }

// The process that is killed: writes at random, with columns made in between.
const WRITER = `
  const { ToonStore } = require(${JSON.stringify(path.join(__dirname, '../..'))})
  ToonStore.open(process.argv[1], ${JSON.stringify(OPTIONS)}).then(async db => {
    const docs = db.collection('docs', { columns: ['n', 'city', 'price'] })
    const pick = n => Math.floor(Math.random() * n)
    process.stdout.write('ready\\n')
    for (;;) {
      const many = Array.from({ length: 50 }, () => String(pick(3000)))
      await Promise.all(many.map(id => pick(4) === 0 ? docs.delete(id) : docs.put(id, { n: pick(1000), city: 'c' + pick(5), price: pick(10000) / 100 })))
      if (pick(3) === 0) await docs.buildColumns()
      if (pick(6) === 0) await db.checkpoint()
      if (pick(20) === 0) await db.compact()
    }
  })`

async function writeAndKill (dir) {
  const child = spawn(process.execPath, ['-e', WRITER, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), Math.random() * 150))
  await new Promise((resolve, reject) => child.on('error', reject).on('close', (code, signal) => signal === 'SIGKILL' ? resolve() : reject(new Error(`ended with ${code}`))))
}

describe('columns over a kill', () => {
  const dir = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-crash-')), 'data')
  after(() => fs.rmSync(path.dirname(dir), { recursive: true, force: true }))

  it(`give what the documents say, ${ROUNDS} times`, async function () {
    this.timeout(ROUNDS * 20000)
    let used = 0
    for (let round = 0; round < ROUNDS; round++) {
      await writeAndKill(dir)
      const db = await ToonStore.open(dir, OPTIONS)
      const docs = db.collection('docs')
      const fields = ['n', 'city', 'price']
      const plain = db.range({ prefix: 'docs/' }).toArray().map(([, { n, city, price }]) => ({ n, city, price }))
      if (docs.explain({ fields }).plan === 'columns') used++
      assert.deepStrictEqual(docs.find({ fields }).toArray(), plain)
      assert.strictEqual(docs.aggregate({ sum: 'n' }).sum.n, plain.reduce((sum, d) => sum + d.n, 0))
      await db.close()
    }
    assert.ok(used > 0)
  })
})
