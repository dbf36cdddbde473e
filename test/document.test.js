'use strict'
// toToon and projections against plain JavaScript over the same values.

const assert = require('node:assert/strict')
const fc = require('fast-check')
const { encode, decode } = require('..')
const { estimateTokens } = require('../lib/tokens')
const { setup } = require('./support')

// What fields are of a document, the slow and plain way.
function pick (value, fields, nulls) {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    return value.map(item => typeof item === 'object' && item !== null && !Array.isArray(item) ? pick(item, fields, nulls) : item)
  }
  const entries = []
  for (const field of fields) {
    const path = typeof field === 'string' ? field.split('.') : field
    let found = value
    for (const name of path) {
      found = typeof found === 'object' && found !== null && !Array.isArray(found) && Object.hasOwn(found, name) ? found[name] : undefined
    }
    if (found !== undefined) entries.push([path.join('.'), found])
    else if (nulls) entries.push([path.join('.'), null])
  }
  return Object.fromEntries(entries)
}

function oracle (rows, { fields, name, delimiter }) {
  const all = Object.fromEntries(rows.map(([key, value]) => [key, fields === undefined ? value : pick(value, fields, true)]))
  return encode(name === undefined ? all : Object.fromEntries([[name, all]]), { delimiter })
}

const names = ['id', 'name', 'a', 'b', 'a.b', 'with space', '__proto__', '', 'x-y', 'é']
const strings = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 8 }),
  fc.constantFrom('', ' ', 'null', 'true', '-', '- a', '5', '05', '1e3', 'a,b', 'a|b', 'a\tb', 'a\nb', '"', '\\', 'a: b', '[1]', '{a}', '#', 'é,|',
    'base64:AQ==', '\ufeffx'))
const scalars = fc.oneof(strings, fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }).map(x => x === 0 ? 0 : x),
  fc.boolean(), fc.constant(null))
const { value: values } = fc.letrec(tie => ({
  value: fc.oneof({ maxDepth: 4, depthSize: 'small' }, scalars, tie('object'), tie('array'), tie('table'), tie('keyed')),
  object: fc.dictionary(fc.constantFrom(...names), tie('value'), { maxKeys: 5 }),
  array: fc.array(tie('value'), { maxLength: 4 }),
  table: fc.array(fc.record({ id: scalars, a: fc.record({ b: scalars, 'with space': scalars }) }), { maxLength: 3 }),
  keyed: fc.dictionary(fc.constantFrom(...names), fc.record({ id: scalars, b: scalars, a: fc.record({ b: scalars }) }), { maxKeys: 3 })
}))
const documents = fc.dictionary(fc.constantFrom(...names), values, { maxKeys: 7 })
const uniform = fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 4 }).chain(keys =>
  fc.array(fc.tuple(...keys.map(() => scalars)).map(cells => Object.fromEntries(keys.map((key, i) => [key, cells[i]]))), { maxLength: 5 }))
const bodies = fc.oneof(
  fc.array(documents, { maxLength: 5 }), uniform, fc.array(values, { maxLength: 5 }),
  fc.tuple(uniform, documents).map(([rows, odd]) => [...rows, odd]))
  .map(list => JSON.parse(JSON.stringify(list))) // ordinary prototypes
const keysOf = fc.uniqueArray(fc.oneof(strings.map(s => `k${s}`), fc.constantFrom('__proto__', 'a b', 'é')), { minLength: 6, maxLength: 6 })
const fieldLists = fc.uniqueArray(fc.oneof(
  fc.constantFrom(...names), fc.constantFrom('a.id', 'a.a.b', 'id.b', 'b.a', 'name.length'),
  fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 })
), { maxLength: 5, selector: field => typeof field === 'string' ? field : field.join('.') })

