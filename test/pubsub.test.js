'use strict'
// Publish and subscribe, in both versions of the protocol.
const assert = require('node:assert')
const { once } = require('node:events')
const { setup } = require('./support')
const { served } = require('./resp-client')

describe('publish and subscribe', () => {
  const { openStore } = setup()
  let db, client
  const connect = served(openStore, given => { ({ db, client } = given) })

  it('gives messages to channels and patterns, in order, and lets only some commands through', async () => {
    const sub = connect()
    const refused = { error: "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context" }
    assert.deepStrictEqual(await sub.call('SUBSCRIBE', 'a'), ['subscribe', 'a', 1])
    assert.deepStrictEqual(await sub.call('PSUBSCRIBE', 'a*'), ['psubscribe', 'a*', 2])
    assert.deepStrictEqual(await sub.pipeline(['GET x', 'PING', 'PING hi', 'SUBSCRIBE a']), [refused, ['pong', ''], ['pong', 'hi'], ['subscribe', 'a', 2]])
    const got = [sub.reply(), sub.reply(), sub.reply()]
    assert.deepStrictEqual(await client.pipeline([['PUBLISH', 'a', 'one'], ['PUBLISH', 'ab', Buffer.from([0, 255])], ['PUBLISH', 'b', 'x']]), [2, 1, 0])
    assert.deepStrictEqual(await Promise.all(got), [['message', 'a', 'one'], ['pmessage', 'a*', 'a', 'one'], ['pmessage', 'a*', 'ab', '\0\xff']])
    assert.deepStrictEqual(await client.pipeline(['PUBSUB CHANNELS', 'PUBSUB CHANNELS b*', 'PUBSUB NUMSUB a b', 'PUBSUB NUMPAT', 'PUBSUB NOPE']),
      [['a'], [], ['a', 1, 'b', 0], 1, { error: "ERR unknown subcommand 'NOPE'. Try PUBSUB HELP." }])
    assert.deepStrictEqual(await sub.pipeline(['UNSUBSCRIBE a', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'GET x']),
      [['unsubscribe', 'a', 1], ['unsubscribe', null, 1], ['punsubscribe', 'a*', 0], null])
    assert.deepStrictEqual(await client.pipeline(['PUBSUB CHANNELS', 'PUBSUB NUMPAT', 'PUBLISH a x']), [[], 0, 0])
    assert.deepStrictEqual(await sub.pipeline(['SUBSCRIBE z', 'RESET', 'GET x']), [['subscribe', 'z', 1], 'RESET', null])
  })

  it('pushes in RESP3, and takes every command', async () => {
    await client.call('HELLO', 3)
    client.write('SUBSCRIBE a b\r\n')
    assert.strictEqual(await client.call('SET', 'x', '1'), 'OK')
    assert.strictEqual(await client.call('PUBLISH', 'a', 'to myself'), 1)
    assert.deepStrictEqual(client.pushes, [['subscribe', 'a', 1], ['subscribe', 'b', 2], ['message', 'a', 'to myself']])
    assert.strictEqual(await client.call('PING'), 'PONG')
  })

  it('publishes what EXEC has published once, when it is committed', async () => {
    const sub = connect()
    await sub.call('SUBSCRIBE', 'a')
    const got = [sub.reply(), sub.reply()]
    const busy = (async () => { for (let i = 0; i < 200; i++) await db.put('n', String(i)) })()
    for (const text of ['first', 'second']) {
      const replies = await client.pipeline(['MULTI', 'INCR n', ['PUBLISH', 'a', text], 'SUBSCRIBE b', 'DISCARD', 'MULTI', 'INCR n', ['PUBLISH', 'a', text], 'EXEC'])
      assert.deepStrictEqual(replies[3], { error: 'ERR Command not allowed inside a transaction' })
      assert.strictEqual(replies[8][1], 1)
    }
    await busy
    assert.deepStrictEqual(await Promise.all(got), [['message', 'a', 'first'], ['message', 'a', 'second']])
    assert.strictEqual(await client.call('PUBSUB', 'NUMPAT'), 0)
    assert.deepStrictEqual(sub.pushes, [])
  })

  it('publishes nothing of an EXEC that was run and then given up for a watched key', async () => {
    const sub = connect()
    await sub.call('SUBSCRIBE', 'a')
    let busy = true
    const writer = (async () => { for (let i = 0; busy; i++) await db.put('k', String(i)) })()
    const expected = []
    let sent = 0
    for (; sent < 100 || (expected.length === sent && sent < 10000); sent++) {
      const [, watched, , , , replies] = await client.pipeline(['SET x 1', 'WATCH k', 'MULTI', 'INCR x', ['PUBLISH', 'a', String(sent)], 'EXEC'])
      assert.strictEqual(watched, 'OK')
      if (replies !== null) expected.push(String(sent))
    }
    busy = false
    await writer
    await client.call('PUBLISH', 'a', 'end')
    while (sub.pushes.at(-1)?.[2] !== 'end') await once(sub.socket, 'data')
    const got = sub.pushes.map(push => push[2])
    assert.ok(expected.length < sent, 'no EXEC was given up')
    assert.deepStrictEqual(got, [...expected, 'end'])
  })

  it('closes a subscriber that does not read, and serves the others', async () => {
    const small = await db.listen({ port: 0, pushLimit: 100000 })
    const [lazy, keen, publisher] = Array.from({ length: 3 }, () => connect(small.port))
    await Promise.all([lazy.call('SUBSCRIBE', 'news'), keen.call('PSUBSCRIBE', 'n*')])
    lazy.socket.pause()
    let sent = 0
    let listening
    do {
      listening = await publisher.call('PUBLISH', 'news', 'x'.repeat(50000))
      sent++
    } while (listening === 2 && sent < 2000)
    assert.strictEqual(listening, 1)
    await publisher.call('PUBLISH', 'news', 'last')
    while (keen.pushes.length <= sent) await once(keen.socket, 'data')
    assert.strictEqual(keen.pushes[sent][3], 'last')
    await small.close()
  })
})
