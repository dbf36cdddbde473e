'use strict'
// Long texts piece by piece: encodeLines makes the lines of a text, decodeStream reads a text that comes in chunks.

const { constants } = require('node:buffer')
const { types } = require('node:util')
const { native } = require('./binding')
const { ToonError, invalidType, show } = require('./errors')
const { encode, encodeOptions, decodeOptions } = require('./encoding')
const { applyReplacer, stringify } = require('./replacer')
const { isBytes } = require('./values')

const LARGE_ARRAY = 1000 // elements, from which an array is written in batches
const BATCH_ROWS = 256
const BATCH_CHARS = 64 * 1024 // of text, decoded at once

// ---- encoding ----

function * linesOf (text) {
  if (text === '') return
  let at = 0
  for (let stop; (stop = text.indexOf('\n', at)) >= 0; at = stop + 1) yield text.slice(at, stop)
  yield text.slice(at)
}

const isLargeArray = value => Array.isArray(value) && value.length >= LARGE_ARRAY && typeof value.toJSON !== 'function'

// True if the batches of an array may be made one by one: toJSON is told the place of a row, which is another in a batch.
const isRow = row => row !== null && typeof row === 'object' && typeof row.toJSON !== 'function'

/*
 * A large array, at the root or (with a key) as the only property. It is a table if all its rows are like the first, so it
 * is one if every batch of rows behind the first row is one with the same columns.
 */
function * largeArrayLines (array, key, { delimiter, indentSize }) {
  const put = json => native.encode(key === undefined ? json : `{${JSON.stringify(key)}:${json}}`, delimiter.charCodeAt(0), indentSize)
  const label = key === undefined ? '' : put('null').slice(0, -': null'.length)
  const start = count => `${label}[${count}${delimiter === ',' ? '' : delimiter}]`
  const total = array.length
  let columns

  // The lines of the first row and of those from `from`; undefined if that is no table or one with other columns.
  function batch (from) {
    const rows = [array[0]]
    for (let i = from; i < total && i < from + BATCH_ROWS; i++) rows.push(array[i])
    if (!rows.every(isRow)) return
    const text = put(stringify(rows))
    const head = start(rows.length)
    const end = text.indexOf('\n')
    if (!text.startsWith(`${head}{`)) return
    columns ??= text.slice(head.length, end)
    return text.slice(head.length, end) === columns ? linesOf(text.slice(end + 1)) : undefined
  }

  for (let from = 1; from < total; from += BATCH_ROWS) {
    if (batch(from)) continue
    yield * linesOf(put(stringify(array)))
    return
  }
  yield start(total) + columns
  for (let from = 1; from < total; from += BATCH_ROWS) {
    const lines = array.length === total ? batch(from) : undefined
    if (!lines) throw invalidType('the value was changed while its lines were made')
    if (from > 1) lines.next()
    yield * lines
  }
}

// An object with a large array. It is no keyed table, so its properties can be written one after another.
function * objectLines (object, options) {
  const keys = Object.keys(object)
  const large = keys.find(key => isLargeArray(object[key]))
  const dummy = `${JSON.stringify(large)}:[]` // keeps the others from being a keyed table when they are written without it
  let run = []
  function * runLines () {
    if (run.length === 0) return
    const text = native.encode(`{${run.join(',')},${dummy}}`, options.delimiter.charCodeAt(0), options.indentSize)
    run = []
    yield * linesOf(text.slice(0, text.lastIndexOf('\n')))
  }
  for (const key of keys) {
    const value = object[key]
    if (isLargeArray(value)) {
      yield * runLines()
      yield * largeArrayLines(value, key, options)
    } else {
      const json = stringify({ [key]: value }).slice(1, -1)
      if (json !== '') run.push(json)
    }
  }
  yield * runLines()
}

function * valueLines (value, options) {
  if (options.replacer && !isBytes(value)) {
    value = applyReplacer(value, options.replacer)
    options = { ...options, replacer: undefined }
  }
  if (isLargeArray(value)) {
    yield * largeArrayLines(value, undefined, options)
  } else if (isRow(value) && !Array.isArray(value) && !isBytes(value) && !types.isBoxedPrimitive(value) &&
             Object.keys(value).some(key => isLargeArray(value[key]))) {
    yield * objectLines(value, options)
  } else {
    yield * linesOf(encode(value, options))
  }
}

