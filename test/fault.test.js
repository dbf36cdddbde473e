'use strict'
// Files that go bad while the store is open.

const assert = require('node:assert/strict')
const { setup, run } = require('./support')

describe('a log file that is cut short while the store is open', () => {
  const { openStore } = setup()

  it('is an error of the reads concerned, not the end of the process', async () => {
    const db = await openStore()
    await db.close()
    const { status, signal, stdout, stderr } = run(`
      (async () => {
        const fs = require('node:fs')
        const path = require('node:path')
        const db = await toonstore.ToonStore.open(process.argv[1], { durability: 'close' })
        const text = 'some text '.repeat(100)
        await db.batch(Array.from({ length: 300 }, (_, i) => ({ type: 'put', key: 'k' + i, value: text })))
        await db.checkpoint()
        fs.truncateSync(path.join(db.path, 'db.toon'), 50000)
        let right = 0, failed = 0
        for (let i = 0; i < 300; i++) {
          try {
            if (db.get('k' + i) === text) right++
          } catch (err) {
            if (err.code === 'TOON_ECORRUPT' && err.path.endsWith('db.toon') && err.offset > 0) failed++
          }
        }
        console.log(right > 0, failed > 0, right + failed)
        await db.close().catch(() => {})
      })()`, { args: [db.path] })
    assert.equal(stderr, '')
    assert.equal(stdout, 'true true 300\n')
    assert.equal(signal, null)
    assert.equal(status, 0)
    await assert.rejects(openStore({}, db.path), { code: 'TOON_ECORRUPT', path: /db\.toon$/ })
  })
})
