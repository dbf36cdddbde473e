'use strict'
// A store with a cache of hot rows in front of it.

const { native } = require('./binding')
const { ToonStore, openStore } = require('./store')
const { L1 } = require('./l1')
const { setHot, readMany, checkList } = require('./rows')
const { AS_VALUE, checkKey, mutableOf } = require('./values')

/**
 * A store that keeps hot rows ready in memory. The same calls as ToonStore.
 */
class ToonCache extends ToonStore {
  #capacity
  #handle
  #hot // an L1; undefined without capacity

  /** @private Use ToonCache.open(). */
  constructor (token, writer, path, options) {
    super(token, writer, path, options)
    const { handle } = writer
    this.#capacity = options.capacity
    this.#handle = handle
    writer.cache = { rows: options.capacity, bytes: options.cacheBytes } // of a server
    if (options.capacity > 0) {
      this.#hot = new L1(handle, options.capacity, options.cacheBytes)
      setHot(this.rows, this.#hot)
    }
  }

  /**
   * Open the store in a directory, with a cache.
   *
   * @param {string|URL} location - a path, a file: URL, or 'file://path?capacity=N'
   * @param {number} [capacity=10000] - rows kept in memory; 0 = none
   * @param {object} [options] - see OpenOptions in index.d.ts
   * @returns {Promise<ToonCache>}
   * @throws {ToonError} as ToonStore.open()
   * @example
   * const db = await ToonCache.open('./data', 50000)
   */
  static async open (location, capacity, options) {
    // ToonCache.open(location, options) too, as its base class has it.
    if (typeof capacity === 'object' && options === undefined) return openStore(this, location, capacity, true, undefined)
    return openStore(this, location, options, true, capacity)
  }

  /**
   * Rows that the cache keeps at most.
   *
   * @type {number}
   */
  get capacity () {
    return this.#capacity
  }

  /** As get() of ToonStore; without options, a hot value comes from memory, the same one each time. */
  get (key, options) {
    const hot = this.#hot
    if (hot === undefined || options !== undefined || typeof key !== 'string') return super.get(key, options)
    const value = hot.key(key)
    if (value !== undefined) return value
    return hot.fill(key, native.get(this.#handle, key, AS_VALUE))
  }

  /** As getMany() of ToonStore; without options, hot values come from memory if all of them are there. */
  getMany (keys, options) {
    const hot = this.#hot
    if (hot === undefined || options !== undefined) return super.getMany(keys, options)
    const list = checkList(keys, 'keys', checkKey)
    return hot.many(list) ?? readMany(this.#handle, AS_VALUE, list, false, hot)
  }

  /** As getAsync() of ToonStore; a hot value is there at once. */
  async getAsync (key, options) {
    if (typeof key === 'string' && !mutableOf(options)) {
      const value = this.#hot?.key(key)
      if (value !== undefined) return value
    }
    return super.getAsync(key, options)
  }

  /** As stats() of ToonStore, with the cache's own under `cache`. */
  stats () {
    const stats = super.stats()
    if (this.#hot !== undefined) stats.cache = this.#hot.stats()
    return stats
  }

  close () {
    this.#hot = undefined // from now on reads are refused
    setHot(this.rows, undefined)
    return super.close()
  }
}

/**
 * Open a store with a cache.
 *
 * @param {string|URL} location - a path, a file: URL, or 'file://path?capacity=N' (relative paths too)
 * @param {object} [options] - see OpenOptions in index.d.ts
 * @returns {Promise<ToonCache>}
 * @throws {ToonError} TOON_ENOTFOUND, TOON_ELOCKED, TOON_ECORRUPT, TOON_EFORMAT, TOON_EINVAL, TOON_EIO
 * @example
 * const db = await open('file://./data?capacity=50000', { durability: 'interval' })
 */
async function open (location, options) {
  return openStore(ToonCache, location, options, true, undefined)
}

module.exports = { ToonCache, open }
