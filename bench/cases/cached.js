'use strict'
// Reads that a cache in front of the store answers.

const { keyOf, buildKey, shuffled, zipf } = require('../data')
const { CACHED, PLAIN, FLIGHT, walk, expectText, flight } = require('./parts')

const LOOP = 1000 // reads of one call of the benchmark, so that its own cost is nothing beside them

// Another string with the same characters: each key has a value of its own in memory, as values read from a store are.
const copyOf = text => Buffer.from(text).toString('latin1')

// `count` keys, all of them cached, read in random order. fresh: keys are built at each call.
function hot (count, fresh) {
  return async bench => {
    const db = await bench.open()
    const order = shuffled(count, 7)
    const keys = Array.from(order, fresh ? buildKey : keyOf)
    for (let i = 0; i < count; i += 1000) await db.batch(keys.slice(i, i + 1000), bench.values.map(copyOf))
    for (let round = 0; round < 2; round++) for (const key of keys) await db.get(key)
    let at = 0
    const speed = await bench.repeat(db, LOOP, fresh
      ? () => {
        let total = 0
        for (let i = 0; i < LOOP; i++) {
          if (at === count) at = 0
          total += db.get(buildKey(order[at++])).length
        }
        expectText(bench, total, LOOP)
      }
      : () => {
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

async function hotRow (bench) {
  const db = await bench.open()
  const ids = Int32Array.from(await db.addRows(bench.values))
  const order = shuffled(ids.length, 7).map(i => ids[i])
  for (const id of order) db.row(id)
  let at = 0
  const speed = await bench.repeat(db, LOOP, () => {
    let total = 0
    for (let i = 0; i < LOOP; i++) {
      if (at === order.length) at = 0
      total += db.row(order[at++]).length
    }
    expectText(bench, total, LOOP)
  })
  await db.close()
  return speed
}

async function hotObject (bench) {
  const db = await bench.open()
  const count = 1000
  const keys = Array.from(shuffled(count, 7), keyOf)
  await db.batch(keys, keys.map((_, i) => ({ id: i, name: `User ${i}`, email: `user${i}@example.com`, active: i % 2 === 0, score: i / 4 })))
  for (let round = 0; round < 2; round++) for (const key of keys) await db.get(key)
  let at = 0
  const speed = await bench.repeat(db, LOOP, () => {
    let total = 0
    for (let i = 0; i < LOOP; i++) {
      if (at === count) at = 0
      total += db.get(keys[at++]).id
    }
    if (total !== LOOP * (count - 1) / 2) throw new Error('the values are not those that were put')
  })
  await db.close()
  return speed
}

// Half of the reads find their value in the cache.
async function half (bench) {
  const db = await bench.open()
  const keys = Array.from({ length: bench.rows }, (_, i) => keyOf(i))
  const next = zipf(bench.rows)
  for (let i = 0; i < 2 * bench.rows; i++) await db.get(keys[next()])
  const speed = await bench.repeat(db, LOOP, () => {
    let total = 0
    for (let i = 0; i < LOOP; i++) total += db.get(keys[next()]).length
    expectText(bench, total, LOOP)
  })
  await db.close()
  return speed
}

async function mixedHot (bench) {
  const db = await bench.open()
  const count = 10e3
  await bench.fill(db, bench.values, Uint32Array.from({ length: count }, (_, i) => i))
  const keys = Array.from({ length: count }, (_, i) => keyOf(i))
  for (const key of keys) await db.get(key)
  const next = walk(count)
  const speed = await bench.repeat(db, FLIGHT, async () => {
    let total = 0
    await flight(db, i => {
      if (i % 2 === 0) return db.put(keys[next()], bench.values[i])
      total += db.get(keys[next()]).length
    })
    expectText(bench, total, FLIGHT / 2)
  })
  await db.close()
  return speed
}

const warm = (count, text) => ({
  title: `cached GET, ${text} hot keys`,
  unit: 'gets/s',
  what: `${text} keys that are all in the cache, in random order, keys warm (the same string objects)`,
  cached: { capacity: 2 * count, bytes: 2 ** 31 },
  drivers: CACHED,
  run: hot(count, false)
})

module.exports = {
  'hot-100': { ...warm(100, '100'), goals: [{ least: 20e6 }, { least: 1.5, to: 'lru-cache' }, { least: 0.7, to: 'map' }] },
  'hot-1k': { ...warm(1000, '1,000'), goals: [{ least: 20e6 }, { least: 1.5, to: 'lru-cache' }, { least: 0.7, to: 'map' }] },
  'hot-10k': { ...warm(10e3, '10,000'), goals: [{ least: 1.5, to: 'lru-cache' }, { least: 0.7, to: 'map' }] },
  'hot-100k': { ...warm(100e3, '100 k'), slow: true },
  'hot-1m': { ...warm(1e6, '1 M'), size: 100, slow: true },
  'hot-row': {
    title: 'cached GET by row id',
    unit: 'gets/s',
    what: '1,000 rows without keys that are all in the cache, in random order; the others have the numbers as keys',
    cached: { capacity: 10e3 },
    drivers: CACHED,
    goals: [{ least: 60e6 }],
    run: hotRow
  },
  'hot-object': {
    title: 'cached GET of an object',
    unit: 'gets/s',
    what: '1,000 objects of 5 fields, decoded and in the cache, keys warm; lmdb with its own encoding (and, cached, hands out one mutable object)',
    cached: { capacity: 10e3 },
    objects: true,
    drivers: CACHED,
    goals: [{ least: 1, to: 'lmdb-cached' }],
    run: hotObject
  },
  'hot-built': {
    title: 'cached GET, keys built at each call',
    unit: 'gets/s',
    what: '1,000 keys that are all in the cache, each built from a number for the call; building is counted',
    cached: { capacity: 10e3 },
    drivers: CACHED,
    goals: [{ least: 0.9, to: 'lru-cache' }],
    run: hot(1000, true)
  },
  'hot-half': {
    title: 'zipf GET, half of them hits',
    unit: 'gets/s',
    what: `zipf-distributed over 100 k keys of ${PLAIN}; the cache holds 1.1 % of the rows, which half of the reads find`,
    cached: { share: 0.011 },
    fixture: 'random',
    drivers: ['toonstore', 'lmdb', 'lmdb-cached', 'better-sqlite3', 'classic-level'],
    goals: [{ least: 50e3, rust: true }],
    run: half
  },
  'hot-mixed': {
    title: 'cached mixed, 50 % GET and 50 % PUT',
    unit: 'calls/s',
    what: `500 gets and 500 puts by turns, then all promises; ${PLAIN} over 10 k keys that the cache can hold, keys warm`,
    cached: { capacity: 20e3 },
    drivers: CACHED,
    goals: [{ least: 161e3, rust: true }, { least: 3, to: 'lmdb-cached' }],
    run: mixedHot
  }
}
