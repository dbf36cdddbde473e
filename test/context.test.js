'use strict'
// context() and exportToon(): several results in one budget, large results in chunks.

const assert = require('node:assert/strict')
const { decode } = require('..')
const { setup } = require('./support')

describe('exportToon', () => {
  const { openStore } = setup()
  const all = async chunks => {
    const out = []
    for await (const chunk of chunks) out.push(chunk)
    return out
  }

  const kinds = {
    'uniform rows': i => ({ id: i, name: `n ${i}, x`, on: i % 2 === 0 }),
    'rows in another order': i => i % 2 === 0 ? { a: 1, b: i } : { b: i, a: 'p|q' },
    'rows that differ': i => i === 700 ? { id: i, more: 1 } : { id: i },
    'rows with objects': i => ({ id: i, at: { x: 1 }, list: [1, { a: 2 }], text: 'one\ntwo' }),
    'empty rows': () => ({})
  }
  it('keeps line separators, and columns that every object inherits', async () => {
    const db = await openStore({ durability: 'close' })
    await db.put('v/1', { t: 'a\u2028b\u2029c\nd', x: { y: 1 } })
    assert.deepEqual(decode((await all(db.exportToon({ prefix: 'v/', name: 'x' }))).join('')), { x: { 'v/1': db.get('v/1') } })
    await db.put('w/1', JSON.parse('{"id":1,"constructor":2,"__proto__":3}'))
    await db.put('w/2', { id: 2 })
    for (const fields of [['id', 'constructor', 'toString'], ['id', '__proto__']]) {
      const range = { prefix: 'w/', fields, name: 'x' }
      assert.equal((await all(db.exportToon(range))).join(''), db.toToon(range))
    }
    await db.put('w/3', [{ id: 3 }, [{ id: 4 }], 5])
    const range = { prefix: 'w/', fields: ['id', 'no'], name: 'x' }
    assert.deepEqual(decode((await all(db.exportToon(range))).join('')), decode(db.toToon(range)))
  })

  for (const [kind, make] of Object.entries(kinds)) {
    it(`gives ${kind} in chunks that decode to what toToon has`, async () => {
      const db = await openStore({ durability: 'close' })
      const docs = db.collection('docs')
      await docs.insert(Array.from({ length: 800 }, (_, i) => ({ _id: String(i), ...make(i) })))
      for (const how of [{}, { name: 'the docs' }, { delimiter: '|' }, { name: 'x', fields: ['id', 'b', 'at.x'] }, { limit: 1 }, { limit: 0, name: 'y' }]) {
        const range = { prefix: 'docs/', ...how }
        const chunks = await all(db.exportToon(range))
        assert.deepEqual(decode(chunks.join('')), decode(db.toToon(range)))
        if (kind === 'uniform rows') assert.equal(chunks.join(''), db.toToon(range))
        if (how.limit === undefined) assert.ok(chunks.length >= 3)
        const items = await all(docs.exportToon({ orderBy: 'id', ...how }))
        assert.deepEqual(decode(items.join('')), decode(docs.toToon({ orderBy: 'id', ...how })))
        if (kind === 'uniform rows') assert.equal(items.join(''), docs.toToon({ orderBy: 'id', ...how }))
      }
    })
  }

  it('gives values of every kind, at one moment', async () => {
    const db = await openStore({ durability: 'close' })
    const rows = { a: 1, b: 'x: y', c: null, d: [1, 2], e: { f: 1 }, g: Buffer.from('bytes'), 10: 'a', 9: 'b' }
    for (const [key, value] of Object.entries(rows)) await db.put(key, value)
    const chunks = db.exportToon()
    const first = await chunks.next()
    await db.put('later', 1)
    assert.equal(first.value, db.toToon({ lt: 'later' }))
    assert.deepEqual(await all(chunks), [])
    await db.put(Buffer.from([0xff]), 1)
    await assert.rejects(all(db.exportToon()), { code: 'TOON_EINVAL', message: /not UTF-8/ })
    for (const wrong of [{ maxTokens: 5 }, { name: 5 }, { delimiter: ';' }, { limit: -1 }, { fields: 'a' }]) {
      await assert.rejects(all(db.exportToon(wrong)), { code: 'TOON_EINVAL' })
      await assert.rejects(all(db.collection('x').exportToon(wrong)), { code: 'TOON_EINVAL' })
    }
    const view = db.snapshot()
    assert.deepEqual(await all(view.collection('docs').exportToon()), ['[]'])
    view.close()
  })
})

