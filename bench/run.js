'use strict'
// npm run bench: every case for every driver, each in a process of its own, several rounds by turns; a table at the end.
// After a full run the figures are kept in bench/results.json, and the section "The store" of bench/results.md and the
// chart are made from all that is kept there.
//   --only NAME[,NAME]   these cases (a name, or the beginning of one)     --drivers NAME[,NAME]   these drivers
//   --rounds N           rounds (3)                                        --quick                 a smoke test: small, one round
//   --list               the names of the cases                            --record                keep the figures of these cases too
// A run begins no more rounds after 9 minutes; `--only` with `--record` makes several short runs of one long one.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawn } = require('node:child_process')
const { parseArgs } = require('node:util')
const { CASES, DRIVERS, EVERYBODY } = require('./cases')
const { install, installedVersion } = require('./peers')
const { median, figure, table, plain, machine } = require('./report')
const { record } = require('./record')
const floor = require('./drivers/floor')

const TIME_LIMIT = 120e3 // ms, of one process
const VOLATILE = ['map', 'lru-cache', 'utf8', 'floor'] // drivers that keep nothing in a directory
const BUDGET = 9 * 60e3 // ms, of a run: on a slow or busy machine cases get fewer rounds, though one at least

function pick (all, given, what) {
  if (given === undefined) return all
  const wanted = given.split(',')
  for (const name of wanted) {
    if (!all.some(other => other.startsWith(name))) throw new Error(`no such ${what}: ${name} (there are ${all.join(', ')})`)
  }
  return all.filter(name => wanted.some(other => name === other || (!all.includes(other) && name.startsWith(other))))
}

function readArguments () {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      drivers: { type: 'string' },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      record: { type: 'boolean', default: false }
    }
  })
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds takes a whole number from 1 (got ${values.rounds})`)
  const enough = !values.quick && rounds >= 3 && values.drivers === undefined
  if (values.record && !enough) throw new Error('--record takes three rounds and all drivers')
  return {
    ...values,
    rounds,
    cases: pick(Object.keys(CASES), values.only, 'case').filter(name => !(values.quick && CASES[name].slow)),
    drivers: pick(EVERYBODY, values.drivers, 'driver'),
    record: values.record || (enough && values.only === undefined)
  }
}

// One process. Resolves to { samples } or { error }.
function child (...args) {
  return new Promise(resolve => {
    const run = spawn(process.execPath, [path.join(__dirname, 'child.js'), ...args],
      { stdio: ['ignore', 'pipe', 'pipe'], timeout: TIME_LIMIT, killSignal: 'SIGKILL' })
    let out = ''
    let err = ''
    run.stdout.on('data', data => { out += data })
    run.stderr.on('data', data => { err += data })
    run.on('error', cause => resolve({ error: cause.message }))
    run.on('close', (status, signal) => {
      try {
        resolve(JSON.parse(out.trim().split('\n').pop()))
      } catch {
        const why = err.split('\n').find(line => /error/i.test(line)) ?? ''
        resolve({ error: signal === null ? `status ${status} ${why}` : `ended by ${signal} (the limit is ${TIME_LIMIT / 1000} s)` })
      }
    })
  })
}

// The directories of a run: fixtures, each made when it is first needed, and those of single processes.
class Places {
  #made = new Map() // fixture and driver -> { dir, error }

  constructor (quick) {
    this.quick = quick
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-bench-'))
  }

  async fixture (name, driver) {
    const place = `${name}-${driver}`
    if (!this.#made.has(place)) {
      const dir = path.join(this.root, place)
      fs.mkdirSync(dir)
      const { error } = await child(driver, dir, this.quick, 'fixture', name)
      this.#made.set(place, { dir, error })
    }
    return this.#made.get(place)
  }

  // What one process of a case gives.
  async run (name, driver) {
    const { fixture, changes } = CASES[name]
    let from
    if (fixture !== undefined && !VOLATILE.includes(driver)) {
      const { dir, error } = await this.fixture(fixture, driver)
      if (error !== undefined) return { error: `loading: ${error}` }
      if (!changes) return child(driver, dir, this.quick, name)
      from = dir
    }
    const dir = fs.mkdtempSync(path.join(this.root, 'case-'))
    try {
      if (from !== undefined) fs.cpSync(from, dir, { recursive: true })
      return await child(driver, dir, this.quick, name)
    } finally {
      fs.rmSync(dir, { recursive: true, force: true })
    }
  }

  remove () {
    fs.rmSync(this.root, { recursive: true, force: true })
  }
}

// The figures of one case: driver -> { value, rounds } or { error }.
async function runCase (name, options, places, deadline) {
  const { drivers: able = DRIVERS, unit } = CASES[name]
  const figures = new Map(options.drivers.filter(driver => able.includes(driver)).map(driver => [driver, { rounds: [] }]))
  for (let round = 0; round < options.rounds && (round === 0 || Date.now() < deadline); round++) {
    for (const [driver, figureOf] of figures) {
      if (figureOf.error !== undefined) continue
      const { samples, error } = await places.run(name, driver)
      if (error !== undefined) figureOf.error = error
      else figureOf.rounds.push(median(samples))
    }
  }
  const texts = []
  for (const [driver, figureOf] of figures) {
    if (figureOf.error === undefined) figureOf.value = median(figureOf.rounds)
    texts.push(`${driver} ${figureOf.error === undefined ? figure(figureOf.value, unit) : `failed (${figureOf.error})`}`)
  }
  console.log(`${name}: ${texts.join(', ')}`)
  return figures
}

async function main () {
  const options = readArguments()
  if (options.list) return console.log(options.cases.map(name => `${name.padEnd(16)}${CASES[name].title}`).join('\n'))
  if (!install()) throw new Error('benchmark is missing; run: npm install --prefix bench')
  for (const driver of options.drivers.slice()) {
    const name = driver === 'lmdb-cached' ? 'lmdb' : driver
    if (['toonstore', 'map', 'utf8'].includes(driver) || installedVersion(name) !== undefined || (driver === 'floor' && floor.compile())) continue
    console.log(`${driver} is not installed: left out`)
    options.drivers.splice(options.drivers.indexOf(driver), 1)
  }
  const started = Date.now()
  const facts = machine([...DRIVERS.slice(1, -1), 'lru-cache', 'benchmark'])
  console.log(facts.join('\n') + '\n')
  const places = new Places(options.quick ? '1' : '0')
  process.on('exit', () => places.remove())
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

  const figures = new Map()
  for (const [i, name] of options.cases.entries()) {
    figures.set(name, await runCase(name, options, places, started + BUDGET * (i + 1) / options.cases.length))
  }
  console.log('\n' + plain(table(figures)))
  if (options.record) console.log('\nKept: ' + record(figures, facts, started).join(', '))
  else console.log('\nNot kept: bench/results.md stays as it is')
  console.log(`${((Date.now() - started) / 1000).toFixed(0)} s`)
  if ([...figures.values()].some(byDriver => byDriver.get('toonstore')?.error !== undefined)) process.exitCode = 1
}

main().catch(err => {
  console.error(err.message)
  process.exitCode = 1
})
