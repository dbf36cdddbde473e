'use strict'
// Projection: the picked fields of a document, named by their paths. Fields that a document lacks are left out; an array of
// objects gives an array of such objects; any other value stays as it is.

const { invalidType, show } = require('./errors')

/**
 * A function that picks fields.
 *
 * @param {string[]} fields - names, or paths as 'address.city'
 * @returns {(value: any) => any}
 * @throws {TypeError} TOON_EINVAL
 * @example
 * projection(['id', 'address.city'])({ id: 1, address: { city: 'Oslo', zip: 1 } }) // { id: 1, 'address.city': 'Oslo' }
 */
function projection (fields) {
  if (!Array.isArray(fields) || !fields.every(field => typeof field === 'string')) {
    throw invalidType(`fields must be an array of strings (got ${show(fields)})`)
  }
  const paths = fields.map(field => ({ field, names: field.split('.') }))

  function pickObject (object) {
    const entries = []
    for (const { field, names } of paths) {
      let value = object
      for (const name of names) {
        value = typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? value[name] : undefined
      }
      if (value !== undefined) entries.push([field, value])
    }
    return Object.freeze(Object.fromEntries(entries)) // which makes __proto__ an own property too
  }

  function pick (value) {
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
    if (!Array.isArray(value)) return pickObject(value)
    return Object.freeze(value.map(item =>
      typeof item === 'object' && item !== null && !Array.isArray(item) ? pickObject(item) : item))
  }
  return pick
}

module.exports = { projection }
