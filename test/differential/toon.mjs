#!/usr/bin/env node
// Our TOON codec against the reference implementation, on random values and on random and damaged texts:
// the same text out of encode, with the same calls of a replacer; the same verdict and value out of decode, strict and not; encodeLines as encode, and decodeStream as decode.
//
//   node test/differential/toon.mjs [MODULE] [CASES] [SEED] [--reference MODULE] [--keep-going]
//
// MODULE exports encode(value, options) and decode(text, options); default: this package. REFERENCE defaults to
// @toon-format/toon. A case is one value (encoded with one set of options, decoded again) and four texts (each decoded in
// both modes). The first disagreement is printed with its seed and ends the run with status 1.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const args = process.argv.slice(2)
const option = (name) => {
  const i = args.indexOf(name)
  return i < 0 ? undefined : args.splice(i, 2)[1]
}
const flag = (name) => {
  const i = args.indexOf(name)
  return i >= 0 && args.splice(i, 1).length > 0
}
const load = async (name) => {
  const path = resolve(name) // a file, a folder with a package, or the name of one
  const m = await import(existsSync(path) ? pathToFileURL(createRequire(import.meta.url).resolve(path)).href : name)
  return m.encode ? m : m.default
}
const reference = await load(option('--reference') ?? '@toon-format/toon')
const keepGoing = flag('--keep-going')
const ours = await load(args[0] ?? fileURLToPath(new URL('../..', import.meta.url)))
const cases = Number(args[1] ?? 10000)
const firstSeed = Number(args[2] ?? Date.now() % 1e9)

