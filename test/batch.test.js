'use strict'
// Batches: all or nothing, seen at once.

const assert = require('node:assert/strict')
const { encode } = require('..')
const { setup, start } = require('./support')

describe('batch', () => {
  const { openStore, reopen } = setup()

  it('applies its operations in order', async () => {
    let db = await openStore()
    await db.put('b', 0)
    assert.equal(await db.batch([
      { type: 'put', key: 'a', value: 1 },
      { type: 'put', key: 'a', value: 2 },
      { type: 'del', key: 'b' },
      { type: 'put', key: 'c', value: { x: [1] } },
      { type: 'del', key: 'none' },
      { type: 'put', key: 'd', value: 1 },
      { type: 'del', key: 'd' }
    ]), undefined)
    for (let round = 0; round < 2; round++) {
      assert.deepEqual(db.range().toArray(), [['a', 2], ['c', { x: [1] }]])
      assert.equal(db.size, 2)
      db = await reopen(db)
    }
  })

  it('resolves when it is empty', async () => {
    const db = await openStore()
    assert.equal(await db.batch([]), undefined)
  })

  it('writes nothing if one operation is wrong, and leaves its neighbours alone', async () => {
    const db = await openStore()
    const good = { type: 'put', key: 'good', value: 1 }
    const cyclic = {}
    cyclic.self = cyclic
    const wrong = [
      [5, 'TypeError'], [null, 'TypeError'], [undefined, 'TypeError'], [{}, 'TypeError'], [{ type: 'put', value: 1 }, 'TypeError'],
      [{ type: 'remove', key: 'a' }, 'TypeError'], [{ key: 'a', value: 1 }, 'TypeError'], [{ type: 'put', key: 5, value: 1 }, 'TypeError'],
      [{ type: 'put', key: 'a' }, 'TypeError'], [{ type: 'put', key: 'a', value: NaN }, 'TypeError'],
      [{ type: 'put', key: 'a', value: cyclic }, 'TypeError'], [{ type: 'put', key: 'a', value: 1n }, 'TypeError'],
      [{ type: 'put', key: '\udc00', value: 1 }, 'TypeError'], [{ type: 'put', key: 'a', value: 1, ttl: 'x' }, 'TypeError'],
      [{ type: 'put', key: 'a', value: 1, ttl: 0 }, 'RangeError'], [{ type: 'put', key: 'a', value: 1, ifAbsent: true }, 'TypeError']
    ]
    for (const [op, name] of wrong) {
      const before = db.put('before', 1)
      const failing = db.batch([good, good, op, good])
      const after = db.put('after', 1)
      await assert.rejects(failing, err => err.name === name && err.code === 'TOON_EINVAL' && /^operation 2 of the batch: /.test(err.message))
      await Promise.all([before, after])
      assert.throws(() => db.batchSync([good, op]), { name, code: 'TOON_EINVAL' })
    }
    for (const ops of [undefined, null, 'a', {}, new Map(), { length: 1 }]) {
      await assert.rejects(db.batch(ops), { name: 'TypeError', code: 'TOON_EINVAL' })
    }
    assert.deepEqual(db.keys().toArray(), ['after', 'before'])
  })

  it('passes on what a toJSON throws', async () => {
    const db = await openStore()
    const mine = new Error('mine')
    await assert.rejects(db.batch([{ type: 'put', key: 'a', value: { toJSON () { throw mine } } }]), mine)
    assert.equal(mine.message, 'mine')
    await assert.rejects(db.put('a', { toJSON () { throw mine } }), mine)
    for (const thrown of [null, undefined, 'text', Object.freeze(Object.assign(new Error('frozen'), { code: 'MINE' }))]) {
      const value = { toJSON () { throw thrown } }
      for (const call of [() => db.batch([{ type: 'put', key: 'a', value }]), () => db.put('a', value), async () => encode(value)]) {
        assert.equal(await call().then(() => assert.fail(), err => err), thrown)
      }
    }
    const coded = Object.assign(new Error('mine'), { code: 'MINE' })
    await assert.rejects(db.batch([{ type: 'put', key: 'a', value: { toJSON () { throw coded } } }]), coded)
    assert.equal(coded.message, 'mine')
    await assert.rejects(db.batch([{ type: 'del', key: 'a' }, { type: 'put', key: 'a', value: () => 1 }]), /^TypeError: operation 1 of the batch: /)
    assert.equal(db.size, 0)
  })

  it('is not disturbed by writes that a toJSON makes', async () => {
    let db = await openStore()
    const nested = []
    const value = {
      toJSON () {
        nested.push(db.put('inner', 1), db.batch([{ type: 'put', key: 'inner batch', value: 2 }]), db.delete('first'))
        db.putSync('sync', 3)
        return 'outer'
      }
    }
    const first = db.put('first', 1)
    await db.batch([{ type: 'put', key: 'a', value }, { type: 'put', key: 'b', value: 2 }])
    await Promise.all([first, ...nested])
    await assert.rejects(db.batch([{ type: 'put', key: 'x', value }, { type: 'put', key: 'y' }]), { code: 'TOON_EINVAL' })
    await Promise.all(nested)
    for (let round = 0; round < 2; round++) {
      assert.deepEqual(db.range().toArray(), [['a', 'outer'], ['b', 2], ['inner', 1], ['inner batch', 2], ['sync', 3]])
      db = await reopen(db)
    }
  })

  it('fails cleanly when a toJSON closes the store', async () => {
    const db = await openStore()
    let closed
    const mine = new Error('mine')
    const value = { toJSON () { closed = db.close(); return 1 } }
    const before = db.put('before', 1)
    await assert.rejects(db.batch([{ type: 'put', key: 'a', value }, { type: 'put', key: 'b', value: 1 }]), { code: 'TOON_ECLOSED' })
    await before
    await closed
    const again = await openStore({}, db.path)
    assert.deepEqual(again.range().toArray(), [['before', 1]])
    // From within two batches, with and without a write before them, and while upkeep holds up the end.
    const inner = { toJSON () { closed = again.close(); throw mine } }
    const outer = { toJSON () { return again.batch([{ type: 'put', key: 'c', value: 1 }, { type: 'put', key: 'd', value: inner }]).catch(err => assert.equal(err, mine)) } }
    const synced = again.sync()
    await assert.rejects(again.batch([{ type: 'put', key: 'a', value: 1 }, { type: 'put', key: 'b', value: outer }]), { code: 'TOON_ECLOSED' })
    await Promise.all([synced, closed])
    assert.deepEqual((await openStore({}, db.path)).range().toArray(), [['before', 1]])
  })

  it('is never seen by half', async () => {
    const db = await openStore({ durability: 'close' })
    let done = false
    const writing = (async () => {
      for (let i = 0; i < 300; i++) {
        await db.batch(['x', 'y', 'z'].map(key => ({ type: 'put', key, value: i })))
        if (i % 50 === 0) await new Promise(resolve => setImmediate(resolve))
      }
      done = true
    })()
    let reads = 0
    while (!done) {
      for (let k = 0; k < 20; k++) {
        const [x, y, z] = db.getMany(['x', 'y', 'z'])
        assert.ok(x === y && y === z)
        const values = db.values().toArray()
        assert.ok(values.every(value => value === values[0]))
        reads++
      }
      await new Promise(resolve => setImmediate(resolve))
    }
    await writing
    assert.ok(reads > 0)
  })

  it('is never there by half after a SIGKILL', async () => {
    for (let round = 0; round < 3; round++) {
      const db = await openStore({ durability: 'close', checkpointBytes: 65536 })
      await db.close()
      const { child } = await start(`
        (async () => {
          const db = await toonstore.ToonStore.open(process.argv[1], { durability: 'close', checkpointBytes: 65536 })
          process.send('open')
          for (let i = 0; ; i++) await db.batch(Array.from({ length: 50 }, (_, k) => ({ type: 'put', key: 'k' + k, value: i })))
        })()`, [db.path])
      await new Promise(resolve => setTimeout(resolve, 20 + 30 * round))
      child.kill('SIGKILL')
      await new Promise(resolve => child.on('exit', resolve))
      const again = await openStore({ durability: 'close' }, db.path)
      const values = again.values().toArray()
      assert.ok(values.length === 0 || values.length === 50)
      assert.ok(values.every(value => value === values[0]))
    }
  })

  it('refuses more than maxTxnSize, and goes on', async () => {
    const db = await openStore({ maxTxnSize: 10000 })
    const ops = n => Array.from({ length: n }, (_, i) => ({ type: 'put', key: `k${i}`, value: 'x'.repeat(100) }))
    await assert.rejects(db.batch(ops(200)), { name: 'ToonError', code: 'TOON_ETXNTOOBIG' })
    assert.equal(db.size, 0)
    await db.batch(ops(50))
    assert.equal(db.size, 50)
    assert.throws(() => db.batchSync(ops(200)), { code: 'TOON_ETXNTOOBIG' })
  })

  it('takes ten thousand operations', async () => {
    let db = await openStore()
    await db.batch(Array.from({ length: 10000 }, (_, i) => ({ type: 'put', key: `k${i}`, value: i })))
    assert.equal(db.size, 10000)
    await db.batch(Array.from({ length: 9999 }, (_, i) => ({ type: 'del', key: `k${i}` })))
    db = await reopen(db)
    assert.deepEqual(db.range().toArray(), [['k9999', 9999]])
  })
})
