'use strict'
// Rows without keys.

const assert = require('node:assert/strict')
const { setup, logText } = require('./support')

describe('rows', () => {
  const { openStore, reopen } = setup()

  it('number themselves from 0 in the order of the calls', async () => {
    let db = await openStore()
    assert.deepEqual(await Promise.all(['a', 'b', 'c'].map(value => db.rows.put(value))), [0, 1, 2])
    db = await reopen(db)
    assert.equal(await db.rows.put('d'), 3)
    assert.equal(db.rows.length, 4)
    assert.deepEqual(db.rows.getMany([0, 1, 2, 3, 4]), ['a', 'b', 'c', 'd', undefined])
  })

  it('take values of every kind', async () => {
    let db = await openStore()
    const values = [null, true, 0, 1.5, '', 'text', [], {}, [1, { a: 'ü' }], { b: [] }]
    for (const value of values) await db.rows.put(value)
    const bytes = await db.rows.put(Buffer.from([1, 2]))
    for (let round = 0; round < 2; round++) {
      values.forEach((value, id) => assert.deepEqual(db.rows.get(id), value))
      assert.deepEqual([...db.rows.get(bytes)], [1, 2])
      assert.ok(Object.isFrozen(db.rows.get(8)))
      assert.ok(!Object.isFrozen(db.rows.get(8, { mutable: true })))
      db = await reopen(db)
    }
  })

  it('are never numbered again', async () => {
    let db = await openStore()
    await db.rows.put('a')
    assert.equal(await db.rows.delete(0), true)
    assert.equal(await db.rows.delete(0), false)
    assert.equal(await db.rows.put('b'), 1)
    await db.rows.delete(1)
    db = await reopen(db)
    assert.equal(await db.rows.put('c'), 2)
    assert.equal(db.rows.length, 1)
  })

  it('are updated only if they exist', async () => {
    const db = await openStore()
    await db.rows.put('a')
    assert.equal(await db.rows.update(0, { b: 1 }), true)
    assert.equal(await db.rows.update(1, 'x'), false)
    assert.equal(await db.rows.update(Number.MAX_SAFE_INTEGER, 'x'), false)
    assert.deepEqual(db.rows.get(0), { b: 1 })
    assert.equal(db.rows.length, 1)
    assert.equal(await db.rows.put('c'), 1)
  })

  it('are scanned in the order of their ids, both ways, within bounds', async () => {
    const db = await openStore({ durability: 'close' })
    const all = Array.from({ length: 1000 }, (_, id) => [id, `row ${id}`])
    await Promise.all(all.map(([, value]) => db.rows.put(value)))
    assert.deepEqual([...db.rows.scan()], all)
    assert.deepEqual(db.rows.scan({ reverse: true }).toArray(), [...all].reverse())
    assert.deepEqual(db.rows.scan({ gte: 990 }).toArray(), all.slice(990))
    assert.deepEqual(db.rows.scan({ gt: 990, lte: 995 }).toArray(), all.slice(991, 996))
    assert.deepEqual(db.rows.scan({ gte: 5, lt: 900, limit: 3, reverse: true }).toArray(), all.slice(897, 900).reverse())
    assert.deepEqual(db.rows.scan({ limit: 0 }).toArray(), [])
    const given = []
    for await (const row of db.rows.scan({ gte: 256 })) given.push(row)
    assert.deepEqual(given, all.slice(256))
  })

  it('live apart from keys', async () => {
    const db = await openStore()
    await db.rows.put('row')
    await db.put('key', 'value')
    assert.equal(db.size, 1)
    assert.deepEqual(db.range().toArray(), [['key', 'value']])
    assert.deepEqual(db.rows.scan().toArray(), [[0, 'row']])
    assert.match(logText(db.path), /^row\.0: row$/m)
  })

  it('lapse by ttl', async () => {
    const db = await openStore()
    await db.rows.put('gone', { expiresAt: 1 })
    await db.rows.put('here', { ttl: 3600000 })
    assert.deepEqual(db.rows.getMany([0, 1]), [undefined, 'here'])
    assert.equal(await db.rows.update(0, 'back'), false, 'a lapsed row is no row')
    assert.equal(await db.rows.update(1, 'gone too', { expiresAt: 1 }), true)
    assert.equal(db.rows.get(1), undefined)
  })

  it('refuse wrong ids, values and options', async () => {
    const db = await openStore()
    for (const id of ['0', null, undefined, 1n, {}]) {
      const expected = { name: 'TypeError', code: 'TOON_EINVAL' }
      assert.throws(() => db.rows.get(id), expected)
      assert.throws(() => db.rows.getMany([id]), expected)
      await assert.rejects(db.rows.update(id, 1), expected)
      await assert.rejects(db.rows.delete(id), expected)
    }
    for (const id of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
      const expected = { name: 'RangeError', code: 'TOON_EINVAL' }
      assert.throws(() => db.rows.get(id), expected)
      await assert.rejects(db.rows.update(id, 1), expected)
    }
    assert.throws(() => db.rows.scan({ gte: 'a' }), { code: 'TOON_EINVAL' })
    assert.throws(() => db.rows.scan({ prefix: 'a' }), { code: 'TOON_EINVAL' })
    assert.throws(() => db.rows.getMany(0), { code: 'TOON_EINVAL' })
    for (const value of [undefined, NaN, 1n, () => 1, Symbol('s')]) {
      await assert.rejects(db.rows.put(value), { name: 'TypeError', code: 'TOON_EINVAL' })
    }
    await assert.rejects(db.rows.put(1, { ifAbsent: true }), { code: 'TOON_EINVAL' })
    await assert.rejects(db.rows.update(0, 1, { ifVersion: 1 }), { code: 'TOON_EINVAL' })
    assert.equal(db.rows.length, 0)
  })
})
