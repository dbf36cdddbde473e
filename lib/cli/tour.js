'use strict'
// npm start: a guided tour. Puts every package.json under node_modules and the lines of a real text file into a store in
// ./toonstore-tour, reads all of it back, compares it with the source, and shows the file on disk.

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { ToonStore, encode, decode } = require('..')
const { findDocuments } = require('./documents')
const { findTokenizer } = require('./tokens')

const DIRECTORY = 'toonstore-tour'
const MARK = 'made-by-the-toonstore-tour' // a file that says whose directory it is
const OWN_FILES = /^(made-by-the-toonstore-tour|LOCK|metadata\.toon(\.tmp)?|db(\.\d+)?\.toon(\.copy|\.idx-\d+)?)$/
const WIDTH = 100

class Refusal extends Error {}

// Whether a directory is one that an earlier tour has left.
function isOwn (dir) {
  if (!fs.lstatSync(dir).isDirectory()) return false // nor is a link to one
  const names = fs.readdirSync(dir)
  return names.length === 0 || (names.includes(MARK) && names.every(name => OWN_FILES.test(name)))
}

// Remove what an earlier tour left, unless it is still being used; make the directory anew.
async function freshDirectory (dir) {
  if (fs.lstatSync(dir, { throwIfNoEntry: false }) !== undefined) {
    if (!isOwn(dir)) {
      throw new Refusal(`${dir} is there already and holds something that no tour has made. ` +
        'Move it away, or start the tour in another directory.')
    }
    try {
      await (await ToonStore.open(dir, { createIfMissing: false })).close()
    } catch (err) {
      if (err.code === 'TOON_ELOCKED') throw new Refusal(`another tour is on its way in ${dir}.`)
      // What is broken or empty can be removed all the same.
    }
    fs.rmSync(dir, { recursive: true })
  }
  fs.mkdirSync(dir)
  fs.writeFileSync(path.join(dir, MARK), 'This directory belongs to the guided tour of toonstore (npm start) and may be removed.\n')
}

// The node_modules to read: of the directory where the tour is started, or of toonstore itself.
function sourceDirectory () {
  const root = path.join(__dirname, '..', '..')
  const places = [path.resolve('node_modules'), path.join(root, 'node_modules'), path.join(root, '..')]
  const found = places.find(dir => path.basename(dir) === 'node_modules' && fs.existsSync(dir))
  if (found === undefined) throw new Refusal('there is no node_modules directory to read from: run npm install first.')
  return found
}

const count = number => Math.round(number).toLocaleString('en')
const size = bytes => bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
const plural = (number, what) => `${count(number)} ${what}${number === 1 ? '' : 's'}`
const heading = text => console.log(`\n${text}`)
const say = text => console.log(`  ${text}`)

function quote (lines) {
  for (const line of lines) say('| ' + (line.length > WIDTH ? line.slice(0, WIDTH - 3) + '...' : line))
}

// Run `fn`, which handles `number` things; its result, and the time as a text.
async function timed (number, fn) {
  const start = performance.now()
  const result = await fn()
  const ms = performance.now() - start
  return [result, `${ms.toFixed(1)} ms (${count(number / ms * 1000)} a second)`]
}

async function write (db, { documents, lines, text, copies, unreadable }) {
  heading('1. Writing')
  const before = db.stats()
  const [, time] = await timed(documents.length, () => Promise.all(documents.map(({ key, value }) => db.put(key, value))))
  const bytes = documents.reduce((sum, { json }) => sum + Buffer.byteLength(json), 0)
  say(`put(): ${plural(documents.length, 'package.json file')}, ${size(bytes)} of JSON, in ${time}`)
  if (copies > 0) say(`       (and ${count(copies)} more, equal to one of these)`)
  if (unreadable > 0) say(`       (left out, because it is not JSON: ${plural(unreadable, 'file')})`)
  const [ids, rowsTime] = await timed(lines.length, () => Promise.all(lines.map(line => db.rows.put(line))))
  say(`rows.put(): ${plural(lines.length, 'line')} of ${text} in ${rowsTime}`)
  const { commits, syncs } = db.stats()
  say(`All of them are on the disk, at durability commit: ${plural(commits - before.commits, 'commit')} and ` +
    `${plural(syncs - before.syncs, 'sync')} for ${plural(documents.length + lines.length, 'call')}, because calls that wait share both.`)
  return ids
}

