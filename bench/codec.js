'use strict'
// npm run bench:codec: the codec alone. From JavaScript: every set with every codec, each in a process of its own, several
// rounds by turns; from text to text in C: bench/c/codec_bench.c on the same sets. Tables at the end, and the section
// "The codec" of bench/results.md after a full run.
//   --sets NAME[,NAME]   these sets     --quick   a smoke test: one round, short

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { promisify, parseArgs } = require('node:util')
const { execFile } = require('node:child_process')
const { SETS } = require('./documents')
const native = require('./native')
const { install, installedVersion } = require('./peers')
const { median, figure, ratio, plain, markdown, machine, writeSection } = require('./report')

const REFERENCE = '@toon-format/toon'
const CODECS = ['toonstore', REFERENCE, 'json', 'msgpackr', 'v8']
const PEERS = [REFERENCE, 'msgpackr']
const ROUNDS = 3

// Least ratios to other codecs, from JavaScript. Nowhere slower than the reference.
const GOALS = {
  encode: { table: { [REFERENCE]: 2 }, deep: { [REFERENCE]: 5 } },
  decode: { table: { [REFERENCE]: 12, json: 2 }, deep: { [REFERENCE]: 14 } }
}
const C_GOAL = { default: 250, long: 1500 } // MB/s, text to text, both ways

async function child (codec, set, quick) {
  try {
    const args = [path.join(__dirname, 'codec-child.js'), codec, set, quick ? '1' : '0']
    return JSON.parse((await promisify(execFile)(process.execPath, args, { timeout: 60e3 })).stdout)
  } catch (err) {
    return { error: /"error":"(.*)"/.exec(err.stdout)?.[1] ?? err.message }
  }
}

// What all codecs do with a set: codec -> { bytes, encodedBytes, encode, decode } or { error }, calls a second.
async function runSet (set, codecs, { rounds, quick }) {
  const runs = new Map(codecs.map(codec => [codec, []]))
  for (let round = 0; round < rounds; round++) {
    for (const codec of codecs) runs.get(codec).push(await child(codec, set, quick))
  }
  return new Map(codecs.map(codec => {
    const list = runs.get(codec)
    const failed = list.find(({ error }) => error !== undefined)
    if (failed !== undefined) {
      console.log(`${set}, ${codec}: ${failed.error}`)
      return [codec, failed]
    }
    return [codec, { ...list[0], encode: median(list.map(run => run.encode)), decode: median(list.map(run => run.decode)) }]
  }))
}

