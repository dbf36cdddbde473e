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

describe('tables of many rows', () => {
  const { native } = require('../lib/binding')
  const { canGenerate } = require('../lib/tables')
  const plain = text => JSON.parse(native.decode(text, 2, 1)) // row by row, through JSON

  const cell = fc.oneof({ weight: 6, arbitrary: fc.integer() }, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(),
    fc.constant(null), fc.string({ maxLength: 12 }), fc.constantFrom('a\nb', '', ' x ', 'ü😀', '123', 'true', '-', 'a,b', '"', '\\', '\u0001', '-0'))
  const columnOf = fc.constantFrom(fc.integer({ min: -1e9, max: 1e9 }), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(), fc.string(), fc.string({ unit: 'grapheme' }), cell)
  const name = fc.oneof(fc.constantFrom('id', 'name', '__proto__', 'constructor', '1', 'a b', 'x"y', '\\', "'", '`${x}`', '\u2028', 'return', '*/'), fc.string())
  const table = fc.uniqueArray(fc.tuple(name, columnOf), { minLength: 1, maxLength: 6, selector: ([key]) => key })
    .chain(columns => fc.array(fc.tuple(...columns.map(([, arbitrary]) => arbitrary)), { minLength: 14, maxLength: 40 })
      .map(rows => rows.map(cells => Object.fromEntries(columns.map(([key], i) => [key, cells[i]])))))

  it('are what they are when read row by row', () => {
    assert.ok(canGenerate)
    fc.assert(fc.property(table, fc.constantFrom(',', '\t', '|'), fc.nat(4), (rows, delimiter, shape) => {
      const value = [rows, { rows }, { a: { b: [{ x: rows, y: 1 }] } }, { rows, more: { rows } }, Object.fromEntries([['__proto__', rows]])][shape]
      const text = encode(value, { delimiter })
      const out = decode(text)
      assert.deepEqual(out, plain(text))
      assert.equal(JSON.stringify(out), JSON.stringify(plain(text)))
      assert.equal(encode(out, { delimiter }), text)
    }), { numRuns: 500 })
  })

  it('keep groups of columns, zeros and numbers too long for a double', () => {
    const rows = Array.from({ length: 20 }, (_, i) => `  ${i},${i}.50,"${i}",${i % 2 ? 'x' : 'y'},-0,${i ? '1' : '0.5'}`)
    const text = `rows[20]{id,at{x,"y z"},tag,zero,mixed}:\n${rows.join('\n')}\nend: 1e999`
    const out = decode(text)
    assert.deepEqual(out, plain(text))
    assert.deepEqual(out.rows[3], { id: 3, at: { x: 3.5, 'y z': '3' }, tag: 'x', zero: 0, mixed: 1 })
    assert.ok(Object.is(out.rows[0].zero, 0))
  })

  it('are refused with the line where they are wrong', () => {
    const rows = Array.from({ length: 20 }, (_, i) => `  ${i},a`)
    const wrong = (lines, line) => assert.throws(() => decode(['rows[20]{id,name}:', ...lines].join('\n')), { code: 'TOON_ESYNTAX', line })
    wrong(rows.with(10, '  10'), 12)
    wrong(rows.with(10, '  10,a,b'), 12)
    wrong(rows.with(10, '  10,"a'), 12)
    wrong(rows.slice(1), 20)
    wrong([...rows, '  20,a'], 22)
  })

  it('are read where code must not be made from strings', () => {
    const script = `const { decode } = require(${JSON.stringify(require.resolve('..'))})
      const out = decode('rows[20]{id,name}:\\n' + Array.from({ length: 20 }, (_, i) => '  ' + i + ',n').join('\\n'))
      if (require(${JSON.stringify(require.resolve('../lib/tables'))}).canGenerate) throw new Error('it could')
      process.stdout.write(JSON.stringify(out.rows[19]))`
    const out = require('node:child_process').execFileSync(process.execPath, ['--disallow-code-generation-from-strings', '-e', script], { encoding: 'utf8' })
    assert.equal(out, '{"id":19,"name":"n"}')
  })
})

