'use strict'
// The model test of transactions and snapshots: several of each are open at a time and take turns with plain writes, checkpoints
// and compactions. The model is a Map that is copied whenever one begins; `version` counts what a key was put in.

const assert = require('node:assert/strict')
const fc = require('fast-check')
const { range, select, command, check } = require('./model-commands')

const MOST = 2 // open at a time
const key = fc.constantFrom('a', 'ab', 'b', 'c/1') // few, so that they meet
const which = fc.nat(MOST - 1)
const ops = fc.array(fc.record({ key, value: fc.option(fc.nat(9), { nil: undefined, freq: 1 }) }), { minLength: 1, maxLength: 6 })

const values = rows => new Map(Array.from(rows, ([k, row]) => [k, row.value]))

function write (model, list) {
  model.version++
  for (const op of list) {
    if (op.value === undefined) model.rows.delete(op.key)
    else model.rows.set(op.key, { value: op.value, version: model.version })
  }
}

// Of a transaction's view: a key that was put since its begin, or is gone.
function changed (model, tx, k) {
  const now = model.rows.get(k)
  return now === undefined ? tx.base.has(k) : now.version > tx.began
}

function conflicts (model, tx) {
  const keys = [...tx.own.keys(), ...(tx.serializable ? tx.read : [])]
  if (keys.some(k => changed(model, tx, k))) return true
  return tx.serializable && tx.ranges.some(bounds => {
    const before = select(tx.base, bounds)
    const after = select(model.rows, bounds)
    return before.length !== after.length || before.some((k, i) => k !== after[i] || changed(model, tx, k))
  })
}

// What a transaction sees.
function seen (tx) {
  const rows = values(tx.base)
  for (const [k, value] of tx.own) value === undefined ? rows.delete(k) : rows.set(k, value)
  return rows
}

// A command on one of the transactions (snapshots) that are open.
const within = (name, list, args, act, weight) => command(name, { at: which, ...args }, async (model, real, given) => {
  const one = model[list][given.at]
  if (one !== undefined) await act(one, given, model)
}, weight)

