'use strict'
// Keys: any string, any bytes; which of them are one key, and how they are ordered.

const assert = require('node:assert/strict')
const { setup, logText } = require('./support')

const names = [
  '', ' ', 'a', 'a b', ' a ', 'ключ', '键', '😀', 'é', 'e\u0301', 'a:b', 'a"b', 'a\\b', 'a\nb', '\0', '\x7f', '-', '- a', '#', '# commit',
  '[1]', 'a[1]', 'a{b}', 'a.b', 'a/b', '1', '01', 'true', 'null', 'row.5', 'row.05', 'row.x', 'hex.00', 'hex.0', 'hex.zz', 'hex.',
  'base64:AA==', '__proto__', 'constructor', '\u2028', '\ufeff', '\ud7ff\ue000', 'x'.repeat(4096), 'ж'.repeat(2048)
]

const bytes = [
  [0], [0x80], [0xff], [0xc3], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0xaf], [0xff, 0x00, 0x0a]
].map(list => Buffer.from(list))

describe('many reads of bytes on another thread', () => {
  const { openStore } = setup()

  it('get their own bytes each, behind a slab that is full too', async () => {
    const db = await openStore({ durability: 'close' })
    const value = i => Buffer.alloc(1000, i)
    await db.batch(Array.from({ length: 100 }, (_, i) => ({ type: 'put', key: `k${i}`, value: i % 9 === 8 ? { i } : value(i) })))
    const read = await Promise.all(Array.from({ length: 100 }, (_, i) => db.getAsync(`k${i}`, { mutable: i % 2 === 0 })))
    read.forEach((found, i) => assert.deepEqual(found, i % 9 === 8 ? { i } : value(i)))
    assert.deepEqual([Object.isFrozen(read[8]), Object.isFrozen(read[17])], [false, true])
  })

  it('are not disturbed by an option that reads on its own', async () => {
    const db = await openStore({ durability: 'close' })
    await db.batch(Array.from({ length: 40 }, (_, i) => ({ type: 'put', key: `k${i}`, value: Buffer.alloc(1000, i) })))
    const options = { get mutable () { for (let i = 0; i < 40; i++) db.get(`k${i}`); return false } }
    for (let i = 0; i < 40; i++) assert.deepEqual(db.get(`k${i}`, options), Buffer.alloc(1000, i))
    assert.throws(() => db.get('k1', { mutable: 1 }), { code: 'TOON_EINVAL' })
  })
})

describe('keys', () => {
  const { openStore, reopen } = setup()

  it('keeps strings of every sort apart, now and after a reopen', async () => {
    let db = await openStore()
    await Promise.all(names.map((key, i) => db.put(key, i)))
    for (let round = 0; round < 2; round++) {
      names.forEach((key, i) => {
        assert.equal(db.get(key), i, JSON.stringify(key))
        assert.ok(db.has(key))
        assert.equal(db.get(Buffer.from(key)), i, 'the bytes of a string are the same key')
      })
      assert.deepEqual(db.getMany(names), names.map((_, i) => i))
      assert.equal(db.size, names.length)
      db = await reopen(db)
    }
    for (const key of names) assert.equal(await db.delete(key), true)
    assert.equal(db.size, 0)
  })

  it('takes keys that are not UTF-8 and gives them back as Buffers', async () => {
    let db = await openStore()
    for (const [i, key] of bytes.entries()) await db.put(key, i)
    for (let round = 0; round < 2; round++) {
      bytes.forEach((key, i) => assert.equal(db.get(key), i))
      const given = db.keys().toArray()
      assert.ok(given.every(key => key.length > 0 && (typeof key === 'string') === (key === '\0')), 'only 00 is UTF-8')
      assert.deepEqual(db.keys({ keyAs: 'buffer' }).toArray(), [...bytes].sort(Buffer.compare))
      db = await reopen(db)
    }
  })

  it('orders keys by their UTF-8 bytes', async () => {
    const db = await openStore()
    const all = [...names.map(name => Buffer.from(name)), ...bytes.slice(1)] // 00 is '\0'
    await Promise.all(all.map((key, i) => db.put(key, i)))
    const sorted = [...all].sort(Buffer.compare)
    assert.deepEqual(db.keys({ keyAs: 'buffer' }).toArray(), sorted)
    assert.deepEqual(db.keys({ keyAs: 'buffer', reverse: true }).toArray(), sorted.reverse())
  })

  it('does not mix keys that look like rows with rows', async () => {
    const db = await openStore()
    await db.put('row.0', 'a key')
    assert.equal(await db.rows.put('a row'), 0)
    assert.equal(db.get('row.0'), 'a key')
    assert.equal(db.rows.get(0), 'a row')
    assert.equal(db.size, 1)
    assert.equal(db.rows.length, 1)
    assert.deepEqual(db.keys().toArray(), ['row.0'])
    assert.match(logText(db.path), /^row\.0: a row$/m)
    assert.match(logText(db.path), /^hex\.726f772e30: a key$/m)
  })

  it('takes 4096 bytes and refuses 4097', async () => {
    const db = await openStore()
    const tooLong = ['x'.repeat(4097), 'ж'.repeat(2049), Buffer.alloc(4097), 'x'.repeat(100000), '😀'.repeat(1025)]
    for (const key of tooLong) {
      const expected = { name: 'ToonError', code: 'TOON_EKEYTOOBIG', key }
      await assert.rejects(db.put(key, 1), expected)
      await assert.rejects(db.delete(key), expected)
      await assert.rejects(db.getAsync(key), { code: 'TOON_EKEYTOOBIG' })
      await assert.rejects(db.batch([{ type: 'put', key, value: 1 }]), expected)
      for (const method of ['get', 'has', 'getEntry', 'getText', 'getBuffer', 'deleteSync']) {
        assert.throws(() => db[method](key), { code: 'TOON_EKEYTOOBIG' })
      }
      assert.throws(() => db.getMany([key]), { code: 'TOON_EKEYTOOBIG' })
      assert.throws(() => db.putSync(key, 1), { code: 'TOON_EKEYTOOBIG' })
    }
    await db.put('y'.repeat(4096), 1)
    await db.put('😀'.repeat(1024), 2)
    assert.equal(db.get('😀'.repeat(1024)), 2)
    assert.equal(db.size, 2)
  })

  it('copies a Buffer key at the call', async () => {
    const db = await openStore()
    const key = Buffer.from('before')
    const written = db.put(key, 1)
    key.write('after!')
    await written
    const read = db.getAsync(Buffer.from('before'))
    assert.equal(await read, 1)
    const late = Buffer.from('before')
    const reading = db.getAsync(late)
    late.fill(0)
    assert.equal(await reading, 1)
  })
})