/**
 * The lines of encode(value, options), without line ends: joined with '\n' they are its text. Large arrays of uniform
 * objects (tables), at the root or as properties of the root, are encoded twice in batches of rows, so that neither their
 * text nor their JSON is ever in memory as a whole; everything else is encoded whole when its turn comes, and with a
 * replacer the replaced value is made first. The value must not change until the last line is taken.
 *
 * @param {any} value
 * @param {object} [options] those of encode
 * @returns {Generator<string, void, undefined>}
 * @throws {TypeError} TOON_EINVAL: wrong options; while iterating: what encode throws
 * @example
 * for (const line of encodeLines({ users })) out.write(line + '\n')
 */
function encodeLines (value, options) {
  return valueLines(value, encodeOptions(options, 'encodeLines'))
}

// ---- events ----

// The place of the quote that closes the JSON string at `i`.
function closingQuote (json, i) {
  for (let end = json.indexOf('"', i + 1); ; end = json.indexOf('"', end + 1)) {
    let slashes = 0
    while (json.charCodeAt(end - 1 - slashes) === 92) slashes++
    if (slashes % 2 === 0) return end
  }
}

// The lengths of the arrays in a JSON text without spaces, in the order of their brackets.
function arrayLengths (json) {
  const lengths = []
  const stack = [-1] // the array of each open level, -1 for objects
  for (let i = 0; i < json.length; i++) {
    switch (json.charCodeAt(i)) {
      case 34: i = closingQuote(json, i); break // "
      case 44: if (stack.at(-1) >= 0) lengths[stack.at(-1)]++; break // ,
      case 91: // [
        stack.push(lengths.length)
        lengths.push(json.charCodeAt(i + 1) === 93 ? 0 : 1)
        break
      case 123: stack.push(-1); break // {
      case 93: case 125: stack.pop(); break // ] }
    }
  }
  return lengths
}

// The events of a JSON text without spaces, in its order (JSON.parse would move keys like "1" to the front).
function * eventsOf (json) {
  const lengths = arrayLengths(json)
  const stack = []
  let arrays = 0
  let inObject = false
  let atKey = false
  for (let i = 0; i < json.length;) {
    switch (json.charCodeAt(i)) {
      case 123: // {
        yield { type: 'startObject' }
        stack.push(inObject)
        inObject = atKey = true
        i++
        break
      case 91: // [
        yield { type: 'startArray', length: lengths[arrays++] }
        stack.push(inObject)
        inObject = atKey = false
        i++
        break
      case 125: case 93: // } ]
        yield { type: inObject ? 'endObject' : 'endArray' }
        inObject = stack.pop()
        i++
        break
      case 44: // ,
        atKey = inObject
        i++
        break
      case 58: // :
        atKey = false
        i++
        break
      case 34: { // a string, cut out by JSON.parse: a slice would keep the whole text alive
        const end = closingQuote(json, i) + 1
        const value = JSON.parse(json.slice(i, end))
        yield atKey ? { type: 'key', key: value } : { type: 'primitive', value }
        i = end
        break
      }
      default: {
        let end = i + 1
        for (let c; end < json.length && (c = json.charCodeAt(end)) !== 44 && c !== 93 && c !== 125;) end++
        yield { type: 'primitive', value: JSON.parse(json.slice(i, end)) }
        i = end
      }
    }
  }
}

// ---- decoding ----

const BLANK_OR_COMMENT = /^ *(?:#.*|\r?)$/s
// A table's header: key, length, the rest. What is wrong in the rest is found when it is decoded.
const TABLE = /^("(?:[^"\\]|\\.)*"|[^"[\]{}:]*)\[(0|[1-9]\d*)([|\t]?\]\{.*\}: *\r?)$/s

// True if a line has a colon outside quotes.
function hasColon (line) {
  for (let i = 0; i < line.length; i++) {
    const c = line[i]
    if (c === ':') return true
    if (c !== '"') continue
    for (i++; i < line.length && line[i] !== '"'; i++) if (line[i] === '\\') i++
  }
  return false
}

// True if a line continues what stands above it: indented, blank or a comment. Others begin a unit.
function continues (line) {
  const c = line.charCodeAt(0)
  return c === 32 || c === 35 || c === 9 || c === 13 || line === ''
}

