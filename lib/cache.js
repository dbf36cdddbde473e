'use strict'
// A store with a cache of hot rows in front of it.

const { ToonStore, openStore } = require('./store')

/**
 * A store that keeps hot rows ready in memory. The same calls as ToonStore.
 */
class ToonCache extends ToonStore {
  #capacity

  /** @private Use ToonCache.open(). */
  constructor (token, handle, path, options) {
    super(token, handle, path, options)
    this.#capacity = options.capacity
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
