'use strict'
// exportToon(): a large result as TOON in chunks of text, in memory that does not grow with it. The rows are read twice,
// from one snapshot: the head of a table says how many they are, and that all are alike.

const { invalidType } = require('./errors')
const { isBytes } = require('./values')
const { encode } = require('./encoding')

const ROWS = 256 // in a chunk

const isScalar = value => typeof value !== 'object' || value === null
const isObject = value => !isScalar(value) && !Array.isArray(value) && !isBytes(value)

// The token of a key, as the encoder writes it.
function token (key) {
  return encode({ [key]: 1 }).slice(0, -3)
}

// How many rows there are, and the names of their columns if they make a table: objects of scalars with the same names. With
// `columns`, what a row lacks is null.
async function survey (rows, columns) {
  let count = 0
  let names
  let alike = true
  for await (const [, value] of rows) {
    count++
    if (!alike) continue
    const own = isObject(value) ? Object.keys(value) : []
    names ??= columns ?? own
    alike = isObject(value) && names.length > 0 && own.every(name => isScalar(value[name])) &&
      (columns !== undefined || (own.length === names.length && names.every(name => Object.hasOwn(value, name))))
  }
  return { count, names: alike ? names : undefined }
}

function pick (value, names) {
  return Object.fromEntries(names.map(name => [name, Object.hasOwn(value, name) ? value[name] : null]))
}

// What the encoder makes of items in an array, without its head. There is a null behind them, so that it is a list.
function itemsOf (values) {
  const text = encode([...values, null])
  return text.slice(text.indexOf('\n') + 1, text.lastIndexOf('\n'))
}

// The lines of a table, one for each row.
function cellsOf (values, names, delimiter) {
  return encode(values.map(value => pick(value, names)), { delimiter }).split('\n').slice(1).map(line => line.slice(2))
}

/**
 * @param {function(): AsyncIterable<[string, any]>} open - begins a walk over the rows; called twice
 * @param {{ keyed: boolean, name: string|undefined, delimiter: ','|'\t'|'|', columns: string[]|undefined }} how - keyed: an
 *   object of rows by their keys, else an array
 * @returns {AsyncGenerator<string>} whose chunks, joined, are the document
 */
async function * exportToon (open, { keyed, name, delimiter, columns }) {
  const { count, names } = await survey(open(), columns)
  const front = name === undefined ? '' : token(name)
  // A keyed table has two rows or more, as the encoder has it.
  const table = names !== undefined && count >= (keyed ? 2 : 1)
  const length = `[${count}${keyed ? ':' : ''}${delimiter === ',' ? '' : delimiter}]`
  if (count === 0) {
    const none = keyed ? {} : []
    yield encode(name === undefined ? none : { [name]: none })
    return
  }
  let text = ''
  if (table) {
    const head = encode([pick({}, names)], { delimiter })
    text = `${front}${length}${head.slice(head.indexOf('{'), head.indexOf('\n'))}`
  } else if (!keyed || name !== undefined) {
    text = `${front}${keyed ? '' : `[${count}]`}:`
  }
  let chunk = []

  function take () {
    const values = chunk.map(row => isBytes(row[1]) ? `base64:${Buffer.from(row[1]).toString('base64')}` : row[1])
    const keys = chunk.map(row => row[0])
    chunk = []
    if (table) return cellsOf(values, names, delimiter).map((cells, i) => `  ${keyed ? `${token(keys[i])}: ` : ''}${cells}`).join('\n')
    if (!keyed) return itemsOf(values)
    const picked = value => isObject(value) ? pick(value, columns) : value
    const whole = value => columns === undefined ? value : Array.isArray(value) ? value.map(picked) : picked(value)
    const rows = values.map((value, i) => encode({ [keys[i]]: whole(value) }))
    return name === undefined ? rows.join('\n') : `  ${rows.join('\n').replaceAll('\n', '\n  ')}`
  }

  for await (const row of open()) {
    if (keyed && typeof row[0] !== 'string') throw invalidType('a key of the range is not UTF-8, and has no form in TOON')
    if (!keyed && columns !== undefined) row[1] = pick(row[1], columns)
    chunk.push(row)
    if (chunk.length < ROWS) continue
    yield `${text}${text === '' ? '' : '\n'}`
    text = take()
  }
  if (chunk.length > 0) text = `${text}${text === '' ? '' : '\n'}${take()}`
  yield text
}

module.exports = { exportToon }