describe('context', () => {
  const { openStore } = setup()
  const words = text => text.split(/\s+/).filter(Boolean).length

  async function filled () {
    const db = await openStore({ durability: 'close' })
    await db.put('users/7', { name: 'Ada', city: 'Ulm' })
    await db.collection('orders').insert(Array.from({ length: 30 }, (_, i) => ({ user: 7, total: i })))
    await db.collection('notes').insert(Array.from({ length: 30 }, (_, i) => ({ text: `note ${i}` })))
    return db
  }
  const sections = [
    { title: 'orders', query: { collection: 'orders', where: { user: 7 }, orderBy: { total: -1 }, fields: ['total'] } },
    { title: 'user', query: { prefix: 'users/7' }, priority: 2 },
    { title: 'notes', query: { collection: 'notes', fields: ['text'] }, priority: 1, maxTokens: 9 }
  ]

  it('is one TOON document of all sections in their order', async () => {
    const db = await filled()
    const text = db.context(sections.map(section => ({ ...section, maxTokens: undefined })))
    const { orders, user, notes } = decode(text)
    assert.deepEqual([orders.length, orders[0], user, notes[29]], [30, { total: 29 }, { 'users/7': { name: 'Ada', city: 'Ulm' } }, { text: 'note 29' }])
    assert.deepEqual(Object.keys(decode(text)), ['orders', 'user', 'notes'])
    assert.equal(db.context([]), '')
    assert.equal(db.context([{ title: 'all' }]), db.toToon({ name: 'all' }))
  })

  it('gives more important sections what they need first, and never counts more than its budget', async () => {
    const db = await filled()
    const text = db.context(sections, { maxTokens: 25, countTokens: words })
    const { orders, user, notes } = decode(text)
    assert.equal(words(text), 25)
    assert.equal(user['users/7'].name, 'Ada')
    assert.deepEqual(notes, [{ text: 'note 0' }, { text: 'note 1' }, { text: 'note 2' }, { text: 'note 3' }])
    assert.deepEqual(orders.map(o => o.total), [29, 28, 27, 26, 25, 24, 23, 22, 21].slice(0, orders.length))
    for (let maxTokens = 0; maxTokens < 60; maxTokens++) {
      assert.ok(words(db.context(sections, { maxTokens, countTokens: words })) <= maxTokens)
      // A counter that takes more for a whole than for its parts.
      const square = part => words(part) ** 2
      assert.ok(square(db.context(sections, { maxTokens: maxTokens * 20, countTokens: square })) <= maxTokens * 20)
    }
  })

  it('refuses what is wrong', async () => {
    const db = await filled()
    for (const wrong of [undefined, {}, [5], [{}], [{ title: 5 }], [{ title: 'a', query: 5 }], [{ title: 'a', query: { name: 'x' } }],
      [{ title: 'a', maxTokens: -1 }], [{ title: 'a', priority: 'high' }], [{ title: 'a' }, { title: 'a' }], [{ title: 'a', limit: 1 }],
      [{ title: 'a', query: { collection: 5 } }], [{ title: 'a', query: { where: {} } }]]) {
      assert.throws(() => db.context(wrong), { code: 'TOON_EINVAL' })
    }
    assert.throws(() => db.context([], { budget: 5 }), { code: 'TOON_EINVAL' })
  })

  it('ends when nothing is too much for its counter, and with one that counts in parts', async () => {
    const db = await openStore({ durability: 'close' })
    await db.collection('docs').insert(Array.from({ length: 50 }, (_, i) => ({ _id: String(i), i })))
    const parts = ['a', 'b'].map(title => ({ title, query: { collection: 'docs' } }))
    assert.equal(db.context(parts, { maxTokens: 1, countTokens: text => text.length + 2 }), '')
    for (const maxTokens of [5, 50, 100, 150, 1000]) {
      const text = db.context(parts, { maxTokens, countTokens: t => t.length * 0.37 })
      assert.ok(text.length * 0.37 <= maxTokens)
      if (maxTokens >= 50) assert.match(text, /^a\[\d+\]/)
    }
  })
})
