'use strict'
// Opening and closing, single writes and reads, conditions and expiry, upkeep.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { once } = require('node:events')
const { pathToFileURL } = require('node:url')
const { inspect } = require('node:util')
const toon = require('@toon-format/toon')
const { open, ToonStore, ToonCache, ToonError } = require('..')
const { setup, run, logText } = require('./support')

describe('open', () => {
  const { folder, openStore, keep } = setup()

  it('is importable by name from an ES module', async () => {
    const module = await import('../lib/index.js')
    for (const name of ['open', 'ToonStore', 'ToonCache', 'ToonError', 'encode', 'decode']) {
      assert.equal(module[name], require('..')[name], name)
    }
  })

  it('opens a cache by default, the bare store by ToonStore.open', async () => {
    const dir = folder()
    const cache = keep(await open(path.join(dir, 'a')))
    assert.ok(cache instanceof ToonCache && cache instanceof ToonStore)
    assert.equal(cache.capacity, 10000)
    const other = keep(await ToonCache.open(path.join(dir, 'b'), 5))
    assert.equal(other.capacity, 5)
    assert.equal(keep(await ToonCache.open(path.join(dir, 'c'), { capacity: 7 })).capacity, 7)
    assert.equal(keep(await ToonCache.open(path.join(dir, 'd'), undefined, {})).capacity, 10000)
    const store = keep(await ToonStore.open(path.join(dir, 'e')))
    assert.ok(!(store instanceof ToonCache))
  })

  it('creates the directory, with those above it', async () => {
    const dir = path.join(folder(), 'deep', 'er', 'data')
    const db = await openStore({}, dir)
    await db.put('a', 1)
    assert.ok(fs.statSync(dir).isDirectory())
    assert.equal(db.path, dir)
  })

  it('understands paths, file: URLs and file://path?capacity=N', async () => {
    const dir = folder()
    const before = process.cwd()
    process.chdir(dir)
    try {
      const here = fs.realpathSync(dir)
      const cases = [
        ['plain', 'plain', 10000],
        ['./dot', 'dot', 10000],
        ['file://./relative?capacity=5', 'relative', 5],
        ['file://bare?capacity=0', 'bare', 0],
        [`file://${here}/absolute?capacity=123`, 'absolute', 123],
        [`file://localhost${here}/local`, 'local', 10000],
        [`file:${here}/one%20slash?capacity=7`, 'one slash', 7],
        ['./file:name', 'file:name', 10000],
        ['file://./with%20space', 'with space', 10000],
        ['with%20percent', 'with%20percent', 10000],
        [pathToFileURL(path.join(here, 'url é')), 'url é', 10000],
        [new URL(pathToFileURL(path.join(here, 'url2')).href + '?capacity=9'), 'url2', 9]
      ]
      for (const [location, name, capacity] of cases) {
        const db = keep(await open(location))
        assert.equal(db.path, path.join(here, name))
        assert.equal(db.capacity, capacity)
        assert.ok(fs.existsSync(path.join(here, name, 'db.toon')))
      }
      assert.equal(keep(await ToonCache.open('file://./x?capacity=3')).capacity, 3)
    } finally {
      process.chdir(before)
    }
  })

  it('opens one directory several times in a process, as one store', async () => {
    const a = await openStore()
    const b = keep(await open(a.path))
    await a.put('k', 'from a')
    assert.equal(b.get('k'), 'from a')
    await b.put('k', 'from b')
    assert.equal(a.get('k'), 'from b')
    await a.close()
    await b.put('k', 'still open')
    assert.equal(b.get('k'), 'still open')
  })

  it('refuses handles of one directory that disagree on durability or limits', async () => {
    const a = await openStore()
    await assert.rejects(ToonStore.open(a.path, { durability: 'close' }), { code: 'TOON_EINVAL' })
    for (const limit of ['maxValueSize', 'maxDbSize', 'maxTxnSize']) {
      await assert.rejects(ToonStore.open(a.path, { [limit]: 2 ** 19 }), { code: 'TOON_EINVAL' }, limit)
    }
  })

  it('opens many handles at once', async () => {
    const dir = path.join(folder(), 'data')
    const all = await Promise.all(Array.from({ length: 20 }, () => ToonStore.open(dir)))
    all.forEach(keep)
    await Promise.all(all.map((db, i) => db.put(`k${i}`, i)))
    assert.equal(all[7].size, 20)
    await Promise.all(all.map(db => db.close()))
    assert.equal(keep(await ToonStore.open(dir)).get('k19'), 19)
  })

  it('reports a store that is not there, or is there', async () => {
    const dir = path.join(folder(), 'data')
    await assert.rejects(ToonStore.open(dir, { createIfMissing: false }), err =>
      err instanceof ToonError && err.code === 'TOON_ENOTFOUND' && /createIfMissing/.test(err.message))
    await assert.rejects(ToonStore.open(dir, { readOnly: true }), err => err.code === 'TOON_ENOTFOUND' && !/createIfMissing/.test(err.message))
    await assert.rejects(ToonStore.open(path.join(dir, 'x'.repeat(300))), { code: 'TOON_EIO', message: /name too long/i })
    const db = await openStore({ errorIfExists: true }, dir)
    await db.close()
    await assert.rejects(ToonStore.open(dir, { errorIfExists: true }), { code: 'TOON_EINVAL' })
    await openStore({ createIfMissing: false }, dir)
  })

  it('opens read-only: reads, and refuses writes at the call', async () => {
    const db = await openStore()
    await db.put('a', 1)
    await db.rows.put('row')
    await db.close()
    const reader = await openStore({ readOnly: true }, db.path)
    assert.equal(reader.get('a'), 1)
    assert.deepEqual(reader.range().toArray(), [['a', 1]])
    const expected = { name: 'ToonError', code: 'TOON_EREADONLY' }
    await assert.rejects(reader.put('b', 1), expected)
    await assert.rejects(reader.delete('a'), expected)
    await assert.rejects(reader.batch([{ type: 'put', key: 'b', value: 1 }]), expected)
    await assert.rejects(reader.clear(), expected)
    await assert.rejects(reader.rows.put(1), expected)
    await assert.rejects(reader.rows.update(0, 1), expected)
    await assert.rejects(reader.rows.delete(0), expected)
    assert.throws(() => reader.putSync('b', 1), expected)
    assert.throws(() => reader.deleteSync('a'), expected)
    assert.equal(reader.get('a'), 1)
  })

  it('gives up an open whose signal is aborted', async () => {
    const dir = path.join(folder(), 'data')
    const reason = new Error('enough')
    await assert.rejects(ToonStore.open(dir, { signal: AbortSignal.abort(reason) }), reason)
    const controller = new AbortController()
    const opening = ToonStore.open(dir, { signal: controller.signal })
    controller.abort(reason)
    await assert.rejects(opening, reason)
    const db = await openStore({ signal: new AbortController().signal }, dir)
    await db.put('a', 1)
  })

  it('cannot be constructed by new', () => {
    assert.throws(() => new ToonStore(), /ToonStore\.open\(\)/)
    assert.throws(() => new ToonCache(), /ToonCache\.open\(\)/)
  })
})

