'use strict'
// kill -9 at random moments: nothing acknowledged is missing afterwards, and no batch is half there. A process writes
// (writer.js) and is killed; the store is opened here and compared with what the process has reported; then the next process
// goes on in the same directory.
//
// TOONSTORE_CRASH_ROUNDS: rounds in all, 36 by default. TOONSTORE_CRASH_SEED: the moments (as far as they can be repeated).

const assert = require('node:assert')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawn } = require('node:child_process')
const { ToonStore } = require('../..')
const { valueOf, batchSize } = require('./values')

const ROUNDS = Number(process.env.TOONSTORE_CRASH_ROUNDS ?? 36)
const SEED = Number(process.env.TOONSTORE_CRASH_SEED ?? Date.now() % 1e6)
const LIFE = 60 // ms that a process writes, at most; one in five is killed while it opens

const AGE = 25 // rounds of one store

const SMALL = { segmentSize: 64 * 1024, checkpointBytes: 24 * 1024 } // many segments, checkpoints and merges
const CASES = [
  { durability: 'commit' },
  { durability: 'interval', syncInterval: 10 },
  { durability: 'close' },
  { durability: 'commit', ...SMALL },
  { durability: 'interval', ...SMALL },
  { durability: 'close', ...SMALL }
]
const WORKERS = 2 // beside the main thread, in every fourth round; they take a while to start, so it lives longer then

function generator (seed) {
  let x = seed + 1
  return () => {
    x = Math.imul(x ^ x >>> 15, 0x2c1b3c6d) + 0x9e3779b9 | 0
    return (x >>> 0) / 2 ** 32
  }
}

