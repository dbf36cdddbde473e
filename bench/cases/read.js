'use strict'
// Reads without a cache in front.

const { keyOf, shuffled } = require('../data')
const { PERSISTENT, PLAIN, walk, expectText, filled } = require('./parts')

const LOOP = 100

// fresh: keys are built for each call.
function get (fresh, retained = 0) {
  return async bench => {
    const db = await bench.open()
    const next = walk(bench.rows)
    const warm = Array.from({ length: bench.rows }, (_, i) => keyOf(i))
    const kept = new Array(retained).fill('')
    let at = 0
    for (const key of warm) at += (await db.get(key)).length // all pages are in memory now, and the keys are flat
    expectText(bench, at, bench.rows)
    const check = value => { if (value.length !== bench.values[0].length) throw new Error('not the value') }
    const speed = await bench.repeat(db, 1, db.waits
      ? async () => check(await db.get(warm[next()]))
      : fresh
        ? () => check(db.get(keyOf(next())))
        : retained > 0
          ? () => { check(kept[at++ % retained] = db.get(warm[next()])) }
          : () => check(db.get(warm[next()])))
    await db.close()
    return speed
  }
}

async function getRows (bench) {
  let ids
  const texts = bench.values.slice(0, 100)
  const db = await filled(bench, async empty => { ids = Int32Array.from(await empty.addRows(texts)) })
  const order = shuffled(ids.length, 7).map(i => ids[i])
  const speed = await bench.repeat(db, LOOP, () => {
    let total = 0
    for (let i = 0; i < LOOP; i++) total += db.row(order[i]).length
    expectText(bench, total, LOOP)
  })
  await db.close()
  return speed
}

// `count` keys, warm.
function getFew (count) {
  return async bench => {
    const keys = Array.from(shuffled(count, 7), keyOf)
    const db = await filled(bench, empty => bench.fill(empty, bench.values, Uint32Array.from({ length: count }, (_, i) => i)))
    for (const key of keys) await db.get(key)
    let at = 0
    const speed = await bench.repeat(db, LOOP, () => {
      let total = 0
      for (let i = 0; i < LOOP; i++) {
        if (at === count) at = 0
        total += db.get(keys[at++]).length
      }
      expectText(bench, total, LOOP)
    })
    await db.close()
    return speed
  }
}

function getBytes (view) {
  return async bench => {
    const db = await bench.open()
    const keys = Array.from({ length: bench.rows }, (_, i) => keyOf(i))
    const next = walk(bench.rows)
    const bytes = view ? db.view ?? db.bytes : db.bytes
    let count = 0
    for (const key of keys) count += bytes(key).length
    if (count !== bench.rows * bench.values[0].length) throw new Error('not the bytes')
    const speed = await bench.repeat(db, LOOP, () => {
      let total = 0
      for (let i = 0; i < LOOP; i++) total += bytes(keys[next()]).length
      expectText(bench, total, LOOP)
    })
    await db.close()
    return speed
  }
}

async function getOfMany (bench) {
  const db = await bench.open()
  const keys = Array.from({ length: bench.many }, (_, i) => keyOf(i))
  const order = shuffled(bench.many, 7)
  let at = 0
  const one = () => {
    if (at === bench.many) at = 0
    return keys[order[at++]]
  }
  for (const key of keys) await db.get(key)
  const speed = await bench.repeat(db, LOOP, db.waits
    ? async () => { for (let i = 0; i < LOOP; i++) await db.get(one()) }
    : () => {
      let total = 0
      for (let i = 0; i < LOOP; i++) total += db.get(one()).length
      expectText(bench, total, LOOP)
    })
  await db.close()
  return speed
}

