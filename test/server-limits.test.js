'use strict'
// What many or large things of one kind do to the server, and how connections end.
const assert = require('node:assert')
const crypto = require('node:crypto')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const tls = require('node:tls')
const { once } = require('node:events')
const { setup, run } = require('./support')
const { encode, served } = require('./resp-client')
const { callbacks } = require('../lib/binding')
const { hashPassword } = require('../lib/users')

// A hash that is checked in a millisecond.
function cheapHash (password) {
  const salt = Buffer.alloc(16)
  const key = crypto.scryptSync(password, salt, 32, { N: 1024, r: 1, p: 1 })
  return ['scrypt', 10, 1, 1, salt.toString('base64url'), key.toString('base64url')].join('$')
}

describe('limits of the server', () => {
  const { openStore, reopen } = setup()
  let db, server, client
  const connect = served(openStore, given => { ({ db, server, client } = given) })

  // Send bytes and the end of the input; all that comes until the server ends too.
  async function toTheEnd (socket, bytes) {
    let text = ''
    socket.setEncoding('latin1').on('data', data => { text += data })
    socket.end(bytes)
    await once(socket, 'end')
    return text
  }

  describe('ends of connections', () => {
    it('answers every command that came before the end of the input, over TLS too', async () => {
      const lines = 'SET a 1\r\nINCR a\r\nMULTI\r\nINCR a\r\nEXEC\r\nGET a\r\nPI'
      const want = '+OK\r\n:2\r\n+OK\r\n+QUEUED\r\n*1\r\n:3\r\n$1\r\n3\r\n'
      assert.strictEqual(await toTheEnd(net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true }), lines), want)
      const read = name => fs.readFileSync(path.join(__dirname, 'tls', name))
      const secure = await db.listen({ port: 0, tls: { cert: read('cert.pem'), key: read('key.pem') }, users: [{ name: 'ada', role: 'admin', hash: await hashPassword('x') }] })
      const socket = tls.connect({ port: secure.port, host: '127.0.0.1', ca: read('cert.pem'), allowHalfOpen: true })
      await once(socket, 'secureConnect')
      assert.strictEqual(await toTheEnd(socket, `AUTH ada x\r\n${lines}`), `+OK\r\n${want}`)
      await secure.close()
    })

    it('sends all replies to a client that has ended its input and reads late', async () => {
      await db.put('big', 'x'.repeat(1e6))
      const socket = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true })
      socket.pause()
      const text = toTheEnd(socket, 'GET big\r\n'.repeat(30))
      await client.call('PING')
      socket.resume()
      assert.strictEqual((await text).length, 30 * (1e6 + '$1000000\r\n\r\n'.length))
    })

    it('publishes what an EXEC has published that is committed after its client has left', async () => {
      const sub = connect()
      await sub.call('SUBSCRIBE', 'a')
      for (let i = 0; i < 60; i++) {
        const c = net.connect(server.port, '127.0.0.1').on('error', () => {})
        await once(c, 'connect')
        c.write(`MULTI\r\nSET done/${i} 1\r\nPUBLISH a ${i}\r\nEXEC\r\n`)
        for (let turns = i % 6; turns > 0; turns--) await new Promise(setImmediate)
        if (i % 2) c.resetAndDestroy()
        else c.destroy()
      }
      while ((await client.call('CLIENT', 'LIST')).trim().split('\n').length > 2) await new Promise(setImmediate)
      await client.call('SET', 'behind', '1') // what was under way is committed
      await client.call('PUBLISH', 'a', 'end')
      while (sub.pushes.at(-1)?.[2] !== 'end') await once(sub.socket, 'data')
      const published = sub.pushes.slice(0, -1).map(push => `done/${push[2]}`).sort()
      assert.deepStrictEqual(published, [...db.keys({ prefix: 'done/' })].sort())
      assert.ok(published.length > 0)
    })
  })

  describe('transactions', () => {
    it('see their own keys in time that does not grow with the square of them', async () => {
      const keys = Array.from({ length: 30000 }, (_, i) => `k${i}`)
      const commands = ['MULTI', ...keys.map(key => `SET ${key} 1`), ...keys.map(key => `SET ${key} 2`), ...Array(10).fill('DBSIZE'), 'KEYS none*', 'RANDOMKEY', 'SCAN 0 COUNT 5',
        'FLUSHALL', 'DBSIZE', 'SET a 1', 'KEYS *', 'EXEC']
      const replies = (await client.pipeline(commands)).at(-1)
      assert.deepStrictEqual(replies.slice(60000, 60011), [...Array(10).fill(30000), []])
      assert.ok(keys.includes(replies[60011]))
      assert.strictEqual(replies[60012][1].length, 5)
      assert.deepStrictEqual(replies.slice(60013), ['OK', 0, 'OK', ['a']])
      assert.deepStrictEqual([...db.keys()], ['a'])
    })

    it('look at a bounded number of keys', async () => {
      await db.batch(Array.from({ length: 5000 }, (_, i) => ({ type: 'put', key: `k${i}`, value: i })))
      const replies = (await client.pipeline(['MULTI', ...Array(1000).fill('KEYS none'), 'SET a 1', ...Array(1000).fill('KEYS *none'), 'EXEC'])).at(-1)
      assert.deepStrictEqual(replies[999], [])
      assert.deepStrictEqual(replies[1001], [])
      assert.deepStrictEqual(replies.at(-1), { error: 'ERR the transaction looks at more than 4194304 keys; split it' })
      assert.strictEqual(db.get('a'), '1')
    })

    it('find a key that is left when the first were deleted', async () => {
      await client.call('MSET', 'a', 1, 'b', 2)
      const replies = await client.pipeline(['MULTI', 'DEL a', 'RANDOMKEY', 'DEL b', 'RANDOMKEY', 'EXEC'])
      assert.deepStrictEqual(replies.at(-1), [1, 'b', 1, null])
    })

    it('end when they have more than could be committed, however they came to it', async () => {
      const small = await (await openStore({ maxTxnSize: 1e6 })).listen({ port: 0 })
      const c = connect(small.port)
      await c.call('SET', 'a', 'x'.repeat(100000))
      const replies = await c.pipeline(['MULTI', ...Array(1000).fill('APPEND a x'), 'EXEC'])
      assert.deepStrictEqual(replies.at(-1), { error: 'ERR the transaction is larger than maxTxnSize; split it' })
      assert.strictEqual(await c.call('STRLEN', 'a'), 100000)
      await small.close()
    })

    it('are not committed if a range that they have read was changed meanwhile', async () => {
      await db.batch(Array.from({ length: 3000 }, (_, i) => ({ type: 'put', key: `other/${i}`, value: i })))
      let stop = false
      const writer = (async () => {
        for (let i = 1; !stop; i++) {
          await db.batch([{ type: 'put', key: `a/${i}`, value: i }, { type: 'put', key: 'count', value: String(i) }])
          await new Promise(resolve => setTimeout(resolve, 5))
        }
      })()
      const slow = Array(20).fill('KEYS other/*9')
      for (let round = 0; round < 15; round++) {
        const replies = (await client.pipeline(['MULTI', 'KEYS a/*', 'DBSIZE', ...slow, 'GET count', `SET mine${round} 1`, 'EXEC'])).at(-1)
        if (replies.error) { // given up after many tries
          assert.match(replies.error, /^EXECABORT /)
          continue
        }
        const count = Number(replies.at(-2) ?? 0)
        assert.deepStrictEqual([replies[0].length, replies[1] - 3000 - [...db.keys({ prefix: 'mine' })].length + 1], [count, count + (count > 0)])
      }
      stop = true
      await writer
    })

    it('take no command that could have its effect twice', async () => {
      const refused = { error: 'ERR Command not allowed inside a transaction' }
      const replies = await client.pipeline(['MULTI', 'CLIENT REPLY OFF', 'CLIENT KILL ID 99', 'BGSAVE', 'BGREWRITEAOF', 'EXEC'])
      assert.deepStrictEqual(replies, ['OK', refused, refused, refused, refused, { error: 'EXECABORT Transaction discarded because of previous errors.' }])
      assert.strictEqual(await client.call('PING'), 'PONG')
    })

    it('watch a key once, and not more keys than fit their limit', async () => {
      const key = i => `${String(i).padStart(6, '0')}${'k'.repeat(4000)}`
      for (let i = 0; i < 20; i++) assert.strictEqual(await client.call('WATCH', ...Array(1000).fill(key(0))), 'OK')
      let reply
      for (let i = 0; i < 20 && !reply?.error; i++) reply = await client.call('WATCH', ...Array.from({ length: 1000 }, (_, j) => key(1000 * i + j)))
      assert.deepStrictEqual(reply, { error: 'ERR more than 67108864 bytes of keys are watched; UNWATCH some' })
      await client.pipeline(['UNWATCH', 'WATCH a b a', 'MULTI', 'SET x 1'])
      await connect().call('SET', 'b', '1')
      assert.strictEqual(await client.call('EXEC'), null)
    })
  })

  it('makes no reply that passes outputLimit, whatever command it is of', () => {
    const { stdout, stderr } = run(`
      const { ToonStore } = toonstore
      const { Client } = require(${JSON.stringify(path.join(__dirname, 'resp-client'))})
      const { once } = require('node:events')
      const { tmpdir } = require('node:os'), fs = require('node:fs'), path = require('node:path')
      ;(async () => {
        const dir = fs.mkdtempSync(path.join(tmpdir(), 'toonstore-test-'))
        const db = await ToonStore.open(path.join(dir, 'data'))
        const server = await db.listen({ port: 0, outputLimit: 1 << 20 })
        await db.batch(Array.from({ length: 1000 }, (_, i) => ({ type: 'put', key: i + 'k'.repeat(3000), value: 1 })))
        const many = (n, ...args) => [...args, ...Array(n).fill('get')]
        for (const commands of [[...many(50000, 'COMMAND', 'INFO')], [...many(50000, 'COMMAND', 'DOCS')], ['KEYS', '*'], ['SCAN', '0', 'COUNT', '10000'], [...many(100000, 'PUBSUB', 'NUMSUB')],
          [...many(50000, 'SUBSCRIBE')], ['CLIENT', 'LIST', 'ID', ...Array(50000).fill('7')], undefined]) {
          const c = new Client(server.port)
          c.pipeline(commands ? [commands] : ['MULTI', ...Array(60000).fill('COMMAND'), 'EXEC']).catch(() => {})
          await c.closed()
        }
        console.log(process.resourceUsage().maxRSS)
        await server.close()
        await db.close()
        fs.rmSync(dir, { recursive: true })
      })()`, { flags: ['--max-semi-space-size=4'] })
    assert.strictEqual(stderr, '')
    assert.ok(Number(stdout) < 400e3, `${stdout} KB`)
  })

  it('subscribes to many patterns and channels in time that does not grow with the square of them', async () => {
    const names = Array.from({ length: 100000 }, (_, i) => `p${i}*`)
    const sub = connect()
    sub.socket.removeAllListeners('data')
    let bytes = 0
    const wanted = async (count, commands) => {
      const before = bytes
      sub.write(Buffer.concat(commands.map(encode)))
      while (bytes < before + count) await once(sub.socket, 'data')
    }
    sub.socket.on('data', data => { bytes += data.length })
    const told = (word, list) => list.reduce((sum, name, i) => sum + `*3\r\n$${word.length}\r\n${word}\r\n$${name.length}\r\n${name}\r\n:${i}\r\n`.length, 0)
    // The client of the tests is in the way: it reads replies, of which these have too many.
    for (const [on, off] of [['PSUBSCRIBE', 'PUNSUBSCRIBE'], ['SUBSCRIBE', 'UNSUBSCRIBE']]) {
      await wanted(told(on, names) + 1, [[on, ...names], [on, ...names]])
      assert.strictEqual(await client.call('PUBLISH', 'p7*', 'x'), 1)
      await wanted(told(off, names), [[off, ...names]])
    }
    assert.deepStrictEqual(await client.pipeline(['PUBSUB NUMPAT', 'PUBSUB CHANNELS']), [0, []])
  })

  it('has few logins checked at once, and forgets those of clients that have left', async () => {
    const guarded = await db.listen({ port: 0, users: [{ name: 'ada', role: 'admin', hash: cheapHash('right') }] })
    const { onServer } = callbacks
    const held = []
    let asked = 0
    callbacks.onServer = (handle, kind, ...args) => { // 0: a login is to be checked
      if (kind !== 0) return onServer(handle, kind, ...args)
      asked++
      held.push(() => onServer(handle, kind, ...args))
    }
    try {
      const crowd = Array.from({ length: 300 }, () => connect(guarded.port))
      for (const c of crowd) void c.call('AUTH', 'ada', 'wrong')
      const last = connect(guarded.port)
      while (asked < 64) await new Promise(setImmediate)
      const answer = last.call('AUTH', 'ada', 'right')
      for (const c of crowd) c.close()
      callbacks.onServer = (handle, kind, ...args) => {
        asked += kind === 0
        onServer(handle, kind, ...args)
      }
      for (const go of held) go()
      assert.strictEqual(await answer, 'OK')
      assert.ok(asked < 250, `${asked} logins were checked for 301 clients, of which 300 have left`)
      assert.strictEqual(await last.call('PING'), 'PONG')
    } finally {
      callbacks.onServer = onServer
      await guarded.close()
    }
  })

  it('serves a store that is read-only, and says so to writers', async () => {
    await client.call('SET', 'a', '1')
    await server.close()
    const reader = await reopen(db, { readOnly: true })
    server = await reader.listen({ port: 0 })
    const c = connect(server.port)
    const refused = { error: 'READONLY the store was opened read-only' }
    assert.deepStrictEqual(await c.pipeline(['GET a', 'SET a 2', 'EXPIRE a 10', 'INCR a', 'WATCH a', 'MULTI', 'APPEND a x', 'GET a', 'EXEC', 'FLUSHALL', 'GET a', 'DBSIZE']),
      ['1', refused, refused, refused, 'OK', 'OK', 'QUEUED', 'QUEUED', refused, refused, '1', 1])
  })

  it('tells what connections do: subscriptions, transactions, both addresses', async () => {
    const [sub, multi, watcher] = [connect(), connect(), connect()]
    const [subId, multiId] = [await sub.call('CLIENT', 'ID'), await multi.call('CLIENT', 'ID')]
    await sub.pipeline(['SUBSCRIBE a', 'SUBSCRIBE b', 'PSUBSCRIBE c*'])
    await multi.pipeline(['MULTI', 'SET x 1', 'GET x'])
    const lines = async (...args) => (await client.call('CLIENT', 'LIST', ...args)).trim().split('\n')
    const at = `laddr=127\\.0\\.0\\.1:${server.port} `
    assert.match((await lines('TYPE', 'pubsub')).join('\n'), new RegExp(`^id=${subId} [^\\n]* ${at}[^\\n]* flags=P db=0 sub=2 psub=1 ssub=0 multi=-1 [^\\n]*$`))
    const normal = await lines('TYPE', 'normal')
    assert.match(normal.find(line => line.startsWith(`id=${multiId} `)), / flags=x .* multi=2 /)
    assert.ok(!normal.some(line => line.startsWith(`id=${subId} `)))
    assert.strictEqual((await lines('TYPE', 'replica')).join(), '')
    assert.strictEqual(await watcher.call('MONITOR'), 'OK')
    const shown = Array.from({ length: 4 }, () => watcher.reply())
    await multi.call('EXEC')
    await client.call('PING')
    const commands = (await Promise.all(shown)).map(line => line.replace(/^.*?\] /, ''))
    assert.deepStrictEqual(commands, ['"SET" "x" "1"', '"GET" "x"', '"EXEC"', '"PING"'])
    assert.strictEqual(await client.call('CLIENT', 'KILL', 'LADDR', '127.0.0.1:1'), 0)
    assert.strictEqual(await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub'), 1)
    await sub.closed()
    assert.strictEqual(await client.call('CLIENT', 'KILL', 'LADDR', `127.0.0.1:${server.port}`), 2)
    await Promise.all([multi, watcher].map(c => c.closed()))
  })

  it('counts keys that have lapsed, hits and misses', async () => {
    await client.pipeline(['SET a 1 PX 1', 'SET b 1', 'GET b', 'GET none', 'EXISTS b none'])
    const stat = async name => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(await client.call('INFO', 'stats'))[1])
    assert.deepStrictEqual([await stat('keyspace_hits'), await stat('keyspace_misses')], [2, 2])
    while (await stat('expired_keys') < 1) await new Promise(resolve => setTimeout(resolve, 100))
    await client.call('CONFIG', 'RESETSTAT')
    assert.deepStrictEqual([await stat('expired_keys'), await stat('keyspace_hits')], [0, 0])
  })
})