// Rows in the order of their keys, which is that of UTF-8.
function rowsOf (keys, list) {
  return list.map((value, i) => [keys[i], value]).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

describe('documents of ranges', () => {
  const { openStore } = setup()

  it('pick what plain JavaScript picks, waiting or not, as value, text and bytes', async () => {
    const db = await openStore({ durability: 'close' })
    await fc.assert(fc.asyncProperty(keysOf, bodies, fieldLists, async (keys, list, fields) => {
      await db.clear()
      const rows = rowsOf(keys, list)
      await db.batch(rows.map(([key, value]) => ({ type: 'put', key, value })))
      const expected = rows.map(([, value]) => pick(value, fields, false))
      assert.deepStrictEqual(db.values({ fields }).toArray(), expected)
      const waited = []
      for await (const pair of db.range({ fields, as: 'text' })) waited.push(pair)
      assert.deepStrictEqual(waited, rows.map(([key], i) => [key, encode(expected[i])]))
      assert.deepStrictEqual(db.values({ fields: ['name'], as: 'text' }).toArray(), rows.map(([, value]) => encode(pick(value, ['name'], false))))
    }), { numRuns: 400 })
  })

  it('are what encode makes of the rows, and come back', async () => {
    const reference = await import('@toon-format/toon')
    const db = await openStore({ durability: 'close' })
    let tables = 0
    await fc.assert(fc.asyncProperty(
      keysOf, bodies, fc.option(fieldLists, { nil: undefined }), fc.option(strings, { nil: undefined }), fc.constantFrom(',', '\t', '|'),
      async (keys, list, fields, name, delimiter) => {
        await db.clear()
        const rows = rowsOf(keys, list)
        await db.batch(rows.map(([key, value]) => ({ type: 'put', key, value })))
        const options = { fields, name, delimiter }
        const text = db.toToon(options)
        assert.equal(text, oracle(rows, options))
        if (/^(\S+)?\[\d+:/.test(text)) tables++
        const back = JSON.parse(JSON.stringify(reference.decode(text, { strict: true })))
        assert.deepStrictEqual(back, JSON.parse(JSON.stringify(decode(oracle(rows, options)))))
      }), { numRuns: 1500 })
    assert.ok(tables > 100, `${tables} tables`)
  })

  it('reach a name with dots by an array of names, and refuse two paths of one name', async () => {
    const db = await openStore()
    await db.put('a', { 'x.y': 1, x: { y: 2 } })
    assert.deepEqual(db.values({ fields: [['x.y']] }).toArray(), [{ 'x.y': 1 }])
    assert.deepEqual(db.values({ fields: ['x.y', ['x', 'y'], 'x.y'] }).toArray(), [{ 'x.y': 2 }])
    for (const fields of [['x.y', ['x.y']], [[]], [['a', 1]], [5], 'a', [null], ['\ud800']]) {
      assert.throws(() => db.range({ fields }), { name: 'TypeError', code: 'TOON_EINVAL' }, JSON.stringify(fields))
      assert.throws(() => db.toToon({ fields }), { name: 'TypeError', code: 'TOON_EINVAL' }, JSON.stringify(fields))
    }
  })

  it('keep the order of keys that look like numbers', async () => {
    const db = await openStore()
    for (const key of ['10', '9', '1']) await db.put(key, { n: Number(key) })
    assert.equal(db.toToon(), '[3:]{n}:\n  "1": 1\n  "10": 10\n  "9": 9')
    assert.equal(db.toToon({ reverse: true, limit: 2 }), '[2:]{n}:\n  "9": 9\n  "10": 10')
  })

  it('take bytes as base64, leave rows without keys out, and refuse keys that are not UTF-8', async () => {
    const db = await openStore()
    await db.put('a', Buffer.from([1]))
    await db.rows.put({ n: 1 })
    assert.equal(db.toToon(), encode({ a: 'base64:AQ==' }))
    assert.equal(db.toToon({ fields: ['n'] }), encode({ a: 'base64:AQ==' }))
    await db.put(Buffer.from([0xff]), 1)
    assert.throws(() => db.toToon(), { code: 'TOON_EINVAL', message: /UTF-8/ })
    assert.equal(db.toToon({ lt: 'b' }), encode({ a: 'base64:AQ==' }))
  })

  it('are of a snapshot, and of nothing that is closed', async () => {
    const db = await openStore()
    await db.put('a', { n: 1 })
    const then = db.snapshot()
    await db.put('a', { n: 2 })
    assert.equal(then.toToon(), 'a:\n  n: 1')
    assert.equal(then.toToon({ maxTokens: 1000 }), 'a:\n  n: 1')
    then.close()
    for (const options of [{}, { limit: 0 }, { maxTokens: 5 }, { maxTokens: 5, limit: 0 }]) {
      assert.throws(() => then.toToon(options), { code: 'TOON_ECLOSED' })
    }
    await db.close()
    for (const options of [{}, { limit: 0 }, { maxTokens: 5 }]) assert.throws(() => db.toToon(options), { code: 'TOON_ECLOSED' })
  })

  it('refuse wrong options', async () => {
    const db = await openStore()
    const wrong = [
      { name: 5 }, { delimiter: ';' }, { maxTokens: '5' }, { countTokens: 5 }, { note: 1 }, { as: 'text' }, { keyAs: 'buffer' }, { signal: {} }, 5, null
    ]
    for (const options of wrong) assert.throws(() => db.toToon(options), { name: 'TypeError', code: 'TOON_EINVAL' }, JSON.stringify(options))
    for (const maxTokens of [-1, 0.5, NaN, Infinity]) assert.throws(() => db.toToon({ maxTokens }), { name: 'RangeError', code: 'TOON_EINVAL' })
    await db.put('a', 1)
    for (const bad of ['5', NaN, Infinity, -1, undefined]) {
      assert.throws(() => db.toToon({ maxTokens: 5, limit: 0, countTokens: () => bad }), { name: 'TypeError', code: 'TOON_EINVAL' })
      assert.throws(() => db.toToon({ maxTokens: 5, countTokens: () => bad }), { name: 'TypeError', code: 'TOON_EINVAL' })
    }
    const reason = new Error('enough')
    assert.throws(() => db.toToon({ maxTokens: 5, countTokens () { throw reason } }), reason)
    assert.throws(() => db.toToon({ signal: AbortSignal.abort(reason) }), reason)
    assert.equal(db.toToon({ maxTokens: 0 }), '')
  })
})

describe('maxTokens', () => {
  const { openStore } = setup()
  const row = i => ({ id: i, name: `n${'x'.repeat(i * 7 % 13)}` })
  let db
  beforeEach(async () => {
    db = await openStore({ durability: 'close' })
    await db.batch(Array.from({ length: 300 }, (_, i) => ({ type: 'put', key: `k${1000 + i}`, value: row(i) })))
  })
  // The text of the most rows that fit, tried one by one.
  function most (options, count, budget, note) {
    let best
    for (let limit = 1; limit <= 300; limit++) {
      const left = 300 - limit
      const text = db.toToon({ ...options, limit }) + (note && left ? `\n# ${left} more row${left === 1 ? '' : 's'}` : '')
      if (count(text) <= budget) best = text
    }
    return best
  }

  it('takes as many rows as fit and not one more, in few counts', () => {
    const total = db.toToon().length
    for (const count of [text => text.length, text => Math.ceil(text.length / 3), text => text.split(/\W+/).length]) {
      const whole = count(db.toToon({ name: 'all' }))
      for (const budget of [whole, whole - 1, whole + 1, Math.floor(whole / 2), Math.floor(whole / 9), 60, total]) {
        let calls = 0
        const countTokens = text => { calls++; return count(text) }
        const text = db.toToon({ name: 'all', maxTokens: budget, countTokens })
        assert.ok(count(text) <= budget)
        assert.equal(text, most({ name: 'all' }, count, budget, false) ?? 'all:')
        assert.ok(calls <= 24, `${calls} calls`)
      }
    }
  })

  it('says how many rows are left out, within the budget', () => {
    const count = text => text.length
    const whole = db.toToon().length
    for (const budget of [whole, whole - 1, whole - 10, 2000, 500, 100, 60]) {
      const text = db.toToon({ maxTokens: budget, countTokens: count, note: true })
      assert.ok(text.length <= budget)
      assert.equal(text, most({}, count, budget, true))
      const left = Number(/# (\d+) more rows?$/.exec(text)?.[1] ?? 0)
      assert.equal(Object.keys(decode(text)).length, 300 - left)
      if (budget === whole) assert.equal(left, 0)
    }
    assert.equal(db.toToon({ maxTokens: 20, countTokens: count, note: true }), '# 300 more rows')
    assert.equal(db.toToon({ maxTokens: 20, countTokens: count, note: true, name: 'a' }), 'a:\n# 300 more rows')
    assert.equal(db.toToon({ note: true }), db.toToon())
    assert.match(db.toToon({ maxTokens: 200, countTokens: count, note: true, limit: 100 }), /\[(\d+):\][^]*# (\d+) more rows$/)
  })

  it('gives the document of no rows if none fits, and nothing if that is too much', () => {
    assert.equal(db.toToon({ maxTokens: 10, name: 'all', countTokens: text => text.length }), 'all:')
    assert.equal(db.toToon({ maxTokens: 3, name: 'all', countTokens: text => text.length }), '')
    assert.equal(db.toToon({ maxTokens: 0 }), '')
    assert.equal(db.toToon({ maxTokens: 3, name: 'all', limit: 0, countTokens: text => text.length }), '')
  })

  it('is never exceeded by a counter that is not additive', () => {
    const count = text => text.length % 7 + Math.floor(text.length / 5)
    for (let budget = 0; budget < 1200; budget += 37) {
      const text = db.toToon({ maxTokens: budget, countTokens: count })
      assert.ok(text === '' || count(text) <= budget)
    }
  })

  it('stays within the budget where a later row spoils the table', async () => {
    await db.put('k1150', { other: [1, { a: 2 }] })
    for (const budget of [200, 1000, 2000, 4000, 8000]) {
      const text = db.toToon({ maxTokens: budget, countTokens: t => t.length })
      assert.ok(text.length <= budget && text.length > budget * 0.5, `${text.length} of ${budget}`)
      decode(text)
    }
  })
})

describe('the estimate of tokens', () => {
  it('is within -10 % and +35 % of a real tokenizer, whatever the data', async () => {
    const { encode: tokens } = await import('gpt-tokenizer/encoding/o200k_base')
    const words = 'the quick brown fox jumps over lazy dog engine memory transaction snapshot isolation Berlin Oslo street'.split(' ')
    const some = (i, n) => Array.from({ length: n }, (_, j) => words[(i * 7 + j * 5 + i * j) % words.length]).join(' ')
    const kinds = {
      numbers: i => ({ id: i, a: i * 7919 % 100000, price: i * 37 % 10000 / 100 }),
      people: i => ({ id: i, name: some(i, 2), email: `${some(i, 1)}@${some(i + 1, 1)}.com`, active: i % 2 === 0 }),
      prose: i => ({ id: i, text: `${some(i, 30)}, ${some(i + 3, 12)}.` }),
      deep: i => ({ id: i, owner: { name: some(i, 2), address: { city: some(i, 1) } }, list: [{ a: 1, b: [i] }, { c: some(i, 1) }] }),
      dates: i => ({ id: i, at: new Date(1.7e12 + i * 7919333).toISOString() }),
      russian: i => ({ id: i, text: 'Быстрая лиса прыгает через ленивую собаку'.slice(i % 9) }),
      chinese: i => ({ id: i, text: '这是一个用于测试的数据库存储引擎'.slice(i % 5) })
    }
    for (const [kind, make] of Object.entries(kinds)) {
      const text = encode(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k/${i}`, make(i)])))
      const error = estimateTokens(text) / tokens(text).length - 1
      assert.ok(error > -0.1 && error < 0.35, `${kind}: ${(100 * error).toFixed(1)} %`)
    }
    assert.equal(estimateTokens(''), 0)
  })
})