describe('close', () => {
  const { openStore, keep } = setup()

  it('is idempotent, emits close and leaves nothing usable', async () => {
    const db = await openStore()
    await db.put('a', 1)
    const closed = once(db, 'close')
    const first = db.close()
    assert.equal(db.close(), first)
    await first
    await closed
    assert.equal(await db.close(), undefined)
    const expected = { name: 'ToonError', code: 'TOON_ECLOSED' }
    for (const [method, ...args] of [
      ['get', 'a'], ['has', 'a'], ['getMany', ['a', 'b']], ['hasMany', ['a']], ['getEntry', 'a'], ['getText', 'a'], ['getBuffer', 'a'],
      ['range'], ['range', { limit: 0 }], ['keys'], ['values'], ['count'], ['count', { limit: 0 }], ['toToon'], ['stats'],
      ['putSync', 'a', 1], ['deleteSync', 'a'], ['batchSync', []], ['batchSync', [{ type: 'del', key: 'a' }]]
    ]) assert.throws(() => db[method](...args), expected, method)
    for (const [method, ...args] of [
      ['getAsync', 'a'], ['put', 'a', 1], ['put', 'a', 1, { ifAbsent: true }], ['delete', 'a'], ['clear'], ['clear', { limit: 0 }], ['batch', []],
      ['batch', [{ type: 'del', key: 'a' }]], ['sync'], ['checkpoint']
    ]) await assert.rejects(db[method](...args), expected, method)
    assert.throws(() => db.size, expected)
    assert.throws(() => db.rows.length, expected)
    assert.throws(() => db.rows.get(0), expected)
    assert.throws(() => db.rows.scan(), expected)
    await assert.rejects(db.rows.put(1), expected)
  })

  it('finishes what was called before it', async () => {
    const db = await openStore()
    const writes = Array.from({ length: 100 }, (_, i) => db.put(`k${i}`, i))
    const read = db.getAsync('k0')
    const synced = db.sync()
    const closed = db.close()
    await assert.rejects(db.put('late', 1), { code: 'TOON_ECLOSED' })
    await Promise.all([...writes, synced, closed])
    assert.ok([0, undefined].includes(await read))
    const again = keep(await ToonStore.open(db.path))
    assert.equal(again.size, 100)
  })

  it('finishes transactions that conflict with each other, and takes no others', async () => {
    const db = await openStore({ durability: 'close' })
    await db.collection('c').insert({ _id: 'a', n: 0 })
    const writes = Array.from({ length: 10 }, () => [
      db.update('n', n => (n ?? 0) + 1),
      db.transaction(tx => tx.put('m', (tx.get('m') ?? 0) + 1)),
      db.collection('c').update('a', ({ n }) => ({ n: n + 1 }))
    ]).flat()
    const waiting = db.transaction(async tx => { await db.close(); tx.put('n', 0) })
    const closing = db.close()
    await assert.rejects(db.update('n', () => 0), { code: 'TOON_ECLOSED' })
    await assert.rejects(waiting, { code: 'TOON_ECLOSED' })
    await Promise.all([...writes, closing])
    const again = await openStore({}, db.path)
    assert.deepEqual([again.get('n'), again.get('m'), again.collection('c').get('a')], [10, 10, { _id: 'a', n: 10 }])
  })

  it('is not held up by what a listener throws, which is uncaught', async () => {
    const db = await openStore()
    await db.close()
    const ran = run(`
      process.on('uncaughtException', err => console.log('uncaught', err.message))
      toonstore.open(process.argv[1]).then(async db => {
        db.on('close', () => { throw new Error('mine') })
        await db.close()
        console.log('closed')
      })`, { args: [db.path] })
    assert.deepEqual(ran.stdout.trim().split('\n').sort(), ['closed', 'uncaught mine'])
    assert.equal(ran.status, 0)
  })

  it('tells the callers of thousands of writes in the order of their calls, and all before it resolves', async () => {
    const db = await openStore()
    const told = []
    for (let i = 0; i < 5000; i++) {
      if (i % 7 === 0) db.delete('k' + i).then(existed => told.push([i, existed]))
      else db.put('k' + i, i).then(() => told.push([i, undefined]))
      if (i % 1000 === 999) await new Promise(resolve => { setImmediate(resolve) })
    }
    await db.close()
    assert.deepEqual(told, Array.from({ length: 5000 }, (_, i) => [i, i % 7 === 0 ? false : undefined]))
  })

  it('ends ranges that are open', async () => {
    const db = await openStore()
    await Promise.all(Array.from({ length: 100 }, (_, i) => db.put(`k${i}`, i)))
    const range = db.range()
    range.next()
    const chunk = db.range()[Symbol.asyncIterator]().next()
    const untouched = db.range()
    await db.close()
    assert.deepEqual((await chunk).value, ['k0', 0])
    assert.throws(() => range.toArray(), { code: 'TOON_ECLOSED' })
    assert.throws(() => untouched.next(), { code: 'TOON_ECLOSED' })
  })

  it('serves Symbol.asyncDispose', async () => {
    const db = await openStore()
    await db[Symbol.asyncDispose]()
    assert.throws(() => db.get('a'), { code: 'TOON_ECLOSED' })
  })

  it('shows its path and state when inspected', async () => {
    const db = await openStore()
    assert.match(inspect(db), /^ToonStore { '.*data', open }$/)
    await db.close()
    assert.match(inspect(db), /closed }$/)
  })

  it('leaves a document that the reference decoder reads to exactly what was stored', async () => {
    const db = await openStore({ segmentSize: 4096 })
    const expected = {}
    for (let i = 0; i < 200; i++) {
      const key = `item ${i}`
      expected[key] = { id: i, name: `name, "${i}"`, list: [i, { a: [] }], nested: { empty: {}, text: 'x'.repeat(i) } }
      await db.put(key, expected[key])
    }
    await db.close()
    const files = fs.readdirSync(db.path).filter(name => /^db(\.\d+)?\.toon$/.test(name))
    const number = name => Number(/\d+/.exec(name)?.[0] ?? 0)
    assert.ok(files.length > 3)
    const text = files.sort((a, b) => number(a) - number(b)).map(name => logText(db.path, name)).join('')
    assert.deepEqual(toon.decode(text), expected)
    assert.deepEqual(require('..').decode(text), expected)
  })
})

