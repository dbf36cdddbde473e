'use strict'
// Rows of decoded tables. The addon hands a table over by columns; a function made for its columns builds the objects,
// about six times as fast as JSON.parse would.

// Kinds of columns; enum toon_column_kind of csrc/toon/toon.h.
const INT = '1'
const DOUBLE = '2'
const BOOL = '3'
const TEXT = '4'
const DICT = '6'

const FACTORIES_MAX = 1000

// Not where code must not be made of strings (node --disallow-code-generation-from-strings, CSP in Electron).
const canGenerate = (() => {
  try {
    return new Function('return true')()
  } catch {
    return false
  }
})()

// The function (rows, numbers, texts) => objects of a pattern: the JSON of a row, with \x01 and a kind for each cell. The
// pattern comes from the addon and is JSON, without escapes, around the cells; JSON is JavaScript, but for __proto__.
function compile (pattern) {
  const [head, ...cells] = pattern.split('\x01')
  let columns = 'let at = 0\n'
  let texts = 0
  let row = head
  cells.forEach((cell, i) => {
    const kind = cell[0]
    const element = `c${i}[i]`
    switch (kind) {
      case INT:
        columns += `const c${i} = new Int32Array(numbers, at, rows); at += (4 * rows + 7) & -8\n`
        break
      case DOUBLE:
        columns += `const c${i} = new Float64Array(numbers, at, rows); at += 8 * rows\n`
        break
      case BOOL:
        columns += `const c${i} = new Uint8Array(numbers, at, rows); at += (rows + 7) & -8\n`
        break
      case DICT:
        columns += `const d${i} = JSON.parse(texts[${texts++}]), c${i} = new Uint16Array(numbers, at, rows); at += (2 * rows + 7) & -8\n`
        break
      case TEXT:
        columns += `const c${i} = texts[${texts++}].split('\\n')\n`
        break
      default:
        columns += `const c${i} = JSON.parse(texts[${texts++}])\n`
    }
    row += (kind === BOOL ? `${element} === 1` : kind === DICT ? `d${i}[${element}]` : element) + cell.slice(1)
  })
  row = row.replaceAll('"__proto__":', '["__proto__"]:')
  return new Function('rows', 'numbers', 'texts',
    `'use strict'\n${columns}const out = new Array(rows)\nfor (let i = 0; i < rows; i++) out[i] = ${row}\nreturn out`)
}

const factories = new Map() // pattern -> function, the oldest first

function factoryOf (pattern) {
  let factory = factories.get(pattern)
  if (factory === undefined) {
    factory = compile(pattern)
    if (factories.size >= FACTORIES_MAX) factories.delete(factories.keys().next().value)
    factories.set(pattern, factory)
  }
  return factory
}

/**
 * The value of a document with tables.
 *
 * @param {Array} parts - JSON text with null where a table belongs; then for each table its path, pattern, number of rows,
 *   columns of numbers, and columns of texts
 * @returns {any}
 */
function assemble (parts) {
  let value = JSON.parse(parts[0])
  for (let i = 1; i < parts.length; i += 5) {
    const rows = factoryOf(parts[i + 1])(parts[i + 2], parts[i + 3], parts[i + 4])
    const path = JSON.parse(parts[i])
    if (path.length === 0) {
      value = rows
      continue
    }
    const name = path.pop()
    let at = value
    for (const step of path) at = at[step]
    Object.defineProperty(at, name, { value: rows }) // null is there already; name may be __proto__
  }
  return value
}

/** The objects of a table as queries give it. */
function rowsOf ([pattern, rows, numbers, texts]) {
  return factoryOf(pattern)(rows, numbers, texts)
}

/**
 * The columns of a table as queries give it, in their order: typed arrays of numbers, arrays of all else.
 *
 * @returns {(Int32Array|Float64Array|Array)[]}
 */
function columnsOf ([pattern, rows, numbers, texts]) {
  let at = 0
  let text = 0
  const take = (Type, width) => {
    const from = at
    at += (width * rows + 7) & -8
    return new Type(numbers, from, rows)
  }
  return pattern.split('\x01').slice(1).map(cell => {
    switch (cell[0]) {
      case INT: return take(Int32Array, 4)
      case DOUBLE: return take(Float64Array, 8)
      case BOOL: return Array.from(take(Uint8Array, 1), byte => byte === 1)
      case DICT: {
        const values = JSON.parse(texts[text++])
        return Array.from(take(Uint16Array, 2), code => values[code])
      }
      case TEXT: return texts[text++].split('\n')
      default: return JSON.parse(texts[text++])
    }
  })
}

module.exports = { assemble, canGenerate, rowsOf, columnsOf }
