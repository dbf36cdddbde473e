'use strict'
// Where a store is: a path, a file: URL object, or 'file://path?capacity=N', which we parse ourselves because the path may be
// relative.

const path = require('node:path')
const { fileURLToPath } = require('node:url')
const { invalidType, show } = require('./errors')

function decodePath (text) {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw invalidType(`the location has a bad % escape: ${show(text)}`, cause)
  }
}

function capacityOf (pairs) {
  let capacity
  for (const [name, value] of pairs) {
    if (name !== 'capacity') throw invalidType(`unknown name in the location's query: ${show(name)}; capacity is known`)
    if (!/^\d{1,15}$/.test(value)) throw invalidType(`capacity in the location must be a whole number (got ${show(value)})`)
    if (capacity !== undefined) throw invalidType('capacity stands twice in the location')
    capacity = Number(value)
  }
  return capacity
}

function parseUrlText (text) {
  let rest = text.slice('file:'.length)
  if (rest.startsWith('//')) rest = rest.slice(2)
  else if (!rest.startsWith('/')) throw invalidType(`a relative location is file://path, or the path alone (got ${show(text)})`)
  if (rest.includes('#')) throw invalidType('a location has no fragment; write # as %23')
  let capacity
  const query = rest.indexOf('?')
  if (query !== -1) {
    capacity = capacityOf(new URLSearchParams(rest.slice(query + 1)))
    rest = rest.slice(0, query)
  }
  if (rest.startsWith('localhost/')) rest = rest.slice('localhost'.length)
  return { path: decodePath(rest), capacity }
}

function parseUrl (url) {
  if (url.protocol !== 'file:') throw invalidType(`a location must be a path or a file: URL (got ${show(url.href)})`)
  if (url.hash) throw invalidType('a location has no fragment; write # as %23')
  const plain = new URL(url)
  plain.search = ''
  try {
    return { path: fileURLToPath(plain), capacity: capacityOf(url.searchParams) }
  } catch (cause) {
    if (cause.code === 'TOON_EINVAL') throw cause
    throw invalidType(`the location is not a local path: ${cause.message}`, cause)
  }
}

/**
 * The directory and capacity that a location names.
 *
 * @param {string|URL} location
 * @returns {{ path: string, capacity: number|undefined }} path is absolute
 * @throws {TypeError} TOON_EINVAL
 * @example
 * parseLocation('file://./data?capacity=500') // { path: '/home/me/data', capacity: 500 }
 */
function parseLocation (location) {
  let parsed
  if (location instanceof URL) {
    parsed = parseUrl(location)
  } else if (typeof location !== 'string') {
    throw invalidType(`a location must be a string or a URL (got ${show(location)})`)
  } else if (/^file:/i.test(location)) {
    parsed = parseUrlText(location)
  } else if (/^[a-z][a-z0-9+.-]+:\/\//i.test(location)) {
    throw invalidType(`a location must be a path or a file: URL (got ${show(location)})`)
  } else {
    parsed = { path: location, capacity: undefined }
  }
  if (parsed.path === '') throw invalidType('a location must name a directory (got an empty path)')
  if (parsed.path.includes('\0')) throw invalidType('a path has no NUL characters')
  return { path: path.resolve(parsed.path), capacity: parsed.capacity }
}

module.exports = { parseLocation }
