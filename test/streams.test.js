'use strict'
// encodeLines and decodeStream: as encode and decode, piece by piece, in bounded memory.

const assert = require('node:assert/strict')
const fc = require('fast-check')
const toon = require('@toon-format/toon')
const { encode, decode, encodeLines, decodeStream, ToonError } = require('..')
const { run } = require('./support')

const many = (n, make) => Array.from({ length: n }, (_, i) => make(i))

describe('encodeLines', () => {
  const same = (value, options) => assert.equal([...encodeLines(value, options)].join('\n'), encode(value, options))
  const row = i => ({ id: i, at: { x: i / 2, name: `n\n${i}` } })

  it('gives the lines of encode', () => {
    for (const value of [null, 'a', '', {}, [], { a: {} }, [1], { a: [{ b: 1 }] }, Buffer.from('a'), undefined, new Date(0)]) same(value)
    assert.deepEqual([...encodeLines({ a: [{ b: 1 }, { b: 2 }], c: 'x\ny' })], ['a[2]{b}:', '  1', '  2', 'c: "x\\ny"'])
    assert.deepEqual([...encodeLines({})], [])
    assert.deepEqual([...encodeLines({ a: 1, b: 2 }, { replacer: (key, value) => key === 'a' ? undefined : value })], ['b: 2'])
  })

  it('writes large arrays in batches, tables or not', () => {
    for (const n of [1000, 1024, 1025, 1281, 3000]) {
      const table = many(n, row)
      for (const delimiter of [',', '\t', '|']) same(table, { delimiter, indentSize: 3 })
      same({ a: 1, 'b c[': table, d: { e: 1 }, f: { e: 2 } }, { delimiter: '|' })
      const last = change => table.with(-1, change)
      same({ keyed: { x: { y: 1 }, z: { y: 2 } }, a: last({ at: { name: 1, x: 2 }, id: 3 }) })
      for (const other of [1, undefined, null, {}, { id: 1 }, { id: 1, at: 2 }, { id: 1, at: { x: 1 } }, { id: [], at: 1 }, new Date(0)]) same({ a: last(other) })
      same(many(n, i => i))
      same(many(n, i => [i, [i]]))
      same(many(n, () => ({})))
    }
  })

  it('has the objects around them as JSON has them', () => {
    const table = many(1000, row)
    same({ x: undefined, f: () => {}, table, y: undefined, 7: 'first', [Symbol('s')]: 1 })
    same({ 12: table, 3: { a: 1 }, 4: { a: 2 }, b: table })
    same(Object.defineProperty({ a: table }, '__proto__', { value: { a: 1 }, enumerable: true }))
    same(Object.defineProperty({ a: 1 }, '__proto__', { value: table, enumerable: true }))
    same({ table, toJSON: () => [1, 2] })
    same({ table, part: { toJSON: key => key } })
    same(Object.assign(many(1000, row), { toJSON: () => 5 }))
    same(table.with(5, { toJSON: key => ({ id: key, at: { x: 1, name: '' } }) }))
    same(new (class Rows extends Array {})(1000))
    same(Object.assign(Object('boxed'), { table }))
    same({ a: new Array(2000) })
    assert.throws(() => [...encodeLines(table.with(7, { id: 1n, at: { x: 1, name: '' } }))], { code: 'TOON_EINVAL' })
  })

  it('checks its options at once, and the value while it goes', () => {
    assert.throws(() => encodeLines(1, { delimiter: ';' }), { code: 'TOON_EINVAL' })
    assert.throws(() => encodeLines(1, { wrong: 1 }), /option of encodeLines/)
    const table = many(2000, row)
    const lines = encodeLines(table)
    lines.next()
    table.length = 1000
    assert.throws(() => [...lines], { code: 'TOON_EINVAL', message: /was changed/ })
  })
})

// The value that events make.
async function build (events) {
  const stack = [[]]
  const keys = []
  for await (const event of events) {
    const top = stack.at(-1)
    const put = value => Array.isArray(top)
      ? top.push(value)
      : Object.defineProperty(top, keys.at(-1), { value, enumerable: true, writable: true, configurable: true })
    if (event.type === 'key') keys[stack.length - 1] = event.key
    else if (event.type === 'primitive') put(event.value)
    else if (event.type === 'startObject' || event.type === 'startArray') {
      const value = event.type === 'startArray' ? [] : {}
      put(value)
      keys.length = stack.length
      stack.push(value)
    } else {
      stack.pop()
      keys.length = stack.length
    }
  }
  assert.equal(stack.length, 1)
  return stack[0][0]
}

