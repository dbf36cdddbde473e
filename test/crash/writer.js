'use strict'
// The child of the kill test: node writer.js DIRECTORY OPTIONS START. Opens the store, writes in several ways at once, and
// reports each acknowledged write in a line on stdout, until it is killed.
//
// Every value follows from its key and a number, so that the parent can tell a value that was written from one that was not:
//   s/N              put once, value of N                     reported: s N
//   o/N              put again and again, N = 0 .. 7          reported: o N COUNT
//   d/N              put, then deleted                        reported: d N put, d N gone
//   b/N/I            a batch of I = 0 .. size - 1             reported: b N
//   m/N/a, m/N/b     a batch: put b, delete a, for even N     reported: m N (a is put before, as s is)
//   rows             put; the value holds N                   reported: r N ID
// N counts up from START (where the run before has left off), so that no key is used twice.

const fs = require('node:fs')
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

async function main ([dir, options, start]) {
  report('open')
  const db = await ToonStore.open(dir, JSON.parse(options))
  report('ready')
  let number = Number(start)

  async function single () {
    const n = number++
    await db.put(`s/${n}`, valueOf(n))
    report('s', n)
  }

  async function over (n, count) {
    await db.put(`o/${n}`, { count, text: valueOf(count) })
    report('o', n, count)
  }

  async function putAndDelete () {
    const n = number++
    await db.put(`d/${n}`, valueOf(n))
    report('d', n, 'put')
    await db.delete(`d/${n}`)
    report('d', n, 'gone')
  }

  async function batch () {
    const n = number++
    await db.batch(Array.from({ length: batchSize(n) }, (_, i) => ({ type: 'put', key: `b/${n}/${i}`, value: valueOf(n + i) })))
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

  // All of these go on at once, each awaiting its own writes.
  const forever = async write => {
    for (;;) await write()
  }
  const overs = Array.from({ length: 8 }, (_, n) => {
    let count = Number(start)
    return forever(() => over(n, count++))
  })
  await Promise.all([
    ...[single, single, single, batch, batch, move, row, row, putAndDelete].map(forever),
    ...overs
  ])
}

main(process.argv.slice(2)).catch(err => {
  report('failed', err.code ?? '', String(err.message).replaceAll('\n', ' '))
  process.exit(1)
})
