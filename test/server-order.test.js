'use strict'
// How commands of the server and writes of JavaScript come into one order, and how few commits they take.
const assert = require('node:assert')
const { setup } = require('./support')
const { encode, served } = require('./resp-client')

describe('the order of the server', () => {
  const { openStore } = setup()
  let db, client
  const connect = served(openStore, given => { ({ db, client } = given) })

  const commits = () => db.stats().sequence

  it('commits a pipeline of commands that build on one another as one group', async () => {
    await client.call('SET', 'n', '0')
    const before = commits()
    const commands = Array.from({ length: 200 }, (_, i) => i % 2 ? 'INCR n' : ['APPEND', 'text', `${i} `])
    commands.push('GET n', 'SETNX n 1', 'GETSET n x', 'STRLEN text', 'DEL n', 'EXISTS n')
    const replies = await client.pipeline(commands)
    assert.strictEqual(replies[199], 100)
    assert.deepStrictEqual(replies.slice(200), ['100', 0, '100', db.get('text').length, 1, 0])
    assert.ok(commits() - before <= 4, `${commits() - before} commits`) // the input may come in several reads
  })

  it('runs again what JavaScript has overtaken, in its order', async () => {
    let stop = false
    const writer = (async () => {
      for (let i = 0; !stop; i++) {
        await db.update('n', n => String(Number(n ?? 0) + 1), { retries: 10000 })
        await db.put('other', i)
      }
      return Number(db.get('n'))
    })()
    const others = [connect(), connect(), connect()]
    const work = others.map(async (c, who) => {
      for (let round = 0; round < 20; round++) {
        const replies = await c.pipeline([...Array(10).fill('INCR n'), ['SET', `last${who}`, round], ['GET', `last${who}`], 'GET n'])
        for (let i = 1; i < 10; i++) assert.ok(replies[i] > replies[i - 1])
        assert.strictEqual(replies[11], String(round))
        assert.ok(Number(replies[12]) >= replies[9])
      }
    })
    await Promise.all(work)
    const before = Number(db.get('n'))
    stop = true
    const total = await writer
    assert.ok(before >= 600 && total >= before)
    const counted = await client.call('GET', 'n')
    assert.strictEqual(Number(counted), Number(db.get('n')))
  })

  it('lets EXEC be all or nothing to JavaScript, and null after a watched key has changed', async () => {
    await client.pipeline(['SET a 0', 'SET b 0', 'SET c text'])
    let seen = 0
    let stop = false
    const reader = (async () => {
      while (!stop) {
        const snapshot = db.snapshot()
        assert.strictEqual(snapshot.get('a'), snapshot.get('b'))
        snapshot.close()
        seen++
        await new Promise(setImmediate)
      }
    })()
    for (let i = 1; i <= 50; i++) {
      const replies = await client.pipeline(['WATCH c', 'MULTI', 'INCR a', 'INCR c', 'INCR b', 'EXEC'])
      assert.deepStrictEqual(replies[5], [i, { error: 'ERR value is not an integer or out of range' }, i])
    }
    stop = true
    await reader
    assert.ok(seen > 0)
    await client.pipeline(['WATCH a', 'MULTI', 'INCR a'])
    await db.put('a', 'changed')
    assert.strictEqual(await client.call('EXEC'), null)
    assert.strictEqual(db.get('a'), 'changed')
    await client.pipeline(['WATCH c', 'MULTI', 'SET a 1'])
    await connect().call('DEL', 'c')
    assert.strictEqual(await client.call('EXEC'), null)
    assert.deepStrictEqual(await client.pipeline(['MULTI', 'SET a 1', 'DBSIZE', 'DEL b', 'SET new 1', 'DBSIZE', 'KEYS *', 'FLUSHALL', 'DBSIZE', 'EXEC']),
      ['OK', ...Array(8).fill('QUEUED'), ['OK', 2, 1, 'OK', 2, ['a', 'new'], 'OK', 0]])
    assert.strictEqual(db.size, 0)
  })

  it('fails only the command that cannot be stored, and what is behind it sees that', async () => {
    const small = await openStore({ maxValueSize: 50 })
    const other = await small.listen({ port: 0 })
    const c = connect(other.port)
    const quotes = '"'.repeat(40) // fewer than 50 bytes as they come, more as they are stored
    const replies = await c.pipeline(['SET a 1', ['SET', 'a', quotes], 'APPEND a 2', 'GET a', ['MSET', 'b', '1', 'c', 'x'.repeat(60)], 'EXISTS b', 'GET a'])
    assert.match(replies[1].error, /maxValueSize/)
    assert.match(replies[4].error, /maxValueSize/)
    assert.deepStrictEqual([0, 2, 3, 5, 6].map(i => replies[i]), ['OK', 2, '12', 0, '12'])
    await other.close()
  })

  it('keeps a SCAN going while keys come and go, and gives every key that stays', async () => {
    await db.batch(Array.from({ length: 500 }, (_, i) => ({ type: 'put', key: `k${i}`, value: i })))
    const found = new Set()
    let cursor = '0'
    let rounds = 0
    do {
      const [next, keys] = await client.call('SCAN', cursor, 'COUNT', 7, 'MATCH', 'k*')
      for (const key of keys) found.add(key)
      await client.pipeline([['SET', `k${rounds}x`, 1], ['DEL', `k${2 * rounds}`], ['SET', `a${rounds}`, 1]])
      cursor = next
      rounds++
    } while (cursor !== '0')
    for (let i = 1; i < 500; i += 2) assert.ok(found.has(`k${i}`), `k${i}`)
    assert.deepStrictEqual(await client.call('SCAN', '123456', 'COUNT', 1000, 'TYPE', 'hash'), ['0', []])
    assert.ok(db.has(await client.call('RANDOMKEY')))
  })

  it('answers others while a commit is under way, and a late reader nothing twice', async () => {
    const other = connect()
    const replies = client.pipeline(Array.from({ length: 2000 }, (_, i) => ['SET', `k${i % 100}`, 'x'.repeat(2000)]))
    for (let i = 0; i < 50; i++) assert.strictEqual(await other.call('PING'), 'PONG')
    assert.ok((await replies).every(r => r === 'OK'))
    client.write(Buffer.concat([encode(['CLIENT', 'REPLY', 'SKIP']), encode(['INCR', 'n']), encode(['INCR', 'n'])]))
    assert.strictEqual(await client.reply(), 2)
  })

  it('gives the replies behind a write in order, however large they are together', async () => {
    await db.put('large', 'x'.repeat(100000))
    const replies = await client.pipeline([...Array.from({ length: 200 }, (_, i) => i % 50 ? 'GET large' : 'INCR n')])
    replies.forEach((reply, i) => assert.strictEqual(i % 50 ? reply.length : reply, i % 50 ? 100000 : 1 + i / 50))
  })

  it('keeps nothing of writes that change nothing', async () => {
    const round = async n => {
      for (let i = 0; i < n; i++) await client.pipeline(Array.from({ length: 500 }, (_, k) => ['DEL', `${i % 100}-${k}-${'k'.repeat(4000)}`]))
    }
    const beside = () => { // the heap of JavaScript, where the client is
      const { rss, heapTotal, external } = process.memoryUsage()
      return rss - heapTotal - external
    }
    await round(10)
    const before = beside()
    await round(60)
    const grown = beside() - before
    assert.ok(grown < 80e6, `${grown} bytes more for 120 MB of keys that are not there`)
  })
})