async function getMany (bench) {
  const db = await bench.open()
  const keys = Array.from({ length: bench.many }, (_, i) => keyOf(i))
  const order = shuffled(bench.many, 7)
  for (const key of keys) await db.get(key)
  let at = 0
  const check = values => {
    let total = 0
    for (let i = 0; i < values.length; i++) total += values[i].length
    expectText(bench, total, 100)
  }
  const some = () => {
    if (at + 100 > bench.many) at = 0
    const list = new Array(100)
    for (let i = 0; i < 100; i++) list[i] = keys[order[at++]]
    return list
  }
  const first = db.getMany(some())
  const waits = typeof first.then === 'function'
  check(await first)
  const speed = await bench.repeat(db, 100, waits
    ? async () => check(await db.getMany(some()))
    : () => check(db.getMany(some())))
  await db.close()
  return speed
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

module.exports = {
  'row-100': {
    title: 'GET by row id, 100 rows',
    unit: 'gets/s',
    what: `100 rows without keys, ${PLAIN}, no cache in front, closed and opened again; the others have the numbers as keys`,
    drivers: ['toonstore', 'lmdb', 'map', 'floor'],
    goals: [{ least: 7e6 }],
    run: getRows
  },
  'row-100-short': {
    title: 'GET by row id, 100 rows of 16 bytes',
    unit: 'gets/s',
    what: 'the same with texts of 16 bytes',
    size: 16,
    drivers: ['toonstore', 'lmdb', 'map', 'floor'],
    goals: [{ least: 7e6 }],
    run: getRows
  },
  'key-10k': {
    title: 'GET by key, 10 k keys',
    unit: 'gets/s',
    what: `10 k keys of ${PLAIN} in random order, no cache in front, closed and opened again, keys warm`,
    drivers: ['toonstore', 'lmdb', 'map', 'floor'],
    goals: [{ least: 4.5e6 }],
    run: getFew(10e3)
  },
  'key-10k-short': {
    title: 'GET by key, 10 k keys, texts of 16 bytes',
    unit: 'gets/s',
    what: 'the same with texts of 16 bytes',
    size: 16,
    drivers: ['toonstore', 'lmdb', 'map', 'floor'],
    goals: [{ least: 4.5e6 }],
    run: getFew(10e3)
  },
  get: {
    title: 'random GET, warm keys',
    unit: 'gets/s',
    what: `over 100 k keys of a store that was loaded, closed and opened again, no cache in front; ${PLAIN}, keys warm`,
    goals: [{ least: 1e6 }, { least: 1.8, to: 'lmdb' }, { least: 229e3, rust: true }],
    fixture: 'random',
    drivers: [...PERSISTENT, 'map', 'floor'],
    run: get(false)
  },
  'get-fresh': {
    title: 'random GET, fresh keys',
    unit: 'gets/s',
    what: 'the same, keys fresh',
    goals: [{ least: 1e6 }, { least: 1.8, to: 'lmdb' }],
    fixture: 'random',
    run: get(true)
  },
  'get-retained': {
    title: 'random GET, values retained',
    unit: 'gets/s',
    what: 'as the first, and the last 10,000 values are kept',
    fixture: 'random',
    run: get(false, 10e3)
  },
  'get-quoted': {
    title: 'random GET, warm keys, quoted texts',
    unit: 'gets/s',
    what: 'as the first, with texts that TOON has to quote and escape',
    fixture: 'quoted',
    run: get(false)
  },
  'get-foreign': {
    title: 'GET of 1 KB that is not ASCII',
    unit: 'gets/s',
    what: 'texts of 1 KB in UTF-8, words of Greek and Chinese by turns, 1,000 keys; utf8 stands for Buffer.toString() of the same texts in memory, which is V8\'s way',
    foreign: true,
    drivers: ['toonstore', 'lmdb', 'utf8'],
    goals: [{ least: 4, to: 'utf8' }],
    run: getFew(1000)
  },
  buffer: {
    title: 'random GET of a Buffer',
    unit: 'gets/s',
    what: 'bytes of 1 KB under 100 k keys, each a Buffer of its own; lmdb by getBinary',
    fixture: 'bytes',
    drivers: ['toonstore', 'lmdb', 'better-sqlite3', 'classic-level', 'map', 'floor'],
    goals: [{ least: 2, to: 'lmdb' }],
    run: getBytes(false)
  },
  'buffer-view': {
    title: 'random GET of a Buffer, lmdb by getBinaryFast',
    unit: 'gets/s',
    what: 'the same; lmdb hands out one view on its memory that the next read changes',
    fixture: 'bytes',
    drivers: ['toonstore', 'lmdb'],
    goals: [{ least: 1, to: 'lmdb' }],
    run: getBytes(true)
  },
  'get-1m': {
    title: 'random GET of 1 M keys',
    unit: 'gets/s',
    what: 'texts of 100 bytes, keys warm, loaded, closed and opened again',
    fixture: 'many',
    drivers: [...PERSISTENT, 'map', 'floor'],
    goals: [{ least: 1.7, to: 'lmdb' }],
    run: getOfMany
  },
  'many-100': {
    title: 'getMany of 100, of 1 M keys',
    unit: 'rows/s',
    what: 'the same, 100 random keys a call; lmdb and SQLite by get, one after the other (lmdb\'s getMany is slower)',
    fixture: 'many',
    goals: [{ least: 2.5, to: 'lmdb' }],
    run: getMany
  },
  scan: {
    title: 'scan, loaded in key order',
    unit: 'rows/s',
    what: `all 100 k keys and values of a store that was loaded, closed and opened again; ${PLAIN}`,
    goals: [{ least: 1.6, to: 'lmdb' }],
    fixture: 'ascending',
    run: scan
  },
  'scan-compacted': {
    title: 'scan after compaction',
    unit: 'rows/s',
    what: 'the same, loaded in random order, every third row put once more, then compacted; the others are as they were loaded',
    goals: [{ least: 1.6, to: 'lmdb' }],
    fixture: 'compacted',
    run: scan
  },
  'scan-random': {
    title: 'scan, loaded in random order',
    unit: 'rows/s',
    what: 'the same, rows loaded in random order (which a Map keeps), not compacted',
    goals: [{ least: 1, to: 'lmdb' }],
    fixture: 'random',
    run: scan
  },
  reopen: {
    title: 'reopen with 1 M keys',
    unit: 'ms',
    what: 'open a closed store of 1 M texts of 100 bytes in a fresh process, and read one value',
    goals: [{ most: 5 }],
    drivers: PERSISTENT,
    fixture: 'many',
    run: reopen
  }
}
