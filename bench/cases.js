'use strict'
// The cases. Each runs in a process of its own (child.js), for one driver. A case has
//   title, unit, what    for the tables; `what` says what is measured, and whether keys are warm (the same string objects
//                        at each call) or fresh (built at each call)
//   goal                 { least } or { most }: what toonstore has to reach; `rust`: what a Rust engine of this kind was
//                        once published with, in process
//   durable              a write counts when it is on the disk
//   drivers              if not all of them
//   fixture              the store it begins with, one of FIXTURES; without one it begins with an empty directory
//   changes              it writes to its fixture, so each run gets a copy
//   run (bench)          measures; resolves to calls or rows a second, or ms, one figure for each sample
// `bench` is what child.js gives: open(), fill(), repeat(), sizes and values.

const { keyOf, shuffled } = require('./data')

const FLIGHT = 1000 // calls that are under way at once, and rows of a batch
const PERSISTENT = ['toonstore', 'lmdb', 'better-sqlite3', 'classic-level']

// The numbers of the loaded keys, round and round in a random order.
function walk (bench) {
  const order = shuffled(bench.rows, 7)
  let at = 0
  return () => {
    if (at === order.length) at = 0
    return order[at++]
  }
}

function expectText (bench, total, count) {
  if (total !== count * bench.values[0].length) throw new Error(`read ${total} characters, not ${count} values`)
}

async function expectValue (bench, db, key, value) {
  if (await db.get(key) !== value) throw new Error(`${key} is not what was put last`)
}

// FLIGHT calls at once. `call(i)` makes the i-th.
function flight (db, call) {
  if (db.sync) {
    for (let i = 0; i < FLIGHT; i++) call(i)
    return undefined
  }
  const promises = new Array(FLIGHT)
  for (let i = 0; i < FLIGHT; i++) promises[i] = call(i)
  return Promise.all(promises)
}

async function putInFlight (bench) {
  const db = await bench.open()
  const next = walk(bench)
  let key, value
  const speed = await bench.repeat(db, FLIGHT, () => flight(db, i => {
    key = keyOf(next())
    value = bench.values[i]
    return db.put(key, value)
  }))
  await expectValue(bench, db, key, value)
  await db.close()
  return speed
}

async function putOneByOne (bench) {
  const db = await bench.open()
  const next = walk(bench)
  let key, value
  let at = 0
  const speed = await bench.repeat(db, 1, () => {
    key = keyOf(next())
    value = bench.values[at++ % FLIGHT]
    return db.put(key, value)
  })
  await expectValue(bench, db, key, value)
  await db.close()
  return speed
}

async function batch (bench) {
  const db = await bench.open()
  const next = walk(bench)
  let keys
  const speed = await bench.repeat(db, FLIGHT, () => {
    keys = Array.from({ length: FLIGHT }, () => keyOf(next()))
    return db.batch(keys, bench.values)
  })
  await expectValue(bench, db, keys[FLIGHT - 1], bench.values[FLIGHT - 1])
  await db.close()
  return speed
}

// All of FIXTURES.random, the first tenth to warm up.
async function load (bench) {
  const db = await bench.open()
  const warm = bench.rows / 10
  await bench.fill(db, bench.values, bench.order.subarray(0, warm))
  const start = performance.now()
  await bench.fill(db, bench.values, bench.order.subarray(warm))
  const seconds = (performance.now() - start) / 1000
  await expectValue(bench, db, keyOf(bench.order[bench.rows - 1]), bench.values[FLIGHT - 1])
  await db.close()
  return [(bench.rows - warm) / seconds]
}

function get (fresh) {
  return async bench => {
    const db = await bench.open()
    const next = walk(bench)
    const warm = Array.from({ length: bench.rows }, (_, i) => keyOf(i))
    let at = 0
    for (const key of warm) at += db.get(key).length // all pages are in memory now, and the keys are flat
    expectText(bench, at, bench.rows)
    const speed = await bench.repeat(db, FLIGHT, () => {
      let total = 0
      for (let i = 0; i < FLIGHT; i++) total += db.get(fresh ? keyOf(next()) : warm[next()]).length
      expectText(bench, total, FLIGHT)
    })
    await db.close()
    return speed
  }
}

async function mixed (bench) {
  const db = await bench.open()
  const next = walk(bench)
  const speed = await bench.repeat(db, FLIGHT, async () => {
    let total = 0
    await flight(db, i => {
      if (i % 2 === 0) return db.put(keyOf(next()), bench.values[i])
      total += db.get(keyOf(next())).length
    })
    expectText(bench, total, FLIGHT / 2)
  })
  await db.close()
  return speed
}

// Each delete finds a key. The first fifth of the keys is to warm up.
async function remove (bench) {
  const db = await bench.open()
  const next = walk(bench)
  const warm = bench.rows / 5
  const some = async count => {
    for (let i = 0; i < count; i += FLIGHT) await flight(db, () => db.del(keyOf(next())))
  }
  await some(warm)
  const start = performance.now()
  await some(bench.rows - warm)
  const seconds = (performance.now() - start) / 1000
  for (const i of [0, 1, bench.rows - 1]) await expectValue(bench, db, keyOf(i), undefined)
  await db.close()
  return [(bench.rows - warm) / seconds]
}

async function scan (bench) {
  const db = await bench.open()
  const pass = async () => {
    let total = 0
    let count = 0
    await db.scan((key, value) => {
      total += value.length + key.length - 16
      count++
    })
    if (count !== bench.rows) throw new Error(`scanned ${count} rows of ${bench.rows}`)
    expectText(bench, total, count)
  }
  const speed = await bench.repeat(db, bench.rows, pass)
  await db.close()
  return speed
}

