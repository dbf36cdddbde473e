'use strict'
// The child of the kill test: node writer.js DIRECTORY OPTIONS START WORKERS. Opens the store, writes in several ways at once, and
// reports each acknowledged write in a line on stdout, until it is killed. So do its worker threads, in the same store.
//
// Every value follows from its key and a number, so that the parent can tell a value that was written from one that was not:
//   s/N              put once, value of N, some with an expiry far away      reported: s N
//   o/N              put again and again, N = 0 .. 7          reported: o N COUNT
//   d/N              put, then deleted, or lapsed             reported: d N put, d N gone
//   b/N/I            a batch or transaction of I = 0 .. size - 1             reported: b N
//   m/N/a, m/N/b     a batch: put b, delete a, for even N     reported: m N (a is put before, as s is)
//   rows             put; the value holds N                   reported: r N ID
// N counts up from START (where the run before has left off), so that no key is used twice.

const fs = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')
const { Worker, isMainThread, workerData } = require('node:worker_threads')
const { ToonStore } = require('../..')
const { valueOf, batchSize } = require('./values')

// Waits until the line is in the pipe.
function report (...words) {
  const line = Buffer.from(words.join(' ') + '\n')
  for (let at = 0; at < line.length;) {
    try {
      at += fs.writeSync(1, line, at)
    } catch (err) {
      if (err.code !== 'EAGAIN') throw err
    }
  }
}

async function main ([dir, options, start, workers]) {
  if (isMainThread) report('open')
  const db = await ToonStore.open(dir, JSON.parse(options))
  if (isMainThread) report('ready')
  for (let i = 1; i <= Number(workers); i++) {
    const worker = new Worker(__filename, { workerData: [dir, options, String(Number(start) + i * 1e5), '0'] })
    worker.on('error', fail)
  }
  let number = Number(start)

  async function single () {
    const n = number++
    await db.put(`s/${n}`, valueOf(n), n % 5 === 0 ? { ttl: 1e9 } : undefined)
    report('s', n)
  }

  async function over (n, count) {
    if (count % 8 !== 7) await db.put(`o/${n}`, { count, text: valueOf(count) })
    else await db.update(`o/${n}`, () => ({ count, text: valueOf(count) }))
    report('o', n, count)
  }

  async function putAndDelete () {
    const n = number++
    await db.put(`d/${n}`, valueOf(n))
    report('d', n, 'put')
    if (n % 3) {
      await db.delete(`d/${n}`)
    } else {
      await db.expire(`d/${n}`, 1)
      await sleep(3)
    }
    report('d', n, 'gone')
  }

  async function batch () {
    const n = number++
    const puts = Array.from({ length: batchSize(n) }, (_, i) => ({ type: 'put', key: `b/${n}/${i}`, value: valueOf(n + i) }))
    if (n % 2) {
      await db.batch(puts)
    } else {
      await db.transaction(tx => {
        for (const { key, value } of puts) if (tx.get(key) === undefined) tx.put(key, value)
      }, { isolation: n % 4 ? 'snapshot' : 'serializable' })
    }
    report('b', n)
  }

  async function move () {
    const n = number++
    await db.put(`m/${n}/a`, valueOf(n))
    await db.batch([{ type: 'put', key: `m/${n}/b`, value: valueOf(n) }, { type: 'del', key: `m/${n}/a` }])
    report('m', n)
  }

  async function row () {
    const n = number++
    report('r', n, await db.rows.put({ n, text: valueOf(n) }))
  }

  async function upkeep () {
    await db.checkpoint()
    await db.compact().catch(err => { if (err.code !== 'TOON_EINVAL') throw err }) // another thread is at it
    await db.sync()
    await sleep(5)
  }

  // All of these go on at once, each awaiting its own writes.
  const forever = async write => {
    for (;;) await write()
  }
  const overs = Array.from({ length: isMainThread ? 8 : 0 }, (_, n) => {
    let count = Number(start)
    return forever(() => over(n, count++))
  })
  await Promise.all([
    ...[single, single, single, batch, batch, move, row, row, putAndDelete, upkeep].map(forever),
    ...overs
  ])
}

function fail (err) {
  report('failed', err.code ?? '', String(err.message).replaceAll('\n', ' '))
  process.exit(1)
}

main(isMainThread ? process.argv.slice(2) : workerData).catch(fail)