// MB/s of JSON text, in C: set -> { encode, decode }.
function runC (sets, { rounds, quick }) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-bench-codec-'))
  try {
    const program = native.compile('codec_bench', ['base', 'toon'], dir)
    const files = sets.map(set => path.join(dir, set))
    sets.forEach((set, i) => fs.writeFileSync(files[i], JSON.stringify(SETS[set].make())))
    const runs = Array.from({ length: rounds }, () => native.run(program, [quick ? '2' : '20', ...files]).trim().split('\n').map(line => line.split(' ').map(Number)))
    return new Map(sets.map((set, i) => [set, { encode: median(runs.map(run => run[i][0])), decode: median(runs.map(run => run[i][1])) }]))
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

const verdict = met => met ? 'met' : 'missed'
const megabytes = rate => rate >= 1e10 ? `${(rate / 1e9).toFixed(0)} GB/s` : `${(rate / 1e6).toFixed(rate < 100e6 ? 1 : 0)} MB/s`

function tableJs (what, results, codecs) {
  const rows = [['set', 'JSON', ...codecs, 'to the reference', 'to JSON', 'goal', '']]
  for (const [set, byCodec] of results) {
    const speed = codec => byCodec.get(codec)?.[what]
    const { bytes } = byCodec.get('toonstore')
    const times = other => speed('toonstore') === undefined || speed(other) === undefined ? '' : ratio(speed('toonstore'), speed(other))
    const goals = Object.entries(GOALS[what][set] ?? { [REFERENCE]: 1 }).filter(([other]) => speed(other) !== undefined)
    rows.push([
      SETS[set].title, bytes === undefined ? '' : `${figure(bytes)}B`,
      ...codecs.map(codec => speed(codec) === undefined ? 'failed' : `${figure(speed(codec))}/s, ${megabytes(speed(codec) * byCodec.get(codec).bytes)}`),
      times(REFERENCE), times('json'),
      goals.map(([other, least]) => `>= ${least} x ${other === 'json' ? 'JSON' : 'the reference'}`).join(', '),
      goals.map(([other, least]) => verdict(speed('toonstore') >= least * speed(other))).join(', ')
    ])
  }
  return rows
}

function tableC (rates) {
  const rows = [['set', 'unit', 'JSON to TOON', 'TOON to JSON', 'goal', '']]
  for (const [set, { encode, decode }] of rates) {
    const goal = C_GOAL[set] ?? C_GOAL.default
    rows.push([SETS[set].title, 'MB/s of JSON', encode.toFixed(0), decode.toFixed(0), `>= ${goal} both ways`, `${verdict(encode >= goal)}, ${verdict(decode >= goal)}`])
  }
  return rows
}

function section (tables, facts, started) {
  return `## The codec

${new Date(started).toISOString().slice(0, 10)}, ${facts.join('; ')}. Rerun with \`npm run bench:codec\`
(${((Date.now() - started) / 60e3).toFixed(1)} minutes here); [README.md](README.md) says how it measures.

Calls a second, and megabytes of compact JSON text a second (whatever the codec's own size is): medians of ${ROUNDS} rounds, every set and codec in
a process of its own, from JavaScript values and to them. "The reference" is ${REFERENCE}; json is JSON.stringify and JSON.parse; v8 is
v8.serialize and v8.deserialize. Where there is no other goal, ours is to be no slower than the reference.

Encode, from a JavaScript value:

${markdown(tables.encode)}

Decode, to a JavaScript value:

${markdown(tables.decode)}

From text to text in C (\`bench/c/codec_bench.c\`), without JavaScript:

${markdown(tables.c)}

The sets:

${Object.values(SETS).map(({ title, what }) => `- **${title}**: ${what}.`).join('\n')}
`
}

async function main () {
  const { values } = parseArgs({ options: { sets: { type: 'string' }, quick: { type: 'boolean', default: false } } })
  const sets = values.sets?.split(',') ?? Object.keys(SETS)
  for (const set of sets) if (!Object.hasOwn(SETS, set)) throw new Error(`no such set: ${set} (there are ${Object.keys(SETS).join(', ')})`)
  if (!install()) throw new Error('benchmark is missing; run: npm install --prefix bench')
  const codecs = CODECS.filter(codec => !PEERS.includes(codec) || installedVersion(codec) !== undefined)
  const started = Date.now()
  const facts = machine([...PEERS, 'benchmark'])
  console.log(facts.join('\n') + '\n')
  const options = { quick: values.quick, rounds: values.quick ? 1 : ROUNDS }
  const results = new Map()
  for (const set of sets) {
    results.set(set, await runSet(set, codecs, options))
    console.log(`${set}: done`)
  }
  const tables = { encode: tableJs('encode', results, codecs), decode: tableJs('decode', results, codecs), c: tableC(runC(sets, options)) }
  console.log(`\nencode\n${plain(tables.encode)}\n\ndecode\n${plain(tables.decode)}\n\ntext to text in C\n${plain(tables.c)}\n`)
  if (!values.quick && values.sets === undefined) {
    writeSection('codec', section(tables, facts, started))
    console.log('Written to bench/results.md')
  } else {
    console.log('Not a full run: bench/results.md stays as it is')
  }
  console.log(`${((Date.now() - started) / 1000).toFixed(0)} s`)
  if ([...results.values()].some(byCodec => byCodec.get('toonstore').error !== undefined)) process.exitCode = 1
}

main().catch(err => {
  console.error(err.message)
  process.exitCode = 1
})
