'use strict'
// Expiry of keys that are there already.

const assert = require('node:assert/strict')
const { setup } = require('./support')

const HOUR = 3600000

describe('expire, persist and ttl', () => {
  const { openStore, reopen } = setup()

  it('give a key another expiry and take it away', async () => {
    let db = await openStore()
    await db.put('a', { x: [1] })
    assert.equal(db.ttl('a'), null)
    assert.equal(await db.expire('a', HOUR), true)
    for (let round = 0; round < 2; round++) {
      assert.ok(db.ttl('a') > HOUR / 2 && db.ttl('a') <= HOUR)
      assert.equal(typeof db.getEntry('a').expiresAt, 'number')
      assert.deepEqual(db.get('a'), { x: [1] })
      db = await reopen(db)
    }
    assert.equal(await db.expire('a', 2 * HOUR), true)
    assert.ok(db.ttl('a') > HOUR)
    assert.equal(await db.persist('a'), true)
    for (let round = 0; round < 2; round++) {
      assert.equal(db.ttl('a'), null)
      assert.deepEqual(db.get('a'), { x: [1] })
      db = await reopen(db)
    }
    assert.equal(await db.persist('a'), false, 'there is none any more')
  })

  it('reach no further than a Date does', async () => {
    const db = await openStore()
    const longest = 8.64e15
    await db.put('a', 1, { ttl: longest })
    await db.put('b', 1, { expiresAt: longest })
    await db.put('c', 1)
    await db.expire('c', longest)
    for (const key of ['a', 'b', 'c']) assert.equal(db.getEntry(key).expiresAt, longest)
    assert.equal(new Date(db.getEntry('c').expiresAt).getTime(), longest)
  })

  it('say that there is no such key', async () => {
    const db = await openStore()
    await db.put('lapsed', 1, { expiresAt: 1 })
    for (const key of ['none', 'lapsed', Buffer.from([0xff])]) {
      assert.equal(db.ttl(key), undefined)
      assert.equal(await db.expire(key, HOUR), false)
      assert.equal(await db.persist(key), false)
      assert.equal(db.has(key), false)
    }
  })

  it('let a key lapse', async () => {
    const db = await openStore()
    await db.put('a', 1)
    await db.put('b', 2, { ttl: HOUR })
    assert.equal(await db.expire('a', 1), true)
    assert.equal(await db.expire('b', 1), true)
    while (db.has('a') || db.has('b')) await new Promise(resolve => setTimeout(resolve, 1))
    assert.equal(db.get('a'), undefined)
    assert.equal(db.ttl('b'), undefined)
    assert.equal(await db.persist('b'), false)
  })

  it('apply in the order of the calls', async () => {
    const db = await openStore()
    const done = await Promise.all([
      db.expire('a', HOUR), db.put('a', 1), db.expire('a', HOUR), db.persist('a'), db.persist('a'), db.expire('a', HOUR), db.put('a', 2)
    ])
    assert.deepEqual(done, [false, undefined, true, true, false, true, undefined])
    assert.equal(db.ttl('a'), null, 'a put without ttl clears it')
    assert.equal(db.get('a'), 2)
  })

  it('leave neighbours alone when a call is wrong', async () => {
    const db = await openStore()
    const before = db.put('a', 1)
    for (const ttl of [undefined, null, '5', {}]) await assert.rejects(db.expire('a', ttl), { name: 'TypeError', code: 'TOON_EINVAL' })
    for (const ttl of [0, -1, 1.5, NaN, Infinity, 2 ** 60]) await assert.rejects(db.expire('a', ttl), { name: 'RangeError', code: 'TOON_EINVAL' })
    for (const key of [1, null, undefined, {}, '\ud800']) {
      await assert.rejects(db.expire(key, 1000), { name: 'TypeError', code: 'TOON_EINVAL' })
      await assert.rejects(db.persist(key), { name: 'TypeError', code: 'TOON_EINVAL' })
      assert.throws(() => db.ttl(key), { name: 'TypeError', code: 'TOON_EINVAL' })
    }
    await assert.rejects(db.expire('k'.repeat(5000), 1000), { code: 'TOON_EKEYTOOBIG' })
    await before
    assert.equal(db.ttl('a'), null)
  })

  it('fail on a closed store and a read-only one', async () => {
    const db = await openStore()
    await db.put('a', 1, { ttl: HOUR })
    await db.close()
    await assert.rejects(db.expire('a', 1), { code: 'TOON_ECLOSED' })
    await assert.rejects(db.persist('a'), { code: 'TOON_ECLOSED' })
    assert.throws(() => db.ttl('a'), { code: 'TOON_ECLOSED' })
    const reader = await openStore({ readOnly: true }, db.path)
    assert.ok(reader.ttl('a') > 0)
    await assert.rejects(reader.expire('a', 1), { code: 'TOON_EREADONLY' })
  })
})

describe('lapsed rows', () => {
  const { openStore, reopen } = setup()

  it('are deleted in the background and stop counting', async () => {
    let db = await openStore({ durability: 'close' })
    const ops = Array.from({ length: 100 }, (_, i) => ({ type: 'put', key: `s/${i}`, value: i, ttl: 50 }))
    await db.put('s/1', 'older')
    await db.batch(ops)
    await db.put('kept', 1)
    await db.rows.put('row', { ttl: 50 })
    await db.put('later', 1, { ttl: HOUR })
    while (db.has('s/1')) await new Promise(resolve => setTimeout(resolve, 5))
    while (db.size > 2 || db.rows.length > 0) await new Promise(resolve => setTimeout(resolve, 20))
    assert.equal(db.stats().rowsExpired, 101)
    assert.equal(db.get('s/1'), undefined)
    db = await reopen(db)
    assert.equal(db.size, 2)
    assert.equal(db.rows.length, 0)
    assert.deepEqual(db.keys().toArray(), ['kept', 'later'])
  })
})
