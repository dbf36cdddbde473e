'use strict'
// Compaction on demand.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { setup } = require('./support')

describe('compact', () => {
  const { openStore, reopen } = setup()

  // Less than a segment will be dead: the store leaves that alone, however long a slow machine takes until compact().
  const OPTIONS = { durability: 'close', segmentSize: 500000, checkpointBytes: 1 << 20 }

  // 2000 rows, each written five times.
  async function littered () {
    const db = await openStore(OPTIONS)
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 2000 }, (_, i) => db.put(`k${i}`, `${round} ${'x'.repeat(50)}`)))
    }
    return db
  }

  function logBytes (db) {
    return fs.readdirSync(db.path).filter(name => name.startsWith('db') && !name.includes('.idx'))
      .reduce((sum, name) => sum + fs.statSync(path.join(db.path, name)).size, 0)
  }

  it('leaves live rows only', async () => {
    let db = await littered()
    const before = logBytes(db)
    assert.equal(await db.compact(), undefined)
    assert.ok(logBytes(db) < before / 2, `${logBytes(db)} of ${before}`)
    for (let round = 0; round < 2; round++) {
      assert.equal(db.size, 2000)
      assert.ok(db.values().toArray().every(value => value.startsWith('4 ')))
      db = await reopen(db, OPTIONS)
    }
  })

  it('tells how far it is', async () => {
    const db = await littered()
    const shares = []
    await db.compact({ onProgress: share => shares.push(share) })
    assert.ok(shares.length > 1)
    assert.equal(shares.at(-1), 1)
    assert.ok(shares.every((share, i) => share >= 0 && share <= 1 && (i === 0 || share > shares[i - 1])))
    const { length } = shares
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(shares.length, length, 'nothing is told after the end')
  })

  it('has its last word with an empty store too', async () => {
    const db = await openStore()
    const shares = []
    await db.compact({ onProgress: share => shares.push(share) })
    assert.deepEqual(shares, [1])
  })

  it('runs once at a time', async () => {
    const db = await littered()
    const first = db.compact()
    await assert.rejects(db.compact(), { name: 'ToonError', code: 'TOON_EINVAL' })
    await first
    await db.compact()
  })

  it('is ended by a signal, and can be started again', async () => {
    const db = await littered()
    const reason = new Error('enough')
    await assert.rejects(db.compact({ signal: AbortSignal.abort(reason) }), reason)
    const control = new AbortController()
    const running = db.compact({ signal: control.signal, onProgress: () => control.abort(reason) })
    await assert.rejects(running, reason)
    const early = new AbortController()
    const waiting = db.compact({ signal: early.signal })
    early.abort(reason)
    await assert.rejects(waiting, reason)
    assert.equal(db.size, 2000)
    await db.compact()
    assert.ok(db.values().toArray().every(value => value.startsWith('4 ')))
  })

  it('is ended by what onProgress throws, and can be started again', async () => {
    const db = await littered()
    for (const thrown of [new Error('mine'), null]) {
      const shares = []
      const running = db.compact({ onProgress (share) { shares.push(share); throw thrown } })
      assert.equal(await running.then(() => assert.fail(), err => err), thrown)
      assert.equal(shares.length, 1)
    }
    await db.compact()
    assert.equal(db.size, 2000)
  })

  it('goes on beside writes', async () => {
    const db = await littered()
    const running = db.compact()
    await Promise.all(Array.from({ length: 2000 }, (_, i) => db.put(`k${i}`, i)))
    await running
    assert.deepEqual(db.get('k1999'), 1999)
    assert.equal(db.size, 2000)
  })

  it('is finished by close', async () => {
    const db = await littered()
    const running = db.compact()
    await db.close()
    await running
    await assert.rejects(db.compact(), { code: 'TOON_ECLOSED' })
  })

  it('refuses wrong options, and stores that are read-only', async () => {
    const db = await openStore()
    for (const options of [null, 1, { signal: 1 }, { onProgress: 1 }, { progress () {} }]) {
      await assert.rejects(db.compact(options), { name: 'TypeError', code: 'TOON_EINVAL' })
    }
    const reader = await openStore({ readOnly: true }, (await reopen(db)).path)
    await assert.rejects(reader.compact(), { code: 'TOON_EREADONLY' })
  })
})
