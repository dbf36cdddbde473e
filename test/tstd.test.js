'use strict'
// tstd as a process: its flags, what it prints, and how it ends.
const assert = require('node:assert')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const { once } = require('node:events')
const { spawn, spawnSync } = require('node:child_process')
const { setup, root } = require('./support')

const script = path.join(root, 'lib', 'cli', 'tstd.js')
const clean = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TSTD_')))

// Run it to its end.
function tstd (args, env = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8', timeout: 20000, env: { ...clean(), ...env } })
  return { status, stdout, stderr }
}

describe('tstd', () => {
  const { folder, openStore } = setup()
  const children = []

  afterEach(() => {
    for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL')
  })

  // Start it and wait until it says that it is ready: { child, port, url, lines() }.
  async function begin (args, env = {}) {
    const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...clean(), ...env } })
    children.push(child)
    let text = ''
    child.ended = once(child, 'exit')
    for (const stream of [child.stdout, child.stderr]) stream.on('data', data => { text += data })
    while (!text.includes('ready for connections')) {
      const event = await Promise.race([once(child.stdout, 'data'), child.ended])
      assert.ok(typeof event[0] !== 'number', text)
    }
    const url = text.match(/rediss?:\/\/\S+/)[0]
    return { child, url, port: Number(new URL(url).port), text: () => text }
  }

  // Send lines, give all of the answer that has come when `count` lines of it are there.
  async function ask (port, commands, count = commands.length) {
    const socket = net.connect(port, '127.0.0.1')
    let text = ''
    socket.write(commands.map(line => line + '\r\n').join(''))
    while (text.split('\r\n').length <= count) text += (await once(socket, 'data'))[0]
    socket.destroy()
    return text
  }

  it('serves a directory until SIGTERM, and then everything is there', async () => {
    const data = path.join(folder(), 'data')
    for (const signal of ['SIGTERM', 'SIGINT']) {
      const server = await begin(['--data', data, '--bind', '127.0.0.1:0'])
      assert.match(server.text(), /^\d{4}-\d\d-\d\dT\S+ info {4}tstd \d+\.\d+\.\d+, process \d+/)
      assert.strictEqual(await ask(server.port, [`SET ${signal} 1`, 'PING']), '+OK\r\n+PONG\r\n')
      server.child.kill(signal)
      assert.deepStrictEqual(await server.child.ended, [0, null])
      assert.match(server.text(), new RegExp(`${signal}: finishing[^]*on the disk`))
    }
    const db = await openStore({}, data)
    assert.deepStrictEqual([...db.keys()], ['SIGINT', 'SIGTERM'])
    assert.strictEqual(db.stats().recovery?.cut ?? 0, 0)
  })

  it('takes settings from flags, then the environment, then the file', async () => {
    const dir = folder()
    const config = path.join(dir, 'tstd.toon')
    fs.writeFileSync(config, '# settings\nbind: "127.0.0.1:1"\ndurability: interval\nlog-level: warning\ndata: ./here\nmaxclients: 1\n')
    const server = await begin(['--bind', '127.0.0.1:0', '--config', config], { TSTD_LOG_LEVEL: 'info', TSTD_BIND: '127.0.0.1:2' })
    assert.match(server.text(), new RegExp(`the store in ${path.join(fs.realpathSync(dir), 'here')} has 0 keys; durability interval`))
    const first = net.connect(server.port, '127.0.0.1')
    first.write('PING\r\n')
    await once(first, 'data')
    assert.match(await ask(server.port, [], 1), /max number of clients/)
    first.destroy()
  })

  it('says whether a server answers', async () => {
    const server = await begin(['--data', path.join(folder(), 'data'), '--bind', '127.0.0.1:0'])
    const bind = `127.0.0.1:${server.port}`
    assert.deepStrictEqual(tstd(['--health', '--bind', bind]), { status: 0, stdout: 'a server answers\n', stderr: '' })
    server.child.kill()
    await server.child.ended
    const { status, stdout } = tstd(['--health'], { TSTD_BIND: bind })
    assert.deepStrictEqual([status, stdout.replace(/\d+\n/, '')], [1, 'no server: connect ECONNREFUSED 127.0.0.1:'])
  })

  it('describes each of its flags, and its version', () => {
    const { status, stdout } = tstd(['--help'])
    assert.strictEqual(status, 0)
    for (const flag of ['bind', 'data', 'capacity', 'durability', 'maxclients', 'protected-mode', 'log-level', 'config', 'health', 'version', 'help']) {
      assert.match(stdout, new RegExp(`^ +--${flag}[ ,].*\\S`, 'm'))
    }
    assert.deepStrictEqual(tstd(['-v']), { status: 0, stdout: `tstd ${require('../package.json').version}\n`, stderr: '' })
  })

  it('refuses wrong settings with status 2, and says which', () => {
    const config = path.join(folder(), 'tstd.toon')
    fs.writeFileSync(config, 'health: true\n')
    const cases = [
      [['--nope'], /Unknown option '--nope'/], [['here'], /'here'/], [['--bind'], /--bind/], [['--bind', '1:2:3'], /--bind takes HOST:PORT/],
      [['--bind', '127.0.0.1:70000'], /--bind takes/], [['--capacity=-1'], /--capacity takes a whole number/], [['--max-db-size', '1x'], /bytes/],
      [['--durability', 'none'], /one of commit, interval, close/], [['--config', '/nope/nope'], /configuration file.*ENOENT/], [['--config', config], /no setting 'health'/],
      [['--bind', '0.0.0.0:0'], /no password.*--protected-mode no/]
    ]
    for (const [args, message] of cases) {
      const { status, stdout, stderr } = tstd(args)
      assert.match(stderr, message, args.join(' '))
      assert.deepStrictEqual([status, stdout], [2, ''], args.join(' '))
      assert.match(stderr, /Try tstd --help\.\n$/)
    }
    assert.match(tstd([], { TSTD_MAXCLIENTS: 'x' }).stderr, /TSTD_MAXCLIENTS takes a whole number/)
  })

  it('ends with status 1 if it cannot serve', async () => {
    const data = path.join(folder(), 'data')
    const server = await begin(['--data', data, '--bind', '127.0.0.1:0'])
    for (const [args, message] of [[['--data', data], /TOON_ELOCKED/], [['--data', data + '2', '--bind', `127.0.0.1:${server.port}`], /address already in use/]]) {
      const { status, stderr } = tstd(args)
      assert.strictEqual(status, 1)
      assert.match(stderr, message)
    }
  })

  it('listens off loopback when protected mode is off', async () => {
    const server = await begin(['--data', path.join(folder(), 'data'), '--bind', '0.0.0.0:0', '--protected-mode', 'no'])
    assert.strictEqual(await ask(server.port, ['PING']), '+PONG\r\n')
  })
})
