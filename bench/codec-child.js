'use strict'
// One set with one codec: node bench/codec-child.js CODEC SET QUICK. Prints one line of JSON: calls a second of encode and of
// decode, and the bytes of the set's JSON and of what the codec makes of it; or the error.

const assert = require('node:assert')
const Benchmark = require('benchmark')
const { SETS } = require('./documents')
const { median } = require('./report')

const [codecName, set, quick] = process.argv.slice(2)
const small = quick === '1'
const WARM_UP = small ? 10 : 150 // ms
const SECONDS = small ? 0.05 : 0.3

// name -> { encode(value), decode(encoded) }, with the defaults of each
const CODECS = {
  toonstore: () => require('..'),
  '@toon-format/toon': () => import('@toon-format/toon'),
  json: () => ({ encode: value => JSON.stringify(value), decode: text => JSON.parse(text) }),
  msgpackr () {
    const { pack, unpack } = require('msgpackr')
    return { encode: value => pack(value), decode: bytes => unpack(bytes) }
  },
  v8 () {
    const { serialize, deserialize } = require('node:v8')
    return { encode: value => serialize(value), decode: bytes => deserialize(bytes) }
  }
}

// Calls a second, warmed up, by benchmark.js.
function measure (op) {
  const end = performance.now() + WARM_UP
  do op(); while (performance.now() < end)
  const run = new Benchmark(codecName, { fn: op, minSamples: 5, maxTime: SECONDS, ...(small ? { minTime: 0.005 } : {}) }).run()
  if (run.error) throw run.error
  return median(run.stats.sample.map(seconds => 1 / seconds))
}

async function main () {
  const { encode, decode } = await CODECS[codecName]()
  const value = SETS[set].make()
  const json = JSON.stringify(value)
  const encoded = encode(value)
  assert.deepStrictEqual(JSON.parse(JSON.stringify(decode(encoded))), value)
  let last
  const figures = { bytes: Buffer.byteLength(json), encodedBytes: Buffer.byteLength(encoded) }
  figures.encode = measure(() => { last = encode(value) })
  assert.strictEqual(last.length, encoded.length)
  figures.decode = measure(() => { last = decode(encoded) })
  assert.strictEqual(JSON.stringify(last), json)
  return figures
}

main().then(figures => {
  console.log(JSON.stringify(figures))
}, err => {
  console.log(JSON.stringify({ error: String(err?.message ?? err).split('\n')[0] }))
  process.exit(1)
})
