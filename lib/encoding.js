'use strict'
// TOON text: encode and decode, by the engine's codec.

const { native } = require('./binding')
const { invalidType, show } = require('./errors')
const { isBytes, checkBytes } = require('./values')
const { hasLongStrings, stringifyAround, hasLongLines, cutLongStrings, putBack } = require('./longstrings')
const { assemble, canGenerate } = require('./tables')
const { checkInteger, checkObject, checkNames, checkDelimiter } = require('./options')
const { applyReplacer } = require('./replacer')

const ENCODE_OPTIONS = new Set(['delimiter', 'indentSize', 'indent', 'replacer'])
const DECODE_OPTIONS = new Set(['strict', 'indentSize', 'indent'])

// The spaces per level; `indent` is the reference implementation's old name for them.
function indentOf ({ indentSize, indent }) {
  if (indentSize !== undefined && indent !== undefined && indentSize !== indent) {
    throw invalidType(`indent is another name of indentSize (got ${show(indent)} and ${show(indentSize)})`)
  }
  return checkInteger('indentSize', indentSize ?? indent ?? 2, 1, 16)
}

// The options of encode, checked and filled in; `what` they are of.
function encodeOptions (options, what) {
  const given = checkObject(options)
  checkNames(given, ENCODE_OPTIONS, `option of ${what}`)
  const { delimiter = ',', replacer } = given
  checkDelimiter(delimiter)
  if (replacer !== undefined && typeof replacer !== 'function') {
    throw invalidType(`replacer must be a function (got ${show(replacer)})`)
  }
  return { delimiter, indentSize: indentOf(given), replacer }
}

/**
 * A value as TOON text (spec v4). What JSON.stringify would drop or change is dropped or changed likewise; bytes are
 * written as base64:... (and not given to a replacer).
 *
 * Of the reference implementation @toon-format/toon, whose options these are, toonstore leaves out rawString, escapeString,
 * DELIMITERS, ToonDecodeError (a ToonError TOON_ESYNTAX here), decodeFromLines and decodeStreamSync.
 *
 * @param {any} value
 * @param {object} [options]
 * @param {','|'\t'|'|'} [options.delimiter=','] between the values of an array
 * @param {number} [options.indentSize=2] spaces per level, 1 to 16
 * @param {number} [options.indent] the same, by its old name
 * @param {(key: string, value: any, path: (string|number)[]) => any} [options.replacer] called with the root ('' and []),
 *   then with every property (its name) and element (its index as a string); what it returns takes the value's place and is
 *   gone into; undefined omits the value, or at the root leaves it as it is
 * @returns {string}
 * @throws {TypeError} TOON_EINVAL: cycles, BigInt, lone surrogates, wrong options
 * @example
 * encode({ users: [{ id: 1, name: 'Ada' }, { id: 2, name: 'Bob' }] })
 * // users[2]{id,name}:
 * //   1,Ada
 * //   2,Bob
 * encode({ name: 'Ada', password: 'x' }, { replacer: (key, value) => key === 'password' ? undefined : value })
 * // name: Ada
 */
function encode (value, options) {
  const { delimiter, indentSize, replacer } = encodeOptions(options, 'encode')
  if (isBytes(value)) {
    checkBytes(value)
    return 'base64:' + Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  }
  if (replacer) value = applyReplacer(value, replacer)
  try {
    if (hasLongStrings(value, 2)) {
      const strings = []
      const json = stringifyAround(value, strings)
      if (json !== undefined) return native.encode(json, delimiter.charCodeAt(0), indentSize, strings)
    }
    return native.encode(JSON.stringify(value) ?? 'null', delimiter.charCodeAt(0), indentSize)
  } catch (err) {
    // What JSON.stringify itself throws: cycles, BigInt, nesting too deep.
    if ((err instanceof TypeError || err instanceof RangeError) && err.code === undefined) {
      throw invalidType(`the value cannot be encoded: ${err.message}`, err)
    }
    throw err
  }
}

// The options of decode, checked and filled in; `what` they are of.
function decodeOptions (options, what) {
  const given = checkObject(options)
  checkNames(given, DECODE_OPTIONS, `option of ${what}`)
  const { strict = true } = given
  if (typeof strict !== 'boolean') throw invalidType(`strict must be a boolean (got ${show(strict)})`)
  return { strict, indentSize: indentOf(given) }
}

/**
 * The value of a TOON text (spec v4), fresh and not frozen. Integers beyond 2^53 become the nearest number. Long strings may
 * be slices, which keep the text in memory as long as they are.
 *
 * @param {string} text
 * @param {object} [options]
 * @param {boolean} [options.strict=true] refuse what the spec's strict mode refuses
 * @param {number} [options.indentSize=2] spaces per level in strict mode, 1 to 16
 * @param {number} [options.indent] the same, by its old name
 * @returns {any}
 * @throws {ToonError} TOON_ESYNTAX with line and column
 * @example
 * decode('tags[2]: a,b') // { tags: ['a', 'b'] }
 */
function decode (text, options) {
  if (typeof text !== 'string') throw invalidType(`TOON text must be a string (got ${show(text)})`)
  const { strict, indentSize } = decodeOptions(options, 'decode')
  if (strict && hasLongLines(text)) {
    const value = decodeAround(text, indentSize)
    if (value !== undefined) return value
  }
  return decodeAll(text, indentSize, strict)
}

function decodeAll (text, indentSize, strict) {
  const out = native.decode(text, indentSize, (strict ? 1 : 0) | (canGenerate ? 2 : 0))
  return typeof out === 'string' ? JSON.parse(out) : assemble(out)
}

// The value of a text whose long strings stay where they are. undefined: decode all of it; if it is wrong, that says where.
function decodeAround (text, indentSize) {
  const strings = []
  const marked = cutLongStrings(text, strings)
  if (marked === undefined) return undefined
  try {
    const value = decodeAll(marked, indentSize, true)
    return putBack(value, strings) ? value : undefined
  } catch (err) {
    if (err.code !== 'TOON_ESYNTAX') throw err
    return undefined
  }
}

module.exports = { encode, decode, encodeOptions, decodeOptions }