// ---- randomness: every case has a seed of its own, so that it can be run alone ----
let state = 1
const random = () => { // mulberry32
  state = (state + 0x6D2B79F5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}
const int = (n) => Math.floor(random() * n)
const chance = (p) => random() < p
const pick = (list) => list[int(list.length)]
const times = (n, make) => Array.from({ length: n }, (_, i) => make(i))

// ---- values ----
const bits = new DataView(new ArrayBuffer(8))
const strings = ['', ' ', 'a', 'b', 'id', 'name', 'true', 'false', 'null', 'True', '-', '- a', '-a', '#', '# c', '5', '-5', '+5', '05', '1.5', '1e5',
  '1e', '1.', '.5', '0x1', '1E-3', '-0', '1e999', 'a b', ' a', 'a ', '\ta', 'a\t', 'a\nb', 'a\rb', '\u0000', '\u001f', '\u007f', '\u0080',
  '\ufeff', '\ufeffa', '\u2028', '\u00a0', '\u00a0a', 'é', '日本', '😀', 'a:b', 'a,b', 'a|b', '[', ']', '{', '}', '[]', '{}', '[2]', 'a[2]', '"', '"a"',
  '\\', 'a\\n', '\\u0041', 'a"b', 'base64:abc', 'http://x.y/z?a=b', '2024-01-01', '12:30', 'x'.repeat(15), 'y'.repeat(16), 'z'.repeat(17), 'w'.repeat(33),
  'q'.repeat(40) + ':', '"' + 'r'.repeat(70), 's'.repeat(31) + '\n' + 's'.repeat(40), '__proto__', 'constructor', 'a.b', 'a-b', '_x', '1a', '7']
const alphabet = ['a', 'b', 'c', ' ', ' ', ':', ',', '|', '\t', '"', '\\', '[', ']', '{', '}', '-', '#', '\n', '\r', '0', '1', '.', 'e', '+', '\u0001', 'é', '€', '😀', '\ufeff']
const string = () => chance(0.6) ? pick(strings) : times(int(chance(0.1) ? 80 : 12), () => pick(alphabet)).join('')
const key = () => chance(0.6) ? pick(['a', 'b', 'c', 'd', 'id', 'name', 'x', 'y', 'users/1', 'a b', '__proto__', '1', 'x.y']) : string()
const number = () => {
  switch (int(9)) {
    case 0: return int(10)
    case 1: return -int(1000)
    case 2: return random()
    case 3: return int(1e6) / 100
    case 4: for (;;) {
      bits.setUint32(0, int(2 ** 32))
      bits.setUint32(4, int(2 ** 32))
      if (Number.isFinite(bits.getFloat64(0))) return bits.getFloat64(0)
    }
    case 5: return pick([0, -0, 1e-6, 1e-7, 1e20, 1e21, 1.5e300, 5e-324, 1.7976931348623157e308, 2 ** 53, 2 ** 53 + 2, -1e-7, 0.1 + 0.2, 123456789012345680000, NaN, Infinity])
    case 6: return random() * 10 ** (int(60) - 30)
    case 7: return Math.round(random() * 2 ** int(64))
    default: return int(2 ** 31)
  }
}
const scalar = () => {
  const n = random()
  return n < 0.5 ? string() : n < 0.8 ? number() : pick([true, false, null])
}
const object = (keys, make) => {
  const o = {}
  for (const k of keys) Object.defineProperty(o, k, { value: make(k), enumerable: true, writable: true, configurable: true })
  return o
}
const shuffled = (list) => {
  const copy = [...list]
  for (let i = copy.length - 1; i > 0; i--) {
    const j = int(i + 1)
    ;[copy[i], copy[j]] = [copy[j], copy[i]]
  }
  return copy
}
// A maker of objects that are alike, nested ones too; now and then one is not.
const rowMaker = (depth) => {
  const keys = [...new Set(times(1 + int(chance(0.05) ? 40 : 5), key))]
  const cells = keys.map(() => depth > 0 && chance(0.25) ? rowMaker(depth - 1) : scalar)
  const odd = chance(0.3) ? 0.15 : 0
  const mixed = chance(0.3)
  return () => {
    if (chance(odd)) return chance(0.5) ? value(depth - 1) : object(keys.slice(1), scalar)
    return object(mixed ? shuffled(keys) : keys, (k) => chance(odd / 4) ? value(depth - 1) : cells[keys.indexOf(k)]())
  }
}
const value = (depth) => {
  if (depth <= 0) return chance(0.15) ? pick([[], {}]) : scalar()
  switch (int(8)) {
    case 0: return scalar()
    case 1: return times(int(6), scalar)
    case 2: return times(int(5), () => value(depth - 1))
    case 3: return times(chance(0.1) ? 16 + int(8) : int(5), rowMaker(depth - 1))
    case 4: { // a keyed table, perhaps
      const make = rowMaker(depth - 1)
      return object(times(int(5), key), make)
    }
    case 5: return times(int(4), () => times(int(4), chance(0.8) ? scalar : () => value(depth - 1)))
    default: return object(times(int(6), key), () => value(depth - 1))
  }
}

// ---- texts ----
const tokens = ['a', 'b', 'id', '"a"', '"a b"', '"a:b"', '"', '\\', '"\\n"', '"\\u0041"', '"\\ud800"', '"\\x"', '[2]', '[1]', '[0]', '[3]', '[2|]', '[2\t]', '[2:]',
  '[1:|]', '[]', '[a]', '[01]', '[-1]', '{a}', '{a,b}', '{a|b}', '{a\tb}', '{a{b,c}}', '{a{b},c}', '{"a,b",c}', '{a,a}', '{}', '{', '}', ':', ':', ':', ': ', ': ', ' ',
  '  ', ',', ',', '|', '\t', '- ', '-', '#', '1', '2', '-0', '1.0', '01', '1e400', '-1e-400', 'true', 'null', 'x', 'y', 'é', '\r', '\ufeff', '\u00a0', '\u0001']
const line = () => {
  const indent = chance(0.9) ? '  '.repeat(int(4)) : pick([' ', '   ', '\t', ' \t', '     '])
  return indent + (chance(0.2) ? '- ' : '') + times(1 + int(7), () => pick(tokens)).join('')
}
const texts = () => times(1 + int(6), line).join('\n')
const mutate = (text) => {
  for (let n = 1 + int(3); n > 0; n--) {
    if (chance(0.5)) { // a character
      const i = int(text.length + 1)
      text = text.slice(0, i) + (chance(0.6) ? pick(tokens) : '') + text.slice(i + int(3))
      continue
    }
    const lines = text.split('\n')
    const i = int(lines.length)
    switch (int(7)) {
      case 0: lines.splice(i, 1); break
      case 1: lines.splice(i, 0, lines[int(lines.length)]); break
      case 2: lines.splice(i, 0, pick(['', '  ', '# c', '   # c', '\t', '\r', ' \t#'])); break
      case 3: lines[i] = '  ' + lines[i]; break
      case 4: lines[i] = lines[i].slice(pick([1, 2])); break
      case 5: lines[i] += pick([' ', '\r', '\t', ',', '  x', ' \r']); break
      default: lines.splice(i, 0, line())
    }
    text = lines.join('\n')
  }
  return text.toWellFormed()
}

// ---- comparing ----
const same = (a, b) => {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b)
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const ka = Object.keys(a)
  const kb = Object.keys(b)
  return ka.length === kb.length && ka.every((k, i) => k === kb[i] &&
    same(Object.getOwnPropertyDescriptor(a, k).value, Object.getOwnPropertyDescriptor(b, k).value))
}
const outcome = (f) => {
  try { return { value: f() } } catch (error) { return { error } }
}
let disagreements = 0
const disagree = (seed, what, details) => {
  disagreements++
  console.log(`seed ${seed}: ${what}`)
  for (const [name, detail] of Object.entries(details)) {
    console.log(`  ${name}: ${detail instanceof Error ? detail.message : JSON.stringify(detail)}`)
  }
  if (!keepGoing) process.exit(1)
}

