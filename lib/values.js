'use strict'
// Keys and values on their way in and out: checks of what the caller gives, and the last step of what the addon returns.

const { types } = require('node:util')
const { markAsUntransferable } = require('node:worker_threads')
const { native } = require('./binding')
const { invalidType, invalidRange, show } = require('./errors')

// How to finish a value; enum Kind of csrc/napi/env.h.
const MISSING = 0
const READY = 1
const JSON_TEXT = 2
const NUMERAL = 3
const SLAB = 4
const FAILED = 5

// What a read is to hand out; enum Mode.
const AS_VALUE = 0
const AS_TEXT = 1
const AS_BUFFER = 2
const AS_EXISTS = 3
const AS_FACTS = 4

// What a value to be stored is; enum Given of csrc/napi/convert.h.
const STRING = 0
const JSON_FORM = 1
const BYTES = 2

// Small bytes are copied by the addon into this slab, and a Buffer is cut from it: cheaper than a Buffer from C.
const SLAB_SIZE = 32 * 1024
const SLAB_VALUE_MAX = 4096
let slab, slabUsed

function newSlab () {
  slab = Buffer.allocUnsafeSlow(SLAB_SIZE)
  slabUsed = 0
  markAsUntransferable(slab.buffer)
  native.setSlab(slab.buffer)
}
newSlab()

function cut (packed) {
  const at = packed >>> 13
  slabUsed = at + (packed & 8191)
  return slab.subarray(at, slabUsed)
}

// To be called when all of a call's values are cut.
function renewSlab () {
  if (slabUsed > SLAB_SIZE - SLAB_VALUE_MAX - 8) newSlab()
}

// Freeze what JSON.parse gave, all the way down.
function deepFreeze (value) {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item = value[i]
      if (typeof item === 'object' && item !== null) deepFreeze(item)
    }
  } else {
    for (const key of Object.keys(value)) {
      const item = value[key]
      if (typeof item === 'object' && item !== null) deepFreeze(item)
    }
  }
  return Object.freeze(value)
}

// The finished value of one that the addon returned alone.
function finish (kind, value, mutable) {
  switch (kind) {
    case MISSING: return undefined
    case JSON_TEXT: {
      const out = JSON.parse(value)
      return mutable ? out : deepFreeze(out)
    }
    case NUMERAL: return Number(value)
    case SLAB: {
      const out = cut(value)
      renewSlab()
      return out
    }
    default: return value
  }
}

// Finish the values of a chunk in place; `mutable` for all, or a list. The errors of failed reads stay where they are.
function finishAll (values, kinds, mutable) {
  const each = Array.isArray(mutable)
  let cuts = false
  for (let i = 0; i < values.length; i++) {
    switch (kinds[i]) {
      case JSON_TEXT: {
        const out = JSON.parse(values[i])
        values[i] = (each ? mutable[i] : mutable) ? out : deepFreeze(out)
        break
      }
      case NUMERAL:
        values[i] = Number(values[i])
        break
      case SLAB:
        values[i] = cut(values[i])
        cuts = true
        break
    }
  }
  if (cuts) renewSlab()
  return values
}

// Also true for the Uint8Array of another realm (vm contexts, test runners), but not for what only inherits from one.
function isBytes (value) {
  return types.isUint8Array(value)
}

const { at } = Uint8Array.prototype // throws if the memory is gone

// Throws for bytes that are not there any more: detached, or behind the end of a buffer that was made smaller. Both look
// empty.
function checkBytes (bytes) {
  if (bytes.length > 0) return bytes
  try {
    at.call(bytes, 0)
  } catch (cause) {
    throw invalidType('the bytes are gone: their ArrayBuffer was detached, or made smaller', cause)
  }
  return bytes
}

// Throws for a key that is neither a string nor a Uint8Array. Length and Unicode are checked by the addon.
function checkKey (key) {
  if (typeof key === 'string') return
  if (isBytes(key)) {
    checkBytes(key)
    return
  }
  if (typeof key === 'number') {
    throw invalidType(`a number is not a key: use db.rows for rows by number, or String(id) (got ${key})`)
  }
  throw invalidType(`a key must be a string or a Uint8Array (got ${show(key)})`)
}

function checkId (id) {
  if (Number.isSafeInteger(id) && id >= 0) return
  if (typeof id === 'number') throw invalidRange(`a row id must be an integer from 0 (got ${id})`)
  throw invalidType(`a row id must be a number (got ${show(id)})`)
}

// What kind of form `formOf` makes of a value.
function givenOf (value) {
  return typeof value === 'string' ? STRING : isBytes(value) ? BYTES : JSON_FORM
}

// The form in which a value goes to the addon: the string or the bytes themselves, or JSON text. Calls toJSON of the value.
function formOf (value) {
  switch (typeof value) {
    case 'string':
      return value
    case 'number':
      if (!Number.isFinite(value)) throw invalidType(`${value} is not a value that can be stored`)
      return `${value}`
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      return isBytes(value) ? checkBytes(value) : jsonOf(value)
    default:
      throw invalidType(`${show(value)} is not a value that can be stored`)
  }
}

function jsonOf (value) {
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    throw invalidType('bytes must be given as a Buffer or Uint8Array')
  }
  let text
  try {
    text = JSON.stringify(value)
  } catch (err) {
    // What JSON.stringify itself throws: cycles, BigInt, nesting too deep. What a toJSON throws otherwise is the caller's.
    if (err instanceof TypeError || err instanceof RangeError) {
      throw invalidType(`the value cannot be stored: ${err.message}`, err)
    }
    throw err
  }
  if (typeof text !== 'string') throw invalidType('the value cannot be stored: it has no JSON form')
  return text
}

// The `mutable` of a read's options.
function mutableOf (options) {
  if (options === undefined) return false
  if (typeof options !== 'object' || options === null) throw invalidType(`options must be an object (got ${show(options)})`)
  const { mutable } = options
  if (mutable !== undefined && typeof mutable !== 'boolean') {
    throw invalidType(`mutable must be a boolean (got ${show(mutable)})`)
  }
  return mutable === true
}

module.exports = {
  MISSING,
  READY,
  JSON_TEXT,
  NUMERAL,
  FAILED,
  AS_VALUE,
  AS_TEXT,
  AS_BUFFER,
  AS_EXISTS,
  AS_FACTS,
  STRING,
  JSON_FORM,
  BYTES,
  finish,
  finishAll,
  deepFreeze,
  checkKey,
  checkId,
  isBytes,
  checkBytes,
  givenOf,
  formOf,
  mutableOf
}