async function collect (events) {
  const out = []
  for await (const event of events) out.push(event)
  return out
}

const cut = (whole, size) => {
  const chunks = []
  for (let i = 0; i < whole.length; i += size) chunks.push(whole.slice(i, i + size))
  return chunks
}

async function outcome (f) {
  try { return { value: await f() } } catch (error) { return { error } }
}

// The stream's verdict, code and value are those of decode.
async function alike (text, chunks, options) {
  const expected = await outcome(() => decode(text, options))
  const got = await outcome(() => build(decodeStream(chunks, options)))
  assert.equal(got.error?.code, expected.error?.code, `${got.error}, not ${expected.error}: ${text.slice(0, 100)}`)
  if (!got.error) assert.deepEqual(got.value, expected.value)
  return got.error
}

describe('decodeStream', () => {
  const rows = (n, make = i => `  ${i},"n ${i}: 😀"`) => many(n, make).join('\n')
  const big = `# head\nfirst: 1\n"a,b"[9000]{id,name}:\n${rows(9000)}\n# between\n\nlist[2]:\n  - 1\n  - x: 2\nempty[0]{a}:\nsmall[1]{a}:\n  1\nlast:\n  in: "x"\n`

  it('takes a line whose colon is within quotes that do not close for a text, as decode does', async () => {
    const text = '[1|]{b|"a 1.0}:'
    assert.equal(decode(text), text)
    assert.equal(await build(decodeStream([text])), text)
  })

  it('gives the events of the reference, in the order of the text', async () => {
    for (const text of ['', 'x', '"a: b"', 'b: 1\n1: 2\na[2]{x,y{z}}:\n  1,2\n  "3",null', '[2]: a,b', '[1]{a}:\n  1', '[]', 'a[2]:\n  - [1]: 5\n  -\nb: []\nc:', '[2:]{a}:\n  x: 1\n  y: true']) {
      const expected = await collect(toon.decodeStream(text.split('\n')))
      for (const size of [1, 2, 100]) assert.deepEqual(await collect(decodeStream(cut(text, size))), expected, text)
    }
    assert.deepEqual(await collect(decodeStream([big])), await collect(toon.decodeStream(big.split('\n'))))
  })

  it('takes strings and bytes, cut anywhere, from any iterable', async () => {
    const text = '\ufeffkey ü: "😀 €"\r\nt[2]{a}:\r\n  é\r\n  😀\r\n'
    for (let size = 1; size < 9; size++) {
      await alike(text, cut(text, size))
      await alike(text, cut(Buffer.from(text), size))
      await alike(text, (async function * () { yield * cut(new Uint8Array(Buffer.from(text)), size) })())
    }
    assert.deepEqual(await build(decodeStream([Buffer.from('a: '), '', '1\nb', Buffer.from(': 2')])), { a: 1, b: 2 })
    for (const size of [7, 1000, 65536, 1e9]) {
      await alike(big, cut(big, size))
      await alike(big, cut(Buffer.from(big), size))
    }
    await alike(big, [big], { strict: false })
    const root = `\n# c\n[9000]{id,name}:\n${rows(9000)}\n`
    await alike(root, cut(root, 5000))
    const fields = many(20000, i => `key${i}: ${i}`).join('\n')
    await alike(fields, cut(fields, 5000))
  })

  it('refuses what decode refuses, and says where in the whole text', async () => {
    const lines = big.split('\n')
    const faults = {
      'too many rows': lines.toSpliced(5000, 0, '  1,2'),
      'too few rows': lines.toSpliced(5000, 1),
      'a row too short': lines.with(5000, '  1'),
      'a blank line in the table': lines.toSpliced(5000, 0, ''),
      'a row too deep': lines.with(5000, '    1,2'),
      'a tab': lines.with(5000, '\t1,2'),
      'an open quote': lines.with(8000, '  1,"x'),
      'a key twice, far away': [...lines, '"first": 2'],
      'a table twice': [...lines, '"a,b"[0]{a}:'],
      'a keyless header': [...lines, '[1]: 2'],
      'a header with a leading zero': lines.with(2, '"a,b"[09000]{id,name}:'),
      'a header with a column twice': lines.with(2, '"a,b"[9000]{id,id}:')
    }
    for (const [name, changed] of Object.entries(faults)) {
      for (const size of [100, 65536]) {
        const err = await alike(changed.join('\n'), cut(changed.join('\n'), size))
        assert(err instanceof ToonError && err.line > 0 && err.column > 0, name)
        assert(err.message.startsWith(`line ${err.line}, column ${err.column}: `), err.message)
      }
    }
    for (const name of ['a row too short', 'an open quote', 'a tab']) {
      const text = faults[name].join('\n')
      const err = await alike(text, cut(text, 1000))
      const { error } = await outcome(() => decode(text))
      assert.deepEqual([err.line, err.column, err.message], [error.line, error.column, error.message], name)
    }
    const twice = await alike('[1]{a}:\n  1\nb: 2', ['[1]{a}:\n  1\nb: 2'])
    assert.equal(twice.line, 3)
  })

  it('refuses bytes that are not UTF-8', async () => {
    const bad = Buffer.concat([Buffer.from('a: 1\nbü: '), Buffer.from([0xE2, 0x28])])
    for (const chunks of [[bad], cut(bad, 1), [bad.subarray(0, -1)], [bad.subarray(0, -1), ' ']]) {
      const { error } = await outcome(() => build(decodeStream(chunks)))
      assert.deepEqual([error.code, error.line, error.column], ['TOON_ESYNTAX', 2, 6])
    }
  })

  it('refuses wrong arguments', async () => {
    for (const chunks of [null, 1, 'a: 1', Buffer.from('a: 1'), {}]) assert.throws(() => decodeStream(chunks), { code: 'TOON_EINVAL' })
    assert.throws(() => decodeStream([], { wrong: 1 }), /option of decodeStream/)
    await assert.rejects(build(decodeStream([1])), { code: 'TOON_EINVAL' })
  })

  it('returns its source when a loop ends early or fails', async () => {
    let returned = 0
    const source = async function * (chunk) { try { for (;;) yield chunk } finally { returned++ } }
    for await (const event of decodeStream(source(`[900000]{id}:\n${rows(20000, i => `  ${i}`)}\n`))) if (event.type === 'primitive') break
    assert.equal(returned, 1)
    await assert.rejects(build(decodeStream(source(5))), { code: 'TOON_EINVAL' })
    assert.equal(returned, 2)
    await assert.rejects(build(decodeStream(source(`a: 1\n${rows(9000, () => 'b: c')}\n`))), { code: 'TOON_ESYNTAX' })
    assert.equal(returned, 3)
  })

  it('is as decode for values at random, whole or damaged, in any pieces', async () => {
    const damage = fc.array(fc.record({ at: fc.nat(200), put: fc.constantFrom('', ' ', '\n', '  ', ':', '"', '[', '\r', '#', '\t', '- ', 'a: 1\n') }), { maxLength: 2 })
    await fc.assert(fc.asyncProperty(fc.jsonValue({ maxDepth: 3, stringUnit: 'grapheme' }), damage, fc.integer({ min: 1, max: 40 }), fc.boolean(), fc.boolean(), async (value, list, size, bytes, strict) => {
      let text = encode(value)
      for (const { at, put } of list) text = (text.slice(0, at) + put + text.slice(at + 1)).toWellFormed()
      await alike(text, cut(bytes ? Buffer.from(text) : text, size), { strict })
    }), { numRuns: 500 })
  })
})

