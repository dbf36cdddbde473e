'use strict'
// A hunt for stale reads and torn commits, through every cache there is: node test/stale/hunt.js [SECONDS] [ROOT]
// (60 seconds; ROOT is the package to hunt in, this one if not given). Ends with a line of counts; status 1 if anything was
// seen that must not be.
//
// Writers count keys up, each its own: two worker threads (puts, batches, transactions, rows, synchronous puts) and a client of the
// server inside the main thread. What is acknowledged is noted in shared memory *before* anybody can learn of it otherwise.
// Readers, the main thread and another worker, each with a cache, read by every way and check:
//   - a value is never older than what was acknowledged before the read began, nor than what this reader has seen before;
//   - pairs that are always written together are equal when read at one moment, and never run back when read one by one.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
const { Client } = require('../resp-client')

const PAIRS = 8 // of each writer; each pair is two keys and a row
const OPTIONS = { durability: 'interval', capacity: 40, checkpointBytes: 256 * 1024, segmentSize: 1024 * 1024 }
const BURST = 8 // reads of a key in a row: the caches in C take a key that is read several times

const bytesOf = n => Buffer.alloc(300).fill(Buffer.from(Uint32Array.of(n).buffer))
const nameOf = (writer, pair, half) => `w${writer}/p${pair}/${half}`

// Shared memory: [0] the end; then for each writer and pair the number acknowledged last.
const acknowledgedAt = (writer, pair) => 1 + writer * PAIRS + pair

async function write ({ root, dir, shared, writer, ids }) {
  const { open } = require(root)
  const db = await open(dir, OPTIONS)
  const ended = () => Atomics.load(shared, 0) !== 0
  for (let n = 1; !ended(); n++) {
    await Promise.all(Array.from({ length: PAIRS }, async (_, pair) => {
      const [a, b] = [nameOf(writer, pair, 'a'), nameOf(writer, pair, 'b')]
      const text = `${n} ${'x'.repeat(150 + n * 7 % 300)}` // long enough for the server's cache
      switch ((n + pair) % 4) {
        case 0:
          await db.batch([{ type: 'put', key: a, value: { n, text } }, { type: 'put', key: b, value: { n } }])
          break
        case 1:
          await db.transaction(tx => {
            tx.put(b, { n, read: tx.get(b).n })
            tx.put(a, { n, text })
          })
          break
        case 2:
          db.batchSync([{ type: 'put', key: b, value: { n } }, { type: 'put', key: a, value: { n, list: [1, { n }] } }])
          break
        default:
          await db.batch([{ type: 'del', key: a }, { type: 'put', key: a, value: { n } }, { type: 'put', key: b, value: { n, text } }])
      }
      await db.rows.update(ids[pair], n)
      await db.put(nameOf(writer, pair, 'bytes'), bytesOf(n))
      if (db.get(a).n !== n || db.get(b).n !== n || db.rows.get(ids[pair]) !== n) throw new Error('a writer does not see its own write')
      Atomics.store(shared, acknowledgedAt(writer, pair), n)
    }))
    if (n % 200 === 0) await db.checkpoint()
    if (writer === 0 && n % 1000 === 0) await db.compact()
  }
  await db.close()
}

// One reader. Counts reads; throws at the first that is wrong.
class Reader {
  constructor (db, shared, ids, client) {
    Object.assign(this, { db, shared, ids, client, seen: new Map(), reads: 0 })
  }

  check (writer, pair, half, n, acknowledged) {
    const name = nameOf(writer, pair, half)
    const before = this.seen.get(name) ?? 0
    if (n < acknowledged || n < before) {
      throw new Error(`stale: ${name} is ${n}; ${acknowledged} was acknowledged, ${before} seen before`)
    }
    this.seen.set(name, n)
    this.reads++
  }

  read (writer, pair, how) {
    const { db } = this
    const [a, b] = [nameOf(writer, pair, 'a'), nameOf(writer, pair, 'b')]
    const acknowledged = Atomics.load(this.shared, acknowledgedAt(writer, pair))
    let first, second
    switch (how) {
      case 0: // one by one: b was written with a or later
        first = db.get(a).n
        second = db.get(b).n
        if (second < first) throw new Error(`torn: ${a} is ${first}, then ${b} ${second}`)
        break
      case 1:
        [{ n: first }, { n: second }] = db.getMany([a, b])
        if (first !== second) throw new Error(`torn: getMany gives ${first} and ${second} for ${a}`)
        break
      case 2:
        first = db.getEntry(a).value.n
        second = db.get(b).n
        break
      case 3: {
        const rows = db.range({ prefix: `w${writer}/p${pair}/` }).toArray()
        first = rows[0][1].n
        second = rows[1][1].n
        if (first !== second) throw new Error(`torn: a range gives ${first} and ${second} for ${a}`)
        break
      }
      default:
        this.check(writer, pair, 'row', db.rows.get(this.ids[writer][pair]), acknowledged)
        for (let i = 0; i < BURST; i++) this.check(writer, pair, 'bytes', db.get(nameOf(writer, pair, 'bytes')).readUInt32LE(0), acknowledged)
        return
    }
    this.check(writer, pair, 'a', first, acknowledged)
    this.check(writer, pair, 'b', second, acknowledged)
  }

