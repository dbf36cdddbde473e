'use strict'
// tstd as real clients see it. Those of npm are installed by `npm install --no-package-lock --prefix test/clients`, Debian's by
// `apt-get install redis-tools python3-redis ruby-redis` (.ci/run does both); what is not here is skipped, and says so.
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { once } = require('node:events')
const { spawn, spawnSync } = require('node:child_process')
const { setup } = require('../support')

const packages = path.join(__dirname, 'node_modules')
const has = (...names) => names.every(name => fs.existsSync(path.join(packages, name)))
const runs = (file, ...args) => spawnSync(file, args, { stdio: 'ignore' }).status === 0

// describe(), or what stands for it where something is missing.
function suite (name, there, what, fn) {
  if (there) describe(name, fn)
  else describe(name, () => { it(`(skipped: ${what} is not installed)`) })
}

const table = fs.readFileSync(path.join(__dirname, '..', '..', 'csrc', 'resp', 'table.h'), 'utf8')

// it(), or what stands for it where the server has no such commands.
function given (...commands) {
  const missing = commands.filter(name => !table.includes(`"${name}"`))
  return missing.length === 0 ? it : title => it(`${title} (skipped: there is no ${missing.join(', ').toUpperCase()} yet)`)
}

describe('clients of the server', () => {
  const { openStore } = setup()
  let db, server
  const open = []

  // A client that is closed after the test, whatever comes.
  function keep (client) {
    open.push(client)
    client.on('error', () => {})
    return client
  }

  beforeEach(async () => {
    db = await openStore({ durability: 'interval' })
    server = await db.listen({ port: 0 })
  })
  afterEach(async () => {
    for (const client of open.splice(0)) client.isOpen === false || (client.destroy ?? client.disconnect).call(client)
    await server.close()
  })

  // Run a program to its end without blocking this process, which serves TLS and logins; what it printed.
  async function exec (file, args, { input } = {}) {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', data => { text += data })
    child.stdin.on('error', () => {}).end(input)
    const [status] = await once(child, 'close')
    assert.strictEqual(status, 0, text)
    return text
  }

  suite('redis-cli and redis-benchmark', runs('redis-cli', '--version') && runs('redis-benchmark', '--version'), 'redis-tools', () => {
    const cli = (...args) => exec('redis-cli', ['-p', server.port, ...args])

    it('runs commands, in RESP2 and RESP3', async () => {
      assert.strictEqual(await cli('SET', 'a', 'żółw'), 'OK\n')
      assert.strictEqual(await cli('GET', 'a'), 'żółw\n')
      assert.strictEqual(await cli('-3', 'CONFIG', 'GET', 'save'), 'save \n')
      assert.strictEqual(await cli('--no-auth-warning', '-u', server.url, 'PING'), 'PONG\n')
      assert.match(await cli('-3', 'INFO', 'server'), /redis_version:7/)
      assert.strictEqual(db.get('a'), 'żółw')
    })

    it('loads much at once with --pipe', async () => {
      const lines = Array.from({ length: 20000 }, (_, i) => `*3\r\n$3\r\nSET\r\n$${`k${i}`.length}\r\nk${i}\r\n$1\r\nv\r\n`)
      assert.match(await exec('redis-cli', ['-p', server.port, '--pipe'], { input: lines.join('') }), /errors: 0, replies: 20000/)
      assert.strictEqual(db.size, 20000)
    })

    given('scan', 'hlen')('finds keys with --scan, the large ones with --bigkeys and --memkeys, and shows --stat', async () => {
      for (let i = 0; i < 300; i++) db.put(`key:${i}`, 'x'.repeat(i))
      await db.put('hash', { a: 1, b: 2 })
      assert.strictEqual((await cli('--scan', '--pattern', 'key:1*')).trim().split('\n').length, 111)
      const large = await cli('--bigkeys')
      assert.match(large, /Biggest string found '"key:299"' has 299 bytes/)
      assert.match(large, /Biggest +hash found '"hash"' has 2 fields/)
      assert.match(await cli('--memkeys'), /Biggest string found '"key:299"' has \d+ bytes/)
      // It goes on for ever, and keeps its lines to itself unless it is told not to.
      const stat = spawn('stdbuf', ['-oL', 'redis-cli', '-p', server.port, '--stat', '-i', '0.01'], { stdio: ['ignore', 'pipe', 'inherit'] })
      let lines = ''
      for await (const chunk of stat.stdout) {
        lines += chunk
        if (/301 .*\n301 /.test(lines)) break
      }
      stat.kill()
    })

    it('serves redis-benchmark without an error', async () => {
      const text = await exec('redis-benchmark', ['-p', server.port, '-t', 'ping,set,get,incr,mset', '-n', '2000', '-P', '4', '-q', '-r', '100'])
      assert.doesNotMatch(text, /error|WARNING/i)
      assert.strictEqual(text.match(/requests per second/g).length, 6)
    })
  })

  suite('node-redis', has('redis'), 'redis', () => {
    for (const RESP of [2, 3]) {
      describe(`in RESP${RESP}`, () => {
        let client
        beforeEach(async () => { client = await keep(require(path.join(packages, 'redis')).createClient({ url: server.url, RESP, name: 'tests' })).connect() })

        it('reads and writes', async () => {
          const { RESP_TYPES } = require(path.join(packages, 'redis'))
          assert.strictEqual(await client.set('a', '1', { expiration: { type: 'EX', value: 100 }, condition: 'NX' }), 'OK')
          assert.strictEqual(await client.set('a', '2', { condition: 'NX' }), null)
          assert.strictEqual(await client.incrBy('a', 5), 6)
          assert.ok(await client.ttl('a') > 90)
          assert.deepStrictEqual(await client.mGet(['a', 'b']), ['6', null])
          const many = Array.from({ length: 100 }, (_, i) => client.set(`k${i}`, `${i}`).then(() => client.get(`k${i}`)))
          assert.deepStrictEqual(await Promise.all(many), Array.from({ length: 100 }, (_, i) => `${i}`))
          assert.strictEqual((await client.clientInfo()).name, 'tests')
          const bytes = Buffer.from([0, 255, 13, 10])
          await client.set('bytes', bytes)
          assert.deepStrictEqual(await client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).get('bytes'), bytes)
          await db.put('doc', { a: 1 })
          await assert.rejects(client.incr('doc'), /WRONGTYPE/)
        })

        given('multi')('runs transactions', async () => {
          assert.deepStrictEqual(await client.multi().set('m', '1').incr('m').get('m').exec(), ['OK', 2, '2'])
        })

        given('hset')('has hashes', async () => {
          assert.strictEqual(await client.hSet('h', { f: 'v', g: '2' }), 2)
          assert.deepStrictEqual({ ...await client.hGetAll('h') }, { f: 'v', g: '2' })
        })

        given('scan')('scans', async () => {
          await Promise.all(Array.from({ length: 100 }, (_, i) => client.set(`k${i}`, '')))
          const keys = []
          for await (const batch of client.scanIterator({ MATCH: 'k*', COUNT: 20 })) keys.push(...[batch].flat())
          assert.strictEqual(new Set(keys).size, 100)
        })

        given('publish')('publishes and subscribes', async () => {
          const subscriber = await keep(client.duplicate()).connect()
          const messages = []
          await subscriber.subscribe('news', (message, channel) => messages.push([channel, message]))
          await subscriber.pSubscribe('n*', (message, channel) => messages.push([channel, message]))
          assert.strictEqual(await client.publish('news', 'hello'), 2)
          while (messages.length < 2) await new Promise(setImmediate)
          assert.deepStrictEqual(messages, [['news', 'hello'], ['news', 'hello']])
        })
      })
    }

    it('logs in, over TLS too', async () => {
      const { createClient } = require(path.join(packages, 'redis'))
      const read = name => fs.readFileSync(path.join(__dirname, '..', 'tls', name))
      const secure = await db.listen({ port: 0, tls: { cert: read('cert.pem'), key: read('key.pem') }, users: [{ name: 'ada', role: 'read-only', password: 'p w' }] })
      const client = keep(createClient({ url: secure.url, username: 'ada', password: 'p w', socket: { ca: read('cert.pem') } }))
      await client.connect()
      assert.strictEqual(await client.get('a'), null)
      await assert.rejects(client.set('a', '1'), /NOPERM/)
      const wrong = keep(createClient({ url: secure.url, username: 'ada', password: 'x', socket: { ca: read('cert.pem'), reconnectStrategy: false } }))
      await assert.rejects(wrong.connect(), /WRONGPASS/)
      await secure.close()
    })
  })

  suite('ioredis', has('ioredis'), 'ioredis', () => {
    let client
    beforeEach(() => { client = keep(new (require(path.join(packages, 'ioredis')).Redis)(server.port, { enableAutoPipelining: true })) })

    it('reads and writes', async () => {
      assert.strictEqual(await client.set('a', 1, 'PX', 100000), 'OK')
      assert.deepStrictEqual(await Promise.all([client.get('a'), client.incr('a'), client.get('nothing')]), ['1', 2, null])
      await db.put('doc', { a: 1 })
      const replies = await client.pipeline().set('b', 'x').append('b', 'y').get('b').incr('doc').exec()
      assert.deepStrictEqual(replies.map(([err, value]) => err?.message ?? value), ['OK', 2, 'xy', 'WRONGTYPE Operation against a key holding the wrong kind of value'])
      assert.deepStrictEqual(await client.getBuffer('a'), Buffer.from('2'))
      const watcher = keep(await keep(client.duplicate()).monitor())
      const seen = once(watcher, 'monitor')
      await client.get('seen')
      assert.deepStrictEqual((await seen)[1], ['get', 'seen'])
    })

    given('multi')('runs transactions', async () => {
      assert.deepStrictEqual(await client.multi().incr('n').incr('n').exec(), [[null, 1], [null, 2]])
    })

    given('hset')('has hashes', async () => {
      await client.hset('h', { f: 1, g: 'x' })
      assert.deepStrictEqual(await client.hgetall('h'), { f: '1', g: 'x' })
    })

    given('scan')('scans', async () => {
      await client.mset(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`s${i}`, i])))
      const keys = []
      for await (const batch of client.scanStream({ match: 's*', count: 10 })) keys.push(...batch)
      assert.strictEqual(new Set(keys).size, 50)
    })

    given('publish')('publishes and subscribes', async () => {
      const subscriber = keep(client.duplicate())
      const message = once(subscriber, 'message')
      await subscriber.subscribe('news')
      assert.strictEqual(await client.publish('news', 'hello'), 1)
      assert.deepStrictEqual((await message).slice(0, 2), ['news', 'hello'])
    })
  })

  suite('libraries over node-redis', has('redis', 'connect-redis', '@keyv/redis', 'keyv', 'cache-manager'), 'connect-redis', () => {
    given('scan')('keeps the sessions of connect-redis', async () => {
      const { createClient } = require(path.join(packages, 'redis'))
      const { RedisStore } = require(path.join(packages, 'connect-redis'))
      const client = await keep(createClient({ url: server.url })).connect()
      const store = new RedisStore({ client, ttl: 100 })
      const call = (method, ...args) => new Promise((resolve, reject) => { store[method](...args, (err, value) => { err ? reject(err) : resolve(value) }) })
      const session = { cookie: { maxAge: 5000 }, user: 'ada' }
      for (const id of ['one', 'two']) await call('set', id, session)
      assert.deepStrictEqual(await call('get', 'one'), session)
      await call('touch', 'one', session)
      assert.deepStrictEqual([await call('length'), (await call('ids')).sort(), (await call('all')).length], [2, ['one', 'two'], 2])
      await call('destroy', 'one')
      assert.strictEqual(await call('length'), 1)
      await call('clear')
      assert.strictEqual(await call('length'), 0)
    })

    given('scan')('is a store of Keyv, and of cache-manager', async () => {
      const keyvRedis = require(path.join(packages, '@keyv', 'redis'))
      const { Keyv } = require(path.join(packages, 'keyv'))
      const { createCache } = require(path.join(packages, 'cache-manager'))
      const keyv = new Keyv({ store: new keyvRedis.default(server.url), namespace: 'ns', useKeyPrefix: false })
      assert.strictEqual(await keyv.set('a', { deep: [1] }, 100000), true)
      assert.deepStrictEqual(await keyv.get('a'), { deep: [1] })
      await keyv.set('b', 2)
      const pairs = []
      for await (const pair of keyv.iterator()) pairs.push(pair)
      assert.deepStrictEqual(pairs.map(([key]) => key).sort(), ['a', 'b'])
      assert.strictEqual(await keyv.delete('a'), true)
      await keyv.clear()
      assert.strictEqual(await keyv.get('b'), undefined)
      const cache = createCache({ stores: [keyv], ttl: 100000 })
      let calls = 0
      for (let i = 0; i < 3; i++) assert.deepStrictEqual(await cache.wrap('w', async () => { calls++; return { n: 5 } }), { n: 5 })
      assert.strictEqual(calls, 1)
      await cache.mset([{ key: 'x', value: 1 }, { key: 'y', value: 2 }])
      assert.deepStrictEqual(await cache.mget(['x', 'y', 'z']), [1, 2, undefined])
      await cache.clear()
      assert.strictEqual(await cache.get('x'), undefined)
      await keyv.disconnect()
    })
  })

  suite('@socket.io/redis-adapter', has('redis', '@socket.io/redis-adapter', 'socket.io'), '@socket.io/redis-adapter', () => {
    given('publish')('carries what one server of socket.io tells the others', async () => {
      const { createClient } = require(path.join(packages, 'redis'))
      const { createAdapter } = require(path.join(packages, '@socket.io', 'redis-adapter'))
      const { Server } = require(path.join(packages, 'socket.io'))
      const servers = await Promise.all([1, 2].map(async () => {
        const publisher = await keep(createClient({ url: server.url })).connect()
        const subscriber = await keep(publisher.duplicate()).connect()
        return new Server({ adapter: createAdapter(publisher, subscriber) })
      }))
      while (await servers[0].of('/').adapter.serverCount() < 2) await new Promise(setImmediate)
      servers[1].on('question', (n, answer) => answer(n + 1))
      const replies = await new Promise((resolve, reject) => { servers[0].serverSideEmit('question', 5, (err, values) => { err ? reject(err) : resolve(values) }) })
      assert.deepStrictEqual(replies, [6])
      await Promise.all(servers.map(io => io.of('/').adapter.close()))
    })
  })

  const work = {
    python: `
import redis, sys
for protocol in ([2, 3] if hasattr(redis, 'asyncio') and int(redis.__version__.split('.')[0]) >= 5 else [2]):
    options = {'protocol': protocol} if protocol == 3 else {}
    r = redis.Redis(port=int(sys.argv[1]), **options)
    r.flushdb()
    assert r.set('a', b'\\x00\\xff') and r.get('a') == b'\\x00\\xff'
    assert r.incrby('n', 5) == 5 and r.expire('n', 100) and 90 < r.ttl('n') <= 100
    with r.pipeline(transaction=False) as p: assert p.set('b', 1).get('b').execute() == [True, b'1']
    with r.pipeline() as p: assert p.incr('m').incr('m').execute() == [1, 2]
    r.mset({'k%d' % i: i for i in range(50)})
    assert len(set(r.scan_iter('k*'))) == 50
    assert r.hset('h', mapping={'f': 1}) == 1 and r.hgetall('h') == {b'f': b'1'}
    assert r.info()['redis_version'].startswith('7') and r.config_get('maxclients')
    assert any(c['addr'] for c in r.client_list()) and r.memory_usage('a') > 0
    s = r.pubsub(); s.subscribe('news')
    while s.get_message(timeout=5)['type'] != 'subscribe': pass
    assert r.publish('news', 'x') == 1 and s.get_message(timeout=5)['data'] == b'x'
print('fine')`,
    ruby: `
require 'redis'
r = Redis.new(port: ARGV[0].to_i)
raise 'set' unless r.set('a', "\\x00\\xff".b) == 'OK' && r.get('a').b == "\\x00\\xff".b
raise 'incr' unless r.incrby('n', 5) == 5 && r.expire('n', 100) && r.ttl('n') > 90
raise 'pipeline' unless r.pipelined { |p| p.set('b', 1); p.get('b') } == ['OK', '1']
raise 'multi' unless r.multi { |m| m.incr('m'); m.incr('m') } == [1, 2]
(0...50).each { |i| r.set("k#{i}", i) }
raise 'scan' unless r.scan_each(match: 'k*').to_a.uniq.size == 50
raise 'hash' unless r.hset('h', 'f', 1) && r.hgetall('h') == { 'f' => '1' }
raise 'info' unless r.info['redis_version'].start_with?('7')
puts 'fine'`
  }

  suite("Debian's python3-redis", runs('/usr/bin/python3', '-c', 'import redis'), 'python3-redis', () => {
    given('scan', 'multi', 'hset', 'publish')('works', async () => { assert.strictEqual(await exec('/usr/bin/python3', ['-c', work.python, server.port]), 'fine\n') })
  })

  suite("Debian's ruby-redis", runs('ruby', '-e', "require 'redis'"), 'ruby-redis', () => {
    given('scan', 'multi', 'hset')('works', async () => { assert.strictEqual(await exec('ruby', ['-e', work.ruby, '--', server.port]), 'fine\n') })
  })
})
