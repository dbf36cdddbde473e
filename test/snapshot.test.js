'use strict'
// Snapshots.

const assert = require('node:assert/strict')
const { setup, run } = require('./support')

describe('snapshot', () => {
  const { openStore } = setup()

  // Reads of every kind.
  function everything (from) {
    return {
      get: from.get('a'),
      mutable: from.get('o', { mutable: true }),
      getMany: from.getMany(['a', 'none', 'o']),
      long: from.getMany(Array.from({ length: 1000 }, (_, i) => `k${i}`)),
      entry: from.getEntry('a'),
      text: from.getText('o'),
      buffer: from.getBuffer('a'),
      has: [from.has('a'), from.has('none')],
      hasMany: from.hasMany(['a', 'none']),
      range: from.range({ prefix: 'a' }).toArray(),
      reverse: from.range({ reverse: true, limit: 3 }).toArray(),
      keys: from.keys({ gte: 'o' }).toArray(),
      values: from.values({ as: 'text' }).toArray(),
      count: from.count(),
      none: from.count({ limit: 0 }),
      row: from.rows.get(0),
      rows: from.rows.getMany([0, 1, 2]),
      scan: from.rows.scan().toArray()
    }
  }

  async function filled () {
    const db = await openStore({ durability: 'close', checkpointBytes: 65536, segmentSize: 65536 })
    await Promise.all(Array.from({ length: 1000 }, (_, i) => db.put(`k${i}`, i)))
    await db.batch([{ type: 'put', key: 'a', value: 'text' }, { type: 'put', key: 'ab', value: [1] }, { type: 'put', key: 'o', value: { x: 1 } }])
    await db.rows.put('row 0')
    await db.rows.put('row 1')
    return db
  }

  async function changeAll (db) {
    await db.clear()
    await Promise.all(Array.from({ length: 1000 }, (_, i) => db.put(`k${i}`, `changed ${i} ${'x'.repeat(100)}`)))
    await db.put('none', 1)
    await db.rows.update(0, 'changed')
    await db.rows.delete(1)
    await db.rows.put('new')
  }

  it('reads as the store read then, whatever is written', async () => {
    const db = await filled()
    const before = everything(db)
    const then = db.snapshot()
    assert.deepEqual(everything(then), before)
    await changeAll(db)
    assert.deepEqual(everything(then), before)
    await db.checkpoint()
    await db.compact()
    assert.deepEqual(everything(then), before)
    assert.notDeepEqual(everything(db), before)
    const now = db.snapshot()
    assert.deepEqual(everything(now), everything(db))
    then.close()
    assert.equal(now.get('none'), 1)
    now.close()
  })

  it('reads many keys and rows that were written again and again', async () => {
    const db = await openStore()
    await db.put('a', 1)
    await db.rows.put('first')
    const then = db.snapshot()
    for (const n of [2, 3, 4]) {
      await db.put('a', n)
      await db.rows.update(0, `${n}th`)
    }
    assert.deepEqual(then.getMany(['a', 'none', 'a']), [1, undefined, 1])
    assert.deepEqual(then.rows.getMany([0, 1]), ['first', undefined])
    assert.deepEqual(db.getMany(['a', 'none']), [4, undefined])
  })

  it('does not see a key that came later, and still sees one that lapsed', async () => {
    const db = await openStore()
    let then
    for (let ttl = 50; then === undefined && ttl < 1e5; ttl *= 2) { // on a slow disk it may have lapsed before the snapshot
      await db.put('a', 1, { ttl })
      then = db.snapshot()
      if (db.has('a')) continue
      then.close()
      then = undefined
    }
    while (db.has('a')) await new Promise(resolve => setTimeout(resolve, 5))
    assert.equal(then.has('a'), true)
    assert.equal(then.get('a'), 1)
    await db.put('b', 1)
    assert.equal(then.get('b'), undefined)
    assert.deepEqual(then.keys().toArray(), ['a'])
  })

  it('has size, ttl, rows.length and getAsync too, which goes on through a close()', async () => {
    const db = await filled()
    await db.put('lapses', 1, { ttl: 60000 })
    const then = db.snapshot()
    const { size } = db
    await changeAll(db)
    await db.delete('lapses')
    assert.equal(then.size, size)
    assert.equal(then.rows.length, 2)
    assert.ok(then.ttl('lapses') > 0 && then.ttl('lapses') <= 60000)
    assert.deepEqual([then.ttl('a'), then.ttl('none')], [null, undefined])
    assert.deepEqual(await Promise.all(['a', Buffer.from('o'), 'none', 'k7'].map(key => then.getAsync(key))), ['text', { x: 1 }, undefined, 7])
    const own = await then.getAsync('o', { mutable: true })
    own.x = 2
    await assert.rejects(then.getAsync(5), { name: 'TypeError', code: 'TOON_EINVAL' })
    const called = Promise.all(Array.from({ length: 1000 }, (_, i) => then.getAsync(`k${i}`)))
    then.close()
    assert.deepEqual(await called, Array.from({ length: 1000 }, (_, i) => i))
    await assert.rejects(then.getAsync('a'), { name: 'ToonError', code: 'TOON_ECLOSED' })
    const last = db.snapshot()
    const read = last.getAsync('k7')
    await new Promise(resolve => setImmediate(resolve)) // it is on the threadpool, or done
    await db.close()
    assert.match(await read, /^changed 7/)
  })

  it('fails with TOON_ECLOSED once it is closed', async () => {
    const db = await filled()
    const then = db.snapshot()
    then.close()
    then.close()
    const closed = { name: 'ToonError', code: 'TOON_ECLOSED' }
    for (const use of [
      s => s.get('a'), s => s.getMany(['a', 'b']), s => s.getMany(['a']), s => s.getMany(Array(600).fill('a')), s => s.getEntry('a'), s => s.getText('a'),
      s => s.getBuffer('a'), s => s.has('a'), s => s.hasMany(['a']), s => s.range(), s => s.range({ limit: 0 }), s => s.keys(), s => s.values(),
      s => s.count(), s => s.count({ limit: 0 }), s => s.rows.get(0), s => s.rows.getMany([0]), s => s.rows.scan(), s => s.ttl('a'), s => s.size, s => s.rows.length
    ]) {
      assert.throws(() => use(then), closed, String(use))
    }
    assert.equal(db.get('a'), 'text')
  })

  it('ends with its store', async () => {
    const db = await filled()
    const then = db.snapshot()
    const range = then.range()
    range.next()
    await db.close()
    assert.throws(() => then.get('a'), { code: 'TOON_ECLOSED' })
    assert.throws(() => range.toArray(), { code: 'TOON_ECLOSED' })
    then.close()
    assert.throws(() => db.snapshot(), { code: 'TOON_ECLOSED' })
  })

  it('stays closed, however many come after it', async () => {
    const gone = await openStore({ durability: 'close' })
    const other = await openStore({ durability: 'close' })
    await gone.put('a', 'gone')
    await other.put('a', 'other')
    const then = gone.snapshot()
    await gone.close()
    for (let i = 0; i < 33000; i++) {
      const now = other.snapshot()
      assert.throws(() => then.get('a'), { code: 'TOON_ECLOSED' })
      now.close()
    }
  })

  it('lets a range go on that was made before its close', async () => {
    const db = await filled()
    const then = db.snapshot()
    const before = then.range().toArray()
    const range = then.range()
    const later = then.range()[Symbol.asyncIterator]()
    const first = range.next().value
    then.close()
    await changeAll(db)
    await db.compact()
    assert.deepEqual([first, ...range.toArray()], before)
    const given = []
    for await (const row of later) given.push(row)
    assert.deepEqual(given, before)
  })

  it('can be used with Symbol.dispose', async () => {
    const db = await filled()
    const then = db.snapshot()
    then[Symbol.dispose]()
    assert.throws(() => then.get('a'), { code: 'TOON_ECLOSED' })
  })

  it('refuses wrong arguments as the store does', async () => {
    const db = await filled()
    const then = db.snapshot()
    const wrong = { name: 'TypeError', code: 'TOON_EINVAL' }
    assert.throws(() => then.get(1), wrong)
    assert.throws(() => then.get('a', { mutable: 1 }), wrong)
    assert.throws(() => then.getMany('a'), wrong)
    assert.throws(() => then.rows.get('1'), wrong)
    assert.throws(() => then.range({ start: 1 }), wrong)
    assert.throws(() => then.get('k'.repeat(5000)), { code: 'TOON_EKEYTOOBIG' })
  })

  it('is there by the hundreds', async () => {
    const db = await openStore({ durability: 'close' })
    const all = []
    for (let i = 0; i < 500; i++) {
      await db.put('n', i)
      all.push(db.snapshot())
    }
    all.forEach((then, i) => assert.equal(then.get('n'), i))
    for (const then of all) then.close()
  })

  it('is shown by stats, and given up when it holds back too much', async () => {
    const db = await openStore({ durability: 'close', segmentSize: 65536, checkpointBytes: 65536, maxDbSize: 524288 })
    const text = 'x'.repeat(8000)
    const held = []
    const { open } = db.stats().snapshots
    assert.equal(open, 0)
    while (db.stats().snapshots.dropped === 0) {
      await Promise.all(Array.from({ length: 20 }, (_, i) => db.put(`k${i}`, text + held.length)))
      if (held.length < 30) held.push({ then: db.snapshot(), tx: db.begin(), range: db.range() })
      await db.compact()
    }
    const { snapshots } = db.stats()
    assert.ok(snapshots.oldestMs >= 0 && snapshots.fileBytes > 0)
    while (db.stats().snapshots.fileBytes > 524288) await new Promise(resolve => setTimeout(resolve, 20))
    const [{ then, tx, range }] = held
    const gone = { name: 'ToonError', code: 'TOON_ESNAPSHOT', message: /take a new one/ }
    assert.throws(() => then.get('k0'), gone)
    assert.throws(() => then.range().toArray(), gone)
    assert.throws(() => tx.get('k0'), gone)
    assert.throws(() => range.toArray(), gone)
    tx.put('new', 1)
    await assert.rejects(tx.commit(), gone)
    assert.equal(db.has('new'), false)
    then.close()
    assert.equal(held.at(-1).then.get('k0'), text + (held.length - 1))
  })

  it('is released when it is forgotten, as are transactions and ranges', async () => {
    const db = await openStore()
    await db.close()
    const { status, stdout, stderr } = run(`
      (async () => {
        const db = await toonstore.open(process.argv[1])
        const forget = () => {
          for (let i = 0; i < 100; i++) {
            db.snapshot().has('a')
            db.begin().put('a', 1)
            db.range().return
          }
        }
        forget()
        const before = db.stats().snapshots.open
        for (let i = 0; i < 200 && db.stats().snapshots.open > 10; i++) {
          gc()
          await new Promise(resolve => setTimeout(resolve, 10))
        }
        console.log(before, db.stats().snapshots.open <= 10)
        await db.close()
      })()`, { flags: ['--expose-gc'], args: [db.path] })
    assert.equal(stderr, '')
    assert.equal(stdout, '300 true\n')
    assert.equal(status, 0)
  })

  it('is closed when it is forgotten', async () => {
    const db = await openStore()
    await db.close()
    const { status, stdout, stderr } = run(`
      (async () => {
        const { native } = require(process.argv[1])
        const db = await toonstore.open(process.argv[2])
        let closed = 0
        const close = native.snapshotClose
        native.snapshotClose = handle => { closed++; close(handle) }
        for (let i = 0; i < 100; i++) db.snapshot().has('a')
        for (let i = 0; i < 100 && closed < 50; i++) {
          gc()
          await new Promise(resolve => setTimeout(resolve, 10))
        }
        console.log(closed >= 50)
        await db.close()
      })()`, { flags: ['--expose-gc'], args: [require.resolve('../lib/binding'), db.path] })
    assert.equal(stderr, '')
    assert.equal(stdout, 'true\n')
    assert.equal(status, 0)
  })
})
