'use strict'
// Ranges of keys. A Range is one walk over the keys at the moment it was made: an iterator, synchronous and asynchronous,
// that fetches rows in growing chunks.

const { native, callbacks, integers, kinds, ROWS_PER_CALL } = require('./binding')
const { invalidType, show } = require('./errors')
const { AS_VALUE, AS_TEXT, AS_BUFFER, checkKey, checkId, finishAll } = require('./values')
const { checkObject, checkNames, checkSignal, checkInteger } = require('./options')
const { parseFields } = require('./fields')

// Flags and wants of csrc/napi/cursor.cc.
const LOWER_OPEN = 1
const UPPER_OPEN = 2
const REVERSE = 4
const ROWS = 8
const WANT_KEY = 1
const WANT_VALUE = 2
const KEY_BYTES = 4

const FIRST_CHUNK = 16

const BOUND_OPTIONS = new Set(['gt', 'gte', 'lt', 'lte', 'prefix', 'reverse', 'limit'])
const RANGE_OPTIONS = new Set([...BOUND_OPTIONS, 'fields', 'as', 'keyAs', 'signal'])
const SCAN_OPTIONS = new Set(['gt', 'gte', 'lt', 'lte', 'reverse', 'limit', 'fields', 'as', 'signal'])
const MODES = { value: AS_VALUE, text: AS_TEXT, buffer: AS_BUFFER }

function choice (name, value, choices) {
  if (value === undefined || choices.includes(value)) return value
  throw invalidType(`${name} must be one of ${choices.map(show).join(', ')} (got ${show(value)})`)
}

// The bounds of a range as the addon takes them: [lower, upper, prefix, flags, limit], or null for a range that is empty
// because its limit is 0.
function parseBounds (options, rows) {
  const check = rows ? checkId : checkKey
  const { gt, gte, lt, lte, prefix, reverse, limit } = options
  for (const bound of [gt, gte, lt, lte, prefix]) if (bound !== undefined) check(bound)
  if (reverse !== undefined && typeof reverse !== 'boolean') {
    throw invalidType(`reverse must be a boolean (got ${show(reverse)})`)
  }
  let rowsAtMost = 0
  if (limit !== undefined && limit !== Infinity) {
    rowsAtMost = checkInteger('limit', limit, 0, Number.MAX_SAFE_INTEGER)
    if (rowsAtMost === 0) return null
  }
  let flags = rows ? ROWS : 0
  if (gte === undefined && gt !== undefined) flags |= LOWER_OPEN
  if (lte === undefined && lt !== undefined) flags |= UPPER_OPEN
  if (reverse === true) flags |= REVERSE
  return [gte ?? gt, lte ?? lt, prefix, flags, rowsAtMost]
}

// The bounds of clear() and count().
function boundsOf (options) {
  const given = checkObject(options)
  checkNames(given, BOUND_OPTIONS, 'option of a range')
  return parseBounds(given, false)
}

// A range that was dropped before its end holds back files; its cursor is closed when it is collected.
const dropped = new FinalizationRegistry(cursor => native.cursorClose(cursor))

// Asynchronous chunks under way, by number; the numbers that are free. Not a Map, as in writes.js.
const fetching = []
const free = []

function endFetch (id) {
  const fetch = fetching[id]
  fetching[id] = undefined
  free.push(id)
  return fetch
}

callbacks.onChunk = (id, end, err, ...values) => {
  const { range, resolve, reject } = endFetch(id)
  range.arrived(end, err, values, resolve, reject)
}

/**
 * One walk over a range of keys, at the moment the range was made. Iterate it once, by `for...of` or `for await...of`, or
 * call toArray(). Leaving the loop early releases what it holds.
 *
 * @example
 * for (const [key, value] of db.range({ prefix: 'users/', limit: 10 })) console.log(key, value)
 */
class Range {
  #store // keeps the store from being collected
  #cursor // 0: closed
  #pairs // hand out [key, value], else keys or values alone
  #signal
  #fetching = false // a chunk is on its way
  #chunk = []
  #at = 0
  #rows = FIRST_CHUNK

