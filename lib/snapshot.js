'use strict'
// Snapshots: the state of a store at one moment, to be read as long as it is held.

const { inspect } = require('node:util')
const { native, integers, doubles } = require('./binding')
const { AS_VALUE, AS_TEXT, AS_BUFFER, AS_EXISTS, AS_FACTS, MISSING, checkKey, checkId, finish, mutableOf } = require('./values')
const { Range, boundsOf, parseBounds } = require('./range')
const { readMany, checkList } = require('./rows')
const { readLater, flushReads } = require('./writes')
const { toToon } = require('./document')

// A snapshot holds back memory and files; one that is collected without having been closed is closed then.
const forgotten = new FinalizationRegistry(handle => native.snapshotClose(handle))

// The rows of a snapshot.
class SnapshotRows {
  #snapshot
  #place

  constructor (snapshot, place) {
    this.#snapshot = snapshot
    this.#place = place
  }

  get (id, options) {
    checkId(id)
    const mutable = mutableOf(options)
    const value = native.get(this.#place.handle, id, AS_VALUE)
    return finish(integers[0], value, mutable)
  }

  getMany (ids, options) {
    return readMany(this.#place.handle, AS_VALUE, checkList(ids, 'ids', checkId), mutableOf(options))
  }

  scan (options) {
    return new Range(this.#snapshot, this.#place.handle, options, 'pairs', true)
  }

  get length () {
    return native.rangeCount(this.#place.handle, ...parseBounds({}, true))
  }
}

/**
 * The state of a store at the moment of its snapshot() call: the store's read methods but exportToon and context. Later
 * writes are not seen. size and rows.length count, so they take as long as a walk over the keys.
 * It holds back the reuse of memory and files, so close it when it is done: close(), or `using` where that exists. One that
 * is forgotten is closed when it is garbage-collected.
 *
 * If the open ones, transactions and ranges included, hold back more than 128 MiB of memory or maxDbSize of files, or the
 * oldest, open for an hour, 16 MiB, the oldest is given up: its methods then fail with TOON_ESNAPSHOT.
 *
 * Every method fails with TOON_ECLOSED once the snapshot or its store is closed. Ranges made before a close() of the
 * snapshot go on to their end.
 *
 * @example
 * const then = db.snapshot()
 * try {
 *   console.log(then.count(), then.get('a'))
 * } finally {
 *   then.close()
 * }
 */
class Snapshot {
  #store // keeps the store from being collected
  #place // { handle, reads }, see readLater()

  /** @private Use store.snapshot(). */
  constructor (store, handle) {
    this.#store = store
    this.#place = { handle: native.snapshotOpen(handle), reads: null }
    forgotten.register(this, this.#place.handle, this)
    /** The rows without keys: get, getMany, scan and length of rows. */
    this.rows = new SnapshotRows(this, this.#place)
    Object.defineProperty(this, 'rows', { writable: false, configurable: false, enumerable: true })
  }

  /** As get() of the store. */
  get (key, options) {
    checkKey(key)
    const mutable = mutableOf(options)
    const value = native.get(this.#place.handle, key, AS_VALUE)
    return finish(integers[0], value, mutable)
  }

  /** As getAsync() of the store. */
  async getAsync (key, options) {
    checkKey(key)
    return readLater(this.#place, key, mutableOf(options))
  }

  /** As getMany() of the store. */
  getMany (keys, options) {
    return readMany(this.#place.handle, AS_VALUE, checkList(keys, 'keys', checkKey), mutableOf(options))
  }

  /** As getEntry() of the store. */
  getEntry (key, options) {
    checkKey(key)
    const mutable = mutableOf(options)
    const value = native.get(this.#place.handle, key, AS_VALUE)
    const kind = integers[0]
    if (kind === MISSING) return undefined
    return { version: doubles[0], expiresAt: doubles[1] === 0 ? null : doubles[1], value: finish(kind, value, mutable) }
  }

  /** As getText() of the store. */
  getText (key) {
    checkKey(key)
    const value = native.get(this.#place.handle, key, AS_TEXT)
    return finish(integers[0], value, false)
  }

  /** As getBuffer() of the store. */
  getBuffer (key) {
    checkKey(key)
    const value = native.get(this.#place.handle, key, AS_BUFFER)
    return finish(integers[0], value, false)
  }

  /** As has() of the store. */
  has (key) {
    checkKey(key)
    return native.has(this.#place.handle, key)
  }

  /** As hasMany() of the store. */
  hasMany (keys) {
    return readMany(this.#place.handle, AS_EXISTS, checkList(keys, 'keys', checkKey), false)
  }

  /** As ttl() of the store, from now on: 0 for a key that has lapsed since. */
  ttl (key) {
    checkKey(key)
    native.get(this.#place.handle, key, AS_FACTS)
    if (integers[0] === MISSING) return undefined
    const expiresAt = doubles[1]
    return expiresAt === 0 ? null : Math.max(expiresAt - native.storeNow(this.#place.handle), 0)
  }

  /**
   * Number of keys.
   *
   * @type {number}
   */
  get size () {
    return native.rangeCount(this.#place.handle, ...parseBounds({}, false))
  }

  /** As range() of the store. */
  range (options) {
    return new Range(this, this.#place.handle, options, 'pairs', false)
  }

  /** As keys() of the store. */
  keys (options) {
    return new Range(this, this.#place.handle, options, 'keys', false)
  }

  /** As values() of the store. */
  values (options) {
    return new Range(this, this.#place.handle, options, 'values', false)
  }

  /** As count() of the store. */
  count (range) {
    const bounds = boundsOf(range)
    if (bounds !== null) return native.rangeCount(this.#place.handle, ...bounds)
    native.storeNow(this.#place.handle) // throws if it is closed
    return 0
  }

  /** As toToon() of the store. */
  toToon (options) {
    return toToon(this.#place.handle, options)
  }

  /**
   * A collection as it was: the reading half of db.collection().
   *
   * @param {string} name
   * @returns {CollectionView}
   */
  collection (name) {
    native.storeNow(this.#place.handle) // throws if it is closed
    return this.#store.collection(name).at(this, this.#place)
  }

  /** Release what the snapshot holds. Calling it again does nothing. */
  close () {
    if (this.#place.handle === CLOSED) return
    flushReads(this.#place)
    native.snapshotClose(this.#place.handle)
    forgotten.unregister(this)
    this.#place.handle = CLOSED
    this.#store = null
  }

  [inspect.custom] () {
    return `Snapshot { ${this.#place.handle === CLOSED ? 'closed' : 'open'} }`
  }
}

// No snapshot has this handle: natives throw TOON_ECLOSED.
const CLOSED = -1

// Node 20 has the symbol, older realms may not.
if (Symbol.dispose !== undefined) Snapshot.prototype[Symbol.dispose] = Snapshot.prototype.close

module.exports = { Snapshot }
