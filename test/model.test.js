'use strict'
// The model test: commands at random on a store with tiny segments and tiny checkpoints, and on two Maps that say what must be
// there. `MODEL_RUNS=10000 MODEL_SEED=1 npx mocha test/model.test.js` runs longer, or again what failed.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const fc = require('fast-check')
const { ToonStore } = require('..')

const RUNS = Number(process.env.MODEL_RUNS ?? 500)
const SEED = process.env.MODEL_SEED === undefined ? undefined : Number(process.env.MODEL_SEED)

const bytes = text => Buffer.from(text)
const order = (a, b) => Buffer.compare(bytes(a), bytes(b))

// Few keys, so that they meet: plain ones, odd ones, and prefixes of each other.
const key = fc.constantFrom('', 'a', 'ab', 'abc', 'b', 'b c', 'c/1', 'c/2', 'c/10', 'é', '😀', 'row.1', 'hex.00', '#', '-', 'z'.repeat(300))
const value = fc.oneof(
  { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme' }) },
  { weight: 1, arbitrary: fc.nat(2000).map(n => 'x'.repeat(n)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map(array => Buffer.from(array)) }
)
const normal = v => Buffer.isBuffer(v) ? v : JSON.parse(JSON.stringify(v))

const bound = fc.option(key, { nil: undefined })
const range = fc.record({
  gt: bound, gte: bound, lt: bound, lte: bound, prefix: fc.option(fc.constantFrom('', 'a', 'c/', 'é'), { nil: undefined }),
  reverse: fc.boolean(), limit: fc.option(fc.nat(6), { nil: undefined })
})

function select (map, { gt, gte, lt, lte, prefix, reverse, limit }) {
  let keys = [...map.keys()].sort(order)
  if (gte !== undefined) keys = keys.filter(k => order(k, gte) >= 0)
  else if (gt !== undefined) keys = keys.filter(k => order(k, gt) > 0)
  if (lte !== undefined) keys = keys.filter(k => order(k, lte) <= 0)
  else if (lt !== undefined) keys = keys.filter(k => order(k, lt) < 0)
  if (prefix !== undefined) keys = keys.filter(k => k.startsWith(prefix))
  if (reverse) keys.reverse()
  return keys.slice(0, limit)
}

// A command changes model and store, and compares what they say.
class Command {
  constructor (name, args, run) {
    this.name = name
    this.args = args
    this.act = run
  }

  check () { return true }
  async run (model, real) { await this.act(model, real, this.args) }
  toString () { return `${this.name}(${fc.stringify(this.args)})` }
}
const command = (name, args, run) => fc.record(args).map(given => new Command(name, given, run))

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
  it(`agrees with the store over ${RUNS} lists of commands`, async function () {
    this.timeout(600000)
    const base = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-model-'))
    let n = 0
    try {
      await fc.assert(fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: 'max' }), async list => {
        const dir = path.join(base, String(n++))
        const real = {
          db: null,
          async open () {
            real.db = await ToonStore.open(dir, { segmentSize: 4096, checkpointBytes: 4096, durability: 'close' })
          }
        }
        await real.open()
        try {
          await fc.asyncModelRun(() => ({ model: { keys: new Map(), rows: new Map(), nextRow: 0 }, real }), list)
        } finally {
          await real.db.close()
          fs.rmSync(dir, { recursive: true, force: true })
        }
      }), { numRuns: RUNS, ...(SEED !== undefined && { seed: SEED }) })
    } finally {
      fs.rmSync(base, { recursive: true, force: true })
    }
  })
})