  // A round over all that the workers write, and what the client writes.
  round (writers, turn) {
    for (let writer = 0; writer < writers; writer++) {
      for (let pair = 0; pair < PAIRS; pair++) this.read(writer, pair, (turn + pair) % 5)
    }
    for (let pair = 0; pair < PAIRS; pair++) {
      const acknowledged = Atomics.load(this.shared, acknowledgedAt(writers, pair))
      this.check(writers, pair, 'a', Number(this.db.get(nameOf(writers, pair, 'a'))), acknowledged)
    }
  }
}

async function read ({ root, dir, shared, ids, writers }) {
  const { open } = require(root)
  const db = await open(dir, OPTIONS)
  const reader = new Reader(db, shared, ids)
  for (let turn = 0; Atomics.load(shared, 0) === 0; turn++) reader.round(writers, turn)
  await db.close()
  return reader.reads
}

// The client of the server: a SET and, each fourth time, reads through the server of what a worker writes.
async function serve (port, shared, writers, ended) {
  const client = new Client(port)
  const seen = new Array(PAIRS).fill(0)
  let reads = 0
  for (let n = 1; !ended(); n++) {
    for (let pair = 0; pair < PAIRS; pair++) {
      const reply = await client.call('SET', nameOf(writers, pair, 'a'), n)
      if (reply !== 'OK') throw new Error(`SET: ${JSON.stringify(reply)}`)
      Atomics.store(shared, acknowledgedAt(writers, pair), n)
      if (n % 4 !== 0) continue
      const acknowledged = Atomics.load(shared, acknowledgedAt(0, pair))
      for (const text of await client.pipeline(new Array(BURST).fill(['GET', nameOf(0, pair, 'a')]))) {
        const number = Number(/^n: (\d+)/m.exec(text)?.[1])
        if (!(number >= acknowledged && number >= seen[pair])) {
          throw new Error(`stale through the server: ${text}, ${acknowledged} was acknowledged, ${seen[pair]} seen before`)
        }
        seen[pair] = number
        reads++
      }
    }
  }
  client.close()
  return reads
}

/**
 * Hunt for some time.
 *
 * @param {number} ms
 * @param {string} [root] - the package
 * @returns {Promise<{ reads: number, hits: number, hot: number, writes: number }>} hot: hits of the caches in C, of the server and of bytes
 * @throws {Error} what was wrong
 */
async function hunt (ms, root = path.join(__dirname, '..', '..')) {
  const { open } = require(root)
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-hunt-'))
  const writers = 2
  const shared = new Int32Array(new SharedArrayBuffer(4 * (1 + (writers + 1) * PAIRS)))
  const threads = []
  let failure
  const stop = err => {
    failure ??= err
    Atomics.store(shared, 0, 1)
  }
  const db = await open(dir, OPTIONS)
  try {
    const ids = []
    for (let writer = 0; writer <= writers; writer++) {
      ids.push([])
      for (let pair = 0; pair < PAIRS; pair++) {
        const value = writer === writers ? '0' : { n: 0 }
        await db.batch(['a', 'b'].map(half => ({ type: 'put', key: nameOf(writer, pair, half), value })))
        await db.put(nameOf(writer, pair, 'bytes'), bytesOf(0))
        ids[writer].push(await db.rows.put(0))
      }
    }
    const server = await db.listen({ port: 0 })
    const start = data => new Promise(resolve => {
      const thread = new Worker(__filename, { workerData: { hunt: { root, dir, shared, ...data } } })
      let reads = 0
      thread.on('message', n => { reads = n })
      thread.on('error', stop)
      thread.on('exit', () => resolve(reads))
    })
    for (let writer = 0; writer < writers; writer++) threads.push(start({ writer, ids: ids[writer] }))
    threads.push(start({ ids, writers }))
    const ended = () => Atomics.load(shared, 0) !== 0
    const served = serve(server.port, shared, writers, ended).catch(err => {
      stop(err)
      return 0
    })
    const reader = new Reader(db, shared, ids)
    const end = Date.now() + ms
    try {
      for (let turn = 0; Date.now() < end && !ended(); turn++) {
        for (let i = 0; i < 20; i++) reader.round(writers, turn)
        await new Promise(resolve => { setImmediate(resolve) })
      }
    } catch (err) {
      stop(err)
    }
    Atomics.store(shared, 0, 1)
    const counts = await Promise.all([served, ...threads])
    const { hot } = db.stats()
    await server.close()
    if (failure !== undefined) throw failure
    const writes = Array.from(shared.subarray(1)).reduce((sum, n) => sum + n, 0)
    return { reads: counts.reduce((sum, n) => sum + n, reader.reads), hits: db.stats().cache.hits, hot: hot.hits, writes }
  } finally {
    await db.close()
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

if (!isMainThread && workerData?.hunt !== undefined) {
  const { hunt: data } = workerData
  const job = data.writer === undefined ? read(data) : write(data)
  job.then(reads => parentPort.postMessage(reads ?? 0), err => {
    Atomics.store(data.shared, 0, 1)
    throw err
  })
} else if (require.main === module) {
  const seconds = Number(process.argv[2] ?? 60)
  hunt(seconds * 1000, process.argv[3]).then(({ reads, hits, hot, writes }) => {
    console.log(`Node.js ${process.version}: ${seconds} s, ${writes} numbers written, ${reads} reads (${hits} of the main thread's from its cache, ${hot} from the caches in C): 0 violations`)
  }, err => {
    console.error(`Node.js ${process.version}: ${err.stack}`)
    process.exitCode = 1
  })
}

module.exports = { hunt }