function syntaxError (line, column, expected) {
  return new ToonError('TOON_ESYNTAX', `line ${line}, column ${column}: expected ${expected}`, { line, column })
}

/*
 * Takes text, gives events. The text is cut into lines; a line in column 0 begins a unit, which is a field of the root.
 * Units are decoded by the addon many at once; a unit that grows and is a table is decoded in batches of its rows. What is
 * no object and no table, and everything in non-strict mode, is gathered and decoded at the end.
 */
class StreamDecoder {
  constructor ({ strict, indentSize }) {
    this.strict = strict
    this.indentSize = indentSize
    this.add = this.begin // what takes the next line
    this.out = [] // iterables of events
    this.tail = [] // pieces of the line that has not ended
    this.tailSize = 0
    this.lines = 0 // seen
    this.mark = false // a byte order mark stood in front
    this.parts = [] // lines to be decoded
    this.size = 0 // of these
    this.base = 0 // lines in front of these
    this.dummy = `_${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)}`
    this.keys = new Set() // of the root
    this.units = [] // line numbers of the units in `parts`
    this.unitParts = 0 // where the last of them begins in `parts`
    this.unitSize = 0
    this.table = undefined
  }

  * push (text) {
    const last = text.lastIndexOf('\n')
    this.tail.push(last < 0 ? text : text.slice(0, last))
    this.tailSize += text.length
    this.checkSize(this.tailSize)
    if (last < 0) return
    const block = this.tail.join('')
    this.tail = [text.slice(last + 1)]
    this.tailSize = text.length - last - 1
    for (const line of block === '' ? [''] : linesOf(block)) {
      this.take(line)
      if (this.out.length) yield * this.drain()
    }
  }

  * end () {
    const rest = this.tail.join('')
    if (rest !== '') this.take(rest)
    if (this.table) this.endTable()
    else if (this.units.length) this.flushUnits(this.parts.length)
    if (this.add === this.begin || this.add === this.gather) {
      this.out.push(eventsOf(this.decode('\n' + this.parts.join('\n'), line => this.base + line - 1)))
    } else if (!this.table?.root) {
      this.out.push([{ type: 'endObject' }])
    }
    yield * this.drain()
  }

  * drain () {
    const out = this.out
    this.out = []
    for (const events of out) yield * events
  }

  // Where the text ends if `text` follows, 1-based, the column in bytes.
  where (text) {
    const all = this.tail.join('') + text
    const line = all.slice(all.lastIndexOf('\n') + 1)
    return { line: this.lines + all.split('\n').length, column: Buffer.byteLength(line) + 1 }
  }

  checkSize (size) {
    if (size < constants.MAX_STRING_LENGTH / 2) return
    throw new ToonError('TOON_EVALUETOOBIG', 'a part of the text that can only be decoded as a whole is too long')
  }

  take (line) {
    if (++this.lines === 1 && line[0] === '\ufeff') {
      this.mark = true
      line = line.slice(1)
    }
    this.add(line)
  }

  keep (line) {
    this.parts.push(line)
    this.size += line.length + 1
    this.checkSize(this.size)
  }

  // JSON of a text, of which one line stands in front of what was read; lineOf: its lines to those of the stream.
  decode (text, lineOf, columnOf = column => column) {
    try {
      return native.decode(text, this.indentSize, this.strict ? 1 : 0)
    } catch (err) {
      if (err.code !== 'TOON_ESYNTAX' || err.line === undefined) throw err
      const line = Math.max(lineOf(err.line), 1)
      const column = columnOf(err.column, err.line) + (line === 1 && this.mark ? 3 : 0)
      const message = err.message.replace(/^line \d+, column \d+/, `line ${line}, column ${column}`)
      throw new ToonError(err.code, message, { line, column })
    }
  }

  addKey (key, line) {
    if (this.keys.has(key)) throw syntaxError(line, 1, 'no key twice in an object')
    this.keys.add(key)
  }

  // -- what takes lines --

  begin (line) {
    if (BLANK_OR_COMMENT.test(line)) return
    this.base = this.lines - 1
    const table = this.strict && line[0] === '[' && hasColon(line) && TABLE.exec(line)
    if (table) {
      this.beginTable(table)
    } else if (this.strict && !continues(line) && line[0] !== '[' && hasColon(line)) {
      this.out.push([{ type: 'startObject' }])
      this.beginUnit(line)
    } else {
      this.add = this.gather
      this.keep(line)
    }
  }

