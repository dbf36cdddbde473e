'use strict'
// The cache of ready values: hot reads, and that none is ever stale.

const assert = require('node:assert/strict')
const path = require('node:path')
const { open, encode: encodeToon, ToonStore } = require('..')
const { setup } = require('./support')
const { Client } = require('./resp-client')
const { hunt } = require('./stale/hunt')

describe('the cache', () => {
  const { folder, keep } = setup()
  const openCache = async (options, dir = path.join(folder(), 'data')) => keep(await open(dir, options))

  it('hands out the same frozen object, and never the one that was put', async () => {
    const db = await openCache()
    const mine = { list: [1, { a: 1 }] }
    await db.put('k', mine)
    const first = db.get('k')
    assert.notEqual(first, mine)
    assert.ok(Object.isFrozen(first) && Object.isFrozen(first.list[1]))
    assert.equal(db.get('k'), first)
    const own = db.get('k', { mutable: true })
    own.list.push(3)
    assert.deepEqual(db.get('k'), { list: [1, { a: 1 }] })
    const { hits, misses, rows } = db.stats().cache
    assert.deepEqual({ hits, misses, rows }, { hits: 2, misses: 1, rows: 1 })
  })

  it('sees every kind of change', async () => {
    const db = await openCache()
    const seen = () => db.get('k')
    const changes = [
      [() => db.put('k', 'a'), 'a'],
      [() => db.put('k', 'b'), 'b'],
      [() => db.delete('k'), undefined],
      [() => db.batch([{ type: 'put', key: 'k', value: 1 }]), 1],
      [() => db.transaction(tx => tx.put('k', { n: tx.get('k') + 1 })), { n: 2 }],
      [() => db.update('k', old => old.n + 1), 3],
      [() => db.putSync('k', null), null],
      [() => db.clear(), undefined],
      [() => db.put('k', 'c', { ifAbsent: true }), 'c'],
      [() => db.deleteSync('k'), undefined]
    ]
    for (const [change, value] of changes) {
      seen()
      await change()
      assert.deepEqual(seen(), value, String(change))
      assert.deepEqual(seen(), value, String(change))
    }
  })

  it('knows when a row has lapsed, and that an expiry was set or taken away', async () => {
    const db = await openCache()
    await db.put('k', 'v')
    assert.equal(db.get('k'), 'v')
    await db.expire('k', 20)
    const end = Date.now() + 30000
    while (db.get('k') !== undefined && Date.now() < end);
    assert.equal(db.get('k'), undefined)
    let kept, lapse
    for (let ttl = 30; !kept && ttl < 1e5; ttl *= 2) { // on a slow disk it may have lapsed before it is kept
      await db.put('p', 'v', { ttl })
      lapse = Date.now() + ttl
      const read = db.get('p')
      kept = await db.persist('p')
      if (kept) assert.equal(read, 'v')
    }
    assert.ok(kept)
    while (Date.now() <= lapse) await new Promise(resolve => setTimeout(resolve, 5))
    assert.equal(db.get('p'), 'v')
  })

  it('keeps rows by id, and sees their changes', async () => {
    const db = await openCache({ capacity: 4 })
    const ids = []
    for (let i = 0; i < 10; i++) ids.push(await db.rows.put({ i }))
    for (const id of ids) assert.equal(db.rows.get(id), db.rows.get(id))
    for (const id of ids) assert.deepEqual(db.rows.get(id), { i: id })
    await db.rows.update(9, 'new')
    assert.equal(db.rows.get(9), 'new')
    await db.rows.delete(9)
    assert.equal(db.rows.get(9), undefined)
    for (const bad of [-1, 1.5, '1', null, Symbol('s'), 1n, { valueOf: () => 1 }]) {
      assert.throws(() => db.rows.get(bad), { code: 'TOON_EINVAL' })
    }
  })

  it('never shares bytes', async () => {
    const db = await openCache()
    for (const size of [10, 100000]) {
      await db.put('b', Buffer.alloc(size, 1))
      db.get('b').fill(2)
      assert.equal(db.get('b')[0], 1)
    }
  })

  it('is bounded in rows and in bytes', async () => {
    const db = await openCache({ capacity: 50, cacheBytes: 20000 })
    await db.batch(Array.from({ length: 500 }, (_, i) => ({ type: 'put', key: `k${i}`, value: i })))
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 500; i++) assert.equal(db.get(`k${i}`), i)
      assert.equal(db.stats().cache.rows, 50)
    }
    await db.batch(Array.from({ length: 50 }, (_, i) => ({ type: 'put', key: `k${i}`, value: 'x'.repeat(900) })))
    for (let i = 0; i < 50; i++) {
      assert.equal(db.get(`k${i}`).length, 900)
      assert.ok(db.stats().cache.bytes <= 20000)
    }
    for (let i = 0; i < 50; i++) await db.rows.put('y'.repeat(900))
    for (let i = 0; i < 50; i++) {
      assert.equal(db.rows.get(i).length, 900)
      assert.ok(db.stats().cache.bytes <= 20000)
    }
    assert.equal((await openCache({ capacity: 0 })).stats().cache, undefined)
  })

  it('makes room for keys and rows alike, one by one, those not read lately first', async () => {
    const size = 4 * (2 * 1004 + 160) // of four entries and a bit
    const db = await openCache({ capacity: 100, cacheBytes: size + 200 })
    const text = 'x'.repeat(1000)
    for (let i = 0; i < 3; i++) {
      await db.put('k' + i, text)
      await db.rows.put(text)
    }
    db.rows.get(0)
    db.rows.get(1)
    db.get('k0')
    db.get('k1')
    db.rows.get(0) // used since
    db.get('k2')
    assert.equal(db.stats().cache.evictions, 1)
    const before = db.stats().cache.hits
    db.rows.get(0)
    assert.equal(db.stats().cache.hits, before + 1, 'one entry went, not the whole ring')
    assert.equal(db.stats().cache.rows, 4)
  })

  it('answers getMany, getAsync and rows.getMany from memory, and keeps what getMany has read', async () => {
    const db = await openCache()
    for (const key of ['a', 'b', 'c']) await db.put(key, { key })
    const ids = [await db.rows.put('r0'), await db.rows.put('r1')]
    const first = db.getMany(['a', 'b', 'c'])
    const again = db.getMany(['c', 'a'])
    assert.equal(again[1], first[0], 'the same frozen object')
    assert.equal(db.get('b'), first[1])
    assert.equal(await db.getAsync('b'), first[1])
    assert.deepEqual(db.rows.getMany(ids), ['r0', 'r1'])
    const { hits } = db.stats().cache
    assert.deepEqual(db.rows.getMany(ids), ['r0', 'r1'])
    assert.equal(db.stats().cache.hits, hits + 2)
    await db.put('c', 1)
    assert.deepEqual(db.getMany(['a', 'c', 'none']), [{ key: 'a' }, 1, undefined])
    const bytes = Buffer.from('x')
    await db.put('bytes', bytes)
    assert.notEqual(db.getMany(['bytes'])[0], db.getMany(['bytes'])[0])
    await db.put('lapses', 1, { ttl: 60000 })
    assert.deepEqual(db.getMany(['lapses', 'a']), [1, { key: 'a' }])
    await db.put('lapses', 2, { ttl: 1 })
    await new Promise(resolve => { setTimeout(resolve, 20) })
    assert.deepEqual(db.getMany(['lapses', 'a']), [undefined, { key: 'a' }])
    await db.rows.delete(ids[0])
    assert.deepEqual(db.rows.getMany(ids), [undefined, 'r1'])
  })

  it('sees more changes in one commit than it has words, and compaction changes nothing', async () => {
    const db = await openCache({ durability: 'close', capacity: 10 })
    const ops = n => Array.from({ length: 3000 }, (_, i) => ({ type: 'put', key: `k${i}`, value: n }))
    for (const n of [1, 2]) {
      await db.batch(ops(n))
      for (let i = 0; i < 3000; i += 300) assert.equal(db.get(`k${i}`), n)
    }
    const { hits } = db.stats().cache
    await db.compact()
    assert.equal(db.get('k2700'), 2)
    assert.equal(db.stats().cache.hits, hits + 1)
  })

  it('sees what other handles of the directory write, and is past snapshots', async () => {
    const db = await openCache()
    const other = keep(await ToonStore.open(db.path))
    await other.put('k', 1)
    assert.equal(db.get('k'), 1)
    const then = db.snapshot()
    await other.put('k', 2)
    assert.equal(db.get('k'), 2)
    assert.equal(then.get('k'), 1)
    then.close()
    await other.close()
    await db.put('k', 3)
    assert.equal(db.get('k'), 3)
  })

  it('refuses hot keys too once it is closed, even while upkeep is under way', async () => {
    const db = await openCache()
    await db.put('k', 1)
    await db.rows.put(2)
    db.get('k')
    db.rows.get(0)
    const upkeep = db.checkpoint()
    const closed = db.close()
    assert.throws(() => db.get('k'), { code: 'TOON_ECLOSED' })
    assert.throws(() => db.rows.get(0), { code: 'TOON_ECLOSED' })
    await Promise.all([upkeep, closed])
  })

  it('shows no stale value and no half of a commit while workers and a client of the server write', async () => {
    const { reads, hits, hot, writes } = await hunt(1500)
    assert.ok(reads > 0 && hits > 0 && hot > 0 && writes > 0)
  })

  it('keeps bytes that are read often ready in C, gives each reader a Buffer, and sees every change', async () => {
    const db = await openCache({ capacity: 2 })
    const bytes = n => Buffer.alloc(300, n)
    const get = key => {
      for (let i = 0; i < 5; i++) {
        const own = db.get(key)
        own?.fill(0xee) // nobody else sees that
      }
      assert.deepEqual(db.getBuffer(key), db.get(key))
      return db.get(key)
    }
    const entry = () => db.getEntry('k').version
    const changes = [
      [() => db.put('k', bytes(1)), bytes(1)],
      [() => db.put('k', bytes(2), { ttl: 60000 }), bytes(2)],
      [() => db.putSync('k', bytes(3)), bytes(3)],
      [() => db.delete('k'), undefined],
      [() => db.batch([{ type: 'put', key: 'k', value: bytes(4) }]), bytes(4)]
    ]
    let version = 0
    for (const [change, want] of changes) {
      await change()
      assert.deepEqual(get('k'), want)
      if (want === undefined) continue
      assert.ok(entry() > version)
      version = entry()
    }
    await db.put('k', 'text now')
    assert.equal(db.get('k'), 'text now')
    assert.ok(db.stats().hot.hits > 0)
    for (let i = 0; i < 5; i++) {
      await db.put(`k${i}`, bytes(i))
      assert.deepEqual(get(`k${i}`), bytes(i))
    }
    assert.ok(db.stats().hot.rows <= 2 && db.stats().hot.evictions > 0)
    const then = db.snapshot()
    await db.put('k4', bytes(9))
    assert.deepEqual([then.get('k4'), db.get('k4')], [bytes(4), bytes(9)])
    then.close()
    const plain = await openCache({ capacity: 0 }, db.path)
    assert.deepEqual(plain.get('k4'), bytes(9))
  })

  describe('of a server', () => {
    const quoted = n => `${n}: "${'quoted, '.repeat(30)}"`
    const raw = Buffer.alloc(300, 0xff)
    let db, client

    // Enough of them that the last comes from the cache.
    async function get (key) {
      const replies = await client.pipeline(new Array(6).fill(['GET', key]))
      for (const reply of replies) assert.equal(reply, replies[0])
      return replies[0]
    }

    async function serve (options) {
      db = await openCache({ durability: 'interval', ...options })
      const server = await db.listen({ port: 0 })
      client = new Client(server.port)
    }

    afterEach(() => client.close())

    it('hands out what had to be decoded, and sees every kind of change', async () => {
      await serve()
      const changes = [
        [() => db.put('k', quoted(1)), quoted(1)],
        [() => client.call('SET', 'k', quoted(2)), quoted(2)],
        [() => client.call('SET', 'k', raw), raw.toString('latin1')],
        [() => db.put('k', { text: quoted(3) }), encodeToon({ text: quoted(3) })],
        [() => db.delete('k'), null],
        [() => client.call('APPEND', 'k', quoted(4)), quoted(4)],
        [() => db.put('k', 'plain '.repeat(50) + 'text'), 'plain '.repeat(50) + 'text'],
        [() => db.put('k', quoted(5), { ttl: 60000 }), quoted(5)],
        [() => client.call('PEXPIREAT', 'k', 1), null],
        [() => db.put('k', quoted(6)), quoted(6)],
        [() => client.call('FLUSHALL'), null]
      ]
      for (const [change, want] of changes) {
        await change()
        assert.equal(await get('k'), want)
      }
      const { hot } = db.stats()
      assert.ok(hot.caches === 1 && hot.hits > 0 && hot.misses > 0)
      const lines = await client.call('INFO', 'toonstore')
      for (const name of ['hits', 'misses', 'evictions']) assert.equal(Number(new RegExp(`^hot_${name}:(\\d+)`, 'm').exec(lines)?.[1]), hot[name])
    })

    it('sees what commands before it on the same connection, and in MULTI, have written', async () => {
      await serve()
      await db.put('k', quoted(0))
      assert.equal(await get('k'), quoted(0))
      const replies = await client.pipeline([['GET', 'k'], ['SET', 'k', quoted(1)], ['GET', 'k'], ['MULTI'], ['SET', 'k', quoted(2)], ['GET', 'k'], ['EXEC'], ['GET', 'k']])
      assert.deepEqual(replies, [quoted(0), 'OK', quoted(1), 'OK', 'QUEUED', 'QUEUED', ['OK', quoted(2)], quoted(2)])
    })

    it('keeps no more than the capacity, and nothing without one', async () => {
      await serve({ capacity: 3 })
      for (let i = 0; i < 10; i++) {
        await db.put(`k${i}`, quoted(i))
        assert.equal(await get(`k${i}`), quoted(i))
      }
      assert.ok(db.stats().hot.evictions >= 5)
      assert.equal(db.stats().hot.rows, 3)
      client.close()
      await serve({ capacity: 0 })
      await db.put('k', quoted(1))
      assert.equal(await get('k'), quoted(1))
      assert.equal(db.stats().hot.caches, 0)
    })
  })
})
