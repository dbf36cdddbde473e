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
    while (!/ready for connections at rediss?:.*\n/.test(text)) {
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
    for (const flag of ['bind', 'data', 'capacity', 'durability', 'maxclients', 'users', 'tls-key', 'unixsocket', 'protected-mode', 'log-level', 'config', 'health', 'version', 'help']) {
      assert.match(stdout, new RegExp(`^ +--${flag}[ ,].*\\S`, 'm'))
    }
    assert.deepStrictEqual(tstd(['-v']), { status: 0, stdout: `tstd ${require('../package.json').version}\n`, stderr: '' })
  })

  it('refuses wrong settings with status 2, and says which', () => {
    const config = path.join(folder(), 'tstd.toon')
    fs.writeFileSync(config, 'health: true\n')
    const cases = [
      [['--nope'], /Unknown option '--nope'/], [['here'], /'here'/], [['--bnd', 'x'], /did you mean --bind\?/], [['--port', '7000'], /here it is --bind 127\.0\.0\.1:PORT/], [['--requirepass', 'x'], /--password-file/],
      [['--users', '/nope/nope'], /--users cannot read the file: no such file or directory \(got '\/nope\/nope'\)/], [['--bind'], /--bind/], [['--bind', '1:2:3'], /--bind takes HOST:PORT/],
      [['--bind', '127.0.0.1:70000'], /--bind takes/], [['--capacity=-1'], /--capacity takes a whole number/], [['--max-db-size', '1x'], /bytes/],
      [['--durability', 'none'], /one of commit, interval, close/], [['--config', '/nope/nope'], /configuration file \/nope\/nope: cannot read the file: no such file/], [['--config', config], /no setting 'health'/],
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

  it('ends with status 1 if it cannot serve, and says what to do next', async () => {
    const dir = folder()
    const data = path.join(dir, 'data')
    const server = await begin(['--data', data, '--bind', '127.0.0.1:0'])
    const socket = path.join(dir, 'not', 'there')
    fs.writeFileSync(path.join(dir, 'file'), '')
    const own = ['--bind', '127.0.0.1:0', '--data']
    const cases = [
      [['--data', data], /cannot open the store in .*data: .*\(TOON_ELOCKED\)\nStop that process, or give this one a directory of its own with --data\./],
      [['--data', data + '2', '--bind', `127.0.0.1:${server.port}`], new RegExp(`address already in use \\(TOON_EIO\\)\nSomething listens there already .* as in --bind 127\\.0\\.0\\.1:${server.port + 1}\\.`)],
      [['--data', data + '2', '--bind', '192.0.2.1:7000', '--protected-mode', 'no'], /No network interface of this machine has that address/],
      [['--data', data + '2', '--bind', 'none', '--unixsocket', socket], /Its directory must exist/],
      [[...own, '/proc/store'], /mkdir failed: No such file or directory \(TOON_EIO\)\nChoose another directory with --data\./],
      [[...own, path.join(dir, 'file')], /the location is a file; a store is a directory \(TOON_EINVAL\)\nChoose another/]
    ]
    for (const [args, message] of cases) {
      const { status, stderr } = tstd(args)
      assert.match(stderr, message, args.join(' '))
      assert.strictEqual(status, 1)
    }
  })

  it('loses nothing that it has acknowledged when it is told to end under load', async () => {
    const data = path.join(folder(), 'data')
    const server = await begin(['--data', data, '--bind', '127.0.0.1:0', '--durability', 'interval'])
    const answered = await Promise.all(Array.from({ length: 5 }, async (_, w) => {
      const socket = net.connect(server.port, '127.0.0.1').on('error', () => {})
      let sent = 0
      let replies = 0
      const more = () => { for (; sent < replies + 30; sent++) socket.write(`SET ${w}/${sent} ${sent}\r\n`) }
      socket.on('data', bytes => {
        for (const byte of bytes) replies += byte === 10
        if (w === 0 && replies > 300 && !server.child.killed) server.child.kill('SIGTERM') // a second one would end it at once
        more()
      })
      more()
      await new Promise(resolve => { socket.once('close', resolve) }) // or it is reset, with commands unread
      return replies
    }))
    assert.deepStrictEqual(await server.child.ended, [0, null])
    const db = await openStore({}, data)
    answered.forEach((count, w) => { for (let i = 0; i < count; i++) assert.strictEqual(db.get(`${w}/${i}`), String(i)) })
    assert.ok(answered[0] > 300)
  })

  it('listens off loopback when protected mode is off', async () => {
    const server = await begin(['--data', path.join(folder(), 'data'), '--bind', '0.0.0.0:0', '--protected-mode', 'no'])
    assert.strictEqual(await ask(server.port, ['PING']), '+PONG\r\n')
  })

  it('asks for the password that a file holds, also over TLS and a unix socket', async () => {
    const dir = folder()
    const [password, users, socket] = ['password', 'users.toon', 'socket'].map(name => path.join(dir, name))
    fs.writeFileSync(password, 'secret\nsecond line\n')
    const hash = spawnSync(process.execPath, [script, '--hash-password'], { encoding: 'utf8', input: 'of ada\n' }).stdout.trim()
    fs.writeFileSync(users, `users[1]{name,role,hash}:\n  ada,read-only,${hash}\n`)
    const cert = name => path.join(__dirname, 'tls', name)
    const bind = ['--tls-cert', cert('cert.pem'), '--tls-key', cert('key.pem'), '--unixsocket', socket]
    const server = await begin(['--data', path.join(dir, 'data'), '--bind', '127.0.0.1:0', ...bind, '--password-file', password, '--users', users])
    assert.match(server.text(), new RegExp(`ready for connections at unix://${socket}\\n[^\\n]* at rediss://127.0.0.1:\\d+ \\(log in first\\)`))
    const client = net.connect(socket)
    client.write('PING\r\nAUTH secret\r\nAUTH ada wrong\r\nSET a 1\r\nAUTH ada "of ada"\r\nSET a 1\r\n')
    let text = ''
    while (text.split('\n').length <= 6) text += (await once(client, 'data'))[0]
    client.destroy()
    assert.match(text, /^-NOAUTH.*\r\n\+OK\r\n-WRONGPASS.*\r\n\+OK\r\n\+OK\r\n-NOPERM.*\r\n$/)
    const health = [['--bind', `127.0.0.1:${server.port}`, ...bind], ['--bind', 'none', '--unixsocket', socket]]
    for (const args of health) assert.deepStrictEqual(tstd(['--health', ...args]), { status: 0, stdout: 'a server answers\n', stderr: '' })
    server.child.kill()
    await server.child.ended
    assert.match(server.text(), /warning connection 1 from \S+: a login was refused/)
    assert.doesNotMatch(server.text(), /secret|wrong|of ada/)
    assert.strictEqual(fs.existsSync(socket), false)
  })

  it('ends on SHUTDOWN', async () => {
    const server = await begin(['--data', path.join(folder(), 'data'), '--bind', '127.0.0.1:0'])
    const socket = net.connect(server.port, '127.0.0.1')
    socket.write('SET a 1\r\nSHUTDOWN\r\n')
    assert.strictEqual(String((await once(socket, 'data'))[0]), '+OK\r\n')
    assert.deepStrictEqual(await server.child.ended, [0, null])
  })

  it('refuses secrets that are not as they should be, without showing them', () => {
    const dir = folder()
    const file = (name, text) => { fs.writeFileSync(path.join(dir, name), text); return path.join(dir, name) }
    const cases = [
      [['--password', ''], /--password must not be empty/], [['--password-file', file('a', '\n')], /must not be empty/], [['--users', file('b', 'x: 1')], /a table users/],
      [['--users', file('c', 'users[1]{name,role,password}:\n  a,admin,secret\n')], /hashes, not passwords/], [['--users', file('d', 'users[1]{name,role,hash}:\n  a,admin,secret\n')], /--hash-password/],
      [['--password', 'secret', '--password-file', file('e', 'secret')], /two ways/], [['--tls-cert', file('f', 'secret')], /belong together/], [['--bind', 'none'], /needs a --unixsocket/],
      [['--tls-cert', file('g', 'secret'), '--tls-key', file('h', 'secret')], /tls/]
    ]
    for (const [args, message] of cases) {
      const { status, stderr } = tstd(['--data', path.join(dir, 'data'), ...args])
      assert.match(stderr, message, args.join(' '))
      assert.strictEqual(status, 2, stderr)
      assert.doesNotMatch(stderr, /secret/)
    }
  })
})
