'use strict'
// Errors. What the engine reports is a ToonError with a stable `code`; a wrong type of argument is a TypeError, a number
// outside its range a RangeError, both with code 'TOON_EINVAL'.

/**
 * An error of the store. `code` never changes between major versions, messages may.
 *
 * @property {string} code - 'TOON_ELOCKED', 'TOON_ECORRUPT', ...
 * @property {number} [errno] - negative number of the system error, as in Node's own errors
 * @property {string} [syscall] - the system call that failed
 * @property {string} [path] - the file or directory concerned
 * @property {number} [offset] - byte offset in `path` (TOON_ECORRUPT)
 * @property {number} [line] - 1-based (TOON_ESYNTAX)
 * @property {number} [column] - 1-based, in UTF-8 bytes (TOON_ESYNTAX)
 * @property {string|Uint8Array|number} [key] - the key or row id concerned
 * @example
 * try {
 *   await open('./data')
 * } catch (err) {
 *   if (err.code === 'TOON_ELOCKED') console.error('another process has it')
 * }
 */
class ToonError extends Error {
  constructor (code, message, details) {
    super(message, details?.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    for (const name in details) {
      if (details[name] !== undefined && name !== 'cause') this[name] = details[name]
    }
  }
}
Object.defineProperty(ToonError.prototype, 'name', { value: 'ToonError', configurable: true, writable: true })

// Called by the addon.
function makeError (code, message, errno, syscall, path, offset, line, column) {
  return new ToonError(code, message, {
    errno: errno === undefined ? undefined : -errno, syscall, path, offset, line, column
  })
}

function invalidType (message, cause) {
  const err = new TypeError(message, cause === undefined ? undefined : { cause })
  err.code = 'TOON_EINVAL'
  return err
}

function invalidRange (message) {
  const err = new RangeError(message)
  err.code = 'TOON_EINVAL'
  return err
}

// Say which key an error is about.
function withKey (err, key) {
  if (err instanceof ToonError && err.key === undefined && key !== undefined) {
    // A long key is there, but does not flood a log. Somebody may have frozen it.
    Reflect.defineProperty(err, 'key', { value: key, enumerable: !(key.length > 100), writable: true, configurable: true })
  }
  return err
}

// Say where an error of ours is from. What a toJSON throws of its own stays as it is.
function withPlace (err, place) {
  if (err instanceof ToonError || (err instanceof Error && err.code === 'TOON_EINVAL')) {
    Reflect.defineProperty(err, 'message', { value: `${place}: ${err.message}`, writable: true, configurable: true })
  }
  return err
}

// An error object of its own for another call that failed for the same reason.
function copyOf (err) {
  if (!(err instanceof ToonError)) return err
  const { errno, syscall, path, offset, line, column } = err
  return new ToonError(err.code, err.message, { errno, syscall, path, offset, line, column })
}

// A value as it may stand in a message.
function show (value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? value.slice(0, 40) + '…' : value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'symbol') return 'a symbol'
  if (typeof value === 'function') return 'a function'
  if (value !== null && typeof value === 'object') return Array.isArray(value) ? 'an array' : 'an object'
  return String(value)
}

module.exports = { ToonError, makeError, invalidType, invalidRange, withKey, withPlace, copyOf, show }
