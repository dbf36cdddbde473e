'use strict'
// JSON.* and TOON.* of the server.
const assert = require('node:assert')
const { setup } = require('./support')
const { Client, served } = require('./resp-client')
const { encode } = require('..')
const { estimateTokens } = require('../lib/tokens')

const utf8 = text => Buffer.from(text, 'latin1').toString()

describe('documents of the server', () => {
  const { openStore } = setup()
  let db, client
  served(openStore, given => { ({ db, client } = given) })

  it('answers JSON commands', async () => {
    const error = text => ({ error: `ERR ${text}` })
    const cases = [
      [['JSON.SET', 'd', '$.a', '1'], error('new objects must be created at the root')], [['JSON.SET', 'd', '$', '{"a":{"b":[1,2,{"c":true}]},"n":1.5,"t":"x"}'], 'OK'],
      [['JSON.GET', 'd'], '{"a":{"b":[1,2,{"c":true}]},"n":1.5,"t":"x"}'], [['JSON.GET', 'd', '.a.b[2].c'], 'true'], [['JSON.GET', 'd', '$.a.b[-1]'], '[{"c":true}]'],
      [['JSON.GET', 'd', 'a["b"][0]'], '1'], [['JSON.GET', 'd', '$.nope'], '[]'], [['JSON.GET', 'd', '.nope'], error("Path '.nope' does not exist")],
      [['JSON.GET', 'd', '$.n', '$.t'], '{"$.n":[1.5],"$.t":["x"]}'], [['JSON.GET', 'none'], null], [['JSON.TYPE', 'd'], 'object'], [['JSON.TYPE', 'd', '$.a.b'], ['array']],
      [['JSON.TYPE', 'd', '.n'], 'number'], [['JSON.TYPE', 'd', '.a.b[0]'], 'integer'], [['JSON.TYPE', 'd', '.a.b[2].c'], 'boolean'], [['JSON.TYPE', 'd', '.x'], null],
      [['JSON.NUMINCRBY', 'd', '$.n', '1'], '[2.5]'], [['JSON.NUMINCRBY', 'd', '.a.b[1]', '9223372036854775805'], '9223372036854775807'],
      [['JSON.NUMINCRBY', 'd', '$.t', '1'], '[null]'], [['JSON.NUMINCRBY', 'd', '.n', 'x'], error('value is not a valid float')],
      [['JSON.SET', 'd', '.a.new', '[1]', 'NX'], 'OK'], [['JSON.SET', 'd', '.a.new', '2', 'NX'], null], [['JSON.SET', 'd', '.a.newer', '2', 'XX'], null],
      [['JSON.SET', 'd', '$.x.y', '1'], null], [['JSON.SET', 'd', '.a.b[0]', '{"z":null}'], 'OK'], [['JSON.DEL', 'd', '.a.b[1]'], 1], [['JSON.DEL', 'd', '.q'], 0],
      [['JSON.GET', 'd', '.'], '{"a":{"b":[{"z":null},{"c":true}],"new":[1]},"n":2.5,"t":"x"}'], [['JSON.SET', 's', '.', '"text"'], 'OK'], [['GET', 's'], 'text'],
      [['JSON.GET', 'd', '$..a'], error('the path \'$..a\' is not understood: use $, .name, ["name"] and [0]')], [['JSON.DEL', 'd'], 1], [['EXISTS', 'd'], 0]
    ]
    for (const [args, want] of cases) assert.deepStrictEqual(await client.call(...args), want, args.join(' '))
    assert.match((await client.call('JSON.SET', 'd', '.', '{"a":')).error, /^ERR /)
    assert.match((await client.call('JSON.GET', 's', '.a'.repeat(100))).error, /too deep/)
    assert.strictEqual(db.get('s'), 'text')
  })

  it('gives and takes TOON', async () => {
    assert.strictEqual(await client.call('TOON.SET', 'u', 'id: 7\nname: Ada\naddress:\n  city: London\ntags[2]: a,b'), 'OK')
    assert.deepStrictEqual(db.get('u'), { id: 7, name: 'Ada', address: { city: 'London' }, tags: ['a', 'b'] })
    assert.strictEqual(await client.call('TOON.GET', 'u'), db.getText('u'))
    assert.strictEqual(await client.call('TOON.GET', 'u', 'name', 'address.city', 'none'), 'name: Ada\naddress.city: London')
    assert.strictEqual(await client.call('TOON.GET', 'none'), null)
    assert.match((await client.call('TOON.SET', 'u', 'a[3]: 1,2')).error, /^ERR line 1, column \d+: expected /)
  })

  it('gives ranges as one table, within a budget of tokens', async () => {
    await db.batch(Array.from({ length: 500 }, (_, i) => ({ type: 'put', key: `user/${String(i).padStart(3, '0')}`, value: { id: i, name: `Ñame ${i}`, nested: { x: i } } })))
    await db.put('zebra', 'stripes')
    assert.strictEqual(utf8(await client.call('TOON.RANGE', 'PREFIX', 'user/')), db.toToon({ prefix: 'user/' }))
    assert.strictEqual(utf8(await client.call('TOON.RANGE', 'user/010', '(user/012', 'FIELDS', 'id', 'nested.x')), db.toToon({ gte: 'user/010', lt: 'user/012', fields: ['id', 'nested.x'] }))
    assert.strictEqual(await client.call('TOON.RANGE', 'z', '+', 'LIMIT', 1), 'zebra: stripes')
    for (const maxTokens of [0, 10, 100, 1000, 2500, 1000000]) {
      const text = utf8(await client.call('TOON.RANGE', '-', '+', 'FIELDS', 'id', 'name', 'MAXTOKENS', maxTokens))
      assert.ok(estimateTokens(text) <= maxTokens)
      assert.strictEqual(text, db.toToon({ fields: ['id', 'name'], maxTokens }), `${maxTokens}`)
    }
    assert.deepStrictEqual(await client.call('TOON.RANGE', '-', '+', 'LIMIT'), { error: 'ERR syntax error' })
    await db.put(Buffer.from([255]), 1)
    assert.match((await client.call('TOON.RANGE', '-', '+')).error, /UTF-8/)
  })

  it('counts tokens as JavaScript does', async () => {
    const texts = ['', 'HTTPServer XMLHttp ABc  two   three\t\tx', '1234567 12 a1b2', '!!!!----  {"a": [1,2]}', 'zażółć gęślą jaźń 漢字かな交じり 한국어 😀😀 a😀', '\r\n\n  \n x', 'internationalization']
    for (const text of texts.filter(t => t !== '')) { // a key whose value is the text: the smallest budget that takes it is its count
      await db.clear()
      await db.put('k', text)
      const whole = encode({ k: text })
      const tokens = estimateTokens(whole)
      assert.strictEqual(utf8(await client.call('TOON.RANGE', '-', '+', 'MAXTOKENS', tokens)), whole, text)
      assert.strictEqual(await client.call('TOON.RANGE', '-', '+', 'MAXTOKENS', tokens - 1), '', text)
    }
  })

  it('closes a connection whose one reply passes outputLimit, before the reply is made', async () => {
    const small = await db.listen({ port: 0, outputLimit: 1 << 20 })
    const big = 'x'.repeat(500000)
    await db.batch([{ type: 'put', key: 'b', value: big }, { type: 'put', key: 'h', value: { f: big } }])
    for (const commands of [
      [['MGET', ...Array(1000).fill('b')]], [['HMGET', 'h', ...Array(1000).fill('f')]], [['HRANDFIELD', 'h', '-16000000', 'WITHVALUES']],
      [['JSON.GET', 'h', ...Array(1000).fill('$')]], ['MULTI', 'INCR n', ...Array(1000).fill('GET b'), 'EXEC']
    ]) {
      const c = new Client(small.port)
      void c.pipeline(commands)
      await c.closed()
    }
    assert.strictEqual(await client.call('GET', 'n'), null)
    await small.close()
  })
})