describe('long strings', () => {
  const long = fc.tuple(fc.constantFrom('', '\u0001', '\u00010', '"', '\\', '\n', 'ж', '😀'), fc.nat(2000)).map(([head, n]) => head + 'x y, '.repeat(n / 2))
  const leaf = fc.oneof(long, fc.constantFrom('\u00010', '\u0001', 'short', 1, null, new String('\u00010'), new Date(0)))
  const value = fc.oneof(leaf, fc.array(leaf), fc.dictionary(fc.constantFrom('a', 'b', '\u00010', '__proto__'), fc.oneof(leaf, fc.array(leaf))))

  it('give what the reference gives', () => {
    fc.assert(fc.property(value, given => {
      assert.equal(encode(given), toon.encode(JSON.parse(JSON.stringify(given))))
    }), { numRuns: 500 })
    assert.equal(decode(encode({ a: 'y'.repeat(5000), b: 'x' })).a.length, 5000)
  })

  // Lines of long fields among others, most of which belong there; what a decoder may take for granted of a line is tried out.
  it('are read as the reference reads them, wherever they stand', () => {
    const word = fc.constantFrom('x y', 'a, b', ': c', '"q"', '\\', 'ж', '|', '#', '\t', ' ', '\r', '\u0001', '0')
    const body = fc.tuple(fc.constantFrom('t', 'T. ', '"', '5', '- ', '[2]', '\u0001', ' '), fc.array(word, { maxLength: 3 }), fc.nat(2), fc.constantFrom('', '"', ' ', '\r', '\r '))
      .map(([head, words, size, tail]) => head + [...words, 'and so on '.repeat(150 * size)].join('') + (head === '"' ? '"' : '') + tail)
    const lineOf = fc.tuple(fc.constantFrom(0, 0, 0, 1, 2), fc.constantFrom('', '', '', '- ', '# '),
      fc.oneof(fc.tuple(fc.constantFrom('a', 'b', 'c.d', '_e', '"f"', '"g, h:"', '"[1]"', '5', 'é', '__proto__', 'b', 'h '), body).map(([key, text]) => `${key}: ${text}`),
        fc.constantFrom('k[2]:', 'k[1:]{a}:', 'k[1:|]{a|b}:', 'k[1]{a}:', 'k[2]: a,b', 'o:', 'x: "\\u00010"', 'x: \u00010', 'x: \u0001length', '1: y', '')))
      .map(([depth, hyphen, rest]) => '  '.repeat(depth) + hyphen + rest)
    const filler = 'z'.repeat(3000)
    const shape = fc.tuple(fc.array(lineOf, { minLength: 1, maxLength: 7 }), fc.boolean(), fc.constantFrom('\n', '\n', '\r\n'))
      .map(([lines, more, end]) => [...lines, ...(more ? ['y1', 'y2', 'y3', 'y4'].map(key => `${key}: ${filler}`) : [])].join(end))
    const verdict = (read, text, strict) => {
      try {
        return read(text, { strict })
      } catch {
        return 'refused'
      }
    }
    for (const odd of ['0.' + '1'.repeat(2000), ' '.repeat(2000) + 'x', `"${'a\\n'.repeat(1000)}"`, `"${'a'.repeat(2000)}" `, `[${'1'.repeat(2000)}]`]) {
      const text = `odd: ${odd}\ny1: ${filler}\ny2: ${filler}\ny3: ${filler}\ny4: ${filler}`
      assert.deepEqual(decode(text), toon.decode(text), odd.slice(0, 9))
    }
    let taken = 0
    fc.assert(fc.property(shape, fc.boolean(), (text, strict) => {
      const found = verdict(decode, text, strict)
      assert.deepEqual(found, verdict(toon.decode, text, strict), JSON.stringify(text).replace(/z{9,}/g, 'zz'))
      if (found !== 'refused') taken++
    }), { numRuns: 2000 })
    assert.ok(taken > 100, `${taken} were no errors`)
  })

  it('are slices of a text, whose marks are told from strings like them', () => {
    const { hasLongLines, cutLongStrings, putBack } = require('../lib/longstrings')
    const text = encode({ a: 'y '.repeat(3000) + 'y', q: 'y: '.repeat(2000) })
    const strings = []
    assert.ok(hasLongLines(text))
    assert.equal(cutLongStrings(text, strings), 'a: \u00010\nq: "\u00011"')
    assert.deepEqual(strings, ['y '.repeat(3000) + 'y', 'y: '.repeat(2000)])
    assert.equal(cutLongStrings('t[1:]{a}:\n  ' + text, []), undefined)
    const marked = { a: '\u00011', b: ['\u00010', 1, null, 'c'] }
    assert.equal(putBack(marked, ['x', 'y']), true)
    assert.deepEqual(marked, { a: 'y', b: ['x', 1, null, 'c'] })
    for (const other of [{ a: '\u00010' }, { a: '\u00010', b: '\u00011', c: '\u00011' }, { a: '\u00010', b: '\u0001length' }]) {
      assert.equal(putBack(other, ['x', 'y']), false)
    }
    const plain = decode(`a: ${'y'.repeat(9000)}\nb: "\\u00010"`)
    assert.deepEqual(plain, { a: 'y'.repeat(9000), b: '\u00010' })
  })

  it('must be valid Unicode', () => {
    const text = 'x'.repeat(5000)
    assert.throws(() => encode(text + '\ud800'), { name: 'TypeError', code: 'TOON_EINVAL' })
    assert.throws(() => encode([text, '\udc00' + text]), { name: 'TypeError', code: 'TOON_EINVAL' })
    assert.throws(() => decode(`a: ${text}\nb: ${text}\ud800`), { name: 'TypeError', code: 'TOON_EINVAL' })
    const cycle = { text }
    cycle.self = cycle
    assert.throws(() => encode(cycle), { name: 'TypeError', code: 'TOON_EINVAL' })
  })
})

describe('getText', () => {
  const { openStore } = require('./support').setup()

  it('quotes a text that begins with a byte order mark, as encode does', async () => {
    const db = await openStore()
    for (const text of ['\ufeffx', '\ufeff', '\uffee', 'x\ufeff']) {
      await db.put('a', text)
      assert.equal(db.getText('a'), encode(text))
      assert.equal(db.get('a'), text)
      assert.deepEqual(db.values({ as: 'text' }).toArray(), [encode(text)])
    }
  })
})
