'use strict'
// Keys of index entries. The entries of the index with the number n are ordinary keys
//
//     $index/<n>/<value> <value> … <id>        the row's value is null
//     $index/<n>/<value> <value> …             of a unique index: the row's value is the id
//
// with a space behind each value, written so that the order of the keys' bytes is that of the values:
//
//     -                  null, and a field that is not there
//     0  1               false, true
//     N<e><digits>~      a negative number: exponent and digits, both turned over
//     O                  zero
//     P<e><digits>       a positive number: 0.digits * 10^(e - 400)
//     S<text>            a string; ! and what comes before it are two characters, ! and the 34th one after
//     X                  anything else: an array, an object, a string of more than 500 bytes
//
// A document with an X has X for all values of the entry, so that those are found in one place.

const OTHER = 'X'
const MAX_TEXT = 500 // bytes

const SPECIAL = /[\x00-!]/
const SPECIALS = /[\x00-!]/g
const NINES = { 0: '9', 1: '8', 2: '7', 3: '6', 4: '5', 5: '4', 6: '3', 7: '2', 8: '1', 9: '0' }

function textKey (text) {
  if (SPECIAL.test(text)) text = text.replace(SPECIALS, c => '!' + String.fromCharCode(c.charCodeAt(0) + 0x22))
  if (text.length > MAX_TEXT / 3 && Buffer.byteLength(text) > MAX_TEXT) return undefined
  return 'S' + text
}

function numberKey (number) {
  if (number === 0) return 'O'
  const size = Math.abs(number)
  let exponent, digits
  if (size < 1e21 && Number.isInteger(size)) {
    digits = String(size)
    exponent = digits.length
  } else {
    const text = size.toExponential()
    const e = text.indexOf('e')
    digits = text[0] + text.slice(2, e)
    exponent = Number(text.slice(e + 1)) + 1
  }
  if (number > 0) return `P${String(exponent + 400).padStart(3, '0')}${digits}`
  return `N${String(599 - exponent).padStart(3, '0')}${digits.replace(/\d/g, d => NINES[d])}~`
}

/**
 * A value as it stands in an entry, without the space behind it.
 *
 * @param {any} value - as in a document, undefined for a field that is not there
 * @returns {string|undefined} undefined: X
 * @example
 * valueKey(31) // 'P40231'
 */
function valueKey (value) {
  switch (typeof value) {
    case 'undefined': return '-'
    case 'boolean': return value ? '1' : '0'
    case 'number': return numberKey(value)
    case 'string': return textKey(value)
    default: return value === null ? '-' : undefined
  }
}

// The part of an entry's key that is common to an index.
function baseOf (number) {
  return `$index/${number}/`
}

// The value of a path in a document, undefined if there is none.
function valueAt (document, path) {
  let value = document
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

/**
 * The entry of a document in an index.
 *
 * @param {{ number: number, paths: string[][], unique: boolean }} index
 * @param {string} id
 * @param {object} document - as JSON.parse gives it
 * @returns {{ key: string, alone: boolean, other: boolean }} alone: the key may be there only once, its value is the id;
 *   other: an X
 */
function entryOf (index, id, document) {
  let key = baseOf(index.number)
  let alone = index.unique
  for (const path of index.paths) {
    const value = valueKey(path.length === 1 && path[0] === '_id' ? id : valueAt(document, path))
    if (value === undefined) {
      return { key: baseOf(index.number) + `${OTHER} `.repeat(index.paths.length) + id, alone: false, other: true }
    }
    if (value === '-') alone = false
    key += value + ' '
  }
  return { key: alone ? key : key + id, alone, other: false }
}

module.exports = { valueKey, valueAt, entryOf, baseOf, OTHER }
