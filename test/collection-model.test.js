'use strict'
// The model test of collections: documents, updates and queries at random, with indexes that come and go, a unique one, columns
// of several blocks and snapshots, and the plain reference over a Map. `COLLECTION_STEPS=100000 COLLECTION_SEED=1 npx mocha
// test/collection-model.test.js` runs longer, or again what failed.

const assert = require('node:assert/strict')
const path = require('node:path')
const { ToonStore, decode } = require('..')
const { native } = require('../lib/binding')
const { setup } = require('./support')
const reference = require('./filter-reference')

const STEPS = Number(process.env.COLLECTION_STEPS ?? 3000)
const SEED = Number(process.env.COLLECTION_SEED ?? Math.floor(Math.random() * 2 ** 31))

// A small generator of numbers (xorshift), so that a seed gives the same run again.
function random (seed) {
  let state = (seed | 1) >>> 0
  return n => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % n
  }
}

const NAMES = ['a', 'b', 'c', 'n.x', 'n.y', 'w z', 'u', '_id']
const BLOCK = 8 // documents of a block of columns
const TEXTS = ['', 'a', 'ab', 'a b', 'a!b', 'a,b', 'b', 'null', '5', 'é', '😀', '\uffff', 'x"y', 'l\nm', 'q:r', '-', 'z'.repeat(600)]
const NUMBERS = [0, -0, 1, 2, 2.5, 2.125, 10, 11, -1, -10, -11, 0.5, -0.5, 1.5e300, 1e-7, 1e21, 123456789, 0.1 + 0.2]

// The same with the names of objects in order: a table has the order of its first row for all.
function byName (value) {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(byName)
  return Object.fromEntries(Object.keys(value).sort().map(name => [name, byName(value[name])]))
}

