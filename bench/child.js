'use strict'
// One case for one driver, in a directory: node bench/child.js DRIVER DIRECTORY QUICK CASE, or a fixture for the cases that
// need it: node bench/child.js DRIVER DIRECTORY QUICK fixture NAME. Prints one line of JSON: what was measured, or the error.

const Benchmark = require('benchmark')
const { CASES } = require('./cases')
const { keyOf, values, shuffled } = require('./data')

const [driverName, dir, quick, name, fixtureName] = process.argv.slice(2)
const driver = require('./drivers/' + driverName)
const small = quick === '1'
const ROWS = small ? 10e3 : 100e3 // keys of most fixtures
const MANY = small ? 20e3 : 1e6
const WARM_UP = small ? 10 : 250 // ms
const SECONDS = small ? 0.05 : 0.6

const theCase = name === 'fixture' ? { fixture: fixtureName } : CASES[name]
const { fixture } = theCase

function valuesOf () {
  if (fixture === 'many') return values(1000, 100)
  const texts = values(1000, theCase.size ?? 1024, fixture === 'quoted' ? 'quoted' : theCase.foreign ? 'foreign' : 'plain')
  return fixture === 'bytes' ? texts.map(text => Buffer.from(text)) : texts
}

// { capacity, bytes } for the driver.
function cacheOf ({ cached }) {
  if (cached === undefined) return undefined
  return { capacity: cached.capacity ?? cached.share * ROWS, bytes: cached.bytes ?? 2 ** 28 }
}

const bench = {
  rows: ROWS,
  many: MANY,
  order: shuffled(ROWS),
  small,
  values: valuesOf(),

  async open () {
    const db = await driver(dir, {
      durable: theCase.durable === true,
      cached: cacheOf(theCase),
      values: fixture === 'bytes' ? 'bytes' : theCase.objects ? 'objects' : 'strings'
    })
    if (db.volatile && name !== 'fixture' && fixture !== undefined) await bench.build(db, fixture)
    return db
  },

  // Put texts under keys of these numbers, by batches of 1000.
  async fill (db, texts, numbers) {
    for (let at = 0; at < numbers.length; at += 1000) {
      await db.batch(Array.from(numbers.subarray(at, at + 1000), keyOf), texts)
    }
  },

  async build (db, kind) {
    if (kind === 'many') return bench.fill(db, bench.values, Uint32Array.from({ length: MANY }, (_, i) => i))
    await bench.fill(db, bench.values, kind === 'ascending' ? bench.order.slice().sort() : bench.order)
    if (kind !== 'compacted') return
    await bench.fill(db, bench.values, bench.order.filter((_, i) => i % 3 === 0))
    await db.compact?.()
  },

  // Call `op` again and again, warmed up, by benchmark.js. `each`: what one call counts for. Resolves to figures a second.
  async repeat (db, each, op) {
    let waits
    const end = performance.now() + WARM_UP
    do {
      const done = op()
      waits = done !== undefined && !db.sync
      await done
    } while (performance.now() < end)
    return new Promise((resolve, reject) => {
      new Benchmark(name, {
        async: true,
        defer: waits,
        fn: waits ? deferred => { op().then(() => deferred.resolve()).catch(reject) } : op,
        minSamples: 5,
        maxTime: SECONDS,
        ...(small ? { minTime: 0.005 } : {}),
        onComplete () {
          if (this.error) reject(this.error)
          else resolve(this.stats.sample.map(seconds => each / seconds))
        }
      }).run()
    })
  }
}

async function main () {
  if (name !== 'fixture') return theCase.run(bench)
  const db = await bench.open()
  await bench.build(db, fixtureName)
  await db.close()
  return []
}

main().then(samples => {
  console.log(JSON.stringify({ samples }))
}, err => {
  console.log(JSON.stringify({ error: String(err?.message ?? err) }))
  process.exit(1)
})