describe('the memory of streams', function () {
  this.timeout(60000)

  it('is bounded for tables of 300,000 rows', () => {
    const { status, stdout, stderr } = run(`
      const N = 300000
      const used = () => { gc(); return process.memoryUsage().heapUsed }
      function * chunks () {
        let text = 'head: 1\\nrows[' + N + ']{id,name}:\\n'
        for (let i = 0; i < N; i++) {
          text += '  ' + i + ',"the name, of number ' + i + '"\\n'
          if (text.length >= 65536) { yield text; text = '' }
        }
        yield text
      }
      async function main () {
        let before = used(), most = 0, events = 0
        for await (const event of toonstore.decodeStream(chunks())) if (events++ % 150000 === 0) most = Math.max(most, used() - before)
        const rows = Array.from({ length: N }, (_, i) => ({ id: i, name: 'the name, of number ' }))
        before = used()
        let lines = 0, growth = 0
        for (const line of toonstore.encodeLines({ rows })) if (lines++ % 30000 === 0) growth = Math.max(growth, used() - before)
        console.log(JSON.stringify({ most, events, growth, lines }))
      }
      main()`, { flags: ['--expose-gc'] })
    assert.equal(status, 0, stderr)
    const { most, events, growth, lines } = JSON.parse(stdout)
    assert.equal(events, 300000 * 6 + 7)
    assert.equal(lines, 300001)
    assert(most < 30e6, `decodeStream: ${most}`)
    assert(growth < 30e6, `encodeLines: ${growth}`)
  })
})
