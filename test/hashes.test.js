'use strict'
// Objects as hashes for Redis clients, and hashes as objects for JavaScript.
const assert = require('node:assert')
const { setup } = require('./support')
const { served } = require('./resp-client')

describe('hashes of the server', () => {
  const { openStore } = setup()
  let db, client
  served(openStore, given => { ({ db, client } = given) })

  it('are the objects that JavaScript stores', async () => {
    await db.put('u', { name: 'Ada', age: 36, admin: true, none: null, tags: ['a', 'b'], at: { x: 1 } })
    assert.deepStrictEqual(await client.call('HGETALL', 'u'), ['name', 'Ada', 'age', '36', 'admin', 'true', 'none', 'null', 'tags', '[2]: a,b', 'at', 'x: 1'])
    await client.pipeline([['HSET', 'u', 'age', '37', 'admin', 'false', 'name', '7', 'new', '8'], 'HINCRBY u age 1', 'HINCRBYFLOAT u age 0.5', 'HDEL u none'])
    assert.deepStrictEqual(db.get('u'), { name: '7', age: 38.5, admin: false, tags: ['a', 'b'], at: { x: 1 }, new: '8' })
    await client.call('HSET', 'u', 'age', 'old', 'at', 'there')
    assert.deepStrictEqual([db.get('u').age, db.get('u').at], ['old', 'there'])
    await client.call('HSET', 'h', 'f', '1')
    assert.deepStrictEqual(db.get('h'), { f: '1' })
    assert.strictEqual(await client.call('HDEL', 'h', 'f'), 1)
    assert.strictEqual(db.has('h'), false)
    await db.put('list', [1])
    assert.match((await client.call('HGET', 'list', 'f')).error, /^WRONGTYPE/)
  })

  it('give every byte back, in fields and values', async () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    const texts = [every, Buffer.from([255]), 'base64:/w==', 'base64:YmFzZTY0Oi93PT0=', 'base64:aGk=', '\u{1f600} "q" \\ \u0001', '']
    for (const text of texts) await client.call('HSET', 'h', text, text)
    const got = await client.call('HGETALL', 'h')
    const want = texts.map(t => Buffer.from(t).toString('latin1'))
    assert.deepStrictEqual(got, want.flatMap(t => [t, t]))
    for (const text of texts) assert.strictEqual(await client.call('HGET', 'h', text), Buffer.from(text).toString('latin1'))
  })

  it('hold many fields, set and deleted by one command', async () => {
    const fields = Array.from({ length: 20000 }, (_, i) => `f${i}`)
    assert.strictEqual(await client.call('HSET', 'h', ...fields.flatMap(f => [f, '1'])), 20000)
    assert.deepStrictEqual(await client.call('HMGET', 'h', 'f19999', 'none', 'f0'), ['1', null, '1'])
    assert.strictEqual(await client.call('HDEL', 'h', ...fields.slice(1), 'none'), 19999)
    assert.deepStrictEqual(await client.call('HGETALL', 'h'), ['f0', '1'])
    assert.strictEqual(await client.call('HSET', 'h', 'f0', 'x', 'f1', 'y'), 1)
    assert.match((await client.call('HSET', 'h', 'big', 'x'.repeat(2 ** 20))).error, /maxValueSize/)
    await client.call('HELLO', 3)
    assert.deepStrictEqual((await client.call('HRANDFIELD', 'h', '-5', 'WITHVALUES')).length, 5)
    assert.ok(['f0', 'f1'].includes(await client.call('HRANDFIELD', 'h')))
  })
})
