'use strict'
// The replacer of encode, beside the reference implementation's.

const assert = require('node:assert/strict')
const fc = require('fast-check')
const toon = require('@toon-format/toon')
const { encode, decode } = require('..')

const invalid = pattern => err => err instanceof TypeError && err.code === 'TOON_EINVAL' && pattern.test(err.message)

describe('the replacer', () => {
  // Both get the same value and replacer; they must call it alike and write the same.
  function same (value, replacer, options) {
    const calls = [[], []]
    const texts = [toon.encode, encode].map((f, i) => f(value, {
      ...options,
      replacer: (key, item, path) => {
        calls[i].push(JSON.parse(JSON.stringify([key, item, path])))
        return replacer(key, item, path)
      }
    }))
    assert.deepEqual(calls[1], calls[0])
    assert.equal(texts[1], texts[0])
    return texts[1]
  }

  it('sees the root, properties and elements with their paths, parents first', () => {
    const seen = []
    encode({ a: [{ b: 1 }], c: null }, { replacer: (...call) => { seen.push(call); return call[1] } })
    assert.deepEqual(seen, [
      ['', { a: [{ b: 1 }], c: null }, []], ['a', [{ b: 1 }], ['a']], ['0', { b: 1 }, ['a', 0]], ['b', 1, ['a', 0, 'b']], ['c', null, ['c']]
    ])
  })

  it('omits properties and elements by undefined, but not the root', () => {
    const value = { name: 'Ada', password: 'x', list: [1, 2, 3] }
    assert.equal(same(value, (key, item) => key === 'password' || item === 2 ? undefined : item), 'name: Ada\nlist[2]: 1,3')
    assert.equal(same({ a: 1 }, (key, item, path) => path.length ? item : undefined), 'a: 1')
    assert.equal(same(5, () => undefined), '5')
    assert.equal(same([1, { a: 1 }], () => undefined), '[]')
  })

  it('goes into what it returned, as JSON has it', () => {
    same({ a: 1 }, (key, item) => key === 'a' ? { b: new Date(0), c: NaN, d: [-0] } : item)
    same({ a: 1 }, (key, item) => key === 'a' ? { toJSON: () => [1, 2] } : item)
    same([1], (key, item) => item === 1 ? () => {} : item)
    assert.equal(encode({ a: 1 }, { replacer: (key, item) => key === 'a' ? { x: undefined, y: Buffer.from('a') } : item }),
      'a:\n  y:\n    type: Buffer\n    data[1]: 97')
  })

  it('keeps __proto__ an own property and shared values apart', () => {
    same(JSON.parse('{"__proto__":{"x":1},"a":2}'), (key, item) => item)
    const shared = { n: [] }
    const text = encode([1, 2], { replacer: (key, item, path) => { if (path.length === 2) item.push(1); return path.length === 1 ? shared : item } })
    assert.deepEqual(decode(text), [{ n: [1] }, { n: [1] }])
    assert.deepEqual(shared, { n: [] })
  })

  it('refuses what has no end, with our code', () => {
    assert.throws(() => encode(1, { replacer: () => ({ a: 1 }) }), invalid(/2000 levels/))
    let deep = []
    for (let i = 0; i < 1e5; i++) deep = [deep]
    assert.throws(() => encode(deep, { replacer: (key, item) => item }), invalid(/cannot be encoded/))
    const cycle = {}
    cycle.self = cycle
    assert.throws(() => encode({ a: 1 }, { replacer: (key, item) => key ? cycle : item }), invalid(/cannot be encoded/))
    assert.throws(() => encode(1, { replacer: () => 1n }), invalid(/cannot be encoded/))
  })

  it('lets through what the replacer throws', () => {
    for (const err of [new Error('mine'), new RangeError('mine'), new TypeError('mine')]) {
      assert.throws(() => encode([1], { replacer: () => { throw err } }), thrown => thrown === err)
    }
    assert.throws(() => encode(1, { replacer: 5 }), invalid(/replacer must be a function/))
  })

  it('is not called with bytes', () => {
    assert.equal(encode(Buffer.from('a'), { replacer: () => 1 }), 'base64:YQ==')
  })

  it('does what the reference does, for values and answers at random', () => {
    const answers = fc.array(fc.oneof(fc.constantFrom('omit', 'keep', 'keep', 'keep'), fc.jsonValue({ maxDepth: 2, stringUnit: 'grapheme' }).map(json => ({ json }))), { minLength: 1 })
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 4, stringUnit: 'grapheme' }), answers, fc.constantFrom(',', '\t', '|'), (value, list, delimiter) => {
      same(value, (key, item, path) => {
        const answer = list[(path.length * 7 + key.length + JSON.stringify(item).length) % list.length]
        return answer === 'omit' ? undefined : answer === 'keep' || path.length > 3 ? item : answer.json
      }, { delimiter, indentSize: 3 })
    }), { numRuns: 500 })
  })
})

describe('indent', () => {
  it('is another name of indentSize', () => {
    assert.equal(encode({ a: { b: 1 } }, { indent: 4 }), 'a:\n    b: 1')
    assert.equal(encode({ a: { b: 1 } }, { indent: 3, indentSize: 3 }), 'a:\n   b: 1')
    assert.deepEqual(decode('a:\n    b: 1', { indent: 4 }), { a: { b: 1 } })
    assert.throws(() => encode(1, { indent: 4, indentSize: 2 }), invalid(/another name of indentSize/))
    assert.throws(() => decode('1', { indent: 4, indentSize: 2 }), invalid(/another name of indentSize/))
    assert.throws(() => decode('1', { indent: 0 }), { code: 'TOON_EINVAL' })
  })
})
