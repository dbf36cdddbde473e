'use strict'
// npm run bench:server: tstd beside redis-server (Debian's redis-server and redis-tools), 50 clients of redis-benchmark, 100,000 keys
// of 1 KB, three rounds by turns; medians, and the section "The server" of bench/results.md.
//   --only NAME[,NAME]   these cases (get, get16, set, set16, commit, idle)     --rounds N   rounds (3)     --quick   a smoke test

const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { once } = require('node:events')
const { spawn, execFileSync, spawnSync } = require('node:child_process')
const { parseArgs } = require('node:util')
const { median, plain, markdown, machine, writeSection } = require('./report')

const KEYS = 100000
const CLIENTS = 50
const VALUE = 1024
const IDLE = 10000
const tstd = path.join(__dirname, '..', 'lib', 'cli', 'tstd.js')

// Which server with which settings, and what redis-benchmark does.
const CASES = {
  get: { test: 'get', pipeline: 1, requests: 250000, redis: 'none', tstd: 'interval', want: 0.9 },
  get16: { test: 'get', pipeline: 16, requests: 1000000, redis: 'none', tstd: 'interval', want: 0.7 },
  set: { test: 'set', pipeline: 1, requests: 150000, redis: 'everysec', tstd: 'interval', want: 0.9 },
  set16: { test: 'set', pipeline: 16, requests: 400000, redis: 'everysec', tstd: 'interval', want: 0.8 },
  commit: { test: 'set', pipeline: 1, requests: 80000, redis: 'always', tstd: 'commit', want: 1.2 }
}
const TITLES = {
  get: 'GET, no pipeline', get16: 'GET, pipelines of 16', set: 'SET, no pipeline, synced each second', set16: 'SET, pipelines of 16, synced each second',
  commit: 'SET, no pipeline, synced before the reply'
}

async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

async function reachable (port, child) {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server has ended with ${child.exitCode}`)
    const socket = net.connect(port, '127.0.0.1')
    const there = await new Promise(resolve => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
    })
    socket.destroy()
    if (there) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

// Start a server with an empty directory: { pid, port, stop() }.
async function start (name, sync) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-bench-'))
  const port = await freePort()
  const child = name === 'redis'
    ? spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--maxclients', '20000', '--appendonly', sync === 'none' ? 'no' : 'yes', '--appendfsync', sync === 'none' ? 'no' : sync], { stdio: 'ignore' })
    : spawn(process.execPath, [tstd, '--bind', `127.0.0.1:${port}`, '--data', dir, '--durability', sync, '--max-db-size', '4g', '--maxclients', '20000'], { stdio: 'ignore' })
  await reachable(port, child)
  return {
    pid: child.pid,
    port,
    async stop () {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'exit')
      fs.rmSync(dir, { recursive: true })
    }
  }
}

// All keys that redis-benchmark -r asks for.
async function load (port) {
  const socket = net.connect(port, '127.0.0.1')
  const value = 'x'.repeat(VALUE)
  let replied = 0 // bytes
  socket.on('data', data => { replied += data.length })
  for (let i = 0; i < KEYS; i++) {
    const key = `key:${String(i).padStart(12, '0')}`
    if (!socket.write(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${VALUE}\r\n${value}\r\n`)) await once(socket, 'drain')
  }
  while (replied < KEYS * '+OK\r\n'.length) await once(socket, 'data')
  socket.destroy()
}

// CPU time of a process in microseconds.
function cpu (pid) {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 1e6 / Number(execFileSync('getconf', ['CLK_TCK']))
}

function resident (pid) {
  return Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) * 1024
}

function benchmark (port, { test, pipeline }, requests) {
  const out = spawnSync('redis-benchmark', ['-p', port, '-t', test, '-c', CLIENTS, '-n', requests, '-r', KEYS, '-d', VALUE, '-P', pipeline, '--csv'], { encoding: 'utf8' }).stdout
  const [, rate, , , , , p99] = out.trim().split('\n').at(-1).split(',').map(field => Number(field.replaceAll('"', '')))
  return { rate, p99 }
}

// A round of a case with one server: { rate, p99, cpu (us a request) }
async function round (name, each, requests) {
  const server = await start(name, each[name])
  try {
    await load(server.port)
    benchmark(server.port, each, Math.ceil(requests / 5)) // warms up
    const before = cpu(server.pid)
    const figures = benchmark(server.port, each, requests)
    return { ...figures, cpu: (cpu(server.pid) - before) / requests }
  } finally {
    await server.stop()
  }
}

