'use strict'
// Indexes of collections: unique values, building beside writes and after a crash, entries that follow their documents.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { setup, start } = require('./support')
const { valueKey } = require('../lib/indexkeys')

describe('an index of a collection', () => {
  const { openStore, reopen, folder } = setup()
  const ids = list => list.map(document => document._id)
  const entries = db => db.keys({ prefix: '$index/' }).toArray()

  async function filled (documents, options) {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs', options)
    await docs.insert(documents)
    return { db, docs }
  }

  it('has keys in the order of values', () => {
    const values = [null, false, true, -Infinity, -1e300, -11, -10.5, -10, -2, -1, -1e-7, -5e-324, 0, 5e-324, 1e-7, 0.5, 1, 1.5, 2, 9, 10, 10.5,
      11, 99, 100, 123456789, 2 ** 53, 1e20, 1e21, 1.5e300, '', '\0', '\0\0', '\x01', ' ', '  ', '!', '"', 'a', 'a\0', 'a b', 'a!', 'ab', 'é', '\uffff', '😀']
      .filter(v => v !== -Infinity)
    const keys = values.map(v => `${valueKey(v)} `)
    assert.deepEqual([...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))), keys)
    assert.equal(new Set(keys).size, keys.length)
    assert.equal(valueKey(-0), valueKey(0))
    assert.equal(valueKey(undefined), valueKey(null))
    for (const other of [[], {}, 'x'.repeat(501), 'é'.repeat(251), ' '.repeat(251)]) assert.equal(valueKey(other), undefined)
    assert.equal(valueKey('x'.repeat(499)), 'S' + 'x'.repeat(499))
  })

  it('follows its documents through every kind of write', async () => {
    const { db, docs } = await filled([{ _id: 'a', n: 1 }, { _id: 'b', n: 2 }])
    await docs.createIndex('n')
    assert.deepEqual(entries(db), ['$index/1/P4011 a', '$index/1/P4012 b'])
    await docs.put('a', { n: 3 })
    await docs.update('b', old => ({ ...old, m: 1 }))
    await docs.insert([{ _id: 'c', n: { toJSON: () => 7 } }, { _id: 'd' }])
    await db.transaction(tx => {
      const own = tx.collection('docs')
      own.put('a', { n: 4 })
      own.put('a', { n: 5 })
      own.insert({ _id: 'e', n: [1] })
      own.delete('d')
      own.insert({ _id: 'f', n: 1 })
      own.delete('f')
    })
    assert.deepEqual(entries(db), ['$index/1/P4012 b', '$index/1/P4015 a', '$index/1/P4017 c', '$index/1/X e'])
    assert.deepEqual(ids(docs.find({ where: { n: { $gt: 1 } } }).toArray()), ['b', 'a', 'c'])
    assert.equal(docs.explain({ where: { n: { $gt: 1 } } }).plan, 'index')
    await docs.delete('a')
    await docs.insert({ _id: 'g', n: 2 }, { ttl: 1 })
    await new Promise(resolve => setTimeout(resolve, 5))
    assert.deepEqual(entries(db), ['$index/1/P4012 b', '$index/1/P4017 c', '$index/1/X e'])
    await docs.put('b', { n: 2 }, { ttl: 60000 })
    assert.ok(db.ttl('$index/1/P4012 b') > 0)
    await docs.put('b', { n: 2 })
    assert.equal(db.ttl('$index/1/P4012 b'), null)
    assert.equal(await docs.dropIndex('n'), true)
    assert.equal(await docs.dropIndex('n'), false)
    assert.deepEqual([entries(db), docs.indexes(), db.has('$collection/docs')], [[], [], false])
  })

  it('is used for equality, ranges, $in and order, and for nothing else', async () => {
    const { docs } = await filled(Array.from({ length: 100 }, (_, i) => ({ _id: `d${String(i).padStart(3, '0')}`, a: i % 10, b: i, s: `s${i}` })))
    await docs.createIndex(['a', 'b'])
    await docs.createIndex('s', { unique: true })
    const plan = query => {
      const { index, sorted, rowsRead, rowsReturned } = docs.explain(query)
      return [index?.join() ?? null, sorted, rowsRead, rowsReturned]
    }
    assert.deepEqual(plan({ where: { a: 3 } }), ['a,b', false, 10, 10])
    assert.deepEqual(plan({ where: { a: 3, b: { $gt: 50, $lte: 83 } } }), ['a,b', false, 4, 4])
    assert.deepEqual(plan({ where: { a: 3 }, orderBy: { b: -1 }, limit: 2 }), ['a,b', false, 2, 2])
    assert.deepEqual(plan({ where: { a: { $in: [3, 4, 3] } }, orderBy: 'b' }), ['a,b', true, 20, 20])
    assert.deepEqual(plan({ where: { a: { $in: [4, 3] } }, orderBy: { a: 1, b: 1 } }), ['a,b', false, 20, 20])
    assert.deepEqual(plan({ where: { a: { $gte: 8 }, b: 8 } }), ['a,b', false, 20, 1])
    assert.deepEqual(plan({ where: { s: 's5', a: 5 } }), ['s', false, 1, 1])
    assert.deepEqual(plan({ where: { $and: [{ a: 1 }, { $and: [{ b: 11 }] }] } }), ['a,b', false, 1, 1])
    assert.deepEqual(plan({ orderBy: { a: -1, b: -1 }, limit: 3 }), ['a,b', false, 3, 3])
    assert.deepEqual(plan({ orderBy: { a: -1, b: -1 } }), [null, true, 100, 100])
    assert.deepEqual(plan({ where: { a: { $gt: 5, $lt: 'x' } } }), ['a,b', false, 0, 0])
    assert.deepEqual(plan({ where: { $or: [{ a: 1 }, { a: 2 }] } }), [null, false, 100, 20])
    assert.deepEqual(plan({ where: { b: 5 } }), [null, false, 100, 1])
    assert.deepEqual(plan({ where: { a: { $ne: 5 } } }), [null, false, 100, 90])
    assert.deepEqual(plan({ where: { _id: 'd005', a: 5 } }), [null, false, 1, 1])
  })

  it('keeps its entries when a write inside a transaction is refused and the transaction goes on', async () => {
    const { db, docs } = await filled([{ _id: 'a', sku: 'a', stock: 1 }, { _id: 'b', sku: 'b', stock: 2 }])
    await docs.createIndex('stock')
    await docs.createIndex('sku', { unique: true })
    const before = entries(db)
    await db.transaction(tx => {
      const inside = tx.collection('docs')
      for (const sku of ['a', ['b']]) assert.throws(() => inside.put('b', { sku, stock: 9 }), { code: /TOON_E(UNIQUE|INVAL)/ })
      assert.throws(() => inside.update('b', old => ({ ...old, sku: 'a', stock: 9 })), { code: 'TOON_EUNIQUE' })
      assert.throws(() => inside.insert([{ _id: 'c', sku: 'c' }, { _id: 'd', sku: 'a' }]), { code: 'TOON_EUNIQUE' })
      tx.put('other', 1)
    })
    assert.deepEqual(entries(db), before)
    assert.deepEqual(ids(docs.find({ where: { stock: 2 } }).toArray()), ['b'])
    assert.equal(docs.count(), 2)
    await db.transaction(tx => {
      const inside = tx.collection('docs')
      inside.put('b', { sku: 'x', stock: 3 })
      assert.throws(() => inside.put('b', { sku: 'a', stock: 4 }), { code: 'TOON_EUNIQUE' })
    })
    assert.deepEqual([docs.findOne({ where: { sku: 'x' } }), entries(db).length], [{ _id: 'b', sku: 'x', stock: 3 }, 4])
  })

  it('lasts as long as its documents where the store has a ttl', async () => {
    const { db, docs } = await filled([{ _id: 'a', n: 1 }])
    const again = await reopen(db, { durability: 'close', ttl: 50 })
    const stays = again.collection('docs')
    await stays.createIndex('n')
    assert.equal(docs.name, stays.name)
    await new Promise(resolve => setTimeout(resolve, 100))
    assert.deepEqual(stays.find({ where: { n: 1 } }).toArray(), [{ _id: 'a', n: 1 }])
    assert.equal(stays.explain({ where: { n: 1 } }).plan, 'index')
  })

  it('is made again after a clear() of everything if it was declared', async () => {
    const { db, docs } = await filled([{ k: 1 }], { indexes: [{ fields: 'k', unique: true }] })
    await docs.ready()
    await db.clear()
    assert.deepEqual(docs.indexes(), [{ fields: ['k'], unique: true, state: 'ready' }])
    await docs.insert({ k: 1 })
    await assert.rejects(docs.insert({ k: 1 }), { code: 'TOON_EUNIQUE' })
  })

  it('is described by lists of your own', async () => {
    const { docs } = await filled([{ _id: 'a', n: 1 }])
    await docs.createIndex('n', { unique: true })
    docs.indexes()[0].fields[0] = 'm'
    docs.explain({ where: { n: 1 } }).index[0] = 'm'
    assert.deepEqual(docs.indexes()[0].fields, ['n'])
    assert.equal(docs.findOne({ where: { m: 1 } }), undefined)
  })

  it('is built beside somebody who never stops writing one document', async () => {
    const { db, docs } = await filled(Array.from({ length: 600 }, (_, i) => ({ _id: `d${i}`, n: i })))
    let over = false
    const busy = Array.from({ length: 20 }, async (_, i) => { while (!over) await (i % 2 ? docs.put('d5', { n: -1 }) : db.put('docs/d7', { n: -2 })) })
    await docs.createIndex('n')
    over = true
    await Promise.all(busy)
    await docs.put('d7', { n: -2 })
    assert.deepEqual([-1, -2, 3].map(n => ids(docs.find({ where: { n } }).toArray())), [['d5'], ['d7'], ['d3']])
  })

  describe('that is unique', () => {
    it('stays so while it is built again, and stays if it cannot be', async () => {
      const { db, docs } = await filled([{ _id: 'first', k: 1 }, ...Array.from({ length: 2000 }, (_, i) => ({ k: i + 10 }))])
      await docs.createIndex('k', { unique: true })
      let over = false
      const done = docs.reindex().then(() => { over = true })
      let tries = 0
      for (; !over; tries++) {
        await assert.rejects(docs.insert({ k: 1 }), { code: 'TOON_EUNIQUE' })
        await new Promise(setImmediate)
      }
      await done
      assert.ok(tries > 0)
      const described = [{ fields: ['k'], unique: true, state: 'ready' }]
      assert.deepEqual([docs.indexes(), entries(db).length, docs.count()], [described, 2001, 2001])
      await db.put('docs/past', { k: 1 })
      await assert.rejects(docs.reindex(), { code: 'TOON_EUNIQUE' })
      assert.deepEqual([docs.indexes(), entries(db).length], [described, 2001])
      await assert.rejects(docs.insert({ k: 1 }), { code: 'TOON_EUNIQUE' })
      await db.delete('docs/past')
      await docs.reindex()
      assert.equal(await docs.dropIndex('k'), true)
      assert.deepEqual([docs.indexes(), entries(db)], [[], []])
    })

    it('finds the one in the way of thousands', async () => {
      const { docs } = await filled([{ k: 'there' }])
      await docs.createIndex('k', { unique: true })
      for (const at of [0, 511, 512, 1999]) {
        const many = Array.from({ length: 2000 }, (_, i) => ({ k: i === at ? 'there' : `${at}/${i}` }))
        await assert.rejects(docs.insert(many), { code: 'TOON_EUNIQUE' })
        assert.equal(docs.count(), 1)
      }
      await docs.insert(Array.from({ length: 2000 }, (_, i) => ({ k: i })))
      assert.equal(docs.count(), 2001)
    })

    it('gives one document as find() does, whatever it is called and holds', async () => {
      const { db, docs } = await filled([{ _id: 'ü', k: '☃', 'a.b': 1 }, { _id: 'b', k: 'b', a: { b: 2 } }, { _id: 'c', k: 3 }])
      await docs.createIndex('k', { unique: true })
      await docs.createIndex('a.b', { unique: true })
      await db.put('docs/d', { _id: 'own', k: 'd' })
      await docs.reindex()
      for (const where of [{ k: '☃' }, { k: 'b' }, { k: 3 }, { k: 'd' }, { k: 'none' }, { 'a.b': 2 }, { 'a.b': 1 }]) {
        const [found] = docs.find({ where }).toArray()
        assert.deepEqual(Object.entries(docs.findOne({ where }) ?? {}), Object.entries(found ?? {}))
      }
      assert.deepEqual(docs.findOne({ where: { k: 'd' } }), { _id: 'd', k: 'd' })
      await db.put('docs/c', 'no document')
      await db.delete('docs/b')
      assert.deepEqual([docs.findOne({ where: { k: 3 } }), docs.findOne({ where: { k: 'b' } })], [undefined, undefined])
    })

    it('takes a path for a path and a name with a dot for a name', async () => {
      const { docs } = await filled([{ _id: 'name', 'a.b': 1 }, { _id: 'path', a: { b: 2 } }])
      await docs.createIndex([['a.b']], { unique: true })
      assert.equal(docs.findOne({ where: { 'a.b': 1 } }), undefined)
      assert.equal(docs.findOne({ where: { 'a.b': 2 } })._id, 'path')
      await docs.createIndex('a.b', { unique: true })
      assert.equal(docs.findOne({ where: { 'a.b': 1 } }), undefined)
      assert.equal(docs.findOne({ where: { 'a.b': 2 } })._id, 'path')
    })

    it('refuses a second document with the value, and all of its write', async () => {
      const { db, docs } = await filled([{ _id: 'a', mail: 'x' }])
      await docs.createIndex('mail', { unique: true })
      await assert.rejects(docs.insert([{ _id: 'b', mail: 'y' }, { _id: 'c', mail: 'x' }]), { name: 'ToonError', code: 'TOON_EUNIQUE', key: 'docs/c' })
      await assert.rejects(docs.insert([{ mail: 'z' }, { mail: 'z' }]), { code: 'TOON_EUNIQUE' })
      await docs.insert({ _id: 'b', mail: 'y' })
      await assert.rejects(docs.put('b', { mail: 'x' }), { code: 'TOON_EUNIQUE', key: 'docs/b' })
      await assert.rejects(docs.update('b', () => ({ mail: 'x' })), { code: 'TOON_EUNIQUE' })
      await assert.rejects(db.transaction(tx => {
        tx.put('more', 1)
        tx.collection('docs').put('b', { mail: 'x' })
      }), { code: 'TOON_EUNIQUE' })
      for (const mail of [[1], { a: 1 }, 'z'.repeat(501)]) await assert.rejects(docs.put('b', { mail }), { code: 'TOON_EINVAL', message: /unique index on mail/ })
      assert.equal(db.has('more'), false)
      assert.deepEqual(docs.find({ orderBy: 'mail' }).toArray(), [{ _id: 'a', mail: 'x' }, { _id: 'b', mail: 'y' }])
      await docs.put('a', { mail: 'free' })
      await docs.put('b', { mail: 'x' })
      await docs.insert([{ mail: null }, { mail: null }, {}])
      assert.equal(docs.count({ where: { mail: null } }), 3)
      assert.equal(docs.explain({ where: { mail: null } }).rowsRead, 3)
    })

    it('lets exactly one of many concurrent inserts win', async () => {
      const { docs } = await filled([])
      await docs.createIndex(['a', 'b'], { unique: true })
      const results = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => docs.insert({ a: i % 5, b: 'x', i })))
      assert.equal(results.filter(r => r.status === 'fulfilled').length, 5)
      assert.ok(results.every(r => r.status === 'fulfilled' || r.reason.code === 'TOON_EUNIQUE'))
      assert.deepEqual(docs.find({ fields: ['a'], orderBy: { a: 1, b: 1 } }).toArray().map(d => d.a), [0, 1, 2, 3, 4])
    })

    it('is not made over documents with the same value', async () => {
      const { db, docs } = await filled([{ a: 1 }, { a: 2 }, { a: 1 }])
      await assert.rejects(docs.createIndex('a', { unique: true }), { code: 'TOON_EUNIQUE' })
      assert.deepEqual([entries(db), docs.indexes()], [[], []])
      const again = db.collection('docs', { indexes: [{ fields: 'a', unique: true }] })
      await assert.rejects(again.ready(), { code: 'TOON_EUNIQUE' })
      await docs.createIndex('a')
      await assert.rejects(docs.createIndex('a', { unique: true }), { code: 'TOON_EINVAL', message: /not unique/ })
    })

    it('takes a value over from a document that was changed past the collection', async () => {
      const { db, docs } = await filled([{ _id: 'a', mail: 'x' }])
      await docs.createIndex('mail', { unique: true })
      await db.put('docs/a', { mail: 'other' })
      await docs.insert({ _id: 'b', mail: 'x' })
      assert.equal(docs.findOne({ where: { mail: 'x' } })._id, 'b')
    })
  })

  it('is built while documents are written', async () => {
    const { docs } = await filled(Array.from({ length: 2000 }, (_, i) => ({ _id: `d${i}`, n: i % 7 })))
    const building = docs.createIndex('n')
    assert.equal(docs.find({ where: { n: 3 } }).toArray().length, 286) // by a scan
    let writes = 0
    for (let done = false; !done; writes++) {
      const at = writes % 2000
      await Promise.all([docs.put(`d${at}`, { n: 'changed' }), docs.delete(`d${(at * 7 + 1) % 2000}`), docs.insert({ n: 100 })])
      done = await Promise.race([building.then(() => true), new Promise(resolve => setImmediate(resolve, false))])
    }
    assert.deepEqual(docs.indexes(), [{ fields: ['n'], unique: false, state: 'ready' }])
    for (const n of [0, 3, 6, 'changed', 100]) {
      const query = { where: { n } }
      assert.equal(docs.explain(query).plan, 'index')
      assert.deepEqual(ids(docs.find({ ...query, orderBy: '_id' }).toArray()), ids(docs.find({ where: { $or: [query.where] }, orderBy: '_id' }).toArray()))
    }
    assert.equal(docs.count({ where: { n: 100 } }), writes)
  })

  it('is finished after a kill -9 in the middle of its building', async () => {
    const dir = folder()
    const { child } = await start(`
      (async () => {
        const db = await toonstore.ToonStore.open(process.argv[1], { durability: 'close' })
        const docs = db.collection('docs')
        await docs.insert(Array.from({ length: 3000 }, (_, i) => ({ _id: 'd' + i, n: i })))
        docs.createIndex('n', { unique: true })
        const look = () => {
          const some = db.count({ prefix: '$index/1/', limit: 300 }) === 300
          if (some) process.send(docs.indexes()[0].state)
          else setImmediate(look)
        }
        look()
      })()
    `, [dir]).then(async started => {
      assert.equal(started.message, 'building')
      started.child.kill('SIGKILL')
      await new Promise(resolve => started.child.once('exit', resolve))
      return started
    })
    assert.equal(child.signalCode, 'SIGKILL')
    const db = await openStore({}, dir)
    const docs = db.collection('docs', { indexes: [{ fields: 'n', unique: true }] })
    await docs.ready()
    assert.deepEqual(docs.indexes(), [{ fields: ['n'], unique: true, state: 'ready' }])
    assert.equal(entries(db).length, 3000)
    assert.equal(docs.explain({ where: { n: 2999 } }).rowsRead, 1)
    await assert.rejects(docs.insert({ n: 5 }), { code: 'TOON_EUNIQUE' })
  })

  it('that was left half dropped is gone after the next open', async () => {
    const { db, docs } = await filled([{ n: 1 }, { n: 2 }])
    await docs.createIndex('n')
    await db.update('$collection/docs', old => ({ indexes: [{ ...old.indexes[0], state: 'dropping' }] }))
    const again = await reopen(db)
    const own = again.collection('docs')
    assert.equal(own.explain({ where: { n: 1 } }).plan, 'scan')
    await own.dropIndex('n') // waits for nothing, as there is none
    while (own.indexes().length > 0) await new Promise(resolve => setTimeout(resolve, 5))
    assert.deepEqual([own.indexes(), entries(again)], [[], []])
  })

  it('never leads to a document that does not match, and is right again after reindex()', async () => {
    const { db, docs } = await filled([{ _id: 'a', n: 1 }, { _id: 'b', n: 1 }, { _id: 'c', n: 1 }])
    await docs.createIndex('n')
    await db.put('docs/a', { n: 2 })
    await db.delete('docs/b')
    await db.put('docs/d', { n: 1 })
    assert.deepEqual(ids(docs.find({ where: { n: 1 } }).toArray()), ['c'])
    await docs.reindex()
    assert.deepEqual(ids(docs.find({ where: { n: 1 } }).toArray()), ['c', 'd'])
    assert.deepEqual(ids(docs.find({ where: { n: 2 } }).toArray()), ['a'])
  })

  it('can be walked slowly without keeping files of the store from being removed', async () => {
    const { db, docs } = await filled(Array.from({ length: 100 }, (_, i) => ({ n: i })))
    await docs.createIndex('n')
    const runs = () => fs.readdirSync(db.path).filter(name => /^db\.toon\.idx-/.test(name)).length
    const walk = docs.find({ where: { n: { $gte: 0 } } })[Symbol.iterator]()
    assert.equal(walk.next().value.n, 0)
    for (let i = 0; i < 24; i++) { // each makes a run; merges replace them
      await db.batch(Array.from({ length: 50 }, (_, k) => ({ type: 'put', key: `k${i}-${k}`, value: k })))
      await db.checkpoint()
    }
    while (runs() > 12) await new Promise(resolve => { setTimeout(resolve, 10) })
    assert.equal([...{ [Symbol.iterator]: () => walk }].length, 99)
  })

  it('is refused for fields that make no sense', async () => {
    const { docs } = await filled([])
    for (const fields of [undefined, [], 5, [5], ['a', 'b', 'c', 'd', 'e', 'f', 'g']]) await assert.rejects(docs.createIndex(fields), { code: 'TOON_EINVAL' })
    await assert.rejects(docs.createIndex('a', { unique: 1 }), { code: 'TOON_EINVAL' })
    await assert.rejects(docs.createIndex('a', { sparse: true }), { code: 'TOON_EINVAL' })
  })

  it('is refused at once where a collection is declared with it, and nothing of the declaration is kept', async () => {
    const { db, docs } = await filled([{ a: 1 }])
    for (const index of [{ fields: 'b', uniqe: true }, { field: 'b' }, { fields: 'b', unique: 1 }, 5, null, [], [5]]) {
      assert.throws(() => db.collection('docs', { columns: true, indexes: ['a', index] }), { code: 'TOON_EINVAL' })
    }
    await docs.ready()
    assert.deepEqual(docs.indexes(), [])
    await assert.rejects(docs.buildColumns(), { code: 'TOON_EINVAL' })
  })

  it('sees of a document what its JSON has', async () => {
    const { db, docs } = await filled([])
    await docs.createIndex('a')
    await docs.createIndex(['n.a', 'a'])
    let reads = 0
    const hidden = Object.defineProperty({ b: 1 }, 'a', { value: 'hidden', enumerable: false })
    await docs.insert([
      { _id: '1', a: 1 },
      hidden,
      { get a () { return ++reads } },
      { n: hidden, a: 2 },
      { n: { get a () { return ++reads } } },
      Object.create({ a: 'inherited' }, { c: { value: 1, enumerable: true } })
    ])
    await docs.put('p', Object.defineProperty({}, 'a', { get: () => 'hidden' }))
    const before = entries(db)
    await docs.reindex()
    const texts = list => list.map(key => key.replace(/^\$index\/\d+\//, '')).sort()
    assert.deepEqual(texts(before), texts(entries(db)))
    for (const document of docs.find()) assert.ok(ids(docs.find({ where: { a: document.a ?? null } }).toArray()).includes(document._id))
  })

  it('outlives the ttl of its store', async () => {
    const db = await openStore({ ttl: 5, durability: 'close' })
    const docs = db.collection('docs')
    await docs.createIndex('n')
    await docs.insert({ n: 1 })
    await new Promise(resolve => setTimeout(resolve, 15))
    assert.deepEqual(docs.indexes(), [{ fields: ['n'], unique: false, state: 'ready' }])
    assert.deepEqual([docs.count(), entries(db)], [0, []])
  })
})
