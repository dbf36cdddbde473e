'use strict'
// Rows without keys: put gives an id, counted from 0.

const { native, ROWS_PER_CALL, integers, kinds } = require('./binding')
const { invalidType, show } = require('./errors')
const { AS_VALUE, checkId, finish, finishAll, mutableOf } = require('./values')
const { Range } = require('./range')

// Read many keys or ids, already checked, at one moment. hot: an L1 that may keep the values.
function readMany (handle, mode, keys, mutable, hot) {
  if (keys.length <= ROWS_PER_CALL) {
    const began = hot?.began()
    const values = finishAll(native.getMany(handle, mode, ...keys), kinds, mutable)
    hot?.fillMany(keys, values, began)
    return values
  }
  const values = new Array(keys.length).fill(undefined)
  const how = new Uint8Array(keys.length)
  native.getLong(handle, mode, keys, values, how)
  return finishAll(values, how, mutable)
}

// Whether one of many keys is there.
function hasAny (handle, keys) {
  for (let i = 0; i < keys.length; i += ROWS_PER_CALL) {
    if (native.hasAny(handle, ...keys.slice(i, i + ROWS_PER_CALL))) return true
  }
  return false
}

function checkList (list, what, check) {
  if (!Array.isArray(list)) throw invalidType(`${what} must be an array (got ${show(list)})`)
  const copy = list.slice() // nobody changes it while it is read
  for (let i = 0; i < copy.length; i++) check(copy[i])
  return copy
}

// Give rows a cache: setHot(rows, l1).
let setHot

/**
 * The rows of a store: values without keys, numbered from 0 in the order of their puts.
 *
 * @example
 * const id = await db.rows.put('a line')
 * db.rows.get(id) // 'a line'
 */
class Rows {
  #store // keeps the store from being collected
  #writer
  #hot // an L1, or undefined
  static { setHot = (rows, hot) => { rows.#hot = hot } }

  constructor (store, writer) {
    this.#store = store
    this.#writer = writer
  }

  /**
   * Append a row.
   *
   * @param {any} value - as for put()
   * @param {{ ttl?: number, expiresAt?: number }} [options] - ms to live, or ms since 1970
   * @returns {Promise<number>} the row's id
   */
  put (value, options) {
    return this.#writer.putRow(value, options)
  }

  /**
   * @param {number} id
   * @param {{ mutable?: boolean }} [options]
   * @returns {any} the value, undefined if there is no such row
   */
  get (id, options) {
    const hot = this.#hot
    if (hot !== undefined && options === undefined && typeof id === 'number') {
      const value = hot.row(id)
      if (value !== undefined) return value
      checkId(id)
      return hot.fill(id, native.get(this.#writer.handle, id, AS_VALUE))
    }
    checkId(id)
    const mutable = mutableOf(options)
    const value = native.get(this.#writer.handle, id, AS_VALUE)
    return finish(integers[0], value, mutable)
  }

  /**
   * Many rows at one moment.
   *
   * @param {number[]} ids
   * @param {{ mutable?: boolean }} [options]
   * @returns {any[]} in the order of ids, undefined where there is no such row
   */
  getMany (ids, options) {
    const hot = options === undefined ? this.#hot : undefined
    const list = checkList(ids, 'ids', checkId)
    return hot?.many(list) ?? readMany(this.#writer.handle, AS_VALUE, list, mutableOf(options), hot)
  }

  /**
   * Replace a row's value.
   *
   * @param {number} id
   * @param {any} value
   * @param {{ ttl?: number, expiresAt?: number }} [options]
   * @returns {Promise<boolean>} false if there is no such row; nothing is written then
   */
  update (id, value, options) {
    return this.#writer.updateRow(id, value, options)
  }

  /**
   * @param {number} id
   * @returns {Promise<boolean>} whether there was such a row
   */
  delete (id) {
    return this.#writer.delete(id, checkId)
  }

  /**
   * Walk over rows in the order of their ids.
   *
   * @param {{ gt?: number, gte?: number, lt?: number, lte?: number, reverse?: boolean, limit?: number, fields?: string[],
   *   as?: 'value'|'text'|'buffer', signal?: AbortSignal }} [options]
   * @returns {Range} of [id, value]
   */
  scan (options) {
    return new Range(this.#store, this.#writer.handle, options, 'pairs', true)
  }

  /**
   * Number of rows.
   *
   * @type {number}
   */
  get length () {
    return native.storeSize(this.#writer.handle, 1)
  }
}

module.exports = { Rows, setHot: (rows, hot) => setHot(rows, hot), readMany, hasAny, checkList }