const commands = [
  command('batch', { ops, sync: fc.boolean() }, async (model, real, given) => {
    const batch = given.ops.map(op => op.value === undefined ? { type: 'del', key: op.key } : { type: 'put', ...op })
    if (given.sync) real.db.batchSync(batch)
    else await real.db.batch(batch)
    write(model, given.ops)
  }, 3),
  command('begin', { at: which, serializable: fc.boolean() }, async (model, real, { at, serializable }) => {
    if (model.transactions[at] !== undefined) return
    model.transactions[at] = {
      real: real.db.begin({ isolation: serializable ? 'serializable' : 'snapshot' }),
      base: new Map(model.rows),
      began: model.version,
      own: new Map(),
      read: new Set(),
      ranges: [],
      savepoint: null,
      serializable
    }
  }, 6),
  within('tx.get', 'transactions', { key }, async (tx, given) => {
    assert.equal(tx.real.get(given.key), seen(tx).get(given.key))
    assert.equal(tx.real.has(given.key), seen(tx).has(given.key))
    if (!tx.own.has(given.key)) tx.read.add(given.key)
  }, 4),
  within('tx.put', 'transactions', { key, value: fc.nat(9) }, async (tx, given) => {
    tx.real.put(given.key, given.value)
    tx.own.set(given.key, given.value)
  }, 4),
  within('tx.delete', 'transactions', { key }, async (tx, given) => {
    if (!tx.own.has(given.key)) tx.read.add(given.key)
    assert.equal(tx.real.delete(given.key), seen(tx).has(given.key))
    tx.own.set(given.key, undefined)
  }),
  within('tx.range', 'transactions', { range: range.map(all => ({ ...all, limit: undefined })) }, async (tx, given) => {
    const rows = seen(tx)
    assert.deepEqual(tx.real.range(given.range).toArray(), select(rows, given.range).map(k => [k, rows.get(k)]))
    tx.ranges.push(given.range)
  }, 3),
  within('tx.savepoint', 'transactions', {}, async tx => {
    tx.savepoint = { real: tx.real.savepoint(), own: new Map(tx.own) }
  }),
  within('tx rolls back to its savepoint', 'transactions', {}, async tx => {
    if (tx.savepoint === null) return
    tx.savepoint.real.rollback()
    tx.own = new Map(tx.savepoint.own)
  }),
  within('tx.commit', 'transactions', {}, async (tx, { at }, model) => {
    model.transactions[at] = undefined
    if (tx.own.size > 0 && conflicts(model, tx)) {
      await assert.rejects(tx.real.commit(), { code: 'TOON_ECONFLICT' })
    } else {
      await tx.real.commit()
      write(model, Array.from(tx.own, ([k, value]) => ({ key: k, value })))
    }
    assert.throws(() => tx.real.get('a'), { code: 'TOON_ECLOSED' })
  }, 5),
  within('tx.rollback', 'transactions', {}, async (tx, { at }, model) => {
    model.transactions[at] = undefined
    tx.real.rollback()
    await assert.rejects(tx.real.commit(), { code: 'TOON_ECLOSED' })
  }),
  command('two commits at once', { a: which, b: which }, async (model, real, { a, b }) => {
    const [first, second] = [model.transactions[a], model.transactions[b]]
    if (a === b || first === undefined || second === undefined) return
    const results = await Promise.allSettled([first.real.commit(), second.real.commit()])
    for (const [i, tx] of [first, second].entries()) {
      const refused = tx.own.size > 0 && conflicts(model, tx)
      assert.equal(results[i].reason?.code, refused ? 'TOON_ECONFLICT' : undefined)
      if (!refused) write(model, Array.from(tx.own, ([k, value]) => ({ key: k, value })))
    }
    model.transactions[a] = model.transactions[b] = undefined
  }),
  command('transaction()', { ops, throws: fc.boolean() }, async (model, real, given) => {
    const done = real.db.transaction(tx => {
      for (const op of given.ops) op.value === undefined ? tx.delete(op.key) : tx.put(op.key, op.value)
      if (given.throws) throw new RangeError('no')
      return tx.get(given.ops[0].key)
    })
    if (given.throws) return assert.rejects(done, RangeError)
    const result = await done
    write(model, given.ops)
    assert.equal(result, model.rows.get(given.ops[0].key)?.value)
  }),
  command('update', { key, gone: fc.boolean() }, async (model, real, given) => {
    const value = given.gone ? undefined : (model.rows.get(given.key)?.value ?? 0) + 1
    assert.equal(await real.db.update(given.key, old => given.gone ? undefined : (old ?? 0) + 1), value)
    write(model, [{ key: given.key, value }])
  }),
  command('snapshot', { at: which }, async (model, real, { at }) => {
    model.snapshots[at]?.real.close()
    model.snapshots[at] = { real: real.db.snapshot(), rows: values(model.rows) }
  }),
  within('snapshot.get', 'snapshots', { key }, async ({ real, rows }, given) => {
    assert.equal(real.get(given.key), rows.get(given.key))
  }),
  within('snapshot.range', 'snapshots', { range }, async ({ real, rows }, given) => {
    assert.deepEqual(real.range(given.range).toArray(), select(rows, given.range).map(k => [k, rows.get(k)]))
    assert.equal(real.count(given.range), select(rows, given.range).length)
  }),
  command('checkpoint', {}, async (model, real) => real.db.checkpoint()),
  command('compact', {}, async (model, real) => { await real.db.compact() }),
  command('everything', {}, async (model, real) => {
    assert.deepEqual(new Map(real.db.range()), values(model.rows))
    assert.equal(real.db.size, model.rows.size)
  }),
  command('reopen', {}, async (model, real) => {
    await real.db.close()
    for (const { real: tx } of model.transactions.filter(Boolean)) {
      assert.throws(() => tx.get('a'), { code: 'TOON_ECLOSED' })
      await assert.rejects(tx.commit(), { code: 'TOON_ECLOSED' })
    }
    for (const { real: snapshot } of model.snapshots.filter(Boolean)) assert.throws(() => snapshot.get('a'), { code: 'TOON_ECLOSED' })
    model.transactions = []
    model.snapshots = []
    await real.open()
    assert.deepEqual(new Map(real.db.range()), values(model.rows))
  })
]

describe('the model of transactions and snapshots', () => {
  it('agrees with the store over lists of commands', async function () {
    this.timeout(600000)
    await check(commands, 500, () => ({ rows: new Map(), version: 0, transactions: [], snapshots: [] }))
  })
})
