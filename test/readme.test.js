'use strict'
// The README keeps its word: its example runs, prints what it says, and leaves the file that it shows.

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { isDeepStrictEqual } = require('node:util')
const { decode } = require('..')
const { setup } = require('./support')

const root = path.join(__dirname, '..')
const readme = fs.readFileSync(path.join(root, 'README.md'), 'utf8')
const block = language => readme.match(new RegExp('^```' + language + '\\n([^]*?)^```', 'm'))[1]

describe('README', () => {
  const { folder } = setup()

  it('has an example that prints what it says and leaves the file that is shown', () => {
    const dir = folder()
    fs.mkdirSync(path.join(dir, 'node_modules'))
    fs.symlinkSync(root, path.join(dir, 'node_modules', 'toonstore'))
    fs.writeFileSync(path.join(dir, 'example.mjs'), block('js'))
    const run = spawnSync(process.execPath, ['example.mjs'], { cwd: dir, encoding: 'utf8', timeout: 30000 })
    assert.strictEqual(run.stderr, '')
    assert.strictEqual(run.stdout, block('text'))
    const file = fs.readFileSync(path.join(dir, 'data', 'db.toon')).subarray(16).toString()
    const withoutChecksums = text => text.replace(/^(# commit .*) [0-9a-f]{8}$/gm, '$1')
    assert.strictEqual(withoutChecksums(file), withoutChecksums(block('toon')))
  })

  it('has a prompt of real data that holds what a plain filter finds, within its budget', () => {
    const dir = folder()
    fs.mkdirSync(path.join(dir, 'node_modules'))
    fs.symlinkSync(root, path.join(dir, 'node_modules', 'toonstore'))
    const code = readme.match(/^```js\n\/\/ prompt\.mjs\n([^]*?)^```/m)[1].replace("open('./prompt-data')", `open(${JSON.stringify(path.join(dir, 'data'))})`)
    fs.writeFileSync(path.join(dir, 'prompt.mjs'), code)
    const run = spawnSync(process.execPath, [path.join(dir, 'prompt.mjs')], { cwd: root, encoding: 'utf8', timeout: 30000 })
    assert.strictEqual(run.stderr, '')
    const [, table, left] = run.stdout.match(/^([^]*?)# (\d+) more rows\n$/)
    const expected = fs.readdirSync(path.join(root, 'node_modules'), { recursive: true }).filter(file => /(^|\/)package\.json$/.test(file))
      .map(file => fs.readFileSync(path.join(root, 'node_modules', file), 'utf8'))
      .map(text => ({ text, ...JSON.parse(text) }))
      .filter(({ name = null, license = null }) => name !== null && license !== null && license !== 'MIT')
      .map(({ name, version = null, license, text }) => ({ name, version, license, bytes: text.length }))
    const { packages } = decode(table)
    assert.strictEqual(packages.length + Number(left), expected.length)
    const bytes = expected.map(row => row.bytes).sort((a, b) => b - a)
    assert.deepStrictEqual(packages.map(row => row.bytes), bytes.slice(0, packages.length))
    for (const row of packages) assert.ok(expected.some(other => isDeepStrictEqual(other, row)), row.name)
    assert.match(readme, /^packages\[\d+\]\{name,version,license,bytes\}:$/m)
  })

  it('names files that exist', () => {
    for (const [, target] of readme.matchAll(/\]\(([^)#:]+)\)/g)) {
      if (target === 'bench/results.md') continue // written by npm run bench
      assert(fs.existsSync(path.join(root, target)), target)
    }
  })
})

describe('the tour', () => {
  const { folder } = setup()
  const tour = (cwd, ...flags) => spawnSync(process.execPath, [...flags, path.join(root, 'lib', 'cli', 'tour.js')], { cwd, encoding: 'utf8', timeout: 30000 })

  it('runs, and runs again over what it has left', () => {
    const dir = folder()
    for (let i = 0; i < 2; i++) {
      const { status, stdout, stderr } = tour(dir)
      assert.strictEqual(stderr, '')
      assert.strictEqual(status, 0)
      assert.match(stdout, /all deeply equal/)
      assert.match(stdout, /packages\[\d+:\]\{name,version,license\}:/)
      assert.match(stdout, /that table: [\d,]+ as TOON, [\d,]+ as compact JSON: [\d.]+ % less/)
    }
  })

  it('goes on without the tokenizer, and says how to get it', () => {
    const dir = folder()
    const without = path.join(dir, 'without.js')
    fs.writeFileSync(without, `const Module = require('module')
      const resolve = Module._resolveFilename
      Module._resolveFilename = (name, ...rest) => resolve(name.startsWith('gpt-tokenizer') ? './absent/' + name : name, ...rest)`)
    const { status, stdout, stderr } = tour(dir, '-r', without)
    assert.strictEqual(stderr, '')
    assert.strictEqual(status, 0)
    assert.match(stdout, /npm install gpt-tokenizer/)
    assert.match(stdout, /Opened in/)
  })

  it('leaves a directory alone that it has not made', () => {
    const dir = folder()
    const mine = path.join(dir, 'toonstore-tour', 'mine.txt')
    fs.mkdirSync(path.dirname(mine))
    fs.writeFileSync(mine, 'keep me')
    const { status, stderr } = tour(dir)
    assert.strictEqual(status, 1)
    assert.match(stderr, /no tour has made/)
    assert.strictEqual(fs.readFileSync(mine, 'utf8'), 'keep me')
  })
})