  gather (line) {
    this.keep(line)
  }

  beginUnit (line) {
    if (this.size >= BATCH_CHARS) this.flushUnits(this.parts.length)
    this.add = this.addToUnits
    this.unitParts = this.parts.length
    this.unitSize = 0
    this.units.push(this.lines)
    this.keep(line)
  }

  addToUnits (line) {
    if (!continues(line)) return this.beginUnit(line)
    this.unitSize += line.length + 1
    this.keep(line)
    // Once: a unit that is no table stays whole, however long it gets.
    if (this.unitSize < BATCH_CHARS || this.unitSize - line.length - 1 >= BATCH_CHARS) return
    const table = TABLE.exec(this.parts[this.unitParts])
    if (!table || table[1] === '') return
    const lines = this.parts.slice(this.unitParts)
    const header = this.units.pop()
    const seen = this.lines
    if (this.units.length) this.flushUnits(this.unitParts)
    this.lines = header
    this.beginTable(table)
    for (let i = 1; i < lines.length; i++) {
      this.lines++
      this.addToTable(lines[i])
    }
    this.lines = seen
  }

  // Decode the units in the first `count` lines of `parts`, and drop all lines.
  flushUnits (count) {
    const { base, units } = this
    const json = this.decode(`${this.dummy}: 0\n${this.parts.slice(0, count).join('\n')}`, line => base + line - 1)
    this.out.push(this.fields('{' + json.slice(`{"${this.dummy}":0,`.length), units))
    this.reset([])
  }

  reset (parts) {
    this.parts = parts
    this.size = 0
    this.units = []
    this.base = this.lines - (this.add === this.addToTable ? 0 : 1)
  }

  * fields (json, units) {
    let depth = 0
    let unit = 0
    for (const event of eventsOf(json)) {
      if (event.type === 'startObject' || event.type === 'startArray') {
        if (depth++ === 0) continue
      } else if (event.type === 'endObject' || event.type === 'endArray') {
        if (--depth === 0) return
      } else if (event.type === 'key' && depth === 1) {
        this.addKey(event.key, units[unit++])
      }
      yield event
    }
  }

  // -- tables --

  beginTable ([, key, length, rest]) {
    this.add = this.addToTable
    this.table = { key, length, rest, root: key === '', line: this.lines, rows: 0, batch: 0, blank: 0, first: true }
    this.reset([])
  }

  addToTable (line) {
    const { table } = this
    if (!continues(line)) {
      this.endTable()
      if (table.root) throw syntaxError(this.lines, 1, 'nothing behind the value that is the document')
      this.table = undefined
      this.base = this.lines - 1
      return this.beginUnit(line)
    }
    let at = 0
    while (line.charCodeAt(at) === 32) at++
    if (at === line.length || (at === line.length - 1 && line.charCodeAt(at) === 13)) {
      if (table.rows && !table.blank) table.blank = this.lines
    } else if (line.charCodeAt(at) !== 35) {
      if (table.blank) throw syntaxError(this.lines, at + 1, 'no blank line inside a table or list')
      if (++table.rows > Number(table.length)) throw syntaxError(this.lines, at + 1, 'no more rows than the header says')
      table.batch++
    }
    this.keep(line)
    if (this.size >= BATCH_CHARS && table.batch) this.flushRows()
  }

  flushRows () {
    const { table, base } = this
    const count = String(table.batch)
    const header = `${table.key}[${count}${table.rest}`
    const bracket = Buffer.byteLength(table.key) + 1
    const json = this.decode(`\n${header}\n${this.parts.join('\n')}`,
      line => line <= 2 ? table.line : base + line - 2,
      (column, line) => line === 2 && column > bracket ? column + table.length.length - count.length : column)
    this.out.push(this.rows(json, table, table.first))
    table.first = false
    table.batch = 0
    this.reset([])
  }

  endTable () {
    const { table } = this
    if (table.batch || table.first) this.flushRows()
    if (table.rows !== Number(table.length)) throw syntaxError(this.lines, 1, 'as many entries as the header says')
    this.out.push([{ type: 'endArray' }])
  }

