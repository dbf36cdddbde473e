'use strict'
// encode and decode, beside the reference implementation.

const assert = require('node:assert/strict')
const fc = require('fast-check')
const toon = require('@toon-format/toon')
const { encode, decode, ToonError } = require('..')

describe('encode and decode', () => {
  const samples = [
    null, true, false, 0, -0, 1.5, 1e21, 1e-7, 123456789012345680000, '', 'text', ' padded ', 'a: b', '123', 'true', '- x', '"', 'ü😀', 'a\nb', [], {}, [[]],
    [{}], [1, 'a', null], { a: [] }, { a: {} }, { a: { b: { c: 1 } } }, [{ id: 1, n: 'a' }, { id: 2, n: 'b' }], { rows: [{ a: 1 }, { b: 2 }] }, [[1, 2], [3]],
    { 'a.b': 1, '': 2, 'x y': 3, 1: 4 }, [{ a: [1, 2], b: { c: 1 } }], { list: [{ a: { b: 1 } }, 'x'] }
  ]

  it('give what the reference gives', () => {
    for (const value of samples) {
      assert.equal(encode(value), toon.encode(value), JSON.stringify(value))
      assert.deepEqual(decode(encode(value)), toon.decode(toon.encode(value)), JSON.stringify(value))
    }
  })

  it('give what the reference gives for values at random', () => {
    fc.assert(fc.property(fc.jsonValue({ stringUnit: 'grapheme' }), value => {
      const text = encode(value)
      assert.equal(text, toon.encode(value))
      assert.deepEqual(decode(text), toon.decode(text))
    }), { numRuns: 2000 })
  })

  it('take delimiter and indentSize', () => {
    const value = { users: [{ id: 1, name: 'Ada' }, { id: 2, name: 'Bob' }], list: [1, 2], deep: { er: 1 } }
    for (const delimiter of [',', '\t', '|']) {
      assert.equal(encode(value, { delimiter }), toon.encode(value, { delimiter }))
      assert.deepEqual(decode(encode(value, { delimiter })), value)
    }
    for (const indentSize of [1, 2, 4, 16]) {
      const text = encode(value, { indentSize })
      assert.match(text, new RegExp(`^deep:\n {${indentSize}}er: 1$`, 'm'))
      assert.deepEqual(decode(text, { indentSize }), value)
    }
  })

  it('are strict or not', () => {
    const text = 'a[3]: 1,2'
    assert.throws(() => decode(text), err => err instanceof ToonError && err.code === 'TOON_ESYNTAX' && err.line === 1)
    assert.deepEqual(decode(text, { strict: false }), { a: [1, 2] })
  })

  it('read a comment and a later duplicate as the log has them', () => {
    assert.deepEqual(decode('a: 1\n# commit 1 5 0 0 00000000\na: 2', { strict: false }), { a: 2 })
  })

  it('write bytes as base64 and give fresh values that are not frozen', () => {
    assert.equal(encode(Buffer.from([1, 2, 3])), 'base64:AQID')
    assert.deepEqual(decode('x: base64:AQID'), { x: 'base64:AQID' })
    assert.ok(!Object.isFrozen(decode('a[1]: 1').a))
  })

  it('keep __proto__ an own property', () => {
    const value = JSON.parse('{"__proto__":{"x":1}}')
    const out = decode(encode(value))
    assert.deepEqual(Object.keys(out), ['__proto__'])
    assert.equal(Object.getPrototypeOf(out), Object.prototype)
  })

  it('take long texts', () => {
    const value = { text: 'ж'.repeat(1e6), list: Array.from({ length: 1e5 }, (_, i) => i) }
    assert.deepEqual(decode(encode(value)), value)
  })
})
