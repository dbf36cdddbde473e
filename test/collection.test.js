'use strict'
// Collections: documents and their ids, filters, order, aggregates and TOON. test/collection-model.test.js compares them with a
// plain filter at random.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { encode, decode } = require('..')
const { setup } = require('./support')

describe('a collection', () => {
  const { openStore, reopen } = setup()
  const ids = list => list.map(document => document._id)

  async function filled (documents, name = 'docs') {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection(name)
    await docs.insert(documents)
    return { db, docs }
  }

  it('may be closed by what matches a regular expression, query or store', async () => {
    const { exec } = RegExp.prototype
    const { docs, db } = await filled(Array.from({ length: 300 }, (_, i) => ({ a: `x${i}` })))
    const calls = [
      found => found.toArray().length, () => docs.count({ where: { a: /x/ } }), () => docs.findOne({ where: { a: /x/ } }),
      () => docs.toToon({ where: { a: /x/ } }), () => docs.aggregate({ where: { a: /x/ }, count: true })
    ]
    for (const close of [found => found.return(), () => db.close()]) {
      for (const call of calls) {
        if (close.length === 0 && call !== calls[0]) continue
        const found = docs.find({ where: { a: /x/ } })
        let n = 0
        RegExp.prototype.exec = function (text) {
          if (++n === 3) close(found)
          return exec.call(this, text)
        }
        try {
          call(found)
        } finally {
          RegExp.prototype.exec = exec
        }
        assert.ok(n >= 1)
        found.return()
      }
    }
    await db.close()
    assert.throws(() => docs.count(), { code: 'TOON_ECLOSED' })
  })

  it('lets others have their turn between the batches of a query with a regular expression', async () => {
    const { docs } = await filled(Array.from({ length: 3000 }, (_, i) => ({ a: `x${i}` })))
    let turns = 0
    let over = false
    const next = () => {
      turns++
      if (!over) setImmediate(next)
    }
    setImmediate(next)
    let found = 0
    for await (const { a } of docs.find({ where: { a: { $regex: '^x' } } })) found += a.length > 0
    over = true
    assert.equal(found, 3000)
    assert.ok(turns >= 4, `${turns} turns`)
  })

  it('sums up thousands of fields', async () => {
    const { docs } = await filled([{ f5: 1 }, { f5: 2, f7: 3 }])
    const fields = Array.from({ length: 10000 }, (_, i) => `f${i}`)
    const { sum, avg } = docs.aggregate({ sum: fields, avg: [...fields, 'f5'] })
    assert.deepEqual([Object.keys(sum).length, Object.keys(avg).length, sum.f5, avg.f5, avg.f7, avg.f8], [10000, 10000, 3, 1.5, 3, null])
  })

  it('passes on what its signal was aborted with, null too', async () => {
    const { docs } = await filled([{ a: 1 }, { a: 2 }])
    const control = new AbortController()
    const found = docs.find({ signal: control.signal })
    control.abort(null)
    assert.throws(() => found.toArray(), err => err === null)
    await assert.rejects(async () => { for await (const document of docs.find({ signal: control.signal })) assert.fail(document) }, err => err === null)
  })

  it('keeps a field called __proto__ an own one', async () => {
    const db = await openStore()
    const docs = db.collection('docs')
    await docs.put('x', JSON.parse('{"__proto__":{"a":1},"b":2}'))
    assert.equal(JSON.stringify(docs.get('x')), '{"_id":"x","__proto__":{"a":1},"b":2}')
    assert.equal(JSON.stringify(docs.find().toArray()), '[{"_id":"x","__proto__":{"a":1},"b":2}]')
  })

  it('keeps documents as ordinary rows, without their ids', async () => {
    const { db, docs } = await filled([{ _id: 'a', name: 'Ada' }])
    assert.deepEqual(db.get('docs/a'), { name: 'Ada' })
    assert.deepEqual(docs.get('a'), { _id: 'a', name: 'Ada' })
    await db.put('docs/b', { name: 'Bob', _id: 'not mine' })
    assert.deepEqual(docs.find().toArray(), [{ _id: 'a', name: 'Ada' }, { _id: 'b', name: 'Bob' }])
    assert.deepEqual(docs.findOne({ where: { _id: 'b' }, fields: ['_id'] }), { _id: 'b' })
    assert.deepEqual(docs.get('b'), { _id: 'b', name: 'Bob' })
    assert.equal(docs.get('c'), undefined)
    assert.equal(db.collection('docs'), docs)
  })

  it('makes ids that sort by time and are different in every process', async () => {
    const { docs } = await filled([])
    const made = await docs.insert(Array.from({ length: 40000 }, (_, i) => ({ i })))
    assert.deepEqual(made, [...made].sort())
    assert.equal(new Set(made).size, made.length)
    assert.match(made[0], /^[0-9a-v]{20}$/)
    const { execFileSync } = require('node:child_process')
    const other = execFileSync(process.execPath, ['-p', 'require("./lib/ids").makeId()'], { cwd: path.join(__dirname, '..'), encoding: 'utf8' })
    assert.notEqual(other.trim().slice(-8), made[0].slice(-8))
  })

  it('gives documents of your own', async () => {
    const { docs } = await filled([{ _id: 'a', tags: ['x'] }])
    for (const document of [docs.get('a'), docs.findOne(), docs.find().toArray()[0]]) {
      document.tags.push('y')
      document.more = 1
    }
    assert.deepEqual(docs.get('a'), { _id: 'a', tags: ['x'] })
  })

  it('refuses what is no document, no id and no name', async () => {
    const { db, docs } = await filled([])
    for (const wrong of [null, 1, 'x', [1], Buffer.from('x'), undefined, () => {}, { toJSON: () => 5 }]) {
      await assert.rejects(docs.insert(wrong === undefined ? [undefined] : [wrong]), { name: 'TypeError', code: 'TOON_EINVAL', message: /must be an object.*db\.put/ })
    }
    for (const id of ['', 'a/b', 5, null, 'x'.repeat(1001)]) {
      await assert.rejects(docs.put(id, {}), { code: 'TOON_EINVAL' })
      await assert.rejects(docs.insert({ _id: id }), { code: 'TOON_EINVAL' })
      assert.throws(() => docs.get(id), { code: 'TOON_EINVAL' })
    }
    await assert.rejects(docs.put('a', { _id: 'b' }), { code: 'TOON_EINVAL', message: /"b".*"a"/ })
    await assert.rejects(docs.insert({ n: 1n }), { code: 'TOON_EINVAL' })
    await assert.rejects(docs.put('a'), { code: 'TOON_EINVAL' })
    await assert.rejects(docs.update('a', 5), { code: 'TOON_EINVAL' })
    for (const name of ['', '$x', '/x', 'x/', 'a//b', 5, undefined, '\ud800']) assert.throws(() => db.collection(name), { code: 'TOON_EINVAL' })
    assert.throws(() => db.collection('x', { index: [] }), { code: 'TOON_EINVAL' })
    assert.equal(db.size, 0)
  })

  it('passes over keys of its prefix that are no documents', async () => {
    const { db, docs } = await filled([{ _id: 'a' }])
    await db.batch([
      { type: 'put', key: 'docs/text', value: 'x' },
      { type: 'put', key: 'docs/list', value: [{ a: 1 }] },
      { type: 'put', key: 'docs/', value: {} },
      { type: 'put', key: 'docs/a/orders/1', value: { total: 1 } },
      { type: 'put', key: Buffer.from([...Buffer.from('docs/'), 0xff]), value: {} }
    ])
    assert.deepEqual(ids(docs.find().toArray()), ['a'])
    assert.equal(docs.count(), 1)
    assert.equal(docs.get('text'), undefined)
    assert.deepEqual(db.collection('docs/a/orders').find().toArray(), [{ _id: '1', total: 1 }])
  })

  it('sums up to infinity, and does not call that an average of 0', async () => {
    const { docs } = await filled([{ x: 1.7e308, y: -1.7e308 }, { x: 1.7e308, y: -1.7e308 }, { x: -1 }])
    const found = docs.aggregate({ sum: ['x', 'y'], avg: ['x', 'y'], max: 'x' })
    assert.deepEqual(found, { sum: { x: Infinity, y: -Infinity }, avg: { x: Infinity, y: -Infinity }, max: { x: 1.7e308 } })
  })

  it('inserts, puts, updates and deletes', async () => {
    const { docs } = await filled([])
    assert.equal(await docs.insert({ _id: 'a', n: 1 }), 'a')
    await assert.rejects(docs.insert([{ n: 2 }, { _id: 'a' }]), { code: 'TOON_EUNIQUE', key: 'docs/a' })
    await assert.rejects(docs.insert([{ _id: 'b' }, { _id: 'b' }]), { code: 'TOON_EUNIQUE', key: 'docs/b' })
    assert.equal(docs.count(), 1)
    await docs.put('a', { n: 2 })
    assert.deepEqual(await docs.update('a', old => ({ ...old, n: old.n + 1 })), { _id: 'a', n: 3 })
    assert.deepEqual(await docs.update('a', async old => { old.n++; return old }), { _id: 'a', n: 4 })
    await assert.rejects(docs.update('a', () => 5), { code: 'TOON_EINVAL' })
    await Promise.all(Array.from({ length: 20 }, () => docs.update('a', old => ({ n: old.n + 1 }))))
    assert.equal(docs.get('a').n, 24)
    assert.equal(await docs.update('b', old => old), undefined)
    assert.equal(await docs.update('a', () => undefined), undefined)
    assert.equal(docs.count(), 0)
    assert.equal(await docs.delete('a'), false)
    await docs.insert({ _id: 'soon' }, { ttl: 1 })
    await new Promise(resolve => setTimeout(resolve, 5))
    assert.equal(docs.count(), 0)
    assert.deepEqual(await docs.insert([]), [])
  })

  it('stores what it was given when it was called', async () => {
    const { docs } = await filled([])
    const own = { _id: 'a', n: 1, at: new Date(0) }
    const done = docs.insert(own)
    own.n = 2
    await done
    assert.deepEqual(docs.get('a'), { _id: 'a', n: 1, at: '1970-01-01T00:00:00.000Z' })
    assert.equal(docs.count({ where: { at: { $lt: new Date(1) } } }), 1)
  })

  describe('filters', () => {
    const documents = [
      { _id: 'absent' },
      { _id: 'array', v: [1, 'x', null, [5], { y: 1 }] },
      { _id: 'false', v: false },
      { _id: 'five', v: '5' },
      { _id: 'list', v: [{ y: 1 }, 7, 'a: b'] },
      { _id: 'long', v: 'z'.repeat(3000) },
      { _id: 'null', v: null },
      { _id: 'number', v: 5 },
      { _id: 'object', v: { y: 1, z: [] } },
      { _id: 'quoted', v: 'say "hi"\n' },
      { _id: 'true', v: true }
    ]
    // What each filter finds; the rules for absent fields, null, mixed types and arrays.
    const cases = [
      [{}, documents.map(d => d._id)],
      [{ v: 5 }, ['number']],
      [{ v: '5' }, ['five']],
      [{ v: null }, ['absent', 'array', 'null']],
      [{ v: { $ne: null } }, ['false', 'five', 'list', 'long', 'number', 'object', 'quoted', 'true']],
      [{ v: { $exists: true } }, documents.map(d => d._id).slice(1)],
      [{ v: { $exists: false } }, ['absent']],
      [{ v: { $gt: 4 } }, ['list', 'number']],
      [{ v: { $gte: 1, $lt: 5 } }, ['array']],
      [{ v: { $gt: '4' } }, ['array', 'five', 'list', 'long', 'quoted']],
      [{ v: { $gte: false } }, ['false', 'true']],
      [{ v: { $gt: false } }, ['true']],
      [{ v: { $in: [5, 'x', true] } }, ['array', 'number', 'true']],
      [{ v: { $in: [] } }, []],
      [{ v: { $nin: [5, null] } }, ['false', 'five', 'list', 'long', 'object', 'quoted', 'true']],
      [{ v: 'say "hi"\n' }, ['quoted']],
      [{ v: 'a: b' }, ['list']],
      [{ v: 'z'.repeat(3000) }, ['long']],
      [{ v: { y: 1, z: [] } }, ['object']],
      [{ v: { z: [], y: 1 } }, []],
      [{ v: [{ y: 1 }, 7, 'a: b'] }, ['list']],
      [{ 'v.y': 1 }, ['object']],
      [{ 'v.y': { $exists: false } }, documents.map(d => d._id).filter(id => id !== 'object')],
      [{ v: /^.$/ }, ['array', 'five']],
      [{ v: { $regex: 'SAY', $options: 'i' } }, ['quoted']],
      [{ v: { $not: { $gt: 4 } } }, ['absent', 'array', 'false', 'five', 'long', 'null', 'object', 'quoted', 'true']],
      [{ v: { $not: /./ } }, ['absent', 'false', 'null', 'number', 'object', 'true']],
      [{ $or: [{ v: 5 }, { _id: 'true' }] }, ['number', 'true']],
      [{ $and: [{ v: { $exists: true } }, { $not: { v: { $ne: 5 } } }] }, ['number']],
      [{ _id: { $gte: 'null', $lt: 'object' } }, ['null', 'number']],
      [{ _id: { $in: ['true', 'nowhere', 'null'] } }, ['null', 'true']],
      [{ _id: 5 }, []],
      [{ _id: /l$/ }, ['null']]
    ]

    for (const index of [undefined, 'v']) {
      it(`follow the documented rules ${index === undefined ? 'by a scan' : 'by an index'}`, async () => {
        const { docs } = await filled(documents)
        if (index !== undefined) await docs.createIndex(index)
        for (const [where, expected] of cases) {
          const found = docs.find({ where, orderBy: '_id' }).toArray()
          assert.deepEqual(ids(found), expected, JSON.stringify(where))
          assert.equal(docs.count({ where }), expected.length)
        }
        if (index !== undefined) assert.equal(docs.explain({ where: { v: 5 } }).plan, 'index')
      })
    }

    it('are refused with the place of what is wrong', async () => {
      const { docs } = await filled(documents)
      const wrong = [
        [{ v: { $gtt: 1 } }, /where\.v\.\$gtt: unknown operator/],
        [{ $nor: [] }, /where\.\$nor: unknown operator/],
        [{ $or: [{ a: 1 }, { b: { $in: 5 } }] }, /where\.\$or\[1\]\.b\.\$in must be an array/],
        [{ $and: [] }, /where\.\$and must be an array of at least one/],
        [{ v: { $gt: 1, w: 2 } }, /where\.v mixes operators and fields/],
        [{ v: { $gt: null } }, /where\.v\.\$gt compares with a number/],
        [{ v: { $lt: [1] } }, /where\.v\.\$lt compares/],
        [{ v: undefined }, /where\.v is undefined/],
        [{ v: NaN }, /where\.v: NaN/],
        [{ v: { $in: [1, Infinity] } }, /where\.v\.\$in\[1\]: Infinity/],
        [{ v: 5n }, /where\.v/],
        [{ v: { $exists: 1 } }, /where\.v\.\$exists must be a boolean/],
        [{ v: { $regex: '(' } }, /where\.v\.\$regex/],
        [{ v: { $options: 'i' } }, /where\.v\.\$options belongs/],
        [{ v: { $not: 5 } }, /where\.v\.\$not must be an object/],
        [{ v: '\ud800' }, /where\.v is no Unicode/],
        [[], /where must be an object/],
        ['x', /where must be an object/],
        [Array(80).fill(0).reduce(inner => ({ $not: inner }), { a: 1 }), /nested more than 64 deep/]
      ]
      for (const [where, message] of wrong) {
        assert.throws(() => docs.find({ where }), { name: 'TypeError', code: 'TOON_EINVAL', message })
        assert.throws(() => docs.count({ where }), { message })
      }
      for (const given of [{ limit: -1 }, { offset: 0.5 }, { fields: 'a' }, { orderBy: 5 }, { orderBy: { a: 2 } }, { sort: 'a' }, 5]) {
        assert.throws(() => docs.find(given), { code: 'TOON_EINVAL' })
      }
      assert.throws(() => docs.aggregate({}), { code: 'TOON_EINVAL' })
      assert.throws(() => docs.aggregate({ sum: 5 }), { code: 'TOON_EINVAL' })
      assert.throws(() => docs.aggregate({ total: 'a' }), { code: 'TOON_EINVAL' })
    })
  })

  it('orders by types and values, equal ones by id', async () => {
    const values = [undefined, null, false, true, -1e300, -2, -1.5, 0, 1e-9, 2, 10, '', 'Z', 'a', 'aa', '\uffff', '😀', [1], { a: 1 }]
    const documents = values.map((v, i) => ({ _id: String.fromCharCode(97 + i), ...(v !== undefined && { v }) }))
    const { docs } = await filled([...documents].reverse())
    const up = documents.map(d => d._id)
    const down = [...up].reverse()
    for (const indexed of [false, true]) {
      if (indexed) await docs.createIndex('v')
      assert.deepEqual(ids(docs.find({ orderBy: 'v' }).toArray()), up)
      assert.deepEqual(ids(docs.find({ orderBy: { v: 'desc' } }).toArray()), down)
      assert.deepEqual(ids(docs.find({ orderBy: { v: -1 }, offset: 2, limit: 4 }).toArray()), down.slice(2, 6))
    }
    await docs.delete('r')
    await docs.delete('s')
    const page = { orderBy: { v: -1 }, offset: 2, limit: 4 }
    assert.deepEqual(ids(docs.find(page).toArray()), down.slice(4, 8))
    assert.deepEqual(docs.explain(page), {
      plan: 'index', index: ['v'], ranges: 1, sorted: false, entriesRead: 6, rowsRead: 6, bytesRead: docs.explain(page).bytesRead, rowsReturned: 4,
      blocks: 0, blocksRead: 0
    })
  })

  it('is iterated once, synchronously and asynchronously, at one moment', async () => {
    const { db, docs } = await filled(Array.from({ length: 3000 }, (_, i) => ({ _id: String(i).padStart(5, '0'), i })))
    const found = docs.find({ where: { i: { $gte: 10 } } })
    await docs.delete('02999')
    const seen = []
    for await (const document of found) seen.push(document.i)
    assert.equal(seen.length, 2990)
    assert.deepEqual([...found], [])
    assert.equal((await docs.findAsync({ where: { _id: /1$/ } })).length, 300)
    for (const document of docs.find()) {
      assert.equal(document.i, 0)
      break
    }
    const snapshot = db.snapshot()
    await docs.put('00000', { i: -1 })
    assert.equal(snapshot.collection('docs').get('00000').i, 0)
    assert.equal(snapshot.collection('docs').findOne({ where: { i: { $lt: 1 } } }).i, 0)
    assert.equal(snapshot.collection('docs').insert, undefined)
    snapshot.close()
    assert.throws(() => snapshot.collection('docs'), { code: 'TOON_ECLOSED' })
    const controller = new AbortController()
    const aborted = docs.find({ signal: controller.signal })
    aborted.next()
    controller.abort()
    assert.throws(() => aborted.toArray(), { name: 'AbortError' })
    const open = docs.find()
    await db.close()
    assert.throws(() => open.next(), { code: 'TOON_ECLOSED' })
    for (const call of [() => docs.find(), () => docs.get('a'), () => docs.count(), () => db.collection('docs')]) {
      assert.throws(call, { code: 'TOON_ECLOSED' })
    }
    await assert.rejects(docs.insert({}), { code: 'TOON_ECLOSED' })
  })

  it('sums up', async () => {
    const { docs } = await filled([
      { city: 'Bonn', total: 1, at: 'b' }, { city: 'Bonn', total: 2.5, at: 'a' }, { city: 'Ulm', total: 'x' },
      { city: ['Ulm'], total: -1 }, { total: null }, { city: null, total: true }
    ])
    assert.deepEqual(docs.aggregate({ groupBy: 'city', count: true, sum: 'total', avg: 'total', min: ['total', 'at'], max: 'total' }), [
      { group: { city: null }, count: 2, sum: { total: 0 }, avg: { total: null }, min: { total: true, at: null }, max: { total: true } },
      { group: { city: 'Bonn' }, count: 2, sum: { total: 3.5 }, avg: { total: 1.75 }, min: { total: 1, at: 'a' }, max: { total: 2.5 } },
      { group: { city: 'Ulm' }, count: 1, sum: { total: 0 }, avg: { total: null }, min: { total: 'x', at: null }, max: { total: 'x' } },
      { group: { city: ['Ulm'] }, count: 1, sum: { total: -1 }, avg: { total: -1 }, min: { total: -1, at: null }, max: { total: -1 } }
    ])
    assert.deepEqual(docs.aggregate({ where: { total: { $gt: 1 } }, count: true, sum: 'total' }), { count: 1, sum: { total: 2.5 } })
    assert.deepEqual(docs.aggregate({ where: { x: 1 }, count: true, avg: 'total', min: 'at' }), { count: 0, avg: { total: null }, min: { at: null } })
    assert.deepEqual(docs.aggregate({ where: { x: 1 }, groupBy: 'city', count: true }), [])
  })

  it('adds up without losing small numbers beside large ones', async () => {
    const { docs } = await filled([{ n: 1e16 }, ...Array.from({ length: 1000 }, () => ({ n: 1 })), { n: -1e16 }])
    assert.equal(docs.aggregate({ sum: 'n' }).sum.n, 1000)
  })

  it('comes out as the TOON of its documents', async () => {
    const { docs } = await filled([{ _id: 'a', n: 1, s: 'x,y' }, { _id: 'b', n: 2, s: 'p|q' }, { _id: 'c d', n: 3, s: '5' }])
    const all = docs.find().toArray()
    for (const delimiter of [',', '|', '\t']) {
      assert.equal(docs.toToon({ delimiter }), encode(all, { delimiter }))
      assert.equal(docs.toToon({ delimiter, name: 'the docs', fields: ['s', '_id', 'z'] }),
        encode({ 'the docs': all.map(({ s, _id }) => ({ s, _id, z: null })) }, { delimiter }))
    }
    assert.equal(docs.toToon({ where: { n: 1 } }), '[1]{_id,n,s}:\n  a,1,"x,y"')
    assert.equal(docs.toToon({ where: { n: 0 } }), encode([]))
    assert.equal(docs.toToon({ where: { n: 0 }, name: 'x' }), encode({ x: [] }))
    await docs.insert([{ _id: 'z', n: [1], deep: { er: [{ a: 1 }] } }, { _id: 'zz' }])
    assert.equal(docs.toToon(), encode(docs.find().toArray()))
    assert.equal(docs.toToon({ orderBy: { n: -1 }, limit: 2 }), encode(docs.find({ orderBy: { n: -1 }, limit: 2 }).toArray()))
    const one = { fields: ['n'], name: 'n', where: { n: { $gt: 0 } } }
    const words = text => text.split(/\s+/).filter(Boolean).length
    assert.equal(docs.toToon({ ...one, maxTokens: 3, countTokens: words }), 'n[2]{n}:\n  1\n  2')
    assert.equal(docs.toToon({ ...one, maxTokens: 6, countTokens: words, note: true }), 'n[1]{n}:\n  1\n# 3 more rows')
    assert.equal(docs.toToon({ ...one, maxTokens: 0, countTokens: words }), '')
    assert.throws(() => docs.toToon({ prefix: 'x' }), { code: 'TOON_EINVAL' })
  })

  it('fits a budget of tokens from an index, newest first', async () => {
    const { docs } = await filled(Array.from({ length: 500 }, (_, i) => ({ id: i, name: `product ${i}`, stock: i % 3, price: i / 4 })))
    await docs.createIndex(['stock', 'id'])
    const text = docs.toToon({ where: { stock: 1 }, orderBy: { id: 'desc' }, fields: ['id', 'name', 'price'], name: 'products', maxTokens: 300, note: true })
    const { products } = decode(text)
    const expected = docs.find({ where: { stock: 1 }, orderBy: { id: 'desc' }, fields: ['id', 'name', 'price'], limit: products.length }).toArray()
    assert.deepEqual(products, expected)
    assert.equal(products[0].id, 499)
    assert.ok(products.length > 10 && products.length < 100)
    assert.match(text, new RegExp(`\\n# ${167 - products.length} more rows$`))
  })

  it('takes part in transactions', async () => {
    const { db, docs } = await filled([{ _id: 'a', n: 1 }])
    await assert.rejects(db.transaction(tx => {
      tx.collection('docs').put('a', { n: 2 })
      tx.collection('docs').insert({ _id: 'b' })
      throw new Error('no')
    }), /no/)
    assert.deepEqual(docs.find().toArray(), [{ _id: 'a', n: 1 }])
    const id = await db.transaction(tx => {
      const own = tx.collection('docs')
      assert.equal(own.name, 'docs')
      own.update('a', old => ({ n: old.n + 1 }))
      assert.deepEqual(own.get('a'), { _id: 'a', n: 2 })
      tx.put('other', 1)
      return own.insert({ n: 9 })
    })
    assert.deepEqual(ids(docs.find({ orderBy: 'n' }).toArray()), ['a', id])
    const [first, second] = [db.begin(), db.begin()]
    first.collection('docs').put('a', { n: 3 })
    second.collection('docs').put('a', { n: 4 })
    await first.commit()
    await assert.rejects(second.commit(), { code: 'TOON_ECONFLICT' })
    assert.equal(docs.get('a').n, 3)
  })

  it('can be read, and not written, in a store that is open read-only', async () => {
    const { db, docs } = await filled([{ _id: 'a', n: 1 }])
    await docs.createIndex('n')
    const again = (await reopen(db, { readOnly: true })).collection('docs')
    assert.equal(again.explain({ where: { n: 1 } }).plan, 'index')
    assert.deepEqual(again.find({ where: { n: 1 } }).toArray(), [{ _id: 'a', n: 1 }])
    await assert.rejects(again.insert({}), { code: 'TOON_EREADONLY' })
    assert.ok(fs.existsSync(path.join(db.path, 'db.toon')))
  })
})
