'use strict'
// Writes, and reads among them.

const { keyOf } = require('../data')
const { FLIGHT, PERSISTENT, PLAIN, walk, expectText, expectValue, flight } = require('./parts')

async function putInFlight (bench) {
  const db = await bench.open()
  const next = walk(bench.rows)
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

function putOneByOne (method) {
  return async bench => {
    const db = await bench.open()
    const next = walk(bench.rows)
    let key, value
    let at = 0
    const speed = await bench.repeat(db, 1, () => {
      key = keyOf(next())
      value = bench.values[at++ % FLIGHT]
      return db[method](key, value)
    })
    await expectValue(bench, db, key, value)
    await db.close()
    return speed
  }
}

async function batch (bench) {
  const db = await bench.open()
  const next = walk(bench.rows)
  let keys
  const speed = await bench.repeat(db, FLIGHT, () => {
    keys = Array.from({ length: FLIGHT }, () => keyOf(next()))
    return db.batch(keys, bench.values)
  })
  await expectValue(bench, db, keys[FLIGHT - 1], bench.values[FLIGHT - 1])
  await db.close()
  return speed
}

// All of the fixture 'random', the first tenth to warm up.
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

async function mixed (bench) {
  const db = await bench.open()
  const next = walk(bench.rows)
  const speed = await bench.repeat(db, FLIGHT, async () => {
    let total = 0
    await flight(db, i => {
      if (i % 2 === 0) return db.put(keyOf(next()), bench.values[i])
      const value = db.get(keyOf(next()))
      if (!db.waits) total += value.length
      else return value.then(text => { total += text.length })
    })
    expectText(bench, total, FLIGHT / 2)
  })
  await db.close()
  return speed
}

// Each delete finds a key. The first fifth of the keys is to warm up.
async function remove (bench) {
  const db = await bench.open()
  const next = walk(bench.rows)
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

const TURNS = 16 // puts that each writer awaits one after the other, in one call of the benchmark

function writers (count) {
  return async bench => {
    const db = await bench.open()
    const next = walk(bench.rows)
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

// How much of the time lies in gaps of more than 1 ms between two turns of the event loop, while FLIGHT writers put, each
// awaiting its own. A synchronous store puts one value in each turn.
async function blocked (bench) {
  const db = await bench.open()
  const next = walk(bench.rows)
  const put = i => db.put(keyOf(next()), bench.values[i])
  let ended = false
  let puts = 0
  const writer = async i => {
    while (!ended) {
      await put(i)
      puts++
    }
  }
  const all = db.sync ? [] : Array.from({ length: FLIGHT }, (_, i) => writer(i))
  const share = ms => new Promise(resolve => {
    const start = performance.now()
    let last = start
    let long = 0
    puts = 0
    const turn = () => {
      const now = performance.now()
      if (now - last > 1) long += now - last
      last = now
      if (db.sync) {
        put(puts % FLIGHT)
        puts++
      }
      if (now - start < ms) setImmediate(turn)
      else resolve({ percent: 100 * long / (now - start), speed: puts / (now - start) * 1000 })
    }
    setImmediate(turn)
  })
  await share(bench.small ? 50 : 1000)
  const { percent, speed } = await share(bench.small ? 100 : 10e3)
  ended = true
  await Promise.all(all)
  await db.close()
  if (!(speed > 0)) throw new Error('nothing was put')
  return [percent]
}

module.exports = {
  'put-1000': {
    title: '1000 puts in flight',
    unit: 'puts/s',
    what: `1000 put calls, then all their promises; ${PLAIN} over 100 k existing keys in random order, keys fresh, values warm`,
    goals: [{ least: 250e3 }, { least: 3, to: 'best' }],
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
    run: putOneByOne('put')
  },
  'put-sync': {
    title: 'synchronous puts',
    unit: 'puts/s',
    what: 'the same by putSync; better-sqlite3 has no other way',
    fixture: 'random',
    changes: true,
    drivers: ['toonstore', 'lmdb', 'better-sqlite3'],
    goals: [{ least: 3, to: 'better-sqlite3' }],
    run: putOneByOne('putSync')
  },
  batch: {
    title: 'batch of 1000 puts',
    unit: 'rows/s',
    what: `one atomic batch (a transaction, with SQLite) at a time; ${PLAIN} over 100 k existing keys in random order, keys fresh`,
    goals: [{ least: 300e3 }, { least: 2, to: 'best' }],
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
  mixed: {
    title: 'mixed, 50 % GET and 50 % PUT',
    unit: 'calls/s',
    what: `500 gets and 500 puts by turns, then all promises; ${PLAIN} over 100 k keys in random order, no cache in front, keys fresh`,
    goals: [{ least: 118e3 }, { least: 3, to: 'best' }],
    fixture: 'random',
    changes: true,
    run: mixed
  },
  delete: {
    title: '1000 deletes in flight',
    unit: 'deletes/s',
    what: '100 k existing keys of a store that was closed and opened again, in random order, keys fresh',
    goals: [{ least: 500e3 }, { least: 3, to: 'best' }],
    fixture: 'random',
    changes: true,
    run: remove
  },
  blocked: {
    title: 'event loop blocked by puts',
    unit: '%',
    what: `of 10 s, in gaps of more than 1 ms between two turns of the loop, while 1000 writers put ${PLAIN}, each awaiting its own; a synchronous store puts once a turn`,
    goals: [{ most: 2 }],
    fixture: 'random',
    changes: true,
    drivers: PERSISTENT,
    run: blocked
  },
  ...Object.fromEntries([[1, 0.8], [8, 2], [64, 3]].map(([count, least]) => [`durable-${count}`, {
    title: `durable puts, ${count} writer${count > 1 ? 's' : ''}`,
    unit: 'puts/s',
    what: `on the disk when a put resolves; ${count === 1 ? 'one writer awaits each' : `${count} concurrent writers, each awaits its own`}; ` +
      `${PLAIN}, keys fresh`,
    durable: true,
    drivers: PERSISTENT,
    goals: [{ least, to: 'best' }, ...(count === 64 ? [{ least: 80e3 }] : [])],
    run: writers(count)
  }])),
  'durable-batch': {
    title: 'durable batch of 1000 puts',
    unit: 'rows/s',
    what: `on the disk when the batch resolves; ${PLAIN}, keys fresh`,
    durable: true,
    drivers: PERSISTENT,
    goals: [{ least: 2, to: 'best' }],
    run: batch
  }
}