describe('put, get and delete', () => {
  const { openStore, reopen } = setup()

  it('sees every write that has resolved', async () => {
    const db = await openStore({ durability: 'close' })
    for (let i = 0; i < 200; i++) {
      await db.put('k', i)
      assert.equal(db.get('k'), i)
    }
  })

  it('takes calls of one tick in their order', async () => {
    const db = await openStore()
    const results = await Promise.all([
      db.put('a', 1), db.put('a', 2), db.delete('a'), db.delete('a'), db.put('a', 3), db.put('a', 4, { ifAbsent: true }), db.delete('b')
    ])
    assert.deepEqual(results, [undefined, undefined, true, false, undefined, false, false])
    assert.equal(db.get('a'), 3)
  })

  it('gives each of hundreds of calls of one tick its own result, and its own error', async () => {
    const db = await openStore()
    const calls = []
    const expected = []
    const add = (promise, result) => {
      calls.push(promise.catch(err => err.code))
      expected.push(result)
    }
    await db.put('taken', 1)
    const first = db.rows.length
    for (let i = 0; i < 200; i++) {
      add(db.put(`k${i}`, i), undefined)
      add(db.delete(`k${i}`), true)
      add(db.delete(`absent${i}`), false)
      add(db.put('taken', i, { ifAbsent: true }), false)
      add(db.put(`k${i}`, i, { ifAbsent: true }), true)
      add(db.rows.put(i), first + i)
      add(db.put('\ud800', i), 'TOON_EINVAL')
      add(db.batch([{ type: 'put', key: `b${i}`, value: 'x'.repeat(i === 100 ? 2 ** 20 : 1) }]),
        i === 100 ? 'TOON_EVALUETOOBIG' : undefined)
    }
    assert.deepEqual(await Promise.all(calls), expected)
  })

  it('resolves put to undefined, and to whether it wrote with a condition', async () => {
    const db = await openStore()
    assert.equal(await db.put('a', 1), undefined)
    assert.equal(await db.put('a', 2, {}), undefined)
    assert.equal(await db.put('a', 2, { ifAbsent: false }), undefined)
    assert.equal(await db.put('a', 3, { ifAbsent: true }), false)
    assert.equal(await db.put('b', 3, { ifAbsent: true }), true)
    assert.equal(db.get('a'), 2)
    const { version } = db.getEntry('a')
    assert.equal(await db.put('a', 5, { ifVersion: version + 1000 }), false)
    assert.equal(await db.put('a', 5, { ifVersion: version }), true)
    assert.equal(await db.put('a', 6, { ifVersion: version }), false)
    assert.equal(await db.put('new', 1, { ifVersion: 0 }), true)
    assert.equal(await db.put('new', 2, { ifVersion: 0 }), false)
    assert.deepEqual([db.get('a'), db.get('new')], [5, 1])
  })

  it('counts versions up, and keeps them across a reopen', async () => {
    let db = await openStore()
    await db.put('a', 1)
    const first = db.getEntry('a').version
    await db.put('a', 2)
    const second = db.getEntry('a').version
    assert.ok(second > first)
    db = await reopen(db)
    assert.equal(db.getEntry('a').version, second)
    assert.equal(await db.put('a', 3, { ifVersion: second }), true)
  })

  it('lets rows lapse by ttl and expiresAt', async () => {
    const db = await openStore()
    await db.put('gone', 1, { expiresAt: 1 })
    assert.equal(db.get('gone'), undefined)
    await db.put('short', 1, { ttl: 30 })
    const later = Date.now() + 3600000
    await db.put('long', 1, { expiresAt: later })
    await db.put('ever', 1)
    assert.equal(db.getEntry('long').expiresAt, later)
    assert.equal(db.getEntry('ever').expiresAt, null)
    while (db.get('short') !== undefined) await new Promise(resolve => setTimeout(resolve, 5))
    assert.equal(db.get('short'), undefined)
    assert.deepEqual(db.keys().toArray(), ['ever', 'long'])
    await db.put('long', 2)
    assert.equal(db.getEntry('long').expiresAt, null, 'a put without ttl clears the expiry')
    await db.batch([{ type: 'put', key: 'b', value: 1, ttl: 3600000 }, { type: 'put', key: 'c', value: 1, expiresAt: later }])
    assert.ok(db.getEntry('b').expiresAt > Date.now())
    assert.equal(db.getEntry('c').expiresAt, later)
  })

  it('gives every put the ttl of the store', async () => {
    const db = await openStore({ ttl: 3600000 })
    await db.put('a', 1)
    await db.put('b', 1, { ttl: 7200000 })
    const { expiresAt } = db.getEntry('a')
    assert.ok(Math.abs(expiresAt - Date.now() - 3600000) < 600000)
    assert.ok(db.getEntry('b').expiresAt > expiresAt)
  })

  it('answers has and hasMany', async () => {
    const db = await openStore()
    await db.put('a', null)
    assert.equal(db.has('a'), true)
    assert.equal(db.has('b'), false)
    assert.deepEqual(db.hasMany(['a', 'b', 'a']), [true, false, true])
    assert.deepEqual(db.hasMany([]), [])
  })

  it('reads more keys at once than fit one call', async () => {
    const db = await openStore({ durability: 'close' })
    const keys = Array.from({ length: 3000 }, (_, i) => `key${i}`)
    await Promise.all(keys.map((key, i) => db.put(key, i % 3 ? i : { i })))
    const values = keys.map((_, i) => i % 3 ? i : { i })
    for (const n of [511, 512, 513, 3000]) {
      assert.deepEqual(db.getMany(keys.slice(0, n)), values.slice(0, n))
      assert.deepEqual(db.hasMany([...keys.slice(0, n), 'none']), [...keys.slice(0, n).map(() => true), false])
      assert.deepEqual(await Promise.all(keys.slice(0, n).map(key => db.getAsync(key))), values.slice(0, n))
    }
  })

  it('holds thousands of writes and megabytes in flight', async () => {
    let db = await openStore({ durability: 'close' })
    const value = 'x'.repeat(5000)
    await Promise.all(Array.from({ length: 5000 }, (_, i) => db.put(`k${i}`, value + i)))
    db = await reopen(db)
    assert.equal(db.size, 5000)
    for (let i = 0; i < 5000; i += 97) assert.equal(db.get(`k${i}`), value + i)
  })

  it('works at every durability', async () => {
    for (const durability of ['commit', 'interval', 'close']) {
      let db = await openStore({ durability, syncInterval: 5 })
      await db.put('a', durability)
      db = await reopen(db, { durability })
      assert.equal(db.get('a'), durability)
      assert.equal(db.stats().durability, durability)
    }
  })

  it('clears all keys or a range, and leaves rows', async () => {
    const db = await openStore()
    await db.rows.put('row')
    await db.batch(['a', 'b', 'c', 'd', 'e'].map(key => ({ type: 'put', key, value: key })))
    assert.equal(await db.clear({ gt: 'a', lte: 'c' }), 2)
    assert.deepEqual(db.keys().toArray(), ['a', 'd', 'e'])
    assert.equal(await db.clear({ limit: 1, reverse: true }), 1)
    assert.equal(await db.clear({ limit: 0 }), 0)
    assert.deepEqual(db.keys().toArray(), ['a', 'd'])
    assert.equal(await db.clear(), 2)
    assert.equal(await db.clear(), 0)
    assert.equal(db.size, 0)
    assert.equal(db.rows.length, 1)
  })
})

