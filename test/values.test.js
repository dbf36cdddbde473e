'use strict'
// Values of every kind go in and come out the same, at once and after a reopen.

const assert = require('node:assert/strict')
const vm = require('node:vm')
const { encode } = require('..')
const { setup } = require('./support')

// Deeply nested: {n: {n: ... []}}
function nested (depth) {
  let value = []
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { n: value }
  return value
}

const values = {
  null: null,
  true: true,
  false: false,
  zero: 0,
  one: 1,
  minusOne: -1,
  fraction: 0.1,
  tiny: 1e-7,
  tinier: 5e-324,
  large: 1e21,
  larger: 1.7976931348623157e308,
  sixteenDigits: 0.1234567890123456,
  seventeenDigits: 0.30000000000000004,
  maxSafe: Number.MAX_SAFE_INTEGER,
  minSafe: Number.MIN_SAFE_INTEGER,
  beyondSafe: 2 ** 60,
  empty: '',
  text: 'Hello World',
  spaces: '  two in front and behind  ',
  umlauts: 'Grüße aus Köln',
  latin1: 'déjà vu ÿ',
  cjk: '数据库',
  emoji: '😀👩‍👩‍👧',
  newlines: 'a\nb\r\nc\td',
  controls: '\0\x01\x02\x1f\x7f\x80\x9f',
  separators: '\u2028\u2029\ufeff',
  quotes: '"quoted" and \\back\\slashed\\',
  numberLike: '123',
  numberLike2: '-1.5e3',
  numberLike3: '007',
  trueLike: 'true',
  nullLike: 'null',
  base64Like: 'base64:AAAA',
  dashLike: '- item',
  arrayLike: 'x[3]: 1,2,3',
  commentLike: '# commit 1 0 0 0 00000000',
  colon: 'key: value',
  comma: 'a,b|c\td',
  brackets: '[]{}',
  longText: 'x'.repeat(300000),
  longUnicode: 'ж'.repeat(300000),
  emptyArray: [],
  emptyObject: {},
  arrayOfEmpty: [[], {}, '', null],
  numbers: [1, 2, 3],
  mixed: [1, 'two', null, true, { four: 4 }, [5]],
  table: [{ id: 1, name: 'Ada' }, { id: 2, name: 'Bob, "the"\nbuilder' }],
  object: { name: 'Ada', tags: ['a', 'b'], address: { city: 'Oslo', zip: '0150' } },
  strangeKeys: { '': 1, ' ': 2, 'a b': 3, 'a:b': 4, '"': 5, '#': 6, '-': 7, 1: 8, 'ключ': 9, '\n': 10, '\\': 11, '[2]': 12 },
  prototypeKeys: JSON.parse('{"__proto__":{"x":1},"constructor":2,"hasOwnProperty":3}'),
  deep: nested(500)
}

const blobs = {
  none: Buffer.alloc(0),
  one: Buffer.from([0]),
  two: Buffer.from([255, 254]),
  three: Buffer.from([0, 128, 255]),
  all: Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  text: Buffer.from('plain text'),
  fourKilobytes: Buffer.alloc(4096, 7),
  more: Buffer.alloc(4097, 8),
  large: Buffer.alloc(200000, 9)
}