  * rows (json, table, first) {
    const top = table.root ? 1 : 2 // depth of the array
    let depth = 0
    for (const event of eventsOf(json)) {
      if (event.type === 'startObject' || event.type === 'startArray') {
        if (++depth <= top) {
          if (first && depth === top) yield { type: 'startArray', length: Number(table.length) }
          continue
        }
      } else if (event.type === 'endObject' || event.type === 'endArray') {
        if (depth-- <= top) continue
      } else if (depth < top) {
        if (!first) continue
        this.addKey(event.key, table.line)
      }
      yield event
    }
  }
}

// Bytes to text: characters that are cut by the end of a chunk wait for the next one.
class Utf8 {
  pending = new Uint8Array(0)

  // `where` tells the place of a fault.
  text (bytes, where) {
    const all = this.pending.length ? Buffer.concat([this.pending, bytes]) : bytes
    let lead = all.length - 1
    while (lead >= 0 && lead > all.length - 4 && (all[lead] & 0xC0) === 0x80) lead--
    const need = all[lead] >= 0xF0 ? 4 : all[lead] >= 0xE0 ? 3 : all[lead] >= 0xC0 ? 2 : 1
    const cut = lead >= 0 && lead + need > all.length ? lead : all.length
    try {
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(all.subarray(0, cut))
      this.pending = Uint8Array.from(all.subarray(cut))
      return text
    } catch (err) {
      if (err.code !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw err
      throw this.fault(all, where)
    }
  }

  // At the end of the bytes.
  end (where) {
    if (this.pending.length) throw this.fault(this.pending, where)
  }

  fault (bytes, where) {
    const prefix = count => {
      try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, count), { stream: true })
      } catch {
        return undefined // not valid: that is what is asked
      }
    }
    let low = 0
    for (let high = bytes.length; low < high;) {
      const middle = (low + high + 1) >> 1
      if (prefix(middle) === undefined) high = middle - 1
      else low = middle
    }
    const { line, column } = where(prefix(low))
    return syntaxError(line, column, 'valid UTF-8')
  }
}

async function * streamEvents (chunks, options) {
  const decoder = new StreamDecoder(options)
  const utf8 = new Utf8()
  const where = text => decoder.where(text)
  for await (const chunk of chunks) {
    let text = chunk
    if (isBytes(chunk)) text = utf8.text(chunk, where)
    else if (typeof chunk === 'string') utf8.end(where)
    else throw invalidType(`a chunk must be a string or a Uint8Array (got ${show(chunk)})`)
    for (const event of decoder.push(text)) yield event
  }
  utf8.end(where)
  for (const event of decoder.end()) yield event
}

/**
 * The events of a TOON text that comes in chunks, cut anywhere (also inside a character). The events are those of the
 * reference implementation, in the order of the text; but that takes lines where this takes chunks, such as a file's or a
 * socket's. In strict mode fields of the root and the rows of tables (at the root or as fields of it) go by as they come,
 * and only the root's keys are kept; a field of another kind is gathered until it ends, and a root of another kind, or any
 * text in non-strict mode, until the end of the text. What was wrong may thus be thrown behind events of the text before it.
 * A loop that ends early calls return() of the source.
 *
 * @param {Iterable<string|Uint8Array>|AsyncIterable<string|Uint8Array>} chunks
 * @param {object} [options] those of decode
 * @returns {AsyncGenerator<object, void, undefined>} { type: 'startObject' | 'endObject' | 'endArray' },
 *   { type: 'startArray', length }, { type: 'key', key }, { type: 'primitive', value }
 * @throws {TypeError} TOON_EINVAL: wrong options or chunks; while iterating {ToonError} TOON_ESYNTAX with the line and
 *   column in the whole text, also for invalid UTF-8
 * @example
 * for await (const event of decodeStream(fs.createReadStream('users.toon'))) {
 *   if (event.type === 'primitive') console.log(event.value)
 * }
 */
function decodeStream (chunks, options) {
  if (chunks === null || typeof chunks !== 'object' || isBytes(chunks) || !(chunks[Symbol.asyncIterator] ?? chunks[Symbol.iterator])) {
    throw invalidType(`chunks must be an iterable of strings or Uint8Arrays (got ${show(chunks)})`)
  }
  return streamEvents(chunks, decodeOptions(options, 'decodeStream'))
}

module.exports = { encodeLines, decodeStream }
