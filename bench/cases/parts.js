'use strict'
// What the cases share: who takes part, walks over keys, calls in flight, checks of what was read.

const { shuffled } = require('../data')

const FLIGHT = 1000 // calls that are under way at once, rows of a batch, and calls of a loop
const PEERS = ['lmdb', 'better-sqlite3', 'classic-level', 'rocksdb']
const PERSISTENT = ['toonstore', ...PEERS]
const CACHED = ['toonstore', 'lmdb', 'lmdb-cached', 'lru-cache', 'map']
const PLAIN = '1 KB plain texts'

// The numbers of `count` keys, round and round in a random order.
function walk (count) {
  const order = shuffled(count, 7)
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

// A store that `fill(db)` has filled, closed and opened again, where there is something to open again.
async function filled (bench, fill) {
  const db = await bench.open()
  await fill(db)
  if (db.volatile) return db
  await db.close()
  return bench.open()
}

module.exports = { FLIGHT, PEERS, PERSISTENT, CACHED, PLAIN, walk, expectText, expectValue, flight, filled }
