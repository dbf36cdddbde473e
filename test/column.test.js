'use strict'
// Columns of collections: the same answers with and without them, and what happens to their files. test/c/column.test.c has the
// damage and the power cuts, test/collection-model.test.js random documents against a plain filter.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { decode } = require('..')
const { setup } = require('./support')
const reference = require('./filter-reference')

const CITIES = ['Bonn', 'Ulm', 'Kiel', 'a,b', 'line\nend', '', null]
const document = i => ({
  _id: String(i).padStart(6, '0'),
  n: i,
  city: CITIES[i % CITIES.length],
  price: (i * 7907 % 100000) / 100,
  share: i / 3,
  name: `Product number ${i}`,
  active: i % 3 === 0,
  ['__proto__']: 'own',
  'a "name"': -1 - i,
  ...(i % 4 === 0 ? { some: i } : {}),
  ...(i % 7 === 6 ? {} : { cents: [1, 2, 2.5, 2.125][i % 4], real: [1, 2, 1 / 3][i % 3] })
})

function crc32c (seed, bytes) {
  let crc = ~seed >>> 0
  for (const byte of bytes) {
    crc ^= byte
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}

describe('columns of a collection', () => {
  const { openStore, reopen } = setup()
  const columnFiles = db => fs.readdirSync(db.path).filter(name => name.startsWith('db.toon.col-'))

  async function filled (count, columns = true) {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs', { columns })
    const all = Array.from({ length: count }, (_, i) => document(i))
    await docs.insert(all)
    await docs.buildColumns()
    return { db, docs, all }
  }

  const queries = [
    { fields: ['n', 'price'] },
    { fields: ['_id', 'city', 'name', 'active', 'share'] },
    { fields: ['__proto__', 'n'] },
    { fields: ['a "name"', 'n'] },
    { fields: ['n', 'some'] },
    { where: { city: 'Ulm', price: { $lt: 20 } }, fields: ['n', 'city', 'name'] },
    { where: { $or: [{ n: { $gte: 9990 } }, { name: 'Product number 17' }, { city: { $in: ['', 'Kiel'] }, active: true }] }, fields: ['n'] },
    { where: { some: { $exists: true }, n: { $lt: 100 } } },
    { where: { $not: { n: { $gt: 5 } }, name: /number [13]/ }, fields: ['name'] },
    { where: { _id: { $lte: '000003' } }, fields: ['n', '_id'] },
    { where: { active: true }, fields: ['n', 'price'], orderBy: { price: -1, n: 1 }, offset: 3, limit: 20 },
    { fields: ['name', 'city'], orderBy: 'city', limit: 9000 },
    { where: { cents: { $in: [1, 2] } }, fields: ['cents', 'n'] },
    { where: { real: { $in: [1, 2] } }, fields: ['real'] },
    { fields: ['n'], offset: 4090, limit: 100 }
  ]

  async function agrees (docs, all) {
    for (const query of queries) {
      const plain = reference.find(all.map(d => d), { ...query, fields: undefined, where: rewritten(query.where) })
      const expected = query.fields === undefined ? plain : plain.map(d => Object.fromEntries(
        query.fields.filter(f => Object.hasOwn(d, f)).map(f => [f, d[f]])))
      const found = docs.find(query).toArray()
      assert.deepEqual(found.map(d => Object.entries(d)), expected.map(d => Object.entries(d)))
      const later = await docs.findAsync(query)
      assert.deepEqual(later, found)
      assert.equal(docs.count({ where: query.where, offset: query.offset, limit: query.limit }), expected.length)
      if (query.fields === undefined) continue
      const { rows, columns } = docs.findColumns(query)
      assert.equal(rows, expected.length)
      for (const field of query.fields) {
        assert.deepEqual([...columns[field]], plain.map(d => Object.hasOwn(d, field) ? d[field] : null))
      }
      const toon = docs.toToon({ ...query, name: 'rows' })
      assert.deepEqual(decode(toon).rows, plain.map(d => Object.fromEntries(query.fields.map(f => [f, Object.hasOwn(d, f) ? d[f] : null]))))
    }
  }

  // The reference takes regular expressions as { $regex: text }.
  function rewritten (where) {
    if (where === undefined) return undefined
    return Object.fromEntries(Object.entries(where).map(([name, given]) => [name, given instanceof RegExp ? { $regex: given.source } : given]))
  }

  it('give what documents give: at first, with changes, made again, and reopened', async () => {
    const { db, docs, all } = await filled(10000, [...Object.keys(document(0)), 'never'])
    assert.equal(docs.explain(queries[0]).plan, 'columns')
    await agrees(docs, all)
    for (const i of [9999, 5000, 4096, 4095, 17, 0]) {
      await docs.delete(all[i]._id)
      all.splice(i, 1)
    }
    await docs.update(all[2000]._id, old => ({ ...old, city: 'Ulm', price: 1.25, n: 2.5 }))
    Object.assign(all[2000], { city: 'Ulm', price: 1.25, n: 2.5 })
    const more = [document(20000), { ...document(20001), n: 'text' }, { _id: '1', price: [1, 2] }]
    await docs.insert(more)
    all.push(...more)
    await agrees(docs, all)
    await docs.buildColumns()
    await agrees(docs, all)
    const again = await reopen(db)
    assert.equal(again.stats().columns.files, 1)
    await agrees(again.collection('docs'), all)
    const groups = again.collection('docs').aggregate({ groupBy: ['city', 'active'], count: true, sum: 'n', min: 'name', max: 'price' })
    assert.equal(groups.reduce((sum, group) => sum + group.count, 0), all.length)
  }).timeout(60000)

  it('of a collection that was empty when they were first made have what came since', async () => {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs', { columns: ['n'] })
    await docs.buildColumns()
    await docs.insert([{ n: 1 }, { n: 2 }])
    await docs.buildColumns()
    assert.deepEqual([docs.explain({ fields: ['n'] }).plan, db.stats().columns.rows], ['columns', 2])
    assert.deepEqual(docs.find({ fields: ['n'] }).toArray(), [{ n: 1 }, { n: 2 }])
  })

  it('give whole numbers of blocks that also have fractions, and none', async () => {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs')
    await docs.insert([{ _id: 'a', x: 1, y: 1 }, { _id: 'b', x: 2, y: 2 }, { _id: 'c', x: 2.5, y: 1 / 3 }, { _id: 'd' }, { _id: 'f', x: 2.125, y: null }])
    db.collection('docs', { columns: ['x', 'y'] })
    await docs.buildColumns()
    for (const name of ['x', 'y']) {
      const query = { where: { [name]: { $in: [1, 2] } }, fields: [name] }
      assert.equal(docs.explain(query).plan, 'columns')
      assert.deepEqual(docs.find(query).toArray(), [{ [name]: 1 }, { [name]: 2 }])
      const found = []
      for await (const one of docs.find(query)) found.push(one)
      assert.deepEqual(found, [{ [name]: 1 }, { [name]: 2 }])
      assert.deepEqual(docs.findColumns(query).columns[name], Int32Array.of(1, 2))
    }
  })

  it('give arrays of the same types as documents do', async () => {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs')
    await docs.insert(Array.from({ length: 5000 }, (_, i) => ({ n: i, big: i * 2 ** 20, half: i / 2, mix: i % 2 ? 'odd' : i, few: i % 2 ? null : 5 })))
    const asked = ['n', 'big', 'half', 'mix', 'few'].flatMap(name =>
      [{}, { where: { mix: { $ne: 'odd' } } }, { where: { n: { $lt: 4 }, few: 5 } }, { where: { n: -1 } }].map(query => ({ ...query, fields: [name] })))
    const types = () => asked.map(query => [query, docs.findColumns(query)])
    const before = types()
    db.collection('docs', { columns: ['n', 'big', 'half', 'mix', 'few'] })
    await docs.buildColumns()
    assert.equal(docs.explain(asked[0]).plan, 'columns')
    assert.deepEqual(types(), before)
    assert.ok(docs.findColumns({ where: { mix: { $ne: 'odd' } }, fields: ['half'] }).columns.half instanceof Int32Array)
    assert.ok(docs.findColumns({ fields: ['half'] }).columns.half instanceof Float64Array)
  })

  it('are learnt from documents, whatever keys lie below them', async () => {
    const db = await openStore({ durability: 'close' })
    await db.transaction(tx => { for (let i = 0; i < 1100; i++) tx.put(`docs/0/${i}`, i) })
    const docs = db.collection('docs', { columns: true })
    await docs.insert([{ _id: '00', n: 1 }, { _id: '1', n: 2 }])
    await docs.buildColumns()
    assert.equal(docs.explain({ fields: ['n'] }).plan, 'columns')
  })

  it('are used with many documents that lapse only if most do not, and not made again and again', async () => {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs', { columns: ['n'] })
    await docs.insert([{ _id: 'a', n: 1 }])
    await db.transaction(tx => { for (let i = 0; i < 1100; i++) tx.put(`docs/l${i}`, { n: i }, { ttl: 3600000 }) })
    await docs.buildColumns()
    await docs.put('b', { n: 2 })
    const { built } = db.stats().columns
    await db.checkpoint()
    await docs.buildColumns() // asked for
    assert.equal(db.stats().columns.built, built + 1)
    assert.equal(docs.explain({ fields: ['n'] }).plan, 'scan')
    assert.equal(docs.findColumns({ fields: ['n'] }).rows, 1102)
  })

  for (const [query, size] of [
    [{ where: { n: 4000 * 1.0001 }, fields: ['n'] }, 16384],
    [{ fields: ['n'], orderBy: 't' }, 81920],
    [{ where: { _id: { $ne: 'x' } }, fields: ['_id'] }, 4096]
  ]) {
    it(`are given up if their file is cut to ${size} bytes while they are read`, async () => {
      const db = await openStore({ durability: 'close' })
      const docs = db.collection('docs', { columns: ['n', 't'] })
      await docs.insert(Array.from({ length: 4096 }, (_, i) =>
        ({ _id: String(i).padStart(6, '0'), t: `text number ${i * 7919 % 1000003} and more of it, unique`, n: i * 1.0001 })))
      await docs.buildColumns()
      const expected = docs.find(query).toArray()
      const open = docs.find(query)
      fs.truncateSync(path.join(db.path, columnFiles(db)[0]), size)
      try {
        assert.deepEqual(open.toArray(), expected)
      } catch (err) {
        assert.equal(err.code, 'TOON_ECORRUPT')
      }
      assert.deepEqual(docs.find(query).toArray(), expected)
      assert.equal(db.stats().columns.dropped, 1)
      await docs.buildColumns() // those that are made again at once may be there already
      assert.equal(docs.explain(query).plan, 'columns')
      assert.deepEqual(docs.find(query).toArray(), expected)
    })
  }

  it('are read only where a condition can hold', async () => {
    const { docs } = await filled(10000)
    const all = docs.explain({ fields: ['n', 'price'] })
    const few = docs.explain({ where: { n: { $gt: 9000 } }, fields: ['n', 'price'] })
    assert.deepEqual([all.blocks, all.blocksRead, all.rowsReturned], [3, 3, 10000])
    assert.deepEqual([few.blocks, few.blocksRead, few.rowsReturned], [3, 1, 999])
    assert.ok(few.bytesRead < all.bytesRead)
  })

  it('give sums that are the same to the last bit', async () => {
    const query = { groupBy: 'city', sum: ['price', 'share', 'n'], avg: 'share' }
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs')
    await docs.insert(Array.from({ length: 9000 }, (_, i) => document(i)))
    const before = docs.aggregate(query)
    db.collection('docs', { columns: ['city', 'price', 'share', 'n'] })
    await docs.buildColumns()
    assert.equal(docs.explain({ fields: ['n'] }).plan, 'columns')
    assert.deepEqual(docs.aggregate(query), before)
  })

  it('leave snapshots and documents that lapse as they are', async () => {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs', { columns: ['n'] })
    await docs.insert([{ _id: 'a', n: 1 }, { _id: 'b', n: 2 }])
    await docs.put('c', { n: 3 }, { ttl: 3600000 })
    await docs.put('d', { n: 4 }, { expiresAt: 1 })
    const snapshot = db.snapshot()
    await docs.put('a', { n: 10 })
    await docs.buildColumns()
    const values = view => view.find({ fields: ['n'] }).toArray().map(d => d.n)
    assert.deepEqual(values(docs), [10, 2, 3])
    assert.deepEqual(values(snapshot.collection('docs')), [1, 2, 3])
    assert.equal(snapshot.collection('docs').explain({ fields: ['n'] }).plan, 'scan')
    snapshot.close()
  })

  it('come back after their file was lost or damaged', async () => {
    const { db, docs } = await filled(5000)
    const expected = docs.find({ fields: ['n', 'city'] }).toArray()
    await db.close()
    for (const harm of [file => fs.truncateSync(file, fs.statSync(file).size >> 1), file => fs.rmSync(file),
      file => fs.writeFileSync(file, 'TOONCOL\n')]) {
      harm(path.join(db.path, columnFiles(db)[0]))
      const again = await reopen(db)
      const same = again.collection('docs')
      assert.deepEqual(same.find({ fields: ['n', 'city'] }).toArray(), expected)
      assert.equal(same.explain({ fields: ['n'] }).plan, 'scan')
      const kept = again.collection('docs', { columns: true })
      await kept.buildColumns()
      assert.equal(kept.explain({ fields: ['n'] }).plan, 'columns')
      await again.close()
    }
  })

  it('are not believed if their file was put back from before', async () => {
    const { db, docs } = await filled(5000, ['n'])
    await db.close()
    assert.equal(docs.name, 'docs')
    const file = path.join(db.path, columnFiles(db)[0])
    const bytes = fs.readFileSync(file)
    const again = await reopen(db)
    again.collection('docs', { columns: false })
    await again.transaction(tx => { for (let i = 0; i < 2500; i++) tx.delete(`docs/${document(i)._id}`) })
    await again.compact()
    const query = { count: true, sum: 'n' }
    const expected = again.collection('docs').aggregate(query)
    await again.close()
    fs.writeFileSync(file, bytes)
    const last = await reopen(again)
    assert.deepEqual(last.collection('docs').aggregate(query), expected)
    assert.deepEqual(columnFiles(last), [])
  })

  it('are not believed if their file is that of a copy of the store', async () => {
    const { db } = await filled(5000, ['n'])
    await db.close()
    const copy = `${db.path}-copy`
    fs.cpSync(db.path, copy, { recursive: true })
    const query = { sum: 'n' }
    const changed = async (place, n) => {
      const store = await reopen(place)
      await store.collection('docs').put('x', { n })
      await store.collection('docs').buildColumns()
      const found = store.collection('docs').aggregate(query)
      await store.close()
      return found
    }
    const expected = await changed(db, 1)
    await changed({ path: copy, close: async () => {} }, 2)
    const [name, same] = [columnFiles(db)[0], columnFiles({ path: copy })[0]]
    assert.equal(name, same)
    fs.copyFileSync(path.join(copy, same), path.join(db.path, name))
    assert.deepEqual((await reopen(db)).collection('docs').aggregate(query), expected)
    fs.rmSync(copy, { recursive: true })
  })

  it('are still there after a close that had nothing else to write', async () => {
    const { db } = await filled(5000, ['n'])
    await db.close()
    const again = await reopen(db)
    again.collection('docs', { columns: ['n', 'price'] })
    await again.collection('docs').buildColumns()
    const last = await reopen(again)
    assert.equal(last.collection('docs').explain({ fields: ['price'] }).plan, 'columns')
  })

  it('crash nothing if their file lies about its largest number', async () => {
    const db = await openStore({ durability: 'close' })
    const docs = db.collection('docs', { columns: ['n'] })
    await docs.insert(Array.from({ length: 4096 }, (_, i) => ({ _id: String(i).padStart(6, '0'), n: i % 4000 })))
    await docs.buildColumns()
    await db.close()
    const file = path.join(db.path, columnFiles(db)[0])
    const bytes = fs.readFileSync(file)
    const id = bytes.readUInt32LE(12)
    const place = bytes.length - 40 // of the last vector, n
    const at = Number(bytes.readBigUInt64LE(place))
    assert.deepEqual([bytes[place + 16], bytes[place + 17]], [1, 2])
    bytes.fill(0xff, at + 16, at + 16 + 8192)
    const before = bytes.readUInt32LE(56)
    bytes.writeUInt32LE(crc32c(id, bytes.subarray(at, at + bytes.readUInt32LE(place + 8))), place + 12)
    bytes.writeUInt32LE(crc32c(id, bytes.subarray(Number(bytes.readBigUInt64LE(40)))), 56)
    bytes.writeUInt32LE(crc32c(0, bytes.subarray(0, 60)), 60)
    fs.writeFileSync(file, bytes)
    const manifest = path.join(db.path, 'metadata.toon')
    const text = fs.readFileSync(manifest, 'utf8').replace(`,${before}\n#`, `,${bytes.readUInt32LE(56)}\n#`).replace(/# crc .*\n$/, '')
    fs.writeFileSync(manifest, `${text}# crc ${crc32c(0, Buffer.from(text)).toString(16).padStart(8, '0')}\n`)
    const again = await reopen(db)
    const same = again.collection('docs')
    assert.equal(same.explain({ fields: ['n'] }).plan, 'columns')
    assert.deepEqual(same.aggregate({ groupBy: 'n', count: true }), [{ group: { n: 65535 }, count: 4096 }])
  })

  it('are kept up to date by whoever has the store open, until they are not wanted', async () => {
    const { db, docs } = await filled(5000, ['n', 'city'])
    const again = await reopen(db)
    const same = again.collection('docs')
    await same.insert(Array.from({ length: 2000 }, (_, i) => document(10000 + i)))
    await same.buildColumns()
    assert.equal(again.stats().columns.rows, 7000)
    assert.equal(same.explain({ fields: ['city'] }).plan, 'columns')
    assert.equal(same.explain({ fields: ['price'] }).plan, 'scan')
    assert.equal(docs.name, 'docs')
    again.collection('docs', { columns: false })
    assert.equal(same.explain({ fields: ['city'] }).plan, 'scan')
    assert.deepEqual(columnFiles(again), [])
    await assert.rejects(same.buildColumns(), { code: 'TOON_EINVAL' })
  })

  it('are used, and left alone, by who may only read', async () => {
    const { db } = await filled(5000)
    const reader = await reopen(db, { readOnly: true })
    const docs = reader.collection('docs', { columns: ['n'] })
    assert.equal(docs.explain({ fields: ['price'] }).plan, 'columns')
    await assert.rejects(docs.buildColumns(), { code: 'TOON_EREADONLY' })
  })

  it('refuse what is wrong', async () => {
    const db = await openStore()
    for (const columns of [5, 'n', [], ['_id'], [5], null]) {
      assert.throws(() => db.collection('docs', { columns }), { code: 'TOON_EINVAL' })
    }
    assert.throws(() => db.collection('docs', { columns: Array.from({ length: 300 }, (_, i) => `f${i}`) }), { code: 'TOON_EINVAL' })
    await assert.rejects(db.collection('docs').buildColumns(), { code: 'TOON_EINVAL' })
    for (const query of [undefined, {}, { fields: [] }]) {
      assert.throws(() => db.collection('docs').findColumns(query), { code: 'TOON_EINVAL' })
    }
  })
})
