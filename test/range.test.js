'use strict'
// Ranges: bounds, order, snapshots, iteration both ways of waiting, projection and output forms.

const assert = require('node:assert/strict')
const { encode } = require('..')
const { setup } = require('./support')

const letters = ['a', 'b', 'c', 'd', 'e', 'f', 'g']

describe('range', () => {
  const { openStore } = setup()

  async function lettered (options) {
    const db = await openStore(options)
    await db.batch(letters.map((key, i) => ({ type: 'put', key, value: i })))
    return db
  }
  const keysOf = range => [...range].map(([key]) => key).join('')

  it('takes every bound', async () => {
    const db = await lettered()
    const cases = [
      [{}, 'abcdefg'], [{ gt: 'c' }, 'defg'], [{ gte: 'c' }, 'cdefg'], [{ lt: 'c' }, 'ab'], [{ lte: 'c' }, 'abc'],
      [{ gt: 'b', lt: 'e' }, 'cd'], [{ gte: 'b', lte: 'e' }, 'bcde'], [{ gte: 'b', gt: 'd' }, 'bcdefg'], [{ lte: 'e', lt: 'b' }, 'abcde'],
      [{ gt: 'e', lt: 'b' }, ''], [{ gt: 'c', lt: 'c' }, ''], [{ gte: 'c', lte: 'c' }, 'c'], [{ gt: 'cc' }, 'defg'], [{ lt: 'cc' }, 'abc'],
      [{ gte: '' }, 'abcdefg'], [{ lt: '' }, ''], [{ gt: 'z' }, ''], [{ limit: 3 }, 'abc'], [{ limit: Infinity }, 'abcdefg'],
      [{ limit: 0 }, ''], [{ limit: 100 }, 'abcdefg'], [{ gt: Buffer.from('b'), lte: new Uint8Array([101]) }, 'cde'],
      [{ prefix: 'c' }, 'c'], [{ prefix: '' }, 'abcdefg'], [{ prefix: 'x' }, ''], [{ prefix: 'c', gt: 'c' }, ''], [{ gt: undefined }, 'abcdefg']
    ]
    for (const [options, expected] of cases) {
      const text = JSON.stringify(options)
      assert.equal(keysOf(db.range(options)), expected, text)
      const { limit, ...bounds } = options
      const whole = keysOf(db.range(bounds))
      const reversed = [...whole].reverse().join('').slice(0, limit)
      assert.equal(keysOf(db.range({ ...options, reverse: true })), reversed, text + ' reversed')
      assert.equal(db.count(options), expected.length, text)
      assert.equal(db.keys(options).toArray().join(''), expected, text)
      assert.deepEqual(db.values(options).toArray(), [...expected].map(key => letters.indexOf(key)), text)
    }
  })

  it('finds a prefix between its neighbours', async () => {
    const db = await openStore()
    const keys = ['user', 'user/', 'user/1', 'user/2', 'user/é', 'user0', 'users', 'user/\uffff', 'user.']
    await Promise.all(keys.map(key => db.put(key, 1)))
    await db.put(Buffer.from([0x75, 0x73, 0x65, 0x72, 0x2f, 0xff]), 1) // 'user/' and a byte that no UTF-8 has
    assert.equal(db.count({ prefix: 'user/' }), 6)
    assert.equal(await db.clear({ prefix: 'user/' }), 6)
    assert.deepEqual(db.keys().toArray(), ['user', 'user.', 'user0', 'users'])
    await db.put(Buffer.from([255, 255]), 1)
    await db.put(Buffer.from([255, 255, 3]), 1)
    assert.equal(db.count({ prefix: Buffer.from([255, 255]) }), 2, 'a prefix without a successor')
  })

  it('walks over thousands of rows, from deltas and runs, in either direction', async () => {
    const db = await openStore({ durability: 'close' })
    const expected = new Map()
    for (let round = 0; round < 3; round++) {
      const ops = []
      for (let i = 0; i < 3000; i++) {
        const key = `key ${String(i * 7919 % 4001).padStart(5, '0')}`
        if ((i + round) % 5 === 0) {
          ops.push({ type: 'del', key })
          expected.delete(key)
        } else {
          ops.push({ type: 'put', key, value: { i, round } })
          expected.set(key, { i, round })
        }
      }
      await db.batch(ops)
      if (round < 2) await db.checkpoint()
    }
    const sorted = [...expected].sort(([a], [b]) => a < b ? -1 : 1)
    assert.deepEqual([...db.range()], sorted)
    assert.deepEqual(db.range({ reverse: true }).toArray(), [...sorted].reverse())
    const awaited = []
    for await (const row of db.range()) awaited.push(row)
    assert.deepEqual(awaited, sorted)
    assert.equal(db.count(), sorted.length)
    assert.equal(db.size, sorted.length)
  })

  it('shows one moment, that of its making', async () => {
    const db = await lettered()
    const made = db.range()
    const started = db.range()
    assert.deepEqual(started.next().value, ['a', 0])
    const awaited = db.range()
    await db.batch([{ type: 'put', key: 'b', value: 'new' }, { type: 'del', key: 'c' }, { type: 'put', key: 'bb', value: 'new' }])
    await db.checkpoint()
    await db.clear()
    assert.deepEqual(made.toArray(), letters.map((key, i) => [key, i]))
    assert.deepEqual(started.toArray(), letters.slice(1).map((key, i) => [key, i + 1]))
    const rows = []
    for await (const row of awaited) rows.push(row)
    assert.equal(rows.length, 7)
    assert.deepEqual(db.range().toArray(), [])
  })

  it('is walked over once', async () => {
    const db = await lettered()
    const range = db.range()
    for (const [key] of range) if (key === 'c') break
    assert.deepEqual([...range], [], 'leaving a loop ends it')
    assert.deepEqual(range.toArray(), [])
    assert.deepEqual(range.next(), { value: undefined, done: true })
    const part = db.range()
    part.next()
    assert.equal(part.toArray().length, 6, 'toArray gives what is left')
    assert.deepEqual(part.next(), { value: undefined, done: true })
    const other = db.range()
    assert.deepEqual(other.return(5), { value: 5, done: true })
    assert.deepEqual(other.next(), { value: undefined, done: true })
  })

  it('is left by break, return and throw in for await too', async () => {
    const db = await openStore({ durability: 'close' })
    await Promise.all(Array.from({ length: 100 }, (_, i) => db.put(`k${i}`, i)))
    const range = db.range()
    let n = 0
    for await (const row of range) {
      assert.ok(row)
      if (++n === 3) break
    }
    assert.equal(n, 3)
    assert.deepEqual(range.toArray(), [])
    await assert.rejects(async () => {
      for await (const row of db.range()) throw new Error(row[0])
    }, /^Error: k0$/)
  })

  it('gives nothing more once it was left, though a chunk was on its way', async () => {
    const db = await openStore({ durability: 'close' })
    await Promise.all(Array.from({ length: 100 }, (_, i) => db.put(`k${i}`, i)))
    const range = db.range()
    const iterator = range[Symbol.asyncIterator]()
    const first = iterator.next()
    await iterator.return()
    for (const step of [first, iterator.next(), range.next()]) assert.deepEqual(await step, { value: undefined, done: true })
    assert.deepEqual(range.toArray(), [])
  })

  it('says how to go on when too many are open', async () => {
    const db = await openStore({ durability: 'close' })
    const ranges = []
    assert.throws(() => { for (;;) ranges.push(db.range()) }, { code: 'TOON_ENOMEM', message: /return\(\)/ })
    for (const range of ranges) range.return()
    assert.deepEqual(db.range().toArray(), [])
  })

  it('answers several next() at once in order', async () => {
    const db = await openStore({ durability: 'close' })
    await Promise.all(Array.from({ length: 200 }, (_, i) => db.put(`k${String(i).padStart(3, '0')}`, i)))
    const iterator = db.values()[Symbol.asyncIterator]()
    const results = await Promise.all(Array.from({ length: 202 }, () => iterator.next()))
    assert.deepEqual(results.map(({ value }) => value), [...Array(200).keys(), undefined, undefined])
    assert.equal(results[201].done, true)
  })

  it('refuses to be read while for await waits for it', async () => {
    const db = await openStore({ durability: 'close' })
    await Promise.all(Array.from({ length: 100 }, (_, i) => db.put(`k${i}`, i)))
    const range = db.range()
    const first = range[Symbol.asyncIterator]().next()
    assert.throws(() => range.next(), { code: 'TOON_EINVAL' })
    await first
    assert.equal(range.toArray().length, 99)
  })

  it('stops with the reason of its signal', async () => {
    const db = await openStore({ durability: 'close' })
    await Promise.all(Array.from({ length: 100 }, (_, i) => db.put(`k${i}`, i)))
    const reason = new Error('enough')
    assert.throws(() => db.range({ signal: AbortSignal.abort(reason) }), reason)
    const controller = new AbortController()
    const range = db.range({ signal: controller.signal })
    range.next()
    controller.abort(reason)
    assert.throws(() => { while (!range.next().done); }, reason)
    const another = new AbortController()
    await assert.rejects(async () => {
      for await (const row of db.range({ signal: another.signal })) if (row) another.abort(reason)
    }, reason)
  })

  it('gives values as values, text or bytes', async () => {
    const db = await openStore()
    await db.put('a', { x: 1 })
    await db.put('b', 'text')
    await db.put('c', Buffer.from([1]))
    assert.deepEqual(db.range({ as: 'text' }).toArray(), [['a', 'x: 1'], ['b', 'text'], ['c', 'base64:AQ==']])
    assert.deepEqual(db.values({ as: 'buffer' }).toArray(), [Buffer.from('x: 1'), Buffer.from('text'), Buffer.from([1])])
    assert.deepEqual(db.range({ keyAs: 'buffer', limit: 1 }).toArray(), [[Buffer.from('a'), { x: 1 }]])
    const given = []
    for await (const pair of db.range({ as: 'buffer', keyAs: 'buffer' })) given.push(pair)
    assert.deepEqual(given[1], [Buffer.from('b'), Buffer.from('text')])
  })

  it('picks fields', async () => {
    const db = await openStore()
    const user = { id: 1, name: 'Ada', address: { city: 'Oslo', zip: '1' }, tags: ['x'] }
    await db.put('a', user)
    await db.put('b', [user, 5])
    await db.put('c', 'text')
    await db.put('d', Buffer.from([1]))
    const fields = ['name', 'address.city', 'tags', 'none', 'name.length']
    const picked = { name: 'Ada', 'address.city': 'Oslo', tags: ['x'] }
    assert.deepEqual(db.values({ fields }).toArray(), [picked, [picked, 5], 'text', Buffer.from([1])])
    assert.ok(Object.isFrozen(db.values({ fields }).next().value))
    assert.equal(db.values({ fields, as: 'text' }).next().value, encode(picked))
    assert.deepEqual(db.values({ fields, as: 'buffer' }).next().value, Buffer.from(encode(picked)))
    assert.deepEqual(db.keys({ fields, limit: 1 }).toArray(), ['a'])
  })

  it('becomes a TOON table', async () => {
    const db = await openStore()
    await db.put('users/1', { id: 1, name: 'Ada', more: [1] })
    await db.put('users/2', { id: 2, name: 'Bob', more: [] })
    await db.put('x', 1)
    assert.equal(db.toToon({ prefix: 'users/', fields: ['id', 'name'], name: 'users' }), 'users[2:]{id,name}:\n  "users/1": 1,Ada\n  "users/2": 2,Bob')
    assert.equal(db.toToon({ prefix: 'users/', fields: ['id'], delimiter: '|' }), '[2:|]{id}:\n  "users/1": 1\n  "users/2": 2')
    assert.equal(db.toToon({ prefix: 'none/' }), '')
    assert.equal(db.toToon({ gt: 'users/', limit: 1, fields: ['name'], reverse: true }), 'x: 1')
    assert.throws(() => db.toToon({ name: 5 }), { code: 'TOON_EINVAL' })
    assert.throws(() => db.toToon({ delimiter: ';' }), { code: 'TOON_EINVAL' })
  })

  it('refuses wrong options', async () => {
    const db = await lettered()
    const wrong = [
      null, 5, 'a', [], { gt: 5 }, { lte: null }, { prefix: {} }, { limit: '5' }, { limit: null }, { reverse: 1 }, { as: 'json' }, { keyAs: 'hex' },
      { fields: 'a' }, { fields: [1] }, { signal: {} }, { start: 'a' }, { gte: '\ud800' }
    ]
    for (const options of wrong) {
      for (const method of ['range', 'keys', 'values']) {
        assert.throws(() => db[method](options), { name: 'TypeError', code: 'TOON_EINVAL' }, JSON.stringify(options))
      }
    }
    for (const limit of [-1, 0.5, NaN]) assert.throws(() => db.range({ limit }), { name: 'RangeError', code: 'TOON_EINVAL' })
    for (const options of [{ as: 'text' }, { fields: ['a'] }, { gt: 5 }]) {
      assert.throws(() => db.count(options), { code: 'TOON_EINVAL' })
      await assert.rejects(db.clear(options), { code: 'TOON_EINVAL' })
    }
    assert.throws(() => db.range({ gt: 'x'.repeat(4097) }), { code: 'TOON_EKEYTOOBIG' })
    assert.equal(db.size, 7)
  })

  it('keeps many ranges open at once', async () => {
    const db = await lettered()
    const ranges = Array.from({ length: 2000 }, () => db.range({ limit: 2 }))
    await db.put('a', 'changed')
    ranges.forEach(range => assert.deepEqual(range.toArray(), [['a', 0], ['b', 1]]))
  })
})
