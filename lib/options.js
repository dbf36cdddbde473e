'use strict'
// The options of open: one table with kinds, ranges and defaults. Unknown names are refused, so that a misspelt option is
// noticed.

const { invalidType, invalidRange, show } = require('./errors')

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB
const MAX = Number.MAX_SAFE_INTEGER

// Sizes are bytes, times milliseconds.
const OPTIONS = {
  capacity: { type: 'integer', min: 0, max: 2 ** 32 - 1, default: 10000 },
  cacheBytes: { type: 'integer', min: 0, max: MAX, default: 64 * MiB },
  durability: { type: 'choice', choices: ['commit', 'interval', 'close'], default: 'commit' },
  syncInterval: { type: 'integer', min: 1, max: 3600000, default: 1000 },
  maxValueSize: { type: 'integer', min: 1, max: GiB, default: MiB },
  maxDbSize: { type: 'integer', min: 1, max: MAX, default: GiB },
  maxTxnSize: { type: 'integer', min: 1, max: GiB, default: 64 * MiB },
  segmentSize: { type: 'integer', min: 4 * KiB, max: GiB, default: 64 * MiB },
  checkpointBytes: { type: 'integer', min: 4 * KiB, max: GiB, default: 32 * MiB },
  ttl: { type: 'integer', min: 0, max: 100 * 365.25 * 86400000, default: 0 },
  readOnly: { type: 'boolean', default: false },
  repair: { type: 'boolean', default: false },
  createIfMissing: { type: 'boolean', default: true },
  errorIfExists: { type: 'boolean', default: false },
  signal: { type: 'signal', default: undefined }
}

const CACHE_ONLY = ['capacity', 'cacheBytes']

function checkInteger (name, value, min, max) {
  if (typeof value !== 'number') throw invalidType(`${name} must be a number (got ${show(value)})`)
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalidRange(`${name} must be a whole number from ${min} to ${max} (got ${value})`)
  }
  return value
}

function checkOption (name, value) {
  const rule = OPTIONS[name]
  switch (rule.type) {
    case 'integer': return checkInteger(name, value, rule.min, rule.max)
    case 'boolean':
      if (typeof value !== 'boolean') throw invalidType(`${name} must be a boolean (got ${show(value)})`)
      return value
    case 'choice':
      if (!rule.choices.includes(value)) {
        throw invalidType(`${name} must be one of ${rule.choices.map(show).join(', ')} (got ${show(value)})`)
      }
      return value
    default:
      return checkSignal(value)
  }
}

function checkDelimiter (delimiter) {
  if (delimiter === ',' || delimiter === '\t' || delimiter === '|') return delimiter
  throw invalidType(`delimiter must be ',', '\\t' or '|' (got ${show(delimiter)})`)
}

function checkSignal (signal) {
  if (signal === undefined || signal instanceof AbortSignal) return signal
  throw invalidType(`signal must be an AbortSignal (got ${show(signal)})`)
}

function checkObject (options, what = 'options') {
  if (options === undefined) return {}
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return options
  throw invalidType(`${what} must be an object (got ${show(options)})`)
}

// Refuse names that are not in `known` (a Set or an object with those properties).
function checkNames (options, known, what) {
  for (const name of Object.keys(options)) {
    if (known instanceof Set ? !known.has(name) : !Object.hasOwn(known, name)) {
      throw invalidType(`unknown ${what}: ${show(name)}`)
    }
  }
}

/**
 * All options with their defaults filled in.
 *
 * @param {object} [options]
 * @param {boolean} cache - whether the options of the cache may be given
 * @returns {object}
 * @throws {TypeError|RangeError} TOON_EINVAL
 */
function parseOptions (options, cache) {
  const given = checkObject(options)
  checkNames(given, OPTIONS, 'option')
  const out = {}
  for (const name in OPTIONS) {
    const value = given[name]
    if (value !== undefined && !cache && CACHE_ONLY.includes(name)) {
      throw invalidType(`a ToonStore has no cache, so no ${name}: use open() or ToonCache.open()`)
    }
    out[name] = value === undefined ? OPTIONS[name].default : checkOption(name, value)
  }
  return out
}

// What the addon takes.
function nativeOptions (path, options) {
  return {
    ...options,
    path,
    durability: OPTIONS.durability.choices.indexOf(options.durability),
    signal: undefined
  }
}

module.exports = { parseOptions, nativeOptions, checkInteger, checkObject, checkNames, checkDelimiter, checkSignal }
