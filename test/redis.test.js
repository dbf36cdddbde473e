'use strict'
// The same commands to a real redis-server 7.0 and to ours: replies must be equal, texts of errors included. What differs on purpose is
// not sent, and named in csrc/DESIGN.md (section 12, "The server").
const assert = require('node:assert')
const path = require('node:path')
const { once } = require('node:events')
const { spawn, spawnSync } = require('node:child_process')
const { setup } = require('./support')
const { Client } = require('./resp-client')

const version = spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout ?? ''

// mulberry32: the same numbers everywhere.
function generator (seed) {
  const next = () => {
    seed = (seed + 0x6D2B79F5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = n => Math.floor(next() * n)
  return { below, pick: list => list[below(list.length)], chance: p => next() < p }
}

const STRINGS = ['s1', 's2', 's3', 's4']
const HASHES = ['h1', 'h2', 'h3']
const VALUES = ['', 'base64:/w==', 'base64:aGk=', '0', '1', '-5', '10', '3.5', 'abc', 'a b', '9223372036854775806', '00', '1e3', 'x'.repeat(40), 'zażółć', Buffer.from([0, 255, 10, 13])]
const INTEGERS = ['0', '1', '-1', '7', '-100', '9223372036854775807', '-9223372036854775808', 'x', '', '1.5', ' 1']
const OFFSETS = ['0', '1', '-1', '3', '-3', '100', '-100', 'x']
const FIELDS = ['f', 'g', 'h', 'field four', '', 'base64:AAAA', Buffer.from([255]), 'base64:/w==']
const FLOATS = ['0.1', '-2.25', '3', '1e2', 'x', 'inf', 'nan', '', '5.0e3']
const TIMES = { // long ones: nothing lapses while the test runs
  EXPIRE: ['100', '2000', '-1', '0', 'x', '9223372036854775807'],
  PEXPIRE: ['500000', '-1', '0', 'x', '9223372036854775807'],
  EXPIREAT: ['4000000000', '1', '-1', 'x', '9223372036854775807'],
  PEXPIREAT: ['4000000000000', '1', '0', 'x']
}

// One random command. s: a key of strings, h: of hashes, any: of either.
const makers = {
  strings (r) {
    const s = () => r.pick(STRINGS)
    const any = () => r.pick(r.chance(0.9) ? STRINGS : HASHES)
    const v = () => r.pick(VALUES)
    const options = () => {
      const list = []
      if (r.chance(0.3)) list.push(r.pick(['NX', 'XX', 'nx']))
      if (r.chance(0.2)) list.push('GET')
      if (r.chance(0.2)) list.push(...r.pick([['EX', '5000'], ['PX', '500000'], ['EXAT', '4000000000'], ['PXAT', '4000000000000'], ['EX', '0'], ['PX', 'x'], ['EX', '-1']]))
      if (r.chance(0.1)) list.push('KEEPTTL')
      if (r.chance(0.03)) list.push('WHAT')
      return list
    }
    return r.pick([
      () => ['SET', s(), v(), ...options()], () => ['SET', s(), v()], () => ['GET', s()], () => ['GETSET', s(), v()], () => ['GETDEL', s()],
      () => ['SETNX', s(), v()], () => ['SETEX', s(), r.pick(['100', '0', 'x']), v()], () => ['PSETEX', s(), r.pick(['100000', '-1', '']), v()],
      () => ['GETEX', s()], () => ['GETEX', s(), r.pick(['EX', 'PX']), r.pick(['500000', '0', 'x'])], () => ['GETEX', s(), 'PERSIST'],
      () => ['GETEX', s(), 'EX'], () => ['GETEX', s(), 'EX', '5', 'PERSIST'], () => ['MGET', s(), s(), 'none'], () => ['MSET', s(), v(), s(), v()],
      () => ['MSET', s()], () => ['MSETNX', s(), v(), s(), v()], () => ['APPEND', any(), v()], () => ['STRLEN', any()], () => ['INCR', any()], () => ['DECR', s()],
      () => ['INCRBY', s(), r.pick(INTEGERS)], () => ['DECRBY', any(), r.pick(INTEGERS)], () => ['INCRBYFLOAT', any(), r.pick(FLOATS)],
      () => ['GETRANGE', any(), r.pick(OFFSETS), r.pick(OFFSETS)], () => ['SUBSTR', s(), r.pick(OFFSETS), r.pick(OFFSETS)],
      () => ['SETRANGE', any(), r.pick(['0', '1', '5', '60', '-1', 'x', '536870912']), v()],
      () => ['LCS', s(), s(), ...r.pick([[], ['LEN'], ['IDX'], ['IDX', 'WITHMATCHLEN'], ['IDX', 'MINMATCHLEN', '2'], ['IDX', 'LEN'], ['NO']])]
    ])()
  },
  keys (r) {
    const any = () => r.pick(r.chance(0.5) ? STRINGS : HASHES)
    const expiry = key => { const name = r.pick(Object.keys(TIMES)); return [name, key, r.pick(TIMES[name])] }
    const two = () => { const list = r.chance(0.5) ? STRINGS : HASHES; return [r.pick(list), r.pick(list)] }
    return r.pick([
      () => ['DEL', any(), any()], () => ['UNLINK', any()], () => ['EXISTS', any(), any(), any()], () => ['TOUCH', any(), any()], () => ['TYPE', any()],
      () => ['RENAME', ...two()], () => ['RENAMENX', ...two()], () => ['COPY', ...two(), ...r.pick([[], ['REPLACE'], ['DB', '0'], ['DB', 'x'], ['DB', '99'], ['NO']])],
      () => [...expiry(any()), ...r.pick([[], [], ['NX'], ['XX'], ['GT'], ['LT'], ['GT', 'XX'], ['NX', 'XX'], ['GT', 'LT'], ['NO']])],
      () => ['EXPIRE', any(), '5000'], () => ['TTL', any()], () => ['PERSIST', any()], () => ['EXPIREAT', any(), '4000000000', 'GT'],
      () => ['EXPIRETIME', any()], () => ['KEYS', r.pick(['*', 's?', '[^s]*', 'h[1-2]', '\\s1', 's\\?', 'nothing', ''])], () => ['DBSIZE'],
      () => ['SCAN', '0', 'COUNT', '100', ...r.pick([[], ['MATCH', 's*'], ['TYPE', 'string'], ['TYPE', 'hash'], ['TYPE', 'list'], ['NO', 'x'], ['MATCH']])],
      () => ['SCAN', 'x'], () => ['SCAN', '0', 'COUNT', '0'], () => ['SCAN', '0', 'COUNT', 'x'], () => r.chance(0.1) ? [r.pick(['FLUSHALL', 'FLUSHDB'])] : ['DBSIZE'],
      () => ['NOPE', any()], () => ['GET'], () => ['RENAME', any()]
    ])()
  },
  hashes (r) {
    const h = () => r.pick(HASHES)
    const any = () => r.pick(r.chance(0.9) ? HASHES : STRINGS)
    const f = () => r.pick(FIELDS)
    const v = () => r.pick(VALUES)
    return r.pick([
      () => ['HSET', h(), f(), v()], () => ['HSET', h(), f(), v(), f(), v()], () => ['HSET', h(), f()], () => ['HMSET', h(), f(), v(), f(), v()],
      () => ['HSETNX', h(), f(), v()], () => ['HGET', any(), f()], () => ['HMGET', any(), f(), f(), 'none'], () => ['HGETALL', any()], () => ['HDEL', any(), f(), f()],
      () => ['HEXISTS', any(), f()], () => ['HLEN', any()], () => ['HKEYS', any()], () => ['HVALS', any()], () => ['HSTRLEN', any(), f()],
      () => ['HINCRBY', h(), f(), r.pick(INTEGERS)], () => ['HINCRBYFLOAT', h(), f(), r.pick(FLOATS)], () => ['HRANDFIELD', any(), '0'],
      () => ['HRANDFIELD', any(), '100', ...r.pick([[], ['WITHVALUES'], ['NO']])], () => ['HRANDFIELD', 'none', ...r.pick([[], ['3'], ['x'], ['-2']])],
      () => ['HSCAN', any(), '0', ...r.pick([[], ['MATCH', '?'], ['COUNT', '5'], ['COUNT', 'x'], ['NO']])], () => ['HSCAN', h(), 'x'],
      () => ['TYPE', any()], () => ['EXPIRE', h(), '5000'], () => ['TTL', h()], () => ['DEL', h()], () => ['INCR', h()]
    ])()
  },
  transactions (r) {
    return r.pick([
      () => ['MULTI'], () => ['EXEC'], () => ['EXEC'], () => ['DISCARD'], () => ['WATCH', r.pick(STRINGS), r.pick(HASHES)], () => ['UNWATCH'],
      () => makers.strings(r), () => makers.keys(r), () => makers.hashes(r)
    ])()
  }
}

// Replies whose order or time is not told.
function settled (command, reply) {
  const name = String(command[0])
  if (!Array.isArray(reply)) return reply
  if (['KEYS', 'HKEYS', 'HVALS'].includes(name)) return [...reply].sort()
  if (name === 'HGETALL' || name === 'HRANDFIELD') return [...reply].sort()
  if (name === 'SCAN' || name === 'HSCAN') return [reply[0], [...reply[1]].sort()]
  if (name === 'EXEC') return reply.map(r => Array.isArray(r) ? [...r.map(x => Array.isArray(x) ? [...x].sort() : x)].sort() : r)
  return reply
}

describe('the server beside redis-server', function () {
  const { folder, openStore } = setup()
  let redis, server, ours, theirs, again

  before(function () {
    if (/v=7\./.test(version)) return
    console.log('    redis-server 7 is not installed: replies are not compared with its own')
    this.skip()
  })

  beforeEach(async () => {
    const socket = path.join(folder(), 'redis.sock')
    redis = spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no'], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve, reject) => {
      redis.stdout.on('data', text => { if (/ready to accept|server is now ready/i.test(text)) resolve() })
      redis.once('exit', () => reject(new Error('redis-server ended')))
    })
    server = await (await openStore({ durability: 'close' })).listen({ port: 0 })
    again = options => {
      ours?.close()
      theirs?.close()
      ours = new Client(server.port, options)
      theirs = new Client(socket, options)
    }
    again()
  })

  afterEach(async () => {
    ours?.close()
    theirs?.close()
    await server?.close()
    if (redis) {
      const ended = new Promise(resolve => redis.once('exit', resolve))
      redis.kill('SIGKILL')
      await ended
    }
    redis = server = ours = theirs = undefined
  })

  async function compare (commands, name) {
    const [a, b] = await Promise.all([ours.pipeline(commands), theirs.pipeline(commands)])
    for (let i = 0; i < commands.length; i++) {
      assert.deepStrictEqual(settled(commands[i], a[i]), settled(commands[i], b[i]), `${name}, command ${i}: ${commands[i].join(' ')}`)
    }
  }

  // Replies whose order is not told are sorted by their texts.
  const sorted = ([type, value]) => JSON.stringify([type, Array.isArray(value) ? value.map(sorted).sort() : value])

  it('answers in RESP3 with the same types', async () => {
    again({ typed: true })
    const unordered = new Set(['KEYS', 'HKEYS', 'HVALS', 'HGETALL', 'SCAN', 'HSCAN', 'HRANDFIELD', 'CONFIG'])
    const checked = [
      'GET none', 'MGET s none', 'SET s 1 GET', 'SET s v XX', 'SET s v NX', 'GETDEL none', 'INCRBYFLOAT f 1.5', 'LCS s f', 'LCS s f IDX', 'TTL s', 'TYPE s', 'EXISTS s', 'KEYS *', 'SCAN 0',
      'HSET h a 1 b 2', 'HGET h a', 'HGET h none', 'HMGET h a none', 'HGETALL h', 'HGETALL none', 'HKEYS h', 'HVALS h', 'HINCRBYFLOAT h a 1.5', 'HRANDFIELD h 5 WITHVALUES', 'HRANDFIELD h -1 WITHVALUES x', 'HRANDFIELD h 5',
      'CLIENT LIST TYPE master', 'CLIENT LIST ID 99999', 'HRANDFIELD none', 'HRANDFIELD none 2', 'HSCAN h 0', 'HEXISTS h a', 'OBJECT ENCODING none', 'OBJECT REFCOUNT s', 'MEMORY USAGE none', 'CONFIG GET save maxmemory', 'CONFIG GET none', 'CLIENT GETNAME', 'CLIENT GETREDIR',
      'COMMAND INFO nope', 'COMMAND DOCS nope', 'COMMAND GETKEYS GET a', 'DBSIZE', 'WATCH s', 'MULTI', 'GET s', 'HGETALL h', 'GET none', 'INCR h', 'EXEC', 'MULTI', 'DISCARD', 'WATCH s', 'SET s 2', 'MULTI', 'GET s', 'EXEC',
      'PING', 'PING x', 'ECHO x', 'PUBSUB CHANNELS', 'PUBSUB NUMSUB a', 'PUBSUB NUMPAT', 'PUBLISH a x', 'NOPE', 'GET', 'ACL WHOAMI', 'SELECT 0', 'RESET', 'HGETALL h', 'HRANDFIELD h 5 WITHVALUES', 'COMMAND INFO nope', 'MGET s none'
    ]
    await Promise.all([ours, theirs].map(c => c.call('HELLO', 3)))
    await compare(['FLUSHALL', 'MSET s v s2 w', 'DEL s2'].map(c => c.split(' ')), 'typed')
    for (const text of checked) {
      const command = text.split(' ')
      const [a, b] = await Promise.all([ours.call(...command), theirs.call(...command)])
      const show = unordered.has(command[0]) ? sorted : JSON.stringify
      assert.strictEqual(show(a), show(b), text)
    }
    for (const c of [ours, theirs]) c.write('HELLO 3\r\nSUBSCRIBE a b\r\nPSUBSCRIBE c*\r\nPUBLISH a x\r\nPUBLISH cc y\r\nUNSUBSCRIBE a\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nUNSUBSCRIBE\r\nPING\r\n')
    const pushed = await Promise.all([ours, theirs].map(async c => {
      while (c.pushes.at(-1)?.[1] !== 'PONG') await once(c.socket, 'data')
      return c.pushes.map(JSON.stringify).filter(text => !text.includes('proto')) // HELLO tells the version
    }))
    assert.deepStrictEqual(pushed[0], pushed[1])
  })

  it('answers what has no family alike: connections, settings, errors', async () => {
    const commands = [
      'PING a b', 'ECHO', 'ECHO a b', 'HELLO x', 'HELLO 1', 'HELLO 3 AUTH', 'HELLO 2 FOO', 'SELECT', 'SELECT x', 'SELECT -1', 'SELECT 16', 'AUTH', 'AUTH a', 'AUTH a b', 'AUTH a b c', 'CLIENT', 'CLIENT ID x', 'CLIENT SETNAME',
      'CLIENT SETNAME a', 'CLIENT GETNAME', 'CLIENT NO-EVICT x', 'CLIENT NO-EVICT ON', 'CLIENT GETREDIR', 'CLIENT KILL', 'CLIENT KILL a', 'CLIENT KILL ID', 'CLIENT KILL ID x', 'CLIENT KILL ID 99999',
      'CLIENT KILL TYPE normal SKIPME maybe', 'CLIENT KILL TYPE master', 'CLIENT KILL LADDR a', 'CLIENT LIST x', 'CLIENT LIST TYPE', 'CLIENT LIST TYPE foo', 'CLIENT LIST TYPE master', 'CLIENT LIST TYPE pubsub', 'CLIENT LIST ID',
      'CLIENT LIST ID x', 'CLIENT LIST ID 0', 'CLIENT LIST ID 99999', 'CLIENT REPLY x', 'CLIENT REPLY ON', 'CLIENT INFO x', 'CLIENT FOO', 'CONFIG', 'CONFIG GET', 'CONFIG GET nothing', 'CONFIG SET', 'CONFIG SET a', 'CONFIG SET timeout 1 a', 'CONFIG SET foo bar',
      'CONFIG SET maxclients 50 maxclients 60', 'CONFIG SET maxclients x', 'CONFIG SET databases 5', 'CONFIG GET maxclients', 'CONFIG RESETSTAT', 'CONFIG RESETSTAT x', 'CONFIG FOO', 'TIME x', 'DBSIZE x', 'FLUSHDB x', 'FLUSHALL a b',
      'FLUSHALL ASYNC', 'FLUSHDB SYNC', 'SAVE x', 'BGSAVE x', 'BGSAVE a b', 'LASTSAVE x', 'BGREWRITEAOF x', 'SHUTDOWN x', 'SHUTDOWN ABORT', 'SHUTDOWN NOSAVE SAVE', 'MEMORY', 'MEMORY USAGE', 'MEMORY USAGE none', 'MEMORY FOO',
      'MEMORY USAGE a SAMPLES', 'MEMORY USAGE a SAMPLES -1', 'MEMORY USAGE a SAMPLES x', 'OBJECT', 'OBJECT FOO', 'OBJECT ENCODING', 'OBJECT ENCODING none', 'OBJECT FREQ none', 'OBJECT IDLETIME none', 'SET s abc', 'OBJECT ENCODING s',
      'OBJECT REFCOUNT s', 'OBJECT IDLETIME s', 'OBJECT FREQ s', 'SET n 12', 'OBJECT ENCODING n', 'COMMAND COUNT x', 'COMMAND GETKEYS', 'COMMAND GETKEYS get', 'COMMAND GETKEYS ping', 'COMMAND GETKEYS get a', 'COMMAND GETKEYS nope a', 'COMMAND GETKEYS mset a b c d', 'COMMAND LIST FILTERBY',
      'COMMAND LIST FILTERBY FOO a', 'COMMAND FOO', 'COMMAND DOCS nope', 'INFO nothing', 'ACL WHOAMI', 'ACL FOO', 'PUBSUB', 'PUBSUB FOO', 'PUBSUB NUMSUB', 'PUBSUB NUMSUB a', 'PUBSUB NUMPAT x', 'PUBSUB CHANNELS', 'PUBSUB CHANNELS a b', 'PUBSUB channels a b', 'PUBLISH', 'PUBLISH a',
      'PUBLISH a b', 'SUBSCRIBE', 'UNSUBSCRIBE', 'UNSUBSCRIBE a', 'PUNSUBSCRIBE', 'PUNSUBSCRIBE x', 'RESET x', 'SUBSCRIBE a', 'GET a', 'MULTI', 'PING', 'PING x', 'UNSUBSCRIBE a', 'GET a', 'MULTI', 'MULTI', 'WATCH a', 'EXEC', 'EXEC', 'DISCARD',
      'MULTI', 'NOPE', 'EXEC', 'MULTI', 'GET', 'EXEC', 'MULTI', 'TIME x', 'PING', 'EXEC', 'EXEC x', 'MULTI', 'EXEC x', 'EXEC', 'MULTI', 'PING', 'ECHO x', 'SELECT 0', 'CLIENT GETNAME', 'DBSIZE', 'FLUSHALL', 'UNWATCH', 'EXEC', 'MULTI x', 'UNWATCH x', 'MULTI', 'RESET', 'EXEC', 'QUIT'
    ]
    for (const text of commands) await compare([text.split(' ')], 'one by one')
    await Promise.all([ours, theirs].map(c => c.closed()))
  })

  for (const [family, counts] of Object.entries({ strings: [8, 400], keys: [8, 400], hashes: [8, 400], transactions: [8, 400] })) {
    it(`answers random commands of ${family} alike, pipelined`, async () => {
      for (let seed = 1; seed <= counts[0]; seed++) {
        const r = generator(seed)
        await compare([['RESET'], ['FLUSHALL']], family)
        for (let done = 0; done < counts[1];) {
          const commands = Array.from({ length: 1 + r.below(60) }, () => r.chance(0.15) ? makers.strings(r) : makers[family](r))
          await compare(commands, `${family}, seed ${seed}, from ${done}`)
          done += commands.length
        }
      }
    })
  }
})
