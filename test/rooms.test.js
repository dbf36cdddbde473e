'use strict'
// The rooms of csrc and the doors between them (csrc/DESIGN.md, section 9): which folder may include which.
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')

const csrc = path.join(__dirname, '..', 'csrc')
const doors = {
  base: [],
  os: ['base'],
  toon: ['base'],
  log: ['os', 'toon', 'base'],
  index: ['os', 'base'],
  cache: ['os', 'base'],
  column: ['os', 'toon', 'base'],
  store: ['base', 'os', 'toon', 'log', 'index', 'cache', 'column', 'toonstore.h'],
  query: ['toonstore.h', 'base', 'toon', 'column'],
  resp: ['toonstore.h', 'query/where.h', 'base'],
  napi: ['toonstore.h', 'query/query.h', 'resp/server.h', 'base/utf.h'], // JavaScript strings are UTF-16: the conversion is shared
  'toonstore.h': ['base', 'toon/toon.h']
}

const sources = fs.readdirSync(csrc, { recursive: true, withFileTypes: true })
  .filter(e => e.isFile() && /\.(c|cc|h)$/.test(e.name))
  .map(e => path.relative(csrc, path.join(e.parentPath ?? e.path, e.name)))

function includes (file) {
  const text = fs.readFileSync(path.join(csrc, file), 'utf8')
  return [...text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)].map(m => m[1])
}

describe('the rooms of csrc', () => {
  it('include only through the doors that the design names', () => {
    const wrong = []
    for (const file of sources) {
      const room = file.includes('/') ? file.split('/')[0] : file
      assert.ok(doors[room], `csrc/${room} is no room of the design`)
      for (const included of includes(file)) {
        const own = included.startsWith(room + '/') || fs.existsSync(path.join(csrc, room, included))
        if (!own && !doors[room].some(door => included === door || included.startsWith(door + '/'))) wrong.push(`${file} includes ${included}`)
      }
    }
    assert.deepStrictEqual(wrong, [])
  })

  it('are files that a reader can take in, and say at once what they are', () => {
    for (const file of sources) {
      const text = fs.readFileSync(path.join(csrc, file), 'utf8')
      const lines = text.split('\n').length
      assert.ok(lines <= 1100, `${file} has ${lines} lines; split it`)
      assert.match(text, /^\s*(\/\*|\/\/)/, `${file} does not open with what it is`)
    }
  })

  it('call the operating system in os/ only', () => {
    const calls = /\b(fopen|open|pread|pwrite|fsync|fdatasync|ftruncate|mmap|munmap|rename|unlink|clock_gettime|getrandom)\s*\(/
    for (const file of sources.filter(f => !/^(os|napi|resp)\//.test(f))) {
      const text = fs.readFileSync(path.join(csrc, file), 'utf8').replace(/\/\*[^]*?\*\//g, '')
      for (const line of text.split('\n')) {
        const call = line.match(calls)
        assert.ok(!call || /->\w*$|\.\w*$/.test(line.slice(0, call.index)) || /_$/.test(line.slice(0, call.index)), `${file}: ${line.trim()}`)
      }
    }
  })
})
