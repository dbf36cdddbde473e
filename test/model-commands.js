'use strict'
// What the model tests share: keys and ranges at random, commands, and the loop that runs lists of them on stores with tiny
// segments and tiny checkpoints. `MODEL_RUNS=10000 MODEL_SEED=1 npx mocha test/model.test.js` runs longer, or again what failed.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const fc = require('fast-check')
const { ToonStore } = require('..')

const SEED = process.env.MODEL_SEED === undefined ? undefined : Number(process.env.MODEL_SEED)

const bytes = text => Buffer.from(text)
const order = (a, b) => Buffer.compare(bytes(a), bytes(b))

// Few keys, so that they meet: plain ones, odd ones, and prefixes of each other.
const key = fc.constantFrom('', 'a', 'ab', 'abc', 'b', 'b c', 'c/1', 'c/2', 'c/10', 'é', '😀', 'row.1', 'hex.00', '#', '-', 'z'.repeat(300))
const bound = fc.option(key, { nil: undefined })
const range = fc.record({
  gt: bound, gte: bound, lt: bound, lte: bound, prefix: fc.option(fc.constantFrom('', 'a', 'c/', 'é'), { nil: undefined }),
  reverse: fc.boolean(), limit: fc.option(fc.nat(6), { nil: undefined })
})

function select (map, { gt, gte, lt, lte, prefix, reverse, limit }) {
  let keys = [...map.keys()].sort(order)
  if (gte !== undefined) keys = keys.filter(k => order(k, gte) >= 0)
  else if (gt !== undefined) keys = keys.filter(k => order(k, gt) > 0)
  if (lte !== undefined) keys = keys.filter(k => order(k, lte) <= 0)
  else if (lt !== undefined) keys = keys.filter(k => order(k, lt) < 0)
  if (prefix !== undefined) keys = keys.filter(k => k.startsWith(prefix))
  if (reverse) keys.reverse()
  return keys.slice(0, limit)
}

// A command changes model and store, and compares what they say.
class Command {
  constructor (name, args, run) {
    this.name = name
    this.args = args
    this.act = run
  }

  check () { return true }
  async run (model, real) { await this.act(model, real, this.args) }
  toString () { return `${this.name}(${fc.stringify(this.args)})` }
}
// As often as `weight` others.
const command = (name, args, run, weight = 1) => Array(weight).fill(fc.record(args).map(given => new Command(name, given, run)))

/**
 * @param {Command[]} commands
 * @param {number} usual - lists of commands, if MODEL_RUNS does not say
 * @param {function(): object} makeModel - at the start of each list
 */
async function check (commands, usual, makeModel) {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-model-'))
  let n = 0
  try {
    await fc.assert(fc.asyncProperty(fc.commands(commands.flat(), { maxCommands: 60, size: 'max' }), async list => {
      const dir = path.join(base, String(n++))
      const real = {
        db: null,
        async open () {
          real.db = await ToonStore.open(dir, { segmentSize: 4096, checkpointBytes: 4096, durability: 'close' })
        }
      }
      await real.open()
      try {
        await fc.asyncModelRun(() => ({ model: makeModel(), real }), list)
      } finally {
        await real.db.close()
        fs.rmSync(dir, { recursive: true, force: true })
      }
    }), { numRuns: Number(process.env.MODEL_RUNS ?? usual), ...(SEED !== undefined && { seed: SEED }) })
  } finally {
    fs.rmSync(base, { recursive: true, force: true })
  }
}

module.exports = { key, range, select, command, check }