describe('values', () => {
  const { openStore, reopen } = setup()

  it('gives back every kind of JSON value, now and after a reopen', async () => {
    let db = await openStore()
    await Promise.all(Object.entries(values).map(([key, value]) => db.put(key, value)))
    for (let round = 0; round < 2; round++) {
      for (const [key, value] of Object.entries(values)) {
        assert.deepEqual(db.get(key), value, key)
        assert.deepEqual(db.get(key, { mutable: true }), value, key)
        assert.deepEqual(await db.getAsync(key), value, key)
        assert.deepEqual(db.getEntry(key).value, value, key)
        assert.deepEqual(db.getMany([key, key]), [value, value], key)
      }
      assert.deepEqual(new Map(db.range()), new Map(Object.entries(values)))
      assert.equal(db.size, Object.keys(values).length)
      db = await reopen(db)
    }
  })

  it('gives back bytes of every length as a Buffer', async () => {
    let db = await openStore()
    for (const [key, value] of Object.entries(blobs)) await db.put(key, value)
    for (let round = 0; round < 2; round++) {
      for (const [key, value] of Object.entries(blobs)) {
        const got = db.get(key)
        assert.ok(Buffer.isBuffer(got), key)
        assert.ok(got.equals(value), key)
        assert.ok(db.getBuffer(key).equals(value), key)
        assert.ok((await db.getAsync(key)).equals(value), key)
        assert.equal(db.getText(key), 'base64:' + value.toString('base64'), key)
      }
      for (const [key, value] of db.range()) assert.ok(value.equals(blobs[key]), key)
      for (const [key, value] of db.range({ as: 'buffer' })) assert.ok(value.equals(blobs[key]), key)
      db = await reopen(db)
    }
  })

  it('stores every length of bytes from 0 to 300', async () => {
    const db = await openStore({ durability: 'close' })
    const all = Array.from({ length: 301 }, (_, n) => Buffer.from(Array.from({ length: n }, (__, i) => i * 7 + n & 255)))
    await Promise.all(all.map((value, n) => db.put(`b${n}`, value)))
    all.forEach((value, n) => assert.ok(db.get(`b${n}`).equals(value)))
    db.getMany(all.map((_, n) => `b${n}`)).forEach((value, n) => assert.ok(value.equals(all[n])))
  })

  it('takes a Uint8Array that is a view into a larger buffer, and gives bytes that are a copy', async () => {
    const db = await openStore()
    const whole = new Uint8Array([1, 2, 3, 4, 5])
    const view = whole.subarray(1, 3)
    const written = db.put('view', view)
    whole.fill(9) // after the call
    await written
    assert.deepEqual([...db.get('view')], [2, 3])
    db.get('view').fill(0)
    assert.deepEqual([...db.get('view')], [2, 3])
  })

  it('takes for bytes what is a Uint8Array, of whatever realm, and nothing that only looks like one', async () => {
    const db = await openStore()
    const foreign = vm.runInNewContext('new Uint8Array([1, 2])')
    await db.put(foreign, foreign)
    assert.deepEqual([...db.get(Buffer.from([1, 2]))], [1, 2])
    await db.delete(foreign)
    const inherits = Object.create(Uint8Array.prototype)
    const behind = new Proxy(new Uint8Array([1, 2]), {})
    for (const value of [inherits, behind]) {
      const json = JSON.stringify(value)
      await db.put('a', value)
      assert.equal(JSON.stringify(db.get('a')), json)
      await db.transaction(tx => tx.put('b', value))
      assert.equal(JSON.stringify(db.get('b')), json)
      assert.equal(encode(value), encode(JSON.parse(json)))
      await assert.rejects(db.put(value, 1), { name: 'TypeError', code: 'TOON_EINVAL' })
      await assert.rejects(db.transaction(tx => tx.put('c', new Proxy(Buffer.from([1]), {}))), { name: 'TypeError', code: 'TOON_EINVAL' })
    }
  })

  it('stores minus zero as zero', async () => {
    const db = await openStore()
    await db.put('n', -0)
    await db.put('list', [-0])
    assert.ok(Object.is(db.get('n'), 0))
    assert.ok(Object.is(db.get('list')[0], 0))
  })

  it('stores what JSON.stringify makes of objects', async () => {
    const db = await openStore()
    const value = {
      date: new Date(0),
      dropped: undefined,
      method () {},
      list: [undefined, NaN, Infinity],
      custom: { toJSON: () => 'custom' },
      bytes: Buffer.from('ab')
    }
    await db.put('o', value)
    await db.put('date', new Date(0))
    await db.put('boxed', Object('text'))
    assert.deepEqual(db.get('o'), JSON.parse(JSON.stringify(value)))
    assert.equal(db.get('date'), '1970-01-01T00:00:00.000Z')
    assert.equal(db.get('boxed'), 'text')
  })

  it('freezes objects all the way down, and gives a copy of its own with mutable', async () => {
    const db = await openStore()
    await db.put('o', values.object)
    const got = db.get('o')
    assert.ok(Object.isFrozen(got) && Object.isFrozen(got.tags) && Object.isFrozen(got.address))
    for (const [, value] of db.range()) assert.ok(Object.isFrozen(value.tags))
    assert.ok(Object.isFrozen((await db.getAsync('o')).tags))
    const own = db.get('o', { mutable: true })
    own.tags.push('c')
    assert.deepEqual(db.get('o'), values.object)
    assert.ok(!Object.isFrozen((await db.getAsync('o', { mutable: true })).address))
    assert.ok(!Object.isFrozen(db.getMany(['o'], { mutable: true })[0]))
    assert.ok(!Object.isFrozen(db.getEntry('o', { mutable: true }).value))
  })

  it('keeps __proto__ an own property', async () => {
    const db = await openStore()
    await db.put('p', values.prototypeKeys)
    const got = db.get('p')
    assert.deepEqual(Object.keys(got), ['__proto__', 'constructor', 'hasOwnProperty'])
    assert.equal(Object.getPrototypeOf(got), Object.prototype)
  })

  it('gives text as encode() would, and bytes of it', async () => {
    const db = await openStore()
    for (const [key, value] of Object.entries(values)) await db.put(key, value)
    for (const [key, value] of Object.entries(values)) {
      assert.equal(db.getText(key), encode(value), key)
      const bytes = typeof value === 'string' ? value : encode(value)
      assert.equal(db.getBuffer(key).toString(), bytes, key)
    }
    for (const [key, text] of db.range({ as: 'text' })) assert.equal(text, encode(values[key]), key)
  })

  it('gives undefined for what is not there', async () => {
    const db = await openStore()
    assert.equal(db.get('x'), undefined)
    assert.equal(await db.getAsync('x'), undefined)
    assert.equal(db.getEntry('x'), undefined)
    assert.equal(db.getText('x'), undefined)
    assert.equal(db.getBuffer('x'), undefined)
    assert.equal(db.has('x'), false)
    assert.deepEqual(db.getMany(['x', 'y']), [undefined, undefined])
    assert.deepEqual(db.getMany([]), [])
    assert.deepEqual(db.hasMany(['x']), [false])
  })

  it('hands out Buffers that stay as they are while thousands more are read', async () => {
    const db = await openStore({ durability: 'close' })
    const all = Array.from({ length: 500 }, (_, i) => Buffer.alloc(i % 97 + 1, i))
    await Promise.all(all.map((value, i) => db.put(`k${i}`, value)))
    const kept = []
    for (let round = 0; round < 10; round++) all.forEach((_, i) => kept.push(db.get(`k${i}`)))
    kept.forEach((value, i) => assert.ok(value.equals(all[i % 500])))
  })

  it('survives a caller who detaches the memory of a Buffer', async function () {
    if (!ArrayBuffer.prototype.transfer) this.skip()
    const db = await openStore()
    await db.put('b', Buffer.from('abc'))
    for (let i = 0; i < 100; i++) {
      try { db.get('b').buffer.transfer() } catch {}
      assert.equal(db.get('b').toString(), 'abc')
    }
  })
})