async function compare (db, { documents, lines }, ids) {
  heading('2. Reading back, and comparing with the source')
  const [values, time] = await timed(documents.length, () => documents.map(({ key }) => db.get(key)))
  documents.forEach(({ key, json }, i) => assert.deepStrictEqual(values[i], JSON.parse(json), key))
  say(`get(): ${plural(documents.length, 'document')} in ${time}: all deeply equal`)
  const [rows, rowsTime] = await timed(lines.length, () => db.rows.getMany(ids))
  assert.deepStrictEqual(rows, lines)
  say(`rows.getMany(): ${plural(lines.length, 'line')} in ${rowsTime}: all equal`)
  const [pairs, rangeTime] = await timed(documents.length, () => db.range().toArray())
  assert.deepStrictEqual(new Map(pairs), new Map(documents.map(({ key, json }) => [key, JSON.parse(json)])))
  say(`range(): ${plural(pairs.length, 'pair')} in ${rangeTime}: all there`)
}

function showFile (dir) {
  heading(`3. ${path.join(DIRECTORY, 'db.toon')} as it stands on the disk (after its header of 16 bytes)`)
  const text = fs.readFileSync(path.join(dir, 'db.toon')).subarray(16).toString()
  quote(text.split('\n', 18))
}

function showTable (db) {
  heading("4. A prompt-ready table: db.toToon({ prefix: 'pkg/', fields: ['name', 'version', 'license'], name: 'packages' })")
  const options = { prefix: 'pkg/', fields: ['name', 'version', 'license'] }
  const table = db.toToon({ ...options, name: 'packages' })
  const lines = table.split('\n')
  quote(lines.slice(0, 9))
  if (lines.length > 9) say(`| ... ${count(lines.length - 9)} more lines`)
  const packages = Object.fromEntries(db.range(options))
  const json = JSON.stringify({ packages })
  say(`${count(table.length)} characters; the same as JSON takes ${count(json.length)}.`)
  const nulls = Object.fromEntries(options.fields.map(field => [field, null])) // what a document lacks is null in the table
  const expected = Object.fromEntries(Object.entries(packages).map(([key, picked]) => [key, { ...nulls, ...picked }]))
  assert.deepStrictEqual(decode(table), { packages: expected })
  return { table, json }
}

function countTokens ({ table, json }, { documents }) {
  heading('5. What a language model reads, in tokens (counted with gpt-tokenizer, o200k_base)')
  const tokenizer = findTokenizer()
  if (tokenizer === undefined) return say('gpt-tokenizer is not installed; with it the tour counts them: npm install gpt-tokenizer')
  const tell = (what, toon, compact) => {
    const [ours, theirs] = [tokenizer(toon), tokenizer(compact)]
    const share = Math.abs(1 - ours / theirs) * 100
    say(`${what}: ${count(ours)} as TOON, ${count(theirs)} as compact JSON: ${share.toFixed(1)} % ${ours > theirs ? 'more' : 'less'}`)
  }
  tell('that table', table, json)
  const some = documents.slice(0, 100).map(({ value }) => value)
  tell(`${plural(some.length, 'whole document')}, mixed and nested`, encode(some), JSON.stringify(some))
}

async function reopen (dir, { documents, lines }) {
  heading('6. Closing, opening again, counting')
  const start = performance.now()
  const db = await ToonStore.open(dir)
  const ms = performance.now() - start
  try {
    assert.strictEqual(db.size, documents.length)
    assert.strictEqual(db.rows.length, lines.length)
    for (const { key } of documents) assert(db.has(key), key)
    say(`Opened in ${ms.toFixed(1)} ms: ${plural(db.size, 'key')} and ${plural(db.rows.length, 'row')}, as many as were written.`)
  } finally {
    await db.close()
  }
}

async function main () {
  const dir = path.resolve(DIRECTORY)
  const source = sourceDirectory()
  await freshDirectory(dir)
  console.log(`toonstore ${require('../../package.json').version}: a guided tour. ` +
    `It stores what it finds in ${path.relative('.', source) || source} in ./${DIRECTORY}.`)
  const found = findDocuments(source)
  const db = await ToonStore.open(dir)
  try {
    const ids = await write(db, found)
    await compare(db, found, ids)
    showFile(dir)
    countTokens(showTable(db), found)
  } finally {
    await db.close()
  }
  await reopen(dir, found)
  heading(`Done. The store stays in ./${DIRECTORY}: open db.toon with any editor.`)
}

process.stdout.on('error', err => process.exit(err.code === 'EPIPE' ? 0 : 1)) // as with `| head`

main().catch(err => {
  console.error(err instanceof Refusal ? `toonstore tour: ${err.message}` : err)
  process.exitCode = 1
})