// Bytes that connections take which have said PING once. The server is empty: what a load left unused in the heap would hide them.
async function idle (name, count) {
  const server = await start(name, name === 'redis' ? 'none' : 'interval')
  try {
    const before = resident(server.pid)
    const sockets = []
    for (let i = 0; i < count; i += 500) {
      await Promise.all(Array.from({ length: Math.min(500, count - i) }, async () => {
        const socket = net.connect(server.port, '127.0.0.1')
        sockets.push(socket)
        await once(socket, 'connect')
        socket.write('PING\r\n')
        await once(socket, 'data')
      }))
    }
    const taken = resident(server.pid) - before
    for (const socket of sockets) socket.destroy()
    return taken
  } finally {
    await server.stop()
  }
}

const thousand = rate => `${(rate / 1000).toFixed(1)} k/s`

async function main () {
  const { values } = parseArgs({ options: { only: { type: 'string' }, rounds: { type: 'string', default: '3' }, quick: { type: 'boolean', default: false } } })
  for (const tool of ['redis-server', 'redis-benchmark']) {
    if (spawnSync(tool, ['--version']).error) {
      console.log(`bench:server needs ${tool} (Debian: apt-get install redis-server redis-tools); nothing was measured`)
      return
    }
  }
  const all = [...Object.keys(CASES), 'idle']
  const names = values.only?.split(',') ?? all
  for (const name of names) if (!all.includes(name)) throw new Error(`no such case: ${name} (there are ${all.join(', ')})`)
  const rounds = values.quick ? 1 : Number(values.rounds)
  const version = spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout.match(/v=(\S+)/)[1]
  const rows = []
  const say = (...row) => { rows.push(row.map(String)); console.log(row.join('   ')) }
  for (const name of names.filter(other => other !== 'idle')) {
    const each = CASES[name]
    const results = { redis: [], tstd: [] }
    for (let i = 0; i < rounds; i++) {
      for (const server of ['redis', 'tstd']) results[server].push(await round(server, each, values.quick ? 20000 : each.requests))
    }
    const of = (server, what) => median(results[server].map(result => result[what]))
    const times = of('tstd', 'rate') / of('redis', 'rate')
    say(TITLES[name], thousand(of('redis', 'rate')), thousand(of('tstd', 'rate')), `${times.toFixed(2)} x`, `>= ${each.want} x`, times >= each.want ? 'met' : 'missed')
    if (name !== 'get') continue
    const late = of('tstd', 'p99') / of('redis', 'p99')
    say('its 99th percentile', `${of('redis', 'p99').toFixed(2)} ms`, `${of('tstd', 'p99').toFixed(2)} ms`, `${late.toFixed(2)} x`, '<= 1.5 x', late <= 1.5 ? 'met' : 'missed')
    const used = of('tstd', 'cpu')
    say("the server's CPU time a GET", `${of('redis', 'cpu').toFixed(1)} us`, `${used.toFixed(1)} us`, '', '<= 8 us', used <= 8 ? 'met' : 'missed')
  }
  if (names.includes('idle')) {
    const count = values.quick ? 500 : IDLE
    const [redis, ours] = [await idle('redis', count), await idle('tstd', count)]
    say(`memory of ${count} idle connections`, `${(redis / 1e6).toFixed(0)} MB`, `${(ours / 1e6).toFixed(0)} MB`, '', '<= 100 MB', ours <= 100e6 ? 'met' : 'missed')
  }
  const table = [['', `redis-server ${version}`, 'tstd', 'ratio', 'wanted', ''], ...rows]
  console.log('\n' + plain(table))
  if (values.only !== undefined || values.quick || rounds < 3) return
  writeSection('server', `## The server

${new Date().toISOString().slice(0, 10)}, ${machine([]).join('; ').replace(/, $/, '')}. Rerun with \`npm run bench:server\`.

${CLIENTS} clients of redis-benchmark on the same machine, ${KEYS} keys of ${VALUE} bytes, medians of ${rounds} rounds by turns, each with a fresh server
and directory. redis-server keeps all values in memory, without a file for GET; tstd reads from its log through the page cache.

${markdown(table)}
`)
  console.log('Written to bench/results.md')
}

main().catch(err => {
  console.error(err)
  process.exitCode = 1
})
