'use strict'
// TOON.FIND of the server: what a collection's toToon() gives, in the same language of filters.
const assert = require('node:assert')
const { execFileSync } = require('node:child_process')
const { setup } = require('./support')
const { served } = require('./resp-client')
const { estimateTokens } = require('../lib/tokens')

const utf8 = text => typeof text === 'string' ? Buffer.from(text, 'latin1').toString() : text
const SOME = Array.from({ length: 300 }, (_, i) => ({
  _id: String(i).padStart(4, '0'), n: i, city: ['Bonn', 'Ulm', 'a,b', 'é'][i % 4], price: i / 4, at: { x: i % 7 }, ...(i % 3 === 0 ? { tags: ['a', i] } : {})
}))

describe('TOON.FIND', () => {
  const { openStore } = setup()
  let db, client, server
  served(openStore, given => { ({ db, client, server } = given) })

  const filters = [
    {}, { n: 7 }, { n: { $gt: 100, $lte: 120 } }, { city: 'é' }, { city: { $in: ['Ulm', 'a,b'] }, n: { $lt: 20 } }, { 'at.x': 3 }, { at: { x: 3 } },
    { $or: [{ n: 1 }, { n: { $nin: [2, 3] }, price: { $gte: 74 } }] }, { tags: 'a' }, { tags: ['a', 3] }, { tags: { $exists: true } }, { tags: { $exists: false } },
    { $not: { n: { $gte: 5 } } }, { n: { $not: { $gt: 3 } } }, { city: { $ne: 'Bonn' }, n: { $lt: 9 } }, { none: null, n: { $eq: 4 } }, { n: -0 }, { _id: '0007' },
    { $and: [{ n: { $gt: 5 } }, { n: { $lt: 8 } }] }, { 'quo"te\n': 'x\u0001\\' }, { city: '' }, { n: 1e300 }
  ]

  for (const columns of [false, true]) {
    it(`gives what toToon gives${columns ? ', read from columns' : ''}`, async () => {
      const docs = db.collection('docs', { columns: columns && ['n', 'city', 'price', 'at.x', 'tags'] })
      await docs.insert(SOME)
      await docs.put('x', { 'quo"te\n': 'x\u0001\\', n: -0 })
      if (columns) await docs.buildColumns()
      await docs.delete('0010')
      for (const where of filters) {
        const filter = JSON.stringify(where)
        assert.strictEqual(utf8(await client.call('TOON.FIND', 'docs', filter)), docs.toToon({ where }), filter)
        const query = { where, fields: ['_id', 'n', 'at.x'], orderBy: { city: 'desc', n: 'asc' }, limit: 20 }
        const found = await client.call('TOON.FIND', 'docs', filter, 'fields', '_id', 'n', 'at.x', 'ORDERBY', 'city', 'DESC', 'n', 'LIMIT', 20)
        assert.strictEqual(utf8(found), docs.toToon(query), filter)
      }
      for (const maxTokens of [0, 10, 100, 1000, 1e6]) {
        const text = utf8(await client.call('TOON.FIND', 'docs', '{}', 'FIELDS', 'n', 'city', 'MAXTOKENS', maxTokens))
        assert.ok(estimateTokens(text) <= maxTokens || text === '')
        assert.strictEqual(text, docs.toToon({ fields: ['n', 'city'], maxTokens }), `${maxTokens}`)
      }
      assert.strictEqual(await client.call('TOON.FIND', 'none', '{}'), '[]')
    })
  }

  it('refuses what is no query, and says where it is wrong', async () => {
    const wrong = [
      ['{', /no JSON: line 1/], ['5', /where must be an object/], ['[]', /where must be an object/], ['{"a":{"$foo":1}}', /where\.a\.\$foo is no operator/],
      ['{"$foo":1}', /where\.\$foo is no operator/], ['{"a":{"$gt":null}}', /where\.a\.\$gt compares/], ['{"a":{"$gt":[1]}}', /compares/],
      ['{"a":{"$in":1}}', /where\.a\.\$in must be an array/], ['{"a":{"$exists":1}}', /boolean/], ['{"a":{"$gt":1,"b":2}}', /where\.a mixes/],
      ['{"$or":[]}', /where\.\$or must be/], ['{"$or":[1]}', /where\.\$or must be an object/], ['{"a":{"$not":5}}', /where\.a\.\$not must be/], ['{"a":{"$regex":"x"}}', /JavaScript/],
      ['{"a":'.repeat(100) + '1' + '}'.repeat(100), undefined], ['{"$not":'.repeat(100) + '{}' + '}'.repeat(100), /too deep/],
      [`{"${'x'.repeat(5000)}":{"$foo":1}}`, /^ERR where\.x+\.\.\. is no operator/]
    ]
    for (const [filter, message] of wrong) {
      const found = await client.call('TOON.FIND', 'docs', filter)
      if (message === undefined) assert.strictEqual(found, '[]')
      else assert.match(found.error, message, filter)
    }
    for (const args of [['docs'], ['', '{}'], ['$index', '{}'], ['/a', '{}'], ['a/', '{}'], ['docs', '{}', 'LIMIT'], ['docs', '{}', 'LIMIT', 0], ['docs', '{}', 'LIMIT', 'x'],
      ['docs', '{}', 'FIELDS'], ['docs', '{}', 'ORDERBY'], ['docs', '{}', 'ORDERBY', 'LIMIT', 1], ['docs', '{}', 'MAXTOKENS', -1], ['docs', '{}', 'WHAT'],
      ['docs', '{}', 'FIELDS', ...Array(300).fill('a')], ['docs', '{}', 'FIELDS', '.'.repeat(2000)]]) {
      assert.match((await client.call('TOON.FIND', ...args)).error, /^ERR /, args.join(' ').slice(0, 100))
    }
  })

  it('does not read without end', async () => {
    const docs = db.collection('large')
    const text = 'y'.repeat(1000000)
    for (const from of [0, 35]) await docs.insert(Array.from({ length: 35 }, (_, i) => ({ n: from + i, text })))
    assert.match((await client.call('TOON.FIND', 'large', '{"n":{"$lt":0}}')).error, /reads more than 64 MiB/)
    db.collection('large', { columns: ['n'] })
    await docs.buildColumns()
    assert.strictEqual(await client.call('TOON.FIND', 'large', '{"n":{"$gt":67}}', 'FIELDS', 'n'), '[2]{n}:\n  68\n  69')
  })

  it('is there for redis-cli', async function () {
    await db.collection('docs').insert(SOME)
    let out
    try {
      out = execFileSync('redis-cli', ['-p', String(server.port), 'TOON.FIND', 'docs', '{"n":{"$lt":2}}', 'FIELDS', 'n', 'city'], { encoding: 'utf8' })
    } catch (err) {
      if (err.code === 'ENOENT') return this.skip()
      throw err
    }
    assert.strictEqual(out, '[2]{n,city}:\n  0,Bonn\n  1,Ulm\n')
  })
})
