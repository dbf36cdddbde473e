'use strict'
// 1 M texts of 100 bytes into a new store, by batches of 1000: node bench/engine-load.js DIRECTORY. Prints rows a second, all
// of them committed. The first tenth is to warm up, in a store of its own.

const { ToonStore } = require('..')
const { keyOf, values, shuffled } = require('./data')

const ROWS = 1e6
const BATCH = 1000
const FLIGHT = 2 // batches under way: one is committed while the next is made

const texts = values(BATCH, 100, 'plain')

async function load (dir, rows) {
  const order = shuffled(rows, 7)
  const db = await ToonStore.open(dir, { durability: 'interval', maxDbSize: 2 ** 40 })
  const start = performance.now()
  const under = []
  for (let at = 0; at < rows; at += BATCH) {
    const ops = new Array(BATCH)
    for (let i = 0; i < BATCH; i++) ops[i] = { type: 'put', key: keyOf(order[at + i]), value: texts[i] }
    under.push(db.batch(ops))
    if (under.length === FLIGHT) await under.shift()
  }
  await Promise.all(under)
  const seconds = (performance.now() - start) / 1000
  if (db.size !== rows || db.get(keyOf(order[rows - 1])) !== texts[BATCH - 1]) throw new Error('not all rows are there')
  await db.close()
  return rows / seconds
}

async function main () {
  await load(process.argv[2] + '-warm', ROWS / 10)
  console.log((await load(process.argv[2], ROWS)).toFixed(0))
}

main().catch(err => {
  console.error(err.message)
  process.exitCode = 1
})
