'use strict'
// The server of the Redis protocol: what goes over the socket, and what the store makes of it.
const assert = require('node:assert')
const { once } = require('node:events')
const { setup } = require('./support')
const { Client, encode } = require('./resp-client')

describe('the server', () => {
  const { openStore } = setup()
  let db, server, client
  const clients = []

  async function connect () {
    const c = new Client(server.port)
    clients.push(c)
    await once(c.socket, 'connect')
    return c
  }

  beforeEach(async () => {
    db = await openStore()
    server = await db.listen({ port: 0 })
    client = await connect()
  })

  afterEach(async () => {
    for (const c of clients.splice(0)) c.close()
    await server.close()
  })

  it('answers a table of commands as Redis does', async () => {
    const notInteger = { error: 'ERR value is not an integer or out of range' }
    const cases = [
      ['PING', 'PONG'], ['PING x', 'x'], ['ECHO x', 'x'], ['SELECT 0', 'OK'], ['SELECT 1', { error: 'ERR DB index is out of range' }],
      ['SET a 1', 'OK'], ['GET a', '1'], ['GET b', null], ['get a', '1'], ['EXISTS a a b', 2], ['TOUCH a', 1], ['TYPE a', 'string'], ['TYPE b', 'none'],
      ['SETNX a 2', 0], ['SETNX b 2', 1], ['SET b 3 NX', null], ['SET b 3 XX', 'OK'], ['SET b 4 XX GET', '3'], ['SET c 4 XX', null],
      ['SET c 4 NX XX', { error: 'ERR syntax error' }], ['SET c 4 EX', { error: 'ERR syntax error' }], ['SET c 4 EX x', notInteger],
      ['SET c 4 EX 0', { error: "ERR invalid expire time in 'set' command" }], ['SET c 4 PX 1 KEEPTTL', { error: 'ERR syntax error' }],
      ['GETSET b 5', '4'], ['GETDEL b', '5'], ['GETDEL b', null], ['MSET x 1 y 2', 'OK'], ['MGET x y z', ['1', '2', null]],
      ['MSET x', { error: "ERR wrong number of arguments for 'mset' command" }], ['MSETNX x 1 w 2', 0], ['MSETNX v 1 w 2', 1], ['EXISTS w', 1],
      ['DEL x x y zz', 2], ['UNLINK v w', 2], ['APPEND a 23', 3], ['APPEND new 1', 1], ['STRLEN a', 3], ['STRLEN zz', 0],
      ['INCR a', 124], ['DECR a', 123], ['INCRBY a 7', 130], ['DECRBY a 30', 100], ['INCRBY a x', notInteger], ['SET s text', 'OK'], ['INCR s', notInteger],
      ['SET s 9223372036854775807', 'OK'], ['INCR s', { error: 'ERR increment or decrement would overflow' }],
      ['DECRBY s -9223372036854775808', { error: 'ERR decrement would overflow' }],
      ['EXPIRE a 100 XX', 0], ['EXPIRE a 100 NX', 1], ['EXPIRE a 50 GT', 0], ['EXPIRE a 50 LT', 1], ['TTL a', 50], ['TTL s', -1], ['TTL zz', -2], ['PTTL s', -1], ['PTTL zz', -2], ['EXPIRE zz 1', 0],
      ['EXPIRE a 1 NX GT', { error: 'ERR NX and XX, GT or LT options at the same time are not compatible' }], ['EXPIRE a 1 QQ', { error: 'ERR Unsupported option QQ' }],
      ['INCR a', 101], ['TTL a', 50], ['SET a 1 KEEPTTL', 'OK'], ['TTL a', 50], ['PERSIST a', 1], ['PERSIST a', 0], ['TTL a', -1], ['EXPIREAT a 4000000000', 1],
      ['EXPIRETIME a', 4000000000], ['PEXPIRETIME a', 4000000000000], ['SET a 1', 'OK'], ['TTL a', -1], ['EXPIRE a -1', 1], ['EXISTS a', 0],
      ['SETEX t 100 v', 'OK'], ['TTL t', 100], ['TIME', ([s, us]) => Math.abs(s - Date.now() / 1000) < 100 && us >= 0 && us < 1e6], ['PTTL t', n => n > 90000 && n <= 100000], ['PSETEX u 90000 v', 'OK'], ['PTTL u', n => n > 80000 && n <= 90000], ['DEL u', 1], ['PSETEX t 0 v', { error: "ERR invalid expire time in 'psetex' command" }],
      ['KEYS ne?', ['new']], ['KEYS [m-o]*', ['new']], ['KEYS [^s]', ['t']], ['DBSIZE', 3], ['FLUSHALL', 'OK'], ['DBSIZE', 0],
      ['GET', { error: "ERR wrong number of arguments for 'get' command" }], ['NOPE a b', { error: "ERR unknown command 'NOPE', with args beginning with: 'a' 'b' " }],
      ['CLIENT SETNAME me', 'OK'], ['CLIENT GETNAME', 'me'], ['HELLO 4', { error: 'NOPROTO unsupported protocol version' }], ['RESET', 'RESET'], ['CLIENT GETNAME', null]
    ]
    for (const [text, want] of cases) {
      const got = await client.call(...text.split(' '))
      if (typeof want === 'function') assert.ok(want(got), `${text}: ${got}`)
      else assert.deepStrictEqual(got, want, text)
    }
  })

  it('gives bytes back as they were, and stores them as string or bytes', async () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    for (const bytes of [Buffer.from('"quoted: \r\n\0'), Buffer.from('zażółć'), Buffer.alloc(0), every]) {
      await client.call('SET', bytes, bytes)
      assert.strictEqual(await client.call('GET', bytes), bytes.toString('latin1'))
    }
    assert.strictEqual(db.get('zażółć'), 'zażółć')
    assert.deepStrictEqual(db.get(every), every)
  })

  it('shows what JavaScript stored, and keeps a number a number', async () => {
    await db.put('n', 41)
    await db.put('doc', { id: 1, tags: ['a', 'b'] })
    assert.strictEqual(await client.call('INCR', 'n'), 42)
    assert.strictEqual(db.get('n'), 42)
    assert.strictEqual(await client.call('GET', 'doc'), 'id: 1\ntags[2]: a,b')
    assert.strictEqual(await client.call('TYPE', 'doc'), 'hash')
    assert.deepStrictEqual(await client.call('INCR', 'doc'), { error: 'WRONGTYPE Operation against a key holding the wrong kind of value' })
    await client.call('SET', 's', '1')
    await client.call('INCR', 's')
    assert.strictEqual(db.get('s'), '2')
  })

  it('answers a pipeline in order, writes and reads mixed', async () => {
    const lines = []
    const replies = []
    for (let i = 0; i < 300; i++) {
      lines.push(encode(['SET', 'k', i]), encode(['GET', 'k']), encode(['INCR', 'n']), encode(['NOPE']), 'GET n\r\n')
      for (let j = 0; j < 5; j++) replies.push(client.reply())
    }
    client.write(Buffer.concat(lines.map(l => Buffer.from(l))))
    const got = await Promise.all(replies)
    for (let i = 0; i < 300; i++) {
      assert.deepStrictEqual(got.slice(5 * i, 5 * i + 5),
        ['OK', `${i}`, i + 1, { error: "ERR unknown command 'NOPE', with args beginning with: " }, `${i + 1}`])
    }
  })

  it('loses no increment of several clients and JavaScript at once', async () => {
    const others = await Promise.all(Array.from({ length: 5 }, connect))
    const work = others.map(async c => { for (let i = 0; i < 100; i++) await c.call('INCR', 'n') })
    work.push((async () => { for (let i = 0; i < 100; i++) await db.update('n', n => String(Number(n ?? 0) + 1), { retries: 1000 }) })())
    await Promise.all(work)
    assert.strictEqual(await client.call('GET', 'n'), '600')
  })

  it('lets one client at most win SETNX', async () => {
    const others = await Promise.all(Array.from({ length: 10 }, connect))
    for (let i = 0; i < 20; i++) {
      const won = await Promise.all(others.map((c, j) => c.call('SET', `lock${i}`, j, 'NX')))
      assert.strictEqual(won.filter(r => r === 'OK').length, 1)
    }
  })

  it('reads a command that comes byte by byte', async () => {
    const reply = client.reply()
    for (const byte of encode(['SET', 'a', 'b\r\nc'])) {
      client.write(Buffer.from([byte]))
      await new Promise(setImmediate)
    }
    assert.strictEqual(await reply, 'OK')
    assert.strictEqual(await client.call('GET', 'a'), 'b\r\nc')
  })

  it('says what is wrong with the protocol and closes, after the replies before it', async () => {
    const replies = [client.reply(), client.reply()]
    client.write(Buffer.concat([encode(['SET', 'a', '1']), Buffer.from('*1\r\nx\r\n')]))
    assert.deepStrictEqual(await Promise.all(replies), ['OK', { error: "ERR Protocol error: expected '$', got 'x'" }])
    await client.closed()
  })

  it('refuses a value over maxValueSize and a long key, and keeps the connection', async () => {
    const small = await openStore({ maxValueSize: 1000 })
    const other = await small.listen({ port: 0 })
    const c = new Client(other.port)
    assert.match((await c.call('SET', 'a', 'x'.repeat(2000))).error, /^ERR .*1000/)
    assert.match((await c.call('SET', 'k'.repeat(4097), 'x')).error, /^ERR .*4096/)
    assert.strictEqual(await c.call('SET', 'a', 'x'.repeat(900)), 'OK')
    c.close()
    await other.close()
  })

  it('takes 100,000 arguments, and a client that reads late', async () => {
    const args = Array.from({ length: 100000 }, (_, i) => `k${i}`)
    assert.strictEqual(await client.call('EXISTS', ...args), 0)
    await client.call('SET', 'big', 'x'.repeat(500000))
    client.socket.pause()
    const replies = Array.from({ length: 40 }, () => client.call('GET', 'big'))
    const other = await connect()
    assert.strictEqual(await other.call('PING'), 'PONG')
    client.socket.resume()
    for (const reply of await Promise.all(replies)) assert.strictEqual(reply.length, 500000)
  })

  it('speaks RESP3 after HELLO 3', async () => {
    const hello = await client.call('HELLO', 3, 'SETNAME', 'me')
    assert.strictEqual(hello[hello.indexOf('proto') + 1], 3)
    client.write(encode(['GET', 'nothing']))
    const [data] = await once(client.socket, 'data')
    assert.strictEqual(data.toString(), '_\r\n')
  })

  it('refuses more than maxClients', async () => {
    const few = await db.listen({ port: 0, maxClients: 1 })
    const first = new Client(few.port)
    await first.call('PING')
    const second = new Client(few.port)
    assert.deepStrictEqual(await second.reply(), { error: 'ERR max number of clients reached' })
    await second.closed()
    first.close()
    await few.close()
  })

  it('closes connections with the server and the server with the store', async () => {
    await client.call('SET', 'a', 1)
    const closed = client.closed()
    await db.close()
    await closed
    assert.strictEqual(server.close(), server.close())
    await assert.rejects(db.listen({ port: 0 }), { code: 'TOON_ECLOSED' })
  })

  it('checks its options', async () => {
    await assert.rejects(db.listen({ host: '0.0.0.0' }), /loopback/)
    await assert.rejects(db.listen({ protectedMode: 'no' }), TypeError)
    await assert.rejects(db.listen({ port: -1 }), RangeError)
    await assert.rejects(db.listen({ nope: 1 }), TypeError)
    await assert.rejects(db.listen({ port: server.port }), { code: 'TOON_EIO', syscall: 'listen' })
    assert.strictEqual(server.url, `redis://127.0.0.1:${server.port}`)
  })
})