  // what: 'pairs', 'keys' or 'values'
  constructor (store, handle, options, what, rows) {
    const given = checkObject(options)
    checkNames(given, rows ? SCAN_OPTIONS : RANGE_OPTIONS, 'option of a range')
    const as = choice('as', given.as, ['value', 'text', 'buffer']) ?? 'value'
    const keyAs = choice('keyAs', given.keyAs, ['string', 'buffer'])
    const paths = parseFields(given.fields)
    this.#signal = checkSignal(given.signal)
    this.#signal?.throwIfAborted()
    const bounds = parseBounds(given, rows)
    this.#store = store
    this.#pairs = what === 'pairs'
    const want = (what === 'values' ? 0 : WANT_KEY) | (what === 'keys' ? 0 : WANT_VALUE) |
      (keyAs === 'buffer' ? KEY_BYTES : 0)
    if (bounds === null) {
      native.storeNow(handle) // throws if the store is closed
      this.#cursor = 0
      return
    }
    this.#cursor = native.cursorOpen(handle, ...bounds, MODES[as], want, paths)
    dropped.register(this, this.#cursor, this)
  }

  #ended () {
    this.#cursor = 0
    this.#store = null
    dropped.unregister(this)
  }

  #take (values) {
    finishAll(values, kinds, false)
    this.#chunk = values
    this.#at = 0
  }

  // The next chunk. False at the end.
  #fetch () {
    if (this.#cursor === 0) return false
    if (this.#signal?.aborted) {
      this.#close()
      throw this.#signal.reason
    }
    if (this.#fetching) throw invalidType('the range is being read by for await')
    const rows = this.#rows
    this.#rows = Math.min(rows * 4, ROWS_PER_CALL)
    let values
    try {
      values = native.cursorNext(this.#cursor, rows)
    } catch (err) {
      this.#ended()
      throw err
    }
    if (integers[1] === 1) this.#ended()
    this.#take(values)
    return values.length > 0
  }

  #close () {
    if (this.#cursor !== 0) {
      native.cursorClose(this.#cursor)
      this.#ended()
    }
    this.#chunk = []
    this.#at = 0
  }

  #item () {
    return this.#pairs ? [this.#chunk[this.#at++], this.#chunk[this.#at++]] : this.#chunk[this.#at++]
  }

  next () {
    if (this.#at === this.#chunk.length && !this.#fetch()) {
      this.#chunk = []
      this.#at = 0
      return { value: undefined, done: true }
    }
    return { value: this.#item(), done: false }
  }

  return (value) {
    this.#close()
    return { value, done: true }
  }

  [Symbol.iterator] () {
    return this
  }

  /**
   * All rows that are left.
   *
   * @returns {Array}
   */
  toArray () {
    const out = []
    if (this.#rows === FIRST_CHUNK) this.#rows = 128
    do {
      while (this.#at < this.#chunk.length) out.push(this.#item())
    } while (this.#fetch())
    this.#chunk = []
    this.#at = 0
    return out
  }

  #fetchAsync () {
    if (this.#cursor === 0) return Promise.resolve(false)
    if (this.#signal?.aborted) {
      this.#close()
      return Promise.reject(this.#signal.reason)
    }
    return new Promise((resolve, reject) => {
      const rows = this.#rows
      this.#rows = Math.min(rows * 4, ROWS_PER_CALL)
      const id = free.pop() ?? fetching.length
      fetching[id] = { range: this, resolve, reject }
      try {
        native.cursorNextAsync(this.#cursor, id, rows)
      } catch (err) {
        endFetch(id)
        throw err
      }
      this.#fetching = true
    })
  }

  /** @private */
  arrived (end, err, values, resolve, reject) {
    this.#fetching = false
    if (this.#cursor === 0) { // it was left meanwhile
      finishAll(values, kinds, false)
      resolve(false)
      return
    }
    if (end || err !== undefined) this.#ended()
    if (err !== undefined) {
      reject(err)
    } else {
      this.#take(values)
      resolve(values.length > 0)
    }
  }

  [Symbol.asyncIterator] () {
    let last = null // one chunk at a time, however next() is called
    const step = async () => {
      if (this.#at === this.#chunk.length && !await this.#fetchAsync()) return { value: undefined, done: true }
      return { value: this.#item(), done: false }
    }
    return {
      next: () => {
        const result = last === null ? step() : last.then(step)
        const settled = () => { if (last === turn) last = null }
        const turn = last = result.then(settled, settled)
        return result
      },
      return: async value => this.return(value),
      [Symbol.asyncIterator] () { return this }
    }
  }
}

module.exports = { Range, boundsOf, parseBounds, BOUND_OPTIONS, LOWER_OPEN, UPPER_OPEN, REVERSE }