describe('synchronous writes', () => {
  const { openStore, reopen } = setup()

  it('put, delete and write batches before they return', async () => {
    let db = await openStore()
    assert.equal(db.putSync('a', { n: 1 }), undefined)
    assert.deepEqual(db.get('a'), { n: 1 })
    assert.equal(db.putSync('a', 2, { ifAbsent: true }), false)
    assert.equal(db.putSync('b', 2, { ifAbsent: true }), true)
    assert.equal(db.deleteSync('b'), true)
    assert.equal(db.deleteSync('b'), false)
    assert.equal(db.batchSync([{ type: 'put', key: 'c', value: 3 }, { type: 'del', key: 'a' }]), undefined)
    assert.equal(db.batchSync([]), undefined)
    assert.deepEqual(db.range().toArray(), [['c', 3]])
    db = await reopen(db)
    assert.deepEqual(db.range().toArray(), [['c', 3]])
  })

  it('come after the writes that were called before them', async () => {
    const db = await openStore()
    const first = db.put('k', 'first')
    db.putSync('k', 'second')
    assert.equal(db.get('k'), 'second')
    await first
    assert.equal(db.get('k'), 'second')
    const third = db.put('k', 'third')
    assert.equal(db.deleteSync('k'), true)
    await third
    assert.equal(db.get('k'), undefined)
  })
})