// The value that events make; checks their order on the way.
const build = async (events) => {
  const stack = [] // names belong to the object on top, and are used before it is left
  let root, name
  const put = (v) => {
    const top = stack.at(-1)
    if (!top) root = { v }
    else if (Array.isArray(top.v)) top.v.push(v)
    else Object.defineProperty(top.v, name, { value: v, enumerable: true, writable: true, configurable: true })
  }
  for await (const event of events) {
    switch (event.type) {
      case 'key': name = event.key; break
      case 'primitive': put(event.value); break
      case 'startObject': case 'startArray': {
        const v = event.type === 'startArray' ? [] : {}
        put(v)
        stack.push({ v, length: event.length })
        break
      }
      default: {
        const { v, length } = stack.pop()
        if (Array.isArray(v) && v.length !== length) throw new Error(`an array of ${length} with ${v.length} elements`)
      }
    }
  }
  return root.v
}
// A text in pieces: strings, or bytes.
const pieces = (text) => {
  const whole = chance(0.5) ? text : Buffer.from(text)
  const chunks = []
  const most = pick([1, 3, 20, 1000])
  for (let i = 0; i < whole.length;) {
    const n = 1 + int(most)
    chunks.push(whole.slice(i, i + n))
    i += n
  }
  return chunks
}
const checkStream = async (seed, text, options) => {
  const expected = outcome(() => ours.decode(text, options))
  let got
  try { got = { value: await build(ours.decodeStream(pieces(text), options)) } } catch (error) { got = { error } }
  const differ = !expected.error !== !got.error || (got.error ? got.error.code !== expected.error.code : !same(got.value, expected.value))
  if (differ) disagree(seed, 'decodeStream: not as decode', { text, options, decode: expected.error ?? expected.value, stream: got.error ?? got.value })
}

const checkDecode = (seed, text, options) => {
  const expected = outcome(() => reference.decode(text, options))
  const got = outcome(() => ours.decode(text, options))
  if (!expected.error !== !got.error) {
    disagree(seed, 'decode: another verdict', { text, options, reference: expected.error ?? expected.value, ours: got.error ?? got.value })
  } else if (!got.error && !same(got.value, expected.value)) {
    disagree(seed, 'decode: another value', { text, options, reference: expected.value, ours: got.value })
  }
}

// Replacers do the same for both: what they do depends on the seed and the path. Some wrap, so they stop at a depth.
const replacerOf = (seed, calls) => (name, v, path) => {
  calls.push(JSON.stringify([name, v, path]))
  let h = seed
  for (const c of path.join('/')) h = Math.imul(h ^ c.charCodeAt(0), 0x01000193)
  switch ((h >>> 7) % 24) {
    case 0: return undefined
    case 1: return name.toUpperCase()
    case 2: return path.length > 4 ? v : { b: v, a: [name] }
    case 3: return path.length > 4 ? v : [path, v]
    case 4: return new Date((h >>> 3) * 1000)
    case 5: return NaN
    case 6: return path.length > 4 ? v : { a: 1, toJSON: () => ({ id: name, deep: { y: -0 } }) }
    default: return v
  }
}

const checkReplacer = (seed, v, options) => {
  const calls = [[], []]
  const expected = outcome(() => reference.encode(v, { ...options, replacer: replacerOf(seed, calls[0]) }))
  const got = outcome(() => ours.encode(v, { ...options, replacer: replacerOf(seed, calls[1]) }))
  if (expected.value?.toWellFormed() !== got.value) {
    disagree(seed, 'replacer: another text', { value: v, options, reference: expected.error ?? expected.value, ours: got.error ?? got.value })
  }
  const at = calls[0].findIndex((call, i) => call !== calls[1][i])
  if (at >= 0 || calls[0].length !== calls[1].length) {
    disagree(seed, 'replacer: other calls', { value: v, at, reference: calls[0][at], ours: calls[1][at] })
  }
}

const counts = { encodes: 0, decodes: 0 }
for (let i = 0; i < cases; i++) {
  const seed = firstSeed + i
  state = seed
  const v = value(int(5))
  const options = { delimiter: pick([',', ',', '\t', '|']), indentSize: pick([2, 2, 2, 4, 1, 3, 8]) }
  const expected = outcome(() => reference.encode(v, options))
  const got = outcome(() => ours.encode(v, options))
  counts.encodes++
  if (expected.value?.toWellFormed() !== got.value) {
    disagree(seed, 'encode: another text', { value: v, options, reference: expected.error ?? expected.value, ours: got.error ?? got.value })
  }
  if (ours.encodeLines) {
    const joined = outcome(() => [...ours.encodeLines(v, options)].join('\n'))
    if (joined.value !== got.value) disagree(seed, 'encodeLines: another text', { value: v, options, encode: got.value, lines: joined.error ?? joined.value })
  }
  checkReplacer(seed, v, options)
  const made = expected.value ?? ''
  const list = [[made, options.indentSize], [mutate(made), options.indentSize], [mutate(made), 2], [texts().toWellFormed(), 2], [mutate(texts()), pick([2, 1, 4])]]
  for (const [text, indentSize] of list) {
    for (const strict of [true, false]) {
      checkDecode(seed, text, { indentSize, strict })
      if (ours.decodeStream) await checkStream(seed, text, { indentSize, strict })
    }
    counts.decodes += 2
  }
}
console.log(`${cases} cases from seed ${firstSeed}: ${counts.encodes} encodes, ${counts.decodes} decodes, ${disagreements} disagreements`)
process.exit(disagreements ? 1 : 0)
