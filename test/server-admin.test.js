'use strict'
// The server of the Redis protocol: who may use it, what an administrator sees and does, and limits of connections.
const assert = require('node:assert')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const tls = require('node:tls')
const { once } = require('node:events')
const { setup } = require('./support')
const { Client, encode } = require('./resp-client')
const { hashPassword } = require('../lib/users')

const NOAUTH = { error: 'NOAUTH Authentication required.' }
const WRONGPASS = { error: 'WRONGPASS invalid username-password pair or user is disabled.' }
const noperm = name => ({ error: `NOPERM this user has no permissions to run the '${name}' command` })

describe('the server, administered', () => {
  const { openStore, folder } = setup()
  let db
  const servers = []
  const clients = []

  async function listen (options) {
    const server = await db.listen({ port: 0, ...options })
    servers.push(server)
    return server
  }

  // `where`: a server, a port, or a socket that connects.
  async function connect (where) {
    const client = where instanceof net.Socket ? Object.assign(new Client(0), { socket: where }) : new Client(where.port ?? where)
    clients.push(client)
    await once(client.socket, where instanceof tls.TLSSocket ? 'secureConnect' : 'connect')
    return client
  }

  async function table (client, cases) {
    for (const [text, want] of cases) {
      const got = await client.call(...text.split(' '))
      if (want instanceof RegExp) assert.match(got?.error ?? String(got), want, text)
      else assert.deepStrictEqual(got, want, text)
    }
  }

  beforeEach(async () => { db = await openStore() })
  afterEach(async () => {
    for (const c of clients.splice(0)) c.close()
    await Promise.all(servers.splice(0).map(server => server.close()))
  })

  describe('logins', () => {
    it('asks for the password before anything else', async () => {
      const client = await connect(await listen({ password: 'säcret' }))
      await table(client, [['GET a', NOAUTH], ['PING', NOAUTH], ['NOPE', /unknown command/], ['RESET', 'RESET'], ['HELLO 3', /^NOAUTH HELLO must be called/], ['AUTH wrong', WRONGPASS],
        ['AUTH default wrong', WRONGPASS], ['AUTH nobody säcret', WRONGPASS], ['AUTH a b c', { error: 'ERR syntax error' }], ['GET a', NOAUTH],
        ['AUTH säcret', 'OK'], ['GET a', null], ['ACL WHOAMI', 'default'], ['AUTH default wrong', WRONGPASS], ['GET a', null], ['RESET', 'RESET'], ['GET a', NOAUTH]])
      const hello = await client.call('HELLO', 3, 'AUTH', 'default', 'säcret', 'SETNAME', 'me')
      assert.strictEqual(hello[hello.indexOf('proto') + 1], 3)
      assert.strictEqual(await client.call('CLIENT', 'GETNAME'), 'me')
      assert.deepStrictEqual(await client.call('HELLO', 2, 'AUTH', 'default', 'x'), WRONGPASS)
    })

    it('has nobody log in where there is no password', async () => {
      const client = await connect(await listen())
      await table(client, [['AUTH x', /^ERR AUTH <password> called without any password configured/], ['AUTH default x', 'OK'], ['AUTH bob x', WRONGPASS], ['ACL WHOAMI', 'default']])
    })

    it('lets users do what their roles say', async () => {
      const users = await Promise.all(['read-only', 'read-write', 'admin'].map(async role => ({ name: `a-${role}`, role, hash: await hashPassword(`of ${role}`) })))
      const server = await listen({ users })
      const expected = {
        'read-only': [['GET a', null], ['SET a 1', noperm('set')], ['DEL a', noperm('del')], ['FLUSHALL', noperm('flushall')], ['CONFIG GET *', noperm('config|get')], ['CLIENT ID', /\d/]],
        'read-write': [['SET a 1', 'OK'], ['GET a', '1'], ['MONITOR', noperm('monitor')], ['SHUTDOWN', noperm('shutdown')], ['CLIENT LIST', noperm('client|list')], ['FLUSHALL', 'OK']],
        admin: [['SET a 1', 'OK'], ['CONFIG GET save', ['save', '']], ['CLIENT LIST', /user=a-admin/]]
      }
      for (const role in expected) {
        for (let i = 0; i < 2; i++) { // the second time the password is known
          const client = await connect(server)
          assert.deepStrictEqual(await client.call('AUTH', `of ${role}`), WRONGPASS)
          assert.deepStrictEqual(await client.call('AUTH', `a-${role}`, 'of somebody'), WRONGPASS)
          assert.strictEqual(await client.call('AUTH', `a-${role}`, `of ${role}`), 'OK')
          await table(client, [...expected[role], ['ACL WHOAMI', `a-${role}`]])
        }
      }
    })

    it('answers others while a password is checked, and the pipeline behind it afterwards', async () => {
      const server = await listen({ users: [{ name: 'bob', role: 'admin', hash: await hashPassword('x') }, { name: 'ada', role: 'admin', password: 'y' }] })
      const [slow, quick] = [await connect(server), await connect(server)]
      const order = []
      const replies = Array.from({ length: 3 }, () => slow.reply().then(reply => { order.push('slow'); return reply }))
      slow.write(Buffer.concat([encode(['AUTH', 'bob', 'x']), encode(['SET', 'a', '1']), encode(['GET', 'a'])]))
      assert.strictEqual(await quick.call('AUTH', 'ada', 'y'), 'OK')
      order.push('quick')
      assert.deepStrictEqual(await Promise.all(replies), ['OK', 'OK', '1'])
      assert.strictEqual(order[0], 'quick')
    })

    it('takes no large arguments before a login', async () => {
      const server = await listen({ password: 'x' })
      for (const [bytes, error] of [['*11\r\n', 'unauthenticated multibulk length'], ['*1\r\n$16385\r\n', 'unauthenticated bulk length']]) {
        const client = await connect(server)
        client.write(bytes)
        assert.deepStrictEqual(await client.reply(), { error: `ERR Protocol error: ${error}` })
        await client.closed()
      }
    })

    it('keeps secrets out of its notices', async () => {
      const server = await listen({ password: 'x', logLevel: 'debug' })
      const notices = []
      server.on('notice', (level, text) => notices.push(`${level} ${text}`))
      const client = await connect(server)
      await client.call('AUTH', 'hunter2')
      client.close()
      while (!notices.some(text => text.endsWith(' ends'))) await once(server, 'notice')
      assert.match(notices.join('\n'), /^debug connection 1 from 127\.0\.0\.1:\d+\nwarning connection 1 from \S+: a login was refused\ndebug connection 1 from \S+ ends$/)
    })

    it('refuses users that make no sense', async () => {
      const hash = await hashPassword('x')
      const cases = [[{ users: {} }, /array/], [{ users: [{ name: 'a b', role: 'admin', hash }] }, /without spaces/], [{ users: [{ name: 'a', role: 'root', hash }] }, /role/],
        [{ users: [{ name: 'a', role: 'admin' }] }, /either/], [{ users: [{ name: 'a', role: 'admin', hash: 'x' }] }, /tstd --hash-password/],
        [{ users: [{ name: 'a', role: 'admin', hash: hash.replace('14', '29') }] }, /tstd --hash-password/], [{ password: '' }, /not empty/],
        [{ password: 'x', users: [{ name: 'default', role: 'admin', hash }] }, /two users/], [{ tls: {}, host: '127.0.0.1', port: 99999 }, /port/]]
      for (const [options, message] of cases) await assert.rejects(db.listen({ port: 0, ...options }), err => err.code === 'TOON_EINVAL' && message.test(err.message))
      await assert.doesNotReject(listen({ host: '0.0.0.0', password: 'x' }))
    })
  })

  describe('TLS', () => {
    const read = name => fs.readFileSync(path.join(__dirname, 'tls', name))

    it('serves it alone, with replies larger than buffers and clients that read late', async () => {
      const server = await listen({ tls: { cert: read('cert.pem'), key: read('key.pem') }, password: 'x' })
      assert.strictEqual(server.url, `rediss://127.0.0.1:${server.port}`)
      const client = new Client(server.port)
      client.write('PING\r\n') // in clear
      await client.closed()
      const socket = tls.connect(server.port, '127.0.0.1', { ca: read('cert.pem') })
      await once(socket, 'secureConnect')
      const replies = []
      socket.setEncoding('latin1')
      const value = 'x'.repeat(700000)
      socket.write(encode(['AUTH', 'x']))
      socket.write(encode(['SET', 'big', value]))
      for (let i = 0; i < 20; i++) socket.write(encode(['GET', 'big']))
      socket.write(encode(['CLIENT', 'INFO']))
      socket.write(encode(['QUIT']))
      await new Promise(resolve => setTimeout(resolve, 100))
      socket.on('data', text => replies.push(text))
      await once(socket, 'end')
      const text = replies.join('')
      assert.ok(text.startsWith('+OK\r\n+OK\r\n' + `$700000\r\n${value}\r\n`.repeat(20)))
      assert.match(text.slice(14000000), /addr=127\.0\.0\.1:\d+ .*user=default.*\n\r\n\+OK\r\n$/)
    })

    it('reports a certificate that is none, and a port that is taken', async () => {
      const server = await listen()
      await assert.rejects(db.listen({ port: 0, tls: { cert: 'x', key: 'y' } }), { code: 'TOON_EINVAL' })
      await assert.rejects(db.listen({ port: server.port, tls: { cert: read('cert.pem'), key: read('key.pem') } }), { code: 'TOON_EIO', syscall: 'listen' })
    })
  })

  describe('a unix socket', () => {
    it('is for its owner, is taken over from a dead server, and goes with the server', async () => {
      const file = path.join(folder(), 's')
      const stale = net.createServer().listen(file)
      await once(stale, 'listening')
      await assert.rejects(db.listen({ path: file }), { code: 'TOON_EIO', syscall: 'bind' })
      fs.linkSync(file, file + '2') // closing removes the file; this is what a killed server leaves
      stale.close()
      await once(stale, 'close')
      const server = await db.listen({ path: file + '2' })
      servers.push(server)
      assert.strictEqual(server.url, `unix://${file}2`)
      assert.strictEqual(fs.statSync(file + '2').mode & 0o777, 0o600)
      const client = await connect(net.connect(file + '2'))
      client.socket.write('CLIENT INFO\r\n')
      assert.match(String((await once(client.socket, 'data'))[0]), new RegExp(`addr=${file}2 .* flags=U `))
      await server.close()
      assert.strictEqual(fs.existsSync(file + '2'), false)
      fs.writeFileSync(file + '3', 'mine')
      await assert.rejects(db.listen({ path: file + '3' }), { code: 'TOON_EIO' })
      assert.strictEqual(fs.readFileSync(file + '3', 'utf8'), 'mine')
    })
  })

  describe('commands', () => {
    it('answers a table of them as Redis does', async () => {
      const client = await connect(await listen())
      const sub = name => ({ error: `ERR unknown subcommand 'FOO'. Try ${name} HELP.` })
      const immutable = name => ({ error: `ERR CONFIG SET failed (possibly related to argument '${name}') - can't set immutable config` })
      await db.put('doc', { a: 1 })
      await db.put('n', 5)
      await table(client, [
        ['CLIENT FOO', sub('CLIENT')], ['CLIENT SETINFO lib-name lib', 'OK'], ['CLIENT SETINFO lib-ver 1.0', 'OK'], ['CLIENT SETINFO foo x', /Unrecognized option 'foo'/],
        ['CLIENT INFO', /^id=1 addr=127\.0\.0\.1:\d+ laddr=127\.0\.0\.1:\d+ fd=-1 name= .* cmd=client\|info user=default redir=-1 resp=2 lib-name=lib lib-ver=1\.0\n$/],
        ['CLIENT LIST', /^id=1 /], ['CLIENT LIST TYPE pubsub', ''], ['CLIENT LIST ID 1 2', /^id=1 [^\n]*\n$/], ['CLIENT LIST ID x', /Invalid client ID/], ['CLIENT LIST FOO', { error: 'ERR syntax error' }],
        ['CLIENT KILL ID 99', 0], ['CLIENT KILL 1.2.3.4:5', { error: 'ERR No such client' }], ['CLIENT KILL TYPE foo', { error: "ERR Unknown client type 'foo'" }], ['CLIENT KILL ID 1', 0],
        ['CLIENT KILL ID 0 SKIPME yes', /greater than 0/], ['CLIENT KILL A B C', { error: 'ERR syntax error' }],
        ['CLIENT NO-EVICT on', 'OK'], ['CLIENT NO-TOUCH on', 'OK'], ['CLIENT NO-TOUCH maybe', { error: 'ERR syntax error' }], ['CLIENT GETREDIR', -1], ['CLIENT REPLY foo', { error: 'ERR syntax error' }],
        ['CONFIG GET maxcl* save', ['maxclients', '10000', 'save', '']], ['CONFIG GET MAXCLIENTS', ['maxclients', '10000']], ['CONFIG GET appendfsync', ['appendfsync', 'always']], ['CONFIG GET nothing', []],
        ['CONFIG SET foo bar', { error: "ERR Unknown option or number of arguments for CONFIG SET - 'foo'" }], ['CONFIG SET maxclients x', /couldn't be parsed into an integer/],
        ['CONFIG SET maxclients 0', /between 1 and 1000000/], ['CONFIG SET databases 8', immutable('databases')], ['CONFIG SET databases 1', 'OK'],
        ['CONFIG SET timeout 100 maxclients 0', /between/], ['CONFIG GET timeout', ['timeout', '0']], ['CONFIG SET timeout 100 maxclients 50', 'OK'], ['CONFIG GET timeout', ['timeout', '100']],
        ['CONFIG SET timeout', /wrong number/], ['CONFIG SET timeout 5 TIMEOUT 6', /'timeout'\) - duplicate parameter/], ['CONFIG GET timeout', ['timeout', '100']], ['CONFIG RESETSTAT', 'OK'], ['CONFIG FOO', sub('CONFIG')],
        ['OBJECT ENCODING doc', 'hashtable'], ['OBJECT ENCODING n', 'int'], ['OBJECT ENCODING nothing', null], ['OBJECT REFCOUNT n', 1], ['OBJECT IDLETIME n', 0], ['OBJECT FREQ n', /^ERR An LFU/],
        ['SET s abc', 'OK'], ['OBJECT ENCODING s', 'embstr'], [`SET s ${'x'.repeat(45)}`, 'OK'], ['OBJECT ENCODING s', 'raw'],
        ['MEMORY USAGE nothing', null], ['MEMORY USAGE s SAMPLES 5', 105], ['MEMORY USAGE s SAMPLES x', /not an integer/], ['MEMORY USAGE s SAMPLES -1', { error: 'ERR syntax error' }], ['MEMORY USAGE s x', { error: 'ERR syntax error' }], ['MEMORY FOO', sub('MEMORY')],
        ['SAVE', 'OK'], ['BGSAVE FOO', { error: 'ERR syntax error' }], ['BGSAVE', 'Background saving started'], ['BGREWRITEAOF', 'Background append only file rewriting started'], ['SHUTDOWN FOO', { error: 'ERR syntax error' }],
        ['SHUTDOWN ABORT', /No shutdown in progress/], ['SHUTDOWN NOSAVE SAVE', { error: 'ERR syntax error' }], ['FLUSHALL FOO', { error: 'ERR syntax error' }], ['FLUSHDB ASYNC', 'OK'], ['DBSIZE', 0], ['INFO keyspace', '# Keyspace\r\n'], ['HELLO 3 AUTH bob x', WRONGPASS],
        ['CLIENT SETNAME a\tb', /cannot contain spaces/], ['RESET', 'RESET']
      ])
      assert.ok(Math.abs(await client.call('LASTSAVE') - Date.now() / 1000) < 100)
      assert.ok((await client.call('CLIENT', 'HELP')).includes('KILL'))
    })

    it('tells facts in sections', async () => {
      const server = await listen()
      const client = await connect(server)
      await db.put('a', 1)
      const all = await client.call('INFO')
      for (const name of ['Server', 'Clients', 'Memory', 'Persistence', 'Stats', 'Replication', 'CPU', 'Keyspace', 'Toonstore']) assert.match(all, new RegExp(`^# ${name}\r$`, 'm'))
      for (const line of ['redis_version:7\\.', `tcp_port:${server.port}`, 'connected_clients:1', 'loading:0', 'maxmemory_policy:noeviction', 'db0:keys=1,', 'durability:commit', 'log_segments:1', 'failed:null', 'total_commands_processed:0', 'used_memory:\\d+']) {
        assert.match(all, new RegExp(`^${line}`, 'm'))
      }
      assert.deepStrictEqual((await client.call('INFO', 'Memory', 'clients')).match(/^# \w+/gm), ['# Clients', '# Memory'])
    })

    it('closes connections that an administrator kills', async () => {
      const server = await listen({ users: [{ name: 'bob', role: 'read-only', password: 'x' }, { name: 'root', role: 'admin', password: 'x' }] })
      const [root, one, two, three] = [await connect(server), await connect(server), await connect(server), await connect(server)]
      for (const c of [one, two, three]) await c.call('AUTH', 'bob', 'x')
      await root.call('AUTH', 'root', 'x')
      const address = `127.0.0.1:${two.socket.localPort}`
      assert.strictEqual(await root.call('CLIENT', 'KILL', 'ID', await one.call('CLIENT', 'ID')), 1)
      assert.strictEqual(await root.call('CLIENT', 'KILL', address), 'OK')
      await Promise.all([one, two].map(c => c.closed()))
      assert.strictEqual(await root.call('CLIENT', 'KILL', 'USER', 'bob'), 1)
      assert.strictEqual(await root.call('CLIENT', 'KILL', 'USER', 'root', 'SKIPME', 'no'), 1)
      await root.closed()
    })

    it('leaves out replies when it is told so', async () => {
      const client = await connect(await listen())
      const replies = [client.reply(), client.reply(), client.reply(), client.reply()]
      client.write('CLIENT REPLY SKIP\r\nSET a 1\r\nGET a\r\nCLIENT REPLY SKIP\r\nINCR a\r\nGET a\r\nCLIENT REPLY OFF\r\nSET a 5\r\nNOPE\r\nINCR a\r\nCLIENT REPLY ON\r\nGET a\r\n')
      assert.deepStrictEqual(await Promise.all(replies), ['1', '2', 'OK', '6'])
      const more = [client.reply(), client.reply()]
      client.write('CLIENT REPLY SKIP\r\nNOPE\r\nPING\r\nCLIENT REPLY SKIP\r\nGET\r\nPING\r\n') // a refused command is the one, too
      assert.deepStrictEqual(await Promise.all(more), ['PONG', 'PONG'])
    })

    it('shows commands to who monitors, without logins', async () => {
      const server = await listen()
      const [watcher, client] = [await connect(server), await connect(server)]
      assert.strictEqual(await watcher.call('MONITOR'), 'OK')
      const shown = [watcher.reply(), watcher.reply()]
      await table(client, [['SET a "\\', 'OK'], ['AUTH default secret', 'OK'], ['CONFIG GET x', []]])
      await client.call('INCR', Buffer.from([0xff, 10]))
      const lines = await Promise.all(shown)
      assert.match(lines.join('\n'), /^\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "SET" "a" "\\"\\\\"\n\d+\.\d{6} \[0 \S+\] "INCR" "\\xff\\n"$/)
      assert.strictEqual(await watcher.call('RESET'), 'RESET')
    })

    it('closes itself on SHUTDOWN, unless somebody listens to that', async () => {
      const server = await listen()
      const client = await connect(server)
      client.write('SHUTDOWN NOSAVE\r\n')
      await client.closed()
      await server.close()
      const other = await listen()
      const shutdown = once(other, 'shutdown')
      const second = await connect(other)
      second.write('SHUTDOWN\r\n')
      await shutdown
      assert.strictEqual(await (await connect(other)).call('PING'), 'PONG')
    })
  })

  describe('limits', () => {
    it('closes a connection that does not read what it monitors', async () => {
      const server = await listen({ pushLimit: 200000 })
      const notice = once(server, 'notice')
      const [watcher, client] = [await connect(server), await connect(server)]
      await watcher.call('MONITOR')
      watcher.socket.pause()
      const closed = watcher.closed()
      let open = true
      notice.then(() => { open = false })
      while (open) await client.call('ECHO', 'x'.repeat(60000))
      assert.match((await notice)[1], /connection 1 from \S+ is closed: it leaves \d+ bytes of replies unread/)
      watcher.socket.resume()
      await closed
      assert.strictEqual(await client.call('PING'), 'PONG')
    })

    it('closes a connection whose replies pass the limit', async () => {
      const server = await listen({ outputLimit: 100000 })
      const client = await connect(server)
      await client.call('SET', 'a', 'x'.repeat(60000))
      client.write(encode(['MGET', 'a', 'a', 'a']))
      await client.closed()
      const other = await connect(server) // as much memory as this asks for is not there
      const notice = once(server, 'notice')
      other.write(encode(['MGET', ...Array.from({ length: 50000 }, () => 'a')]))
      await other.closed()
      assert.match((await notice)[1], /leaves 1\d{5} bytes of replies unread/)
    })

    it('closes connections that are silent for too long', async () => {
      const server = await listen({ idleTimeout: 1000 })
      const [idle, watcher] = [await connect(server), await connect(server)]
      await watcher.call('MONITOR')
      await idle.closed()
      assert.strictEqual(await watcher.call('PING'), 'PONG')
    })

    it('serves on when clients break off at any place', async () => {
      const server = await listen()
      for (const bytes of ['*', '*2\r\n$3\r\nGE', '*1\r\n$100\r\nabc', 'PING', '*2\r\n$4\r\nECHO\r\n$3\r\nabc\r', '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n']) {
        const client = await connect(server)
        await new Promise(resolve => client.socket.write(bytes, resolve))
        client.socket.resetAndDestroy()
      }
      assert.strictEqual(await (await connect(server)).call('PING'), 'PONG')
    })

    it('takes no commands from a web page: HTTP ends the connection, with a notice', async () => {
      const server = await listen()
      for (const head of ['POST / HTTP/1.1\r\n', 'GET / HTTP/1.1\r\nHost: localhost\r\n', 'PUT /a HTTP/1.1\r\nhost: localhost\r\n']) {
        const client = await connect(server)
        const notice = once(server, 'notice')
        client.write(`${head}\r\nSET taken 1\r\n`)
        await client.closed()
        assert.match((await notice)[1], /connection \d+ from \S+ is closed: it speaks HTTP/)
      }
      assert.strictEqual(await (await connect(server)).call('EXISTS', 'taken'), 0)
    })

    it('refuses what is too long for the protocol', async () => {
      const server = await listen()
      for (const [bytes, error] of [['x'.repeat(70000), 'too big inline request'], ['*' + '1'.repeat(70000), 'too big mbulk count string'], ['*1\r\n$' + '1'.repeat(70000), 'too big bulk count string'],
        ['*1\r\n$536870913\r\n', 'invalid bulk length'], ['*2147483648\r\n', 'invalid multibulk length'], ['"a\r\n', 'unbalanced quotes in request']]) {
        const client = await connect(server)
        client.write(bytes)
        assert.deepStrictEqual(await client.reply(), { error: `ERR Protocol error: ${error}` })
        await client.closed()
      }
    })
  })
})