// Run the writer, kill it after a while. What it reported, as lists of words.
async function writeAndKill (dir, options, workers, start, random) {
  const child = spawn(process.execPath,
    [path.join(__dirname, 'writer.js'), dir, JSON.stringify(options), String(start), String(workers)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  let killed = false
  const early = random() < 0.2
  const life = LIFE + (workers ? 100 : 0)
  const kill = ms => setTimeout(() => { killed = child.kill('SIGKILL') }, ms)
  let timer
  child.stdout.on('data', data => {
    out += data
    if (timer === undefined && (early || out.includes('ready\n'))) timer = kill(random() * (early ? 3 : life))
  })
  await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  clearTimeout(timer)
  const lines = out.split('\n')
  lines.pop() // the last line is empty, or was cut off
  const reports = lines.map(line => line.split(' '))
  const failure = reports.find(([what]) => what === 'failed')
  if (failure !== undefined || !killed) assert.fail(`the writer ended by itself: ${failure?.join(' ') ?? out.slice(-200)}`)
  return reports
}

// What the store has to hold: told what was acknowledged, and what a store that was opened after the kill holds. Both last.
class Expectation {
  single = new Set()
  over = new Map() // n -> least count
  dying = new Map() // n -> 'put' or 'gone'
  batches = new Set()
  moves = new Set()
  rows = new Map() // id -> n
  acknowledged = 0

  report ([what, ...words]) {
    const [n, more] = words.map(word => /^\d+$/.test(word) ? Number(word) : word)
    switch (what) {
      case 's': this.single.add(n); break
      case 'o': this.over.set(n, more); break
      case 'd': this.dying.set(n, more); break
      case 'b': this.batches.add(n); break
      case 'm': this.moves.add(n); break
      case 'r': this.rows.set(more, n); break
      default: return
    }
    this.acknowledged++
  }

  // Throws unless the store agrees. What it holds beyond what was acknowledged has to stay from now on.
  check (db) {
    const found = { s: new Set(), d: new Set(), b: new Map(), m: new Map(), o: new Map() }
    for (const [key, value] of db.range()) {
      const [what, n, part] = key.split('/').map((word, i) => i === 1 ? Number(word) : word)
      assert(Object.hasOwn(found, what), `a key that nobody has put: ${key}`)
      if (what === 'o') {
        assert.deepStrictEqual(value.text, valueOf(value.count), key)
        found.o.set(n, value.count)
        continue
      }
      assert.deepStrictEqual(value, valueOf(what === 'b' ? n + Number(part) : n), key)
      if (part === undefined) found[what].add(n)
      else found[what].set(n, (found[what].get(n) ?? '') + part + ' ')
    }
    for (const n of this.single) assert(found.s.has(n), `s/${n} was acknowledged and is missing`)
    for (const [n, count] of this.over) assert(found.o.get(n) >= count, `o/${n} is at ${found.o.get(n)}, acknowledged: ${count}`)
    for (const [n, state] of this.dying) {
      if (state === 'gone') assert(!found.d.has(n), `d/${n} was deleted and is there`)
    }
    for (const n of this.batches) assert(found.b.has(n), `batch b/${n} was acknowledged and is missing`)
    for (const [n, parts] of found.b) {
      assert.strictEqual(parts.trim().split(' ').length, batchSize(n), `batch b/${n} is half there`)
    }
    for (const n of this.moves) assert.strictEqual(found.m.get(n), 'b ', `the move m/${n} was acknowledged and is not done`)
    for (const [n, parts] of found.m) assert(['a ', 'b '].includes(parts), `the move m/${n} is half done: ${parts}`)
    const rows = new Map([...db.rows.scan()].map(([id, value]) => {
      assert.deepStrictEqual(value.text, valueOf(value.n), `row ${id}`)
      return [id, value.n]
    }))
    for (const [id, n] of this.rows) assert.strictEqual(rows.get(id), n, `row ${id} was acknowledged with ${n}`)
    // Rows that have lapsed count until they are swept: those of d/N, and one of each thread that was about to be reported.
    const lapsed = db.size - db.count()
    const most = [...this.dying.keys()].filter(n => n % 3 === 0).length + 1 + WORKERS
    assert(lapsed >= 0 && lapsed <= most, `size is ${db.size}, keys are ${db.count()}, lapsed rows at most ${most}`)

    this.single = found.s
    this.over = found.o
    this.batches = new Set(found.b.keys())
    this.moves = new Set([...found.m].filter(([, parts]) => parts === 'b ').map(([n]) => n))
    this.rows = rows
    for (const [n, state] of this.dying) {
      if (state === 'put' && !found.d.has(n)) this.dying.set(n, 'gone') // the delete had got through
    }
  }
}

// Open the store, check it, close it. With `copy` a copy of it, so that the next process finds what the killed one has left.
// Resolves to the number of groups that were read from the log.
async function inspect (data, options, copy, check) {
  const place = copy ? data + '-copy' : data
  if (copy) fs.cpSync(data, place, { recursive: true })
  const db = await ToonStore.open(place, options)
  try {
    check(db)
    return db.stats().recovery.groups
  } finally {
    await db.close()
    if (copy) fs.rmSync(place, { recursive: true })
  }
}

describe('kill -9', () => {
  let dir
  before(() => { dir = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-kill-')) })
  after(function () {
    if (this.test.parent.tests.some(test => test.state === 'failed')) console.log(`    the stores are kept in ${dir}`)
    else fs.rmSync(dir, { recursive: true, force: true })
  })

  CASES.forEach((options, i) => {
    const rounds = Math.floor(ROUNDS / CASES.length) + (i < ROUNDS % CASES.length ? 1 : 0)
    const size = options.segmentSize === undefined ? '' : ', in small segments with many checkpoints'
    it(`keeps what was acknowledged at durability ${options.durability}${size} (${rounds} rounds)`, async function () {
      this.timeout(20000 + rounds * 2000)
      this.slow(rounds * 1000)
      const random = generator(SEED + i)
      let acknowledged = 0
      let recovered = 0
      for (let first = 0; first < rounds; first += AGE) {
        const data = path.join(dir, `${i}-${first}`)
        const expectation = new Expectation()
        for (let round = 0; round < Math.min(AGE, rounds - first); round++) {
          try {
            const workers = round % 4 === 3 ? WORKERS : 0
            for (const report of await writeAndKill(data, options, workers, round * 1e6, random)) expectation.report(report)
            recovered += await inspect(data, options, round % 2 === 1, db => expectation.check(db))
          } catch (err) {
            err.message += ` (${data}, round ${round}, seed ${SEED})`
            throw err
          }
        }
        acknowledged += expectation.acknowledged
        fs.rmSync(data, { recursive: true })
      }
      assert(rounds < 3 || (acknowledged > 0 && recovered > 0), 'nothing was written')
    })
  })
})
