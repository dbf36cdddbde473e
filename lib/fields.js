'use strict'
// The fields that a range is to pick, as paths.

const { invalidType, show } = require('./errors')

function pathOf (field) {
  if (typeof field === 'string') return field.split('.')
  if (Array.isArray(field) && field.length > 0 && field.every(name => typeof name === 'string')) return [...field]
  throw invalidType(`a field must be a string or an array of names (got ${show(field)})`)
}

/**
 * Paths as the addon takes them. A field given twice counts once.
 *
 * @param {(string|string[])[]} [fields] - names, or paths as 'address.city'; ['address', 'city'] is the same path, and
 *   ['a.b'] the name a.b itself
 * @returns {string[][]|undefined}
 * @throws {TypeError} TOON_EINVAL: also if two different paths get one name
 * @example
 * parseFields(['id', 'address.city', ['a.b']]) // [['id'], ['address', 'city'], ['a.b']]
 */
function parseFields (fields) {
  if (fields === undefined) return undefined
  if (!Array.isArray(fields)) throw invalidType(`fields must be an array (got ${show(fields)})`)
  const paths = new Map()
  for (const field of fields) {
    const path = pathOf(field)
    const name = path.join('.')
    const other = paths.get(name)
    if (other !== undefined && (other.length !== path.length || other.some((part, i) => part !== path[i]))) {
      throw invalidType(`two different fields would both be named ${show(name)}`)
    }
    paths.set(name, path)
  }
  return [...paths.values()]
}

module.exports = { parseFields }
