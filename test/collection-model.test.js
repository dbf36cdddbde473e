'use strict'
// The model test of collections: documents, updates and queries at random, with indexes that come and go, and the plain
// reference over a Map. `COLLECTION_STEPS=100000 COLLECTION_SEED=1 npx mocha test/collection-model.test.js` runs longer, or
// again what failed.

const assert = require('node:assert/strict')
const path = require('node:path')
const { ToonStore, decode } = require('..')
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

const NAMES = ['a', 'b', 'c', 'n.x', 'n.y', 'w z', '_id']
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
        out[name] = name === '_id' && !chance(4) ? one([idOf(), { $in: [idOf(), idOf()] }, { $gt: idOf() }, { $lte: idOf() }]) : condition()
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

    const steps = {
      async insert () {
        const many = Array.from({ length: 1 + pick(5) }, document)
        const ids = await docs.insert(many)
        ids.forEach((id, i) => model.set(id, many[i]))
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
        await docs.put(id, own)
        model.set(id, own)
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
        await db.transaction(tx => {
          tx.collection('docs').put(id, own)
          tx.collection('docs').delete(gone)
        })
        model.set(id, own)
        model.delete(gone)
      },
      async createIndex () {
        const fields = one(['a', 'b', 'n.x', ['a', 'b'], ['b', 'n.y', 'c'], 'w z'])
        const job = docs.createIndex(fields)
        const id = idOf()
        const own = document()
        await Promise.all([job, docs.put(id, own)]) // a write while it is built
        model.set(id, own)
      },
      async dropIndex () {
        const { fields } = one([...docs.indexes(), { fields: ['a'] }])
        await docs.dropIndex(fields)
      },
      async reopen () {
        await db.close()
        await open()
      },
      compact: () => db.compact(),
      buildColumns: () => columns ? docs.buildColumns() : db.sync(),
      checkpoint: () => db.checkpoint()
    }
    const rare = ['createIndex', 'dropIndex', 'reopen', 'compact', 'checkpoint', 'buildColumns', 'buildColumns']
    const often = ['insert', 'put', 'put', 'put', 'update', 'update', 'delete', 'transaction']

    async function check (given) {
      const expected = reference.find(all(), given)
      plans.add(docs.explain(given).plan)
      if (given.fields !== undefined && given.offset === undefined && given.limit === undefined && given.orderBy === undefined) {
        const { rows, columns: found } = docs.findColumns(given)
        const byColumns = Array.from({ length: rows }, (_, i) => JSON.stringify(given.fields.map(name => found[name][i])))
        const wanted = expected.map(d => JSON.stringify(given.fields.map(name => d[name] ?? null)))
        assert.deepEqual(byColumns.sort(), wanted.sort())
      }
      const found = docs.find(given).toArray()
      if (given.orderBy === undefined && (given.limit !== undefined || given.offset !== undefined)) {
        assert.equal(found.length, expected.length) // any of them
        return
      }
      const sorted = list => given.orderBy === undefined ? list.map(v => JSON.stringify(v)).sort() : list
      assert.deepEqual(sorted(found), sorted(expected))
      if (chance(3)) {
        assert.deepEqual(sorted(await docs.findAsync(given)), sorted(expected))
        const whole = { ...given, fields: undefined }
        assert.deepEqual(sorted(byName(decode(docs.toToon(whole)))), sorted(byName(reference.find(all(), whole))))
        assert.equal(docs.count({ where: given.where }), reference.find(all(), { where: given.where }).length)
        if (given.orderBy !== undefined) assert.deepEqual(docs.findOne(given), expected[0])
        const [groupBy, field] = [one(NAMES), one(NAMES)]
        const groups = docs.aggregate({ where: given.where, groupBy, count: true, sum: field, min: field, max: field })
        const expectedGroups = new Map(reference.aggregate(all(), { where: given.where, groupBy, field }).map(g => [JSON.stringify(g.group), g]))
        assert.equal(groups.length, expectedGroups.size)
        for (const group of groups) {
          const { size, sum, ...rest } = expectedGroups.get(JSON.stringify(group.group))
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
        await check(given)
      } catch (err) {
        err.message = `seed ${SEED}, step ${step} after ${name}, ${JSON.stringify(given)}, ${JSON.stringify(docs.explain(given))}: ${err.message}`
        throw err
      }
    }
    assert.deepEqual(docs.find({ orderBy: '_id' }).toArray(), all().sort((a, b) => reference.compare(a._id, b._id)))
    assert.deepEqual([...plans].sort(), columns ? ['columns', 'ids', 'index', 'scan'] : ['ids', 'index', 'scan'])
    for (const { fields } of docs.indexes()) await docs.dropIndex(fields)
    assert.equal(db.count({ prefix: '$index/' }), 0)
  })
})
