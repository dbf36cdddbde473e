'use strict'
// The replacer of encode: a function that sees every value with its path, and changes or omits it.

const { invalidType } = require('./errors')

const MAX_DEPTH = 2000 // of the codec: TOON_MAX_DEPTH in csrc/toon/toon.h

// JSON.stringify; what it throws itself (cycles, BigInt, nesting too deep) becomes a TOON_EINVAL.
function stringify (value) {
  try {
    return JSON.stringify(value) ?? 'null'
  } catch (err) {
    if (err instanceof TypeError || err instanceof RangeError) {
      throw invalidType(`the value cannot be encoded: ${err.message}`, err)
    }
    throw err
  }
}

// What JSON makes of a value: of our own, for a replacer may hand out what it keeps and change what it was given.
function normalize (value) {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  return JSON.parse(stringify(value))
}

function descend (value, replacer, path) {
  if (value === null || typeof value !== 'object') return value
  // A replacer may answer every value with a deeper one.
  if (path.length >= MAX_DEPTH) throw invalidType(`the value cannot be encoded: more than ${MAX_DEPTH} levels of nesting`)
  if (Array.isArray(value)) {
    const out = []
    for (let i = 0; i < value.length; i++) {
      const at = [...path, i]
      const replaced = replacer(String(i), value[i], at)
      if (replaced !== undefined) out.push(descend(normalize(replaced), replacer, at))
    }
    return out
  }
  const out = {}
  for (const [key, item] of Object.entries(value)) {
    const at = [...path, key]
    const replaced = replacer(key, item, at)
    if (replaced === undefined) continue
    const made = descend(normalize(replaced), replacer, at)
    if (key === '__proto__') {
      Object.defineProperty(out, key, { value: made, enumerable: true, writable: true, configurable: true })
    } else {
      out[key] = made
    }
  }
  return out
}

/**
 * A value with every part of it replaced by what the replacer returns for it: first the root, then what that holds, parents
 * before children. `undefined` omits a property or element; of the root it means no change. What is returned is taken as
 * JSON.stringify takes it, and gone into. What the replacer throws is thrown.
 *
 * @param {any} value
 * @param {(key: string, value: any, path: (string|number)[]) => any} replacer - `key`: name of a property, or index of an
 *   element as a string, or '' at the root; `path`: names and indices from the root
 * @returns {any} made of what JSON has
 * @throws {TypeError} TOON_EINVAL: cycles, BigInt, more than 2000 levels
 */
function applyReplacer (value, replacer) {
  const root = normalize(value)
  const replaced = replacer('', root, [])
  return descend(replaced === undefined ? root : normalize(replaced), replacer, [])
}

module.exports = { applyReplacer, stringify }