// In a fresh process, once.
async function reopen (bench) {
  const key = keyOf(bench.many >> 1)
  const start = performance.now()
  const db = await bench.open()
  const value = await db.get(key)
  const ms = performance.now() - start
  if (value?.length !== 100) throw new Error('the value is not there')
  await db.close()
  return [ms]
}

const TURNS = 16 // puts that each writer awaits one after the other, in one call of the benchmark

function writers (count) {
  return async bench => {
    const db = await bench.open()
    const next = walk(bench)
    const writer = async () => {
      for (let i = 0; i < TURNS; i++) await db.put(keyOf(next()), bench.values[i])
    }
    const all = db.sync
      ? () => { for (let i = 0; i < count * TURNS; i++) db.put(keyOf(next()), bench.values[i % FLIGHT]) }
      : () => Promise.all(Array.from({ length: count }, writer))
    const speed = await bench.repeat(db, count * TURNS, all)
    await db.close()
    return speed
  }
}

const PLAIN = '1 KB plain texts'

// Stores to begin with, loaded by batches of 1000 and closed.
const FIXTURES = {
  random: 'random order, plain texts of 1 KB',
  ascending: 'key order, plain texts of 1 KB',
  quoted: 'random order, texts of 1 KB that need quotes',
  many: '1 M keys in key order, plain texts of 100 bytes'
}

const CASES = {
  'put-1000': {
    title: '1000 puts in flight',
    unit: 'puts/s',
    what: `1000 put calls, then all their promises; ${PLAIN} over 100 k existing keys in random order, keys fresh, values warm`,
    goal: { least: 250e3, rust: 91e3 },
    fixture: 'random',
    changes: true,
    run: putInFlight
  },
  'put-1': {
    title: 'puts awaited one by one',
    unit: 'puts/s',
    what: 'the same, each awaited before the next is called',
    fixture: 'random',
    changes: true,
    run: putOneByOne
  },
  batch: {
    title: 'batch of 1000 puts',
    unit: 'rows/s',
    what: `one atomic batch (a transaction, with SQLite) at a time; ${PLAIN} over 100 k existing keys in random order, keys fresh`,
    goal: { least: 300e3 },
    fixture: 'random',
    changes: true,
    run: batch
  },
  'batch-quoted': {
    title: 'batch of 1000 puts, quoted texts',
    unit: 'rows/s',
    what: 'the same with texts that TOON has to quote and escape',
    fixture: 'quoted',
    changes: true,
    run: batch
  },
  load: {
    title: 'load of 100 k new keys',
    unit: 'rows/s',
    what: `into an empty store, by batches of 1000 in random order, the first 10 k to warm up; ${PLAIN}, keys fresh`,
    run: load
  },
  get: {
    title: 'random GET, warm keys',
    unit: 'gets/s',
    what: `over 100 k keys of a store that was loaded, closed and opened again, no cache in front; ${PLAIN}, keys warm`,
    goal: { least: 1e6, rust: 222e3 },
    fixture: 'random',
    run: get(false)
  },
  'get-fresh': {
    title: 'random GET, fresh keys',
    unit: 'gets/s',
    what: 'the same, keys fresh',
    goal: { least: 1e6, rust: 222e3 },
    fixture: 'random',
    run: get(true)
  },
  'get-quoted': {
    title: 'random GET, warm keys, quoted texts',
    unit: 'gets/s',
    what: 'the same, keys warm, with texts that TOON has to quote and escape',
    fixture: 'quoted',
    run: get(false)
  },
  mixed: {
    title: 'mixed, 50 % GET and 50 % PUT',
    unit: 'calls/s',
    what: `500 gets and 500 puts by turns, then all promises; ${PLAIN} over 100 k keys in random order, keys fresh`,
    goal: { least: 118e3, rust: 118e3 },
    fixture: 'random',
    changes: true,
    run: mixed
  },
  delete: {
    title: '1000 deletes in flight',
    unit: 'deletes/s',
    what: '100 k existing keys of a store that was closed and opened again, in random order, keys fresh',
    goal: { least: 500e3, rust: 500e3 },
    fixture: 'random',
    changes: true,
    run: remove
  },
  scan: {
    title: 'scan, loaded in key order',
    unit: 'rows/s',
    what: `all 100 k keys and values of a store that was loaded, closed and opened again; ${PLAIN}`,
    goal: { least: 1.5e6 },
    fixture: 'ascending',
    run: scan
  },
  'scan-random': {
    title: 'scan, loaded in random order',
    unit: 'rows/s',
    what: 'the same, rows loaded in random order (which a Map keeps)',
    fixture: 'random',
    run: scan
  },
  reopen: {
    title: 'reopen with 1 M keys',
    unit: 'ms',
    what: 'open a closed store of 1 M texts of 100 bytes in a fresh process, and read one value',
    goal: { most: 5 },
    drivers: PERSISTENT,
    fixture: 'many',
    run: reopen
  },
  ...Object.fromEntries([1, 8, 64].map(count => [`durable-${count}`, {
    title: `durable puts, ${count} writer${count > 1 ? 's' : ''}`,
    unit: 'puts/s',
    what: `on the disk when a put resolves; ${count === 1 ? 'one writer awaits each' : `${count} concurrent writers, each awaits its own`}; ` +
      `${PLAIN}, keys fresh`,
    durable: true,
    drivers: PERSISTENT,
    goal: count === 64 ? { least: 80e3 } : undefined,
    run: writers(count)
  }])),
  'durable-batch': {
    title: 'durable batch of 1000 puts',
    unit: 'rows/s',
    what: `on the disk when the batch resolves; ${PLAIN}, keys fresh`,
    durable: true,
    drivers: PERSISTENT,
    run: batch
  }
}

module.exports = { CASES, FIXTURES, DRIVERS: [...PERSISTENT, 'map'], PERSISTENT }
