'use strict'
// npm run bench:engine: the engine's own figures, most of them of bench/c/engine_bench.c, without JavaScript: each in a process
// of its own, several rounds, medians. A table at the end, and the section "The engine" of bench/results.md after a full run.
//   --only NAME[,NAME]   these figures (a name, or the beginning of one)     --rounds N   rounds (3)     --list   the names

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawn, spawnSync } = require('node:child_process')
const { parseArgs } = require('node:util')
const { once } = require('node:events')
const { compile, run } = require('./native')
const { median, figure, goalText, verdict, plain, markdown, machine, writeSection } = require('./report')

const MANY = 10e6
const GIGABYTE = 1e9
const LIVE = 99e6 // bytes of keys and values

let program // bench/c/engine_bench.c
let root // directory of this run

function engine (command, dir, ...args) {
  return run(program, [command, dir, ...args.map(String)]).trim().split(' ').map(Number)
}

// Call fn with the path of a directory that is removed afterwards.
async function inDirectory (fn) {
  const dir = fs.mkdtempSync(path.join(root, 'd-'))
  try {
    return await fn(path.join(dir, 'store'))
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

// A loaded store for all figures that ask for so many keys; none of them makes it larger.
const loaded = new Map()
function store (keys) {
  if (!loaded.has(keys)) {
    const dir = path.join(root, `store-${keys}`)
    const [rate, memory] = engine('load', dir, keys)
    loaded.set(keys, { dir, rate, memory })
  }
  return loaded.get(keys)
}

// Written to, killed as it is, opened again.
function killed () {
  return inDirectory(async dir => {
    const child = spawn(program, ['write', dir, String(GIGABYTE)], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = await once(child.stdout, 'data')
    const gone = once(child, 'close')
    child.kill('SIGKILL')
    await gone
    return engine('reopen', dir, String(line).trim().split(' ')[1])[0]
  })
}

function loadFromJavaScript () {
  return inDirectory(dir => Number(run(process.execPath, [path.join(__dirname, 'engine-load.js'), dir])))
}

// unit 'ms', 'us' and 'MB': less is better. `rounds`: at most so many.
const FIGURES = {
  'reads-1m': { title: 'point reads, 1 M keys', unit: 'reads/s', goal: { least: 1.7e6 }, what: 'random reads from runs: the store was loaded by batches of 1000, closed and opened again', run: () => engine('reads', store(1e6).dir, 1e6)[0] },
  'reads-10m': { title: 'point reads, 10 M keys', unit: 'reads/s', goal: { least: 1e6 }, what: 'the same', run: () => engine('reads', store(MANY).dir, MANY)[0] },
  'scan-1m': { title: 'scan, 1 M keys', unit: 'rows/s', what: 'all rows in key order; they were written in random order', run: () => engine('scan', store(1e6).dir, 1e6)[0] },
  'load-1m': { title: 'batches of 1000 new keys', unit: 'rows/s', goal: { least: 2e6 }, what: '1 M rows into an empty store, keys in random order, `interval`', run: () => inDirectory(dir => engine('load', dir, 1e6)[0]) },
  'batches-10m': { title: 'batches of 1000 keys into 10 M', unit: 'rows/s', goal: { least: 2e6 }, what: '1 M rows, random keys of a store of 10 M, `interval`', run: () => engine('batches', store(MANY).dir, MANY, 1e6)[0] },
  'load-10m': { title: 'load of 10 M keys', unit: 'rows/s', rounds: 1, what: 'batches of 1000 as above, checkpoints and merges under way all the time', run: () => store(MANY).rate },
  singles: { title: 'single commits', unit: 'commits/s', goal: { least: 200e3 }, what: 'one put a commit, one after the other, `interval`', run: () => inDirectory(dir => engine('singles', dir)[0]) },
  durable: { title: 'durable batches of 1000', unit: 'rows/s', goal: { least: 1e6 }, what: 'durability `commit`: each batch is on the disk before the next begins', run: () => inDirectory(dir => engine('durable', dir)[0]) },
  'load-js': { title: 'load from JavaScript', unit: 'rows/s', goal: { least: 1.3e6 }, what: '1 M texts of 100 bytes by `batch` of 1000, `interval`', run: loadFromJavaScript },
  kill: { title: 'reopen after kill -9', unit: 'ms', goal: { most: 100 }, what: '1 GB written without a pause, the process killed; a new one opens the store and reads one value', run: killed },
  'reopen-10m': { title: 'clean reopen, 10 M keys', unit: 'ms', goal: { most: 20 }, what: 'open after close, and read one value', run: () => engine('reopen', store(MANY).dir, MANY)[0] },
  'memory-10m': { title: 'anonymous memory, 10 M keys', unit: 'MB', goal: { most: 200 }, what: 'at most during a full scan, after a million reads (RssAnon)', run: () => engine('memory', store(MANY).dir, MANY)[1] },
  'memory-load': { title: 'anonymous memory, loading 10 M', unit: 'MB', rounds: 1, goal: { most: 200 }, what: 'at most on the way', run: () => store(MANY).memory },
  disk: { title: 'disk after 3 overwrites', unit: 'MB', rounds: 1, goal: { most: 150 }, what: '99 MB of keys and values, all of it overwritten three times; all files, when nothing has changed for two seconds', run: () => inDirectory(dir => engine('overwrite', dir, LIVE)[0]) },
  'disk-1k': { title: 'disk after 3 overwrites, 1 KB values', unit: 'MB', rounds: 1, goal: { most: 150 }, what: 'the same with values of 1000 bytes', run: () => inDirectory(dir => Number(run(program, ['overwrite', dir, String(LIVE)], { VALUE: '1000' }).split(' ')[0])) },
  latency: { title: 'p99.9 of a read under load', unit: 'us', goal: { most: 1000 }, what: 'reads of 10 M keys for ten seconds, while one thread writes batches of 1000 and another calls for checkpoints and compactions without a pause', rounds: 1, run: () => engine('latency', store(MANY).dir, MANY)[0] }
}

function section (rows, facts, started, rounds) {
  return `## The engine

${new Date(started).toISOString().slice(0, 10)}, ${facts.join('; ')}. Rerun with \`npm run bench:engine\`
(${((Date.now() - started) / 60e3).toFixed(1)} minutes here); [README.md](README.md) says how it measures.

The C core (\`bench/c/engine_bench.c\`) called by one thread: 16-byte keys, 100-byte values, no cache, checksums on. Medians of ${rounds}
rounds at most, each in a process of its own; files are in the page cache.

${markdown(rows)}

${Object.entries(FIGURES).map(([name, { title, what }]) => `- **${title}** (\`--only ${name}\`): ${what}.`).join('\n')}
`
}

async function main () {
  const { values } = parseArgs({ options: { only: { type: 'string' }, rounds: { type: 'string', default: '3' }, list: { type: 'boolean', default: false } } })
  const rounds = Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds takes a whole number from 1 (got ${values.rounds})`)
  const wanted = values.only?.split(',')
  const names = Object.keys(FIGURES).filter(name => wanted === undefined || wanted.some(only => name.startsWith(only)))
  if (names.length === 0) throw new Error(`no such figure: ${values.only} (there are ${Object.keys(FIGURES).join(', ')})`)
  if (values.list) return console.log(names.join('\n'))
  const started = Date.now()
  const facts = machine([])
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-bench-engine-'))
  try {
    console.log(facts.join('\n') + '\n')
    program = compile('engine_bench', ['base', 'os', 'toon', 'log', 'index', 'cache', 'column', 'store'], root)
    const rows = [['figure', 'unit', 'median', 'worst', 'goal', '']]
    for (const name of names) {
      const { title, unit, goal, rounds: most = rounds, run: measure } = FIGURES[name]
      const samples = []
      for (let i = 0; i < Math.min(rounds, most); i++) {
        spawnSync('sync') // what others have written shall not be this one's burden
        samples.push(await measure())
      }
      const least = unit === 'ms' || unit === 'us' || unit === 'MB' ? Math.max(...samples) : Math.min(...samples)
      const middle = median(samples)
      rows.push([title, unit, figure(middle, unit), figure(least, unit), goalText(goal, unit), verdict(goal, middle)])
      console.log(`${name}: ${samples.map(sample => figure(sample, unit)).join(', ')}`)
    }
    console.log(`\n${plain(rows)}\n`)
    if (wanted === undefined && rounds >= 3) {
      writeSection('engine', section(rows, facts, started, rounds))
      console.log('Written to bench/results.md')
    } else {
      console.log('Not a full run: bench/results.md stays as it is')
    }
  } finally {
    fs.rmSync(root, { recursive: true, force: true })
  }
}

main().catch(err => {
  console.error(err.message)
  process.exitCode = 1
})
