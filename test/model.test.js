'use strict'
// The model test: commands at random on a store, and on two Maps that say what must be there.

const assert = require('node:assert/strict')
const fc = require('fast-check')
const { key, range, select, command, check } = require('./model-commands')

const value = fc.oneof(
  { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme' }) },
  { weight: 1, arbitrary: fc.nat(2000).map(n => 'x'.repeat(n)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map(array => Buffer.from(array)) }
)
const normal = v => Buffer.isBuffer(v) ? v : JSON.parse(JSON.stringify(v))

function putAll (model, ops) {
  for (const op of ops) {
    if (op.type === 'put') model.keys.set(op.key, normal(op.value))
    else model.keys.delete(op.key)
  }
}

const operation = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('put'), key, value }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('del'), key }) }
)

const commands = [
  command('put', { key, value, sync: fc.boolean() }, async (model, real, given) => {
    if (given.sync) real.db.putSync(given.key, given.value)
    else await real.db.put(given.key, given.value)
    model.keys.set(given.key, normal(given.value))
    assert.deepEqual(real.db.get(given.key), normal(given.value))
  }),
  command('put many', { ops: fc.array(fc.record({ key, value }), { maxLength: 20 }) }, async (model, real, { ops }) => {
    await Promise.all(ops.map(op => real.db.put(op.key, op.value)))
    for (const op of ops) model.keys.set(op.key, normal(op.value))
  }),
  command('put ifAbsent', { key, value }, async (model, real, given) => {
    const absent = !model.keys.has(given.key)
    assert.equal(await real.db.put(given.key, given.value, { ifAbsent: true }), absent)
    if (absent) model.keys.set(given.key, normal(given.value))
  }),
  command('put ifVersion', { key, value, right: fc.boolean() }, async (model, real, given) => {
    const version = real.db.getEntry(given.key)?.version ?? 0
    const ifVersion = given.right ? version : version + 1
    assert.equal(await real.db.put(given.key, given.value, { ifVersion }), given.right)
    if (given.right) model.keys.set(given.key, normal(given.value))
  }),
  command('delete', { key, sync: fc.boolean() }, async (model, real, given) => {
    const existed = given.sync ? real.db.deleteSync(given.key) : await real.db.delete(given.key)
    assert.equal(existed, model.keys.delete(given.key))
  }),
  command('batch', { ops: fc.array(operation, { maxLength: 30 }), sync: fc.boolean() }, async (model, real, { ops, sync }) => {
    if (sync) real.db.batchSync(ops)
    else await real.db.batch(ops)
    putAll(model, ops)
  }),
  command('batch that fails', { ops: fc.array(operation, { maxLength: 5 }) }, async (model, real, { ops }) => {
    await assert.rejects(real.db.batch([...ops, { type: 'put', key: 'a', value: NaN }]), { code: 'TOON_EINVAL' })
  }),
  command('clear', { range }, async (model, real, given) => {
    const keys = select(model.keys, given.range)
    assert.equal(await real.db.clear(given.range), keys.length)
    for (const k of keys) model.keys.delete(k)
  }),
  command('rows.put', { values: fc.array(value, { maxLength: 5 }) }, async (model, real, { values }) => {
    const ids = await Promise.all(values.map(v => real.db.rows.put(v)))
    ids.forEach((id, i) => {
      assert.equal(id, model.nextRow++)
      model.rows.set(id, normal(values[i]))
    })
  }),
  command('rows.update', { id: fc.nat(12), value }, async (model, real, given) => {
    assert.equal(await real.db.rows.update(given.id, given.value), model.rows.has(given.id))
    if (model.rows.has(given.id)) model.rows.set(given.id, normal(given.value))
  }),
  command('rows.delete', { id: fc.nat(12) }, async (model, real, { id }) => {
    assert.equal(await real.db.rows.delete(id), model.rows.delete(id))
  }),
  command('rows.scan', { gte: fc.nat(10), reverse: fc.boolean() }, async (model, real, { gte, reverse }) => {
    const ids = [...model.rows.keys()].filter(id => id >= gte).sort((a, b) => a - b)
    if (reverse) ids.reverse()
    assert.deepEqual(real.db.rows.scan({ gte, reverse }).toArray(), ids.map(id => [id, model.rows.get(id)]))
    assert.equal(real.db.rows.length, model.rows.size)
  }),
  command('get', { key }, async (model, real, given) => {
    const expected = model.keys.get(given.key)
    assert.deepEqual(real.db.get(given.key), expected)
    assert.deepEqual(await real.db.getAsync(given.key), expected)
    assert.equal(real.db.has(given.key), expected !== undefined)
  }),
  command('range', { range, awaited: fc.boolean() }, async (model, real, given) => {
    const keys = select(model.keys, given.range)
    const rows = []
    if (given.awaited) for await (const row of real.db.range(given.range)) rows.push(row)
    else rows.push(...real.db.range(given.range))
    assert.deepEqual(rows, keys.map(k => [k, model.keys.get(k)]))
    assert.equal(real.db.count(given.range), keys.length)
    assert.deepEqual(real.db.getMany(keys), keys.map(k => model.keys.get(k)))
    assert.equal(real.db.size, model.keys.size)
  }),
  command('a range over later writes', { range, ops: fc.array(operation, { maxLength: 10 }) }, async (model, real, given) => {
    const expected = select(model.keys, given.range).map(k => [k, model.keys.get(k)])
    const made = real.db.range(given.range)
    await real.db.batch(given.ops)
    putAll(model, given.ops)
    assert.deepEqual(made.toArray(), expected)
  }),
  command('checkpoint', {}, async (model, real) => real.db.checkpoint()),
  command('sync', {}, async (model, real) => real.db.sync()),
  command('reopen', {}, async (model, real) => {
    await real.db.close()
    await real.open()
    assert.deepEqual(new Map(real.db.range()), model.keys)
    assert.deepEqual(new Map(real.db.rows.scan()), model.rows)
  })
]

describe('the model', () => {
  it('agrees with the store over lists of commands', async function () {
    this.timeout(600000)
    await check(commands, 500, () => ({ keys: new Map(), rows: new Map(), nextRow: 0 }))
  })
})