describe('upkeep', () => {
  const { openStore, reopen } = setup()

  it('syncs and checkpoints, calls before included', async () => {
    const db = await openStore({ durability: 'close' })
    db.put('a', 1)
    await db.sync()
    assert.equal(db.get('a'), 1)
    assert.equal(db.stats().syncedSequence, db.stats().sequence)
    db.put('b', 1)
    await db.checkpoint()
    assert.equal(db.get('b'), 1)
    assert.ok(db.stats().checkpoints >= 1)
    assert.equal(db.stats().index.deltaKeys, 0)
    assert.deepEqual(db.keys().toArray(), ['a', 'b'])
  })

  it('counts in stats()', async () => {
    let db = await openStore()
    await db.put('a', 1)
    await db.put('b', 'x'.repeat(100))
    const stats = db.stats()
    assert.equal(stats.path, db.path)
    assert.equal(stats.readOnly, false)
    assert.equal(stats.rowsWritten, 2)
    assert.ok(stats.bytesWritten > 100 && stats.log.bytes > 100)
    assert.equal(stats.failed, null)
    db = await reopen(db)
    assert.equal(db.stats().recovery.clean, true)
    assert.equal(db.stats().recovery.cutBytes, 0)
  })

  it('rolls segments and keeps everything readable', async () => {
    let db = await openStore({ segmentSize: 4096, checkpointBytes: 4096, durability: 'close' })
    for (let i = 0; i < 300; i++) await db.put(`k${i % 100}`, { i, text: 'x'.repeat(200) })
    assert.ok(db.stats().log.segments > 5)
    for (let round = 0; round < 2; round++) {
      for (let i = 200; i < 300; i++) assert.equal(db.get(`k${i % 100}`).i, i)
      assert.equal(db.size, 100)
      db = await reopen(db, { segmentSize: 4096, checkpointBytes: 4096 })
    }
  })
})