describe('the model of collections', () => {
  const { folder, keep } = setup()
  before(() => native.columnsBlockRows(BLOCK))
  after(() => native.columnsBlockRows(4096))

  const title = columns => `agrees with a plain filter over ${STEPS} steps${columns ? ', read from columns' : ''} (seed ${SEED})`
  for (const columns of [false, true]) it(title(columns), async function () {
    this.timeout(3600000)
    const pick = random(SEED)
    const one = list => list[pick(list.length)]
    const chance = n => pick(n) === 0
    const scalar = () => one([() => null, () => chance(2), () => one(NUMBERS), () => one(NUMBERS), () => one(TEXTS), () => one(TEXTS)])()
    const value = depth => {
      if (depth === 0 || !chance(columns ? 400 : 5)) return scalar() // arrays and objects are in no column
      if (chance(2)) return Array.from({ length: pick(4) }, () => value(depth - 1))
      return Object.fromEntries(Array.from({ length: pick(3) }, (_, i) => [one(['x', 'y', 'k']) + i, value(depth - 1)]))
    }
    const document = () => {
      const out = {}
      for (const name of ['a', 'b', 'c', 'w z']) if (!chance(4)) out[name] = value(2)
      if (columns && 'b' in out && !chance(300)) out.b = one([1, 2, 2.5, 2.125, null]) // a vector of decimals
      if (columns && 'c' in out && !chance(300)) out.c = one([1, 2, -3, 1 / 3, 1e300]) // of doubles
      if (!chance(3)) out.u = one([() => pick(400), () => `t${pick(200)}`, () => null])() // of the unique index
      if (chance(2)) out.n = chance(4) ? value(1) : { x: value(1), y: scalar() }
      return JSON.parse(JSON.stringify(out))
    }
    const condition = () => {
      const comparable = () => one([() => one(NUMBERS), () => one(TEXTS), () => chance(2)])()
      return one([
        () => value(1),
        () => scalar(),
        () => ({ [one(['$gt', '$gte', '$lt', '$lte'])]: comparable() }),
        () => ({ $gte: comparable(), $lt: comparable() }),
        () => ({ [one(['$in', '$nin'])]: Array.from({ length: pick(4) }, () => value(1)) }),
        () => ({ $ne: value(1) }),
        () => ({ $exists: chance(2) }),
        () => ({ $not: { $gt: comparable() } }),
        () => ({ $regex: one(['a', '^z', '!', 'b$']) })
      ])()
    }
    const idOf = () => `d${pick(60)}`
    const where = depth => {
      if (depth > 0 && chance(4)) {
        return one([
          () => ({ $and: [where(depth - 1), where(depth - 1)] }),
          () => ({ $or: [where(depth - 1), where(depth - 1)] }),
          () => ({ $not: where(depth - 1) })
        ])()
      }
      const out = {}
      for (let i = pick(3); i >= 0; i--) {
        const name = one(NAMES)
        if (name === 'u' && !chance(3)) out.u = one([() => pick(400), () => ({ $in: [pick(400), `t${pick(200)}`] }), () => ({ $gt: pick(400) })])()
        else out[name] = name === '_id' && !chance(4) ? one([idOf(), { $in: [idOf(), idOf()] }, { $gt: idOf() }, { $lte: idOf() }]) : condition()
      }
      return out
    }
    const query = () => {
      const out = {}
      if (!chance(8)) out.where = where(2)
      if (!chance(3)) out.orderBy = Object.fromEntries(Array.from({ length: 1 + pick(2) }, () => [one(NAMES), one([1, -1])]))
      if (chance(3)) out.limit = pick(8)
      if (chance(5)) out.offset = pick(5)
      if (chance(4)) out.fields = [...new Set([one(NAMES), one(NAMES)])]
      return out
    }

    const dir = path.join(folder(), 'data')
    let db, docs
    const open = async () => {
      db = keep(await ToonStore.open(dir, { segmentSize: 16384, checkpointBytes: 8192, durability: 'close' }))
      docs = db.collection('docs', columns ? { columns: one([true, ['a', 'b', 'c', 'n.x', 'n.y', ['w z']], ['a', 'b', 'n.x']]) } : {})
    }
    await open()
    const model = new Map()
    const all = () => [...model].map(([_id, own]) => ({ _id, ...own }))
    const plans = new Set()
    let refused = 0
    let blocks = 0
    let held = null // { snapshot, documents }: what stays as it was
    const letGo = () => {
      held?.snapshot.close()
      held = null
    }
    const how = () => chance(8) ? { ttl: 3600000 } : undefined // documents that lapse are in no block

    // Does a document stand in the way of another, by the unique index?
    const has = u => u !== undefined && u !== null
    const clash = (id, { u }) => has(u) && docs.indexes().some(({ unique }) => unique) &&
      [...model].some(([other, own]) => other !== id && own.u === u)
    // What clashes is refused, and nothing of it is there.
    const written = async (job, clashes, done) => {
      if (!clashes) {
        await job()
        return done()
      }
      refused++
      await assert.rejects(async () => job(), { code: 'TOON_EUNIQUE' })
    }

    const steps = {
      async insert () {
        const many = Array.from({ length: 1 + pick(5) }, document)
        const twice = (own, i) => has(own.u) && many.some((other, j) => j < i && other.u === own.u)
        const clashes = docs.indexes().some(({ unique }) => unique) && many.some((own, i) => clash(undefined, own) || twice(own, i))
        let ids
        await written(async () => { ids = await docs.insert(many, how()) }, clashes, () => ids.forEach((id, i) => model.set(id, many[i])))
        if (model.size > 120) {
          for (const id of [...model.keys()].slice(0, 60)) {
            assert.equal(await docs.delete(id), true)
            model.delete(id)
          }
        }
      },
      async put () {
        const id = idOf()
        const own = document()
        await written(() => docs.put(id, own, how()), clash(id, own), () => model.set(id, own))
      },
      async update () {
        const id = one([...model.keys(), idOf()])
        await docs.update(id, old => old && { ...old, a: 'changed', b: columns ? 2 : old.c ?? null })
        const old = model.get(id)
        if (old !== undefined) model.set(id, { ...old, a: 'changed', b: columns ? 2 : old.c ?? null })
      },
      async delete () {
        const id = one([...model.keys(), idOf()])
        assert.equal(await docs.delete(id), model.delete(id))
      },
      async transaction () {
        const [id, gone, own] = [idOf(), idOf(), document()]
        await written(() => db.transaction(tx => {
          tx.collection('docs').put(id, own)
          tx.collection('docs').delete(gone)
        }), clash(id, own), () => {
          model.set(id, own)
          model.delete(gone)
        })
      },
      async createIndex () {
        const fields = one(['a', 'b', 'n.x', ['a', 'b'], ['b', 'n.y', 'c'], 'w z'])
        const job = docs.createIndex(fields)
        const id = idOf()
        const own = document()
        await written(() => docs.put(id, own), clash(id, own), () => model.set(id, own)) // a write while it is built
        await job
      },
      async createUnique () {
        const values = [...model.values()].map(({ u }) => u).filter(has)
        await written(() => docs.createIndex('u', { unique: true }), new Set(values).size < values.length, () => {})
      },
      async snapshot () {
        letGo()
        held = { snapshot: db.snapshot(), documents: all() }
      },
      async dropIndex () {
        const { fields } = one([...docs.indexes(), { fields: ['a'] }, { fields: ['a'] }])
        await docs.dropIndex(fields)
      },
      async reopen () {
        letGo()
        await db.close()
        await open()
      },
      compact: () => db.compact(),
      buildColumns: () => columns ? docs.buildColumns() : db.sync(),
      checkpoint: () => db.checkpoint()
    }
    const rare = ['createIndex', 'createUnique', 'createUnique', 'dropIndex', 'snapshot', 'snapshot', 'reopen', 'compact', 'checkpoint', 'buildColumns', 'buildColumns']
    const often = ['insert', 'put', 'put', 'put', 'update', 'update', 'delete', 'transaction']

    async function check (view, documents, given) {
      const expected = reference.find(documents, given)
      const explained = view.explain(given)
      plans.add(explained.plan)
      blocks = Math.max(blocks, explained.blocks)
      if (given.fields !== undefined && given.offset === undefined && given.limit === undefined && given.orderBy === undefined) {
        const { rows, columns: found } = view.findColumns(given)
        const byColumns = Array.from({ length: rows }, (_, i) => JSON.stringify(given.fields.map(name => found[name][i])))
        const wanted = expected.map(d => JSON.stringify(given.fields.map(name => d[name] ?? null)))
        assert.deepEqual(byColumns.sort(), wanted.sort())
      }
      const found = view.find(given).toArray()
      if (given.orderBy === undefined && (given.limit !== undefined || given.offset !== undefined)) {
        assert.equal(found.length, expected.length) // any of them
        return
      }
      const sorted = list => given.orderBy === undefined ? list.map(v => JSON.stringify(v)).sort() : list
      assert.deepEqual(sorted(found), sorted(expected))
      if (chance(3)) {
        assert.deepEqual(sorted(await view.findAsync(given)), sorted(expected))
        const whole = { ...given, fields: undefined }
        assert.deepEqual(sorted(byName(decode(view.toToon(whole)))), sorted(byName(reference.find(documents, whole))))
        assert.equal(view.count({ where: given.where }), reference.find(documents, { where: given.where }).length)
        if (given.orderBy !== undefined) assert.deepEqual(view.findOne(given), expected[0])
        const [groupBy, field] = [one(NAMES), one(NAMES)]
        const groups = view.aggregate({ where: given.where, groupBy, count: true, sum: field, min: field, max: field })
        const wantedGroups = new Map(reference.aggregate(documents, { where: given.where, groupBy, field }).map(g => [JSON.stringify(g.group), g]))
        assert.equal(groups.length, wantedGroups.size)
        for (const group of groups) {
          const { size, sum, ...rest } = wantedGroups.get(JSON.stringify(group.group))
          assert.deepEqual({ ...group, sum: undefined }, { ...rest, sum: undefined })
          assert.ok(Math.abs(group.sum[field] - sum[field]) <= size * 1e-12)
        }
      }
    }

    for (let step = 0; step < STEPS; step++) {
      const name = chance(40) ? one(rare) : one(often)
      await steps[name]()
      const given = query()
      try {
        await check(docs, all(), given)
        if (held !== null && chance(4)) await check(held.snapshot.collection('docs'), held.documents, given)
      } catch (err) {
        err.message = `seed ${SEED}, step ${step} after ${name}, ${JSON.stringify(given)}, ${JSON.stringify(docs.explain(given))}: ${err.message}`
        throw err
      }
    }
    assert.deepEqual(docs.find({ orderBy: '_id' }).toArray(), all().sort((a, b) => reference.compare(a._id, b._id)))
    assert.ok(refused > 0)
    if (columns) assert.ok(blocks >= 60 / BLOCK)
    letGo()
    assert.deepEqual([...plans].sort(), columns ? ['columns', 'ids', 'index', 'scan'] : ['ids', 'index', 'scan'])
    for (const { fields } of docs.indexes()) await docs.dropIndex(fields)
    assert.equal(db.count({ prefix: '$index/' }), 0)
  })
})
