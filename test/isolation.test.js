'use strict'
// Isolation through JavaScript: worker threads with caches of their own run transactions in one store, many at a time, and look
// at it through L1, through snapshots and inside transactions. Rules that hold for every serial order are checked by each reader:
//   accounts     money moves between two of them; their sum never changes
//   pairs        one of the two may be lowered only while their sum is above 0; so it never is below (write skew)
//   slots        one may be taken only while fewer than LIMIT are; so there are never more (phantoms)
// Each account counts its changes: a read through L1 is never older than what any thread has been told before, nor runs back.
// ISOLATION: transactions in all, 1500 by default. (The judge of histories is test/c/isolation.test.c.)

const assert = require('node:assert')
const path = require('node:path')
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
const { ToonCache, ToonError } = require('..')

const ACCOUNTS = 6
const PAIRS = 3
const SLOTS = 8
const LIMIT = 4
const MONEY = 100
const THREADS = 3
const AT_ONCE = 8
const ALL = Number(process.env.ISOLATION ?? 1500)
const OPTIONS = { durability: 'close', segmentSize: 64 * 1024, checkpointBytes: 32 * 1024 }

const range = n => Array.from({ length: n }, (_, i) => i)
const sum = list => list.reduce((a, b) => a + b, 0)

function check (view, wrong) {
  const money = sum(range(ACCOUNTS).map(i => view.get(`account/${i}`).money))
  if (money !== ACCOUNTS * MONEY) wrong(`the accounts hold ${money}`)
  for (let i = 0; i < PAIRS; i++) {
    const left = view.get(`pair/${i}/a`) + view.get(`pair/${i}/b`)
    if (left < 0) wrong(`pair ${i} is at ${left}`)
  }
  const taken = [...view.range({ prefix: 'slot/' })].length
  if (taken > LIMIT) wrong(`${taken} slots are taken`)
}

async function work ({ dir, told, number, share, isolation }) {
  const db = await ToonCache.open(dir, 100, OPTIONS)
  const seen = new Int32Array(ACCOUNTS)
  const faults = []
  const wrong = text => { if (faults.length < 5) faults.push(text) }
  let seed = number + 1
  const random = n => {
    seed = Math.imul(seed ^ seed >>> 15, 0x2c1b3c6d) + 0x9e3779b9 | 0
    return (seed >>> 0) % n
  }

  function look () {
    const i = random(ACCOUNTS)
    const least = Atomics.load(told, i)
    const { count } = db.get(`account/${i}`)
    if (count < least) wrong(`L1 shows change ${count} of account ${i}, ${least} had been acknowledged`)
    if (count < seen[i]) wrong(`L1 shows change ${count} of account ${i}, and had shown ${seen[i]}`)
    seen[i] = count
  }

  const kinds = [
    tx => {
      const from = random(ACCOUNTS)
      const other = (from + 1 + random(ACCOUNTS - 1)) % ACCOUNTS
      const much = random(20)
      const changed = [[from, -much], [other, much]].map(([i, change]) => {
        const { money, count } = tx.get(`account/${i}`)
        tx.put(`account/${i}`, { money: money + change, count: count + 1 })
        return [i, count + 1]
      })
      return () => {
        for (const [i, to] of changed) {
          for (let now = Atomics.load(told, i); now < to;) now = Atomics.compareExchange(told, i, now, to)
        }
      }
    },
    tx => {
      const i = random(PAIRS)
      const [a, b] = [tx.get(`pair/${i}/a`), tx.get(`pair/${i}/b`)]
      const which = random(2) ? 'a' : 'b'
      tx.put(`pair/${i}/${which}`, (which === 'a' ? a : b) + (a + b > 0 ? -1 : 2))
    },
    tx => {
      const taken = [...tx.range({ prefix: 'slot/' })].map(([key]) => key)
      if (taken.length < LIMIT) tx.put(`slot/${random(SLOTS)}`, number)
      else tx.delete(taken[random(taken.length)])
    },
    tx => check(tx, wrong)
  ]

  let begun = 0
  let conflicts = 0
  async function line () {
    while (begun < share) {
      begun++
      look()
      const tx = db.begin({ isolation })
      const done = kinds[random(kinds.length)](tx)
      if (random(3) === 0) await null // others come between
      if (random(3) === 0) await new Promise(resolve => { setImmediate(resolve) })
      try {
        await tx.commit()
        done?.()
      } catch (err) {
        if (!(err instanceof ToonError) || err.code !== 'TOON_ECONFLICT') throw err
        conflicts++
      }
      look()
      if (begun % 16 === 0) {
        const snapshot = db.snapshot()
        if (begun % 32 === 0) await new Promise(resolve => { setImmediate(resolve) })
        check(snapshot, wrong)
        snapshot.close()
      }
    }
  }
  await Promise.all(range(AT_ONCE).map(line))
  const { hits } = db.stats().cache
  await db.close()
  return { faults, conflicts, hits }
}

if (isMainThread) {
  const { setup } = require('./support')
  describe('isolation', () => {
    const { folder } = setup()

    async function storm (isolation) {
      const dir = path.join(folder(), 'data')
      const told = new Int32Array(new SharedArrayBuffer(4 * ACCOUNTS))
      const db = await ToonCache.open(dir, 100, OPTIONS)
      await db.batch([
        ...range(ACCOUNTS).map(i => ({ type: 'put', key: `account/${i}`, value: { money: MONEY, count: 0 } })),
        ...range(PAIRS).flatMap(i => ['a', 'b'].map(which => ({ type: 'put', key: `pair/${i}/${which}`, value: 1 })))])
      let busy = true
      const upkeep = (async () => {
        while (busy) {
          await db.checkpoint()
          await db.compact()
        }
      })()
      const results = await Promise.all(range(THREADS).map(number => new Promise((resolve, reject) => {
        const thread = new Worker(__filename, { workerData: { dir, told, number, share: Math.ceil(ALL / THREADS), isolation } })
        thread.once('message', resolve).once('error', reject)
        thread.once('exit', () => { reject(new Error('a thread has ended early')) })
      }))).finally(() => { busy = false })
      await upkeep
      const faults = results.flatMap(result => result.faults)
      check(db, fault => faults.push(fault))
      await db.close()
      assert(sum(results.map(result => result.conflicts)) > 0, 'they were not at it together')
      assert(sum(results.map(result => result.hits)) > 0, 'L1 was never asked')
      return faults
    }

    it(`of ${ALL} transactions of ${THREADS} threads, through L1, snapshots and transactions`, async function () {
      this.timeout(60000 + ALL * 10)
      this.slow(60000)
      assert.deepStrictEqual(await storm('serializable'), [])
    })

    it('would be missed if there was only snapshot isolation, which breaks just the rules that it may', async function () {
      this.timeout(60000 + ALL * 10)
      this.slow(60000)
      const faults = await storm('snapshot')
      assert(faults.length > 0)
      assert.deepStrictEqual(faults.filter(fault => !/^pair|slots are taken$/.test(fault)), [])
    })
  })
} else {
  work(workerData).then(result => { parentPort.postMessage(result) })
}
