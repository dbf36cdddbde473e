'use strict'
// Long strings pass by the codec: on their way into TOON they go to the addon as they are, which looks for what must be
// escaped faster than JSON.stringify does; on their way out they are slices of the text, which copy nothing. A short mark
// stands for each in what is encoded or decoded: U+0001 and a number.

const { types } = require('node:util')

const LONG = 1024

/** Whether a look at the first fields of a value, at most `levels` deep, finds a long string. */
function hasLongStrings (value, levels) {
  if (typeof value === 'string') return value.length >= LONG
  if (typeof value !== 'object' || value === null || levels < 0) return false
  if (Array.isArray(value)) return value.length > 0 && hasLongStrings(value[0], levels - 1)
  let looked = 0
  for (const key in value) {
    if (hasLongStrings(value[key], levels - 1)) return true
    if (++looked === 8) return false
  }
  return false
}

/**
 * JSON text with marks.
 *
 * @param {any} value
 * @param {string[]} strings - takes what the marks stand for: the long strings, and those that begin with U+0001 themselves
 * @returns {string|undefined} undefined if a key begins as marks do
 */
function stringifyAround (value, strings) {
  let plain = true
  const json = JSON.stringify(value, (key, item) => {
    if (key.charCodeAt(0) === 1) plain = false
    if (types.isStringObject(item)) item = String(item)
    if (typeof item !== 'string' || (item.length < LONG && item.charCodeAt(0) !== 1)) return item
    return `\u0001${strings.push(item) - 1}`
  })
  return plain ? json : undefined
}

// Behind indentation and perhaps a hyphen a key, its colon, and the beginning of a value that is a string if the line
// is long: it begins like no number, or is quoted. Such a line is a field wherever it stands, but in a keyed table.
const FIELD = / *(?:- )?(?:[A-Za-z_][\w.]*|"[^"\\\n]*"): (?=["A-Za-z])/y
const KEYED = /:[\t|]?\]/

/** Whether most of a text seems to be long lines: two of three places in it lie far from the end of their line. */
function hasLongLines (text) {
  if (text.length < 4 * LONG) return false
  let far = 0
  for (let i = 1; i < 4; i++) {
    const from = (text.length >> 2) * i
    const end = text.indexOf('\n', from)
    if (end < 0 || end - from > LONG / 4) far++
  }
  return far >= 2
}

/**
 * TOON text with marks, which a decoder takes in strict mode as it would take the text, or else refuses.
 *
 * @param {string} text
 * @param {string[]} strings - takes what the marks stand for
 * @returns {string|undefined} undefined if it would not be much shorter
 */
function cutLongStrings (text, strings) {
  const most = text.length >> 3
  let out = ''
  let kept = 0 // all before has been copied or cut
  for (let at = 0, end; at < text.length; at = end + 1) {
    end = text.indexOf('\n', at)
    if (end < 0) end = text.length
    if (end - at < LONG) continue
    FIELD.lastIndex = at
    const last = text.charCodeAt(end - 1)
    if (!FIELD.test(text) || last === 0x20 || last === 0x0d) continue
    let from = FIELD.lastIndex
    let to = end
    if (text.charCodeAt(from) === 0x22) { // then it must have no escapes, and close where the line ends
      to = text.indexOf('"', ++from)
      if (to !== end - 1) continue
    }
    const string = text.slice(from, to)
    if (to < end && string.includes('\\')) continue
    if (!string.isWellFormed()) return undefined
    out += `${text.slice(kept, from)}\u0001${strings.push(string) - 1}`
    kept = to
    if (out.length > most) return undefined
  }
  out += text.slice(kept)
  return strings.length === 0 || out.length > most || KEYED.test(out) ? undefined : out
}

/**
 * Put the strings back into what was decoded of a text with marks, in place.
 *
 * @returns {boolean} false if it has other strings that look like marks; then the value is worth nothing
 */
function putBack (value, strings) {
  const open = new Map(strings.map((string, i) => [String(i), string]))
  const restore = at => {
    for (const key of Object.keys(at)) {
      const item = at[key]
      if (typeof item === 'object' && item !== null) {
        if (!restore(item)) return false
      } else if (typeof item === 'string' && item.charCodeAt(0) === 1) {
        const string = open.get(item.slice(1))
        if (string === undefined) return false
        open.delete(item.slice(1))
        at[key] = string
      }
    }
    return true
  }
  return restore(value) && open.size === 0
}

module.exports = { hasLongStrings, stringifyAround, hasLongLines, cutLongStrings, putBack }
