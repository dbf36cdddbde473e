'use strict'
// One transaction: reads at its snapshot, with its own writes on top; writes are buffered until the commit.

const { isUtf8 } = require('node:buffer')
const { inspect } = require('node:util')
const { native, integers, doubles } = require('./binding')
const { ToonError, invalidType, withKey, show } = require('./errors')
const { AS_VALUE, STRING, BYTES, JSON_FORM, checkKey, isBytes, formOf, givenOf, finish, deepFreeze, mutableOf } = require('./values')
const { checkObject, checkNames } = require('./options')
const { ROW_OPTIONS, putOptions } = require('./writes')
const { checkList } = require('./rows')
const { Range, boundsOf, LOWER_OPEN, UPPER_OPEN, REVERSE } = require('./range')

const BEGIN_OPTIONS = new Set(['isolation'])
const ISOLATIONS = ['snapshot', 'serializable']

// A transaction that is forgotten lets go of its snapshot.
const forgotten = new FinalizationRegistry(handle => native.snapshotClose(handle))

// No snapshot has this handle.
const ENDED = -1

// What is buffered may be so many times maxTxnSize: TOON can be that much shorter than JSON. The commit is exact.
const BUFFERED = 4

function sizeOf ({ key, form }) {
  return 16 + key.length + (form === undefined ? 0 : form.length)
}

const ASCII = /^[\x00-\x7f]*$/

// A key as a string of its bytes, which compares as the store orders keys. Strings and bytes that name one key are equal.
function idOf (key) {
  return typeof key === 'string' && ASCII.test(key) ? key : Buffer.from(key).latin1Slice()
}

// A key as ranges hand it out.
function shown (key) {
  return typeof key !== 'string' && isUtf8(key) ? Buffer.from(key).toString() : key
}

function within (id, [lower, upper, prefix, flags]) {
  if (lower !== undefined && (flags & LOWER_OPEN ? id <= idOf(lower) : id < idOf(lower))) return false
  if (upper !== undefined && (flags & UPPER_OPEN ? id >= idOf(upper) : id > idOf(upper))) return false
  return prefix === undefined || id.startsWith(idOf(prefix))
}

function checkIsolation (isolation = 'snapshot') {
  if (ISOLATIONS.includes(isolation)) return isolation
  throw invalidType(`isolation must be 'snapshot' or 'serializable' (got ${show(isolation)})`)
}

function * nothing () {}

// A walk over a range of a transaction.
class MergedRange {
  #steps

  constructor (steps) {
    this.#steps = steps
  }

  next () {
    return this.#steps.next()
  }

  return (value) {
    return this.#steps.return(value)
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
    return [...this.#steps]
  }
}

/**
 * A transaction. It reads the store as it was at its begin, with its own writes on top, and writes nothing before commit().
 * The commit fails with TOON_ECONFLICT, and writes nothing, if a key that it writes was changed by somebody else since the
 * begin; with isolation 'serializable' also if a key or range that it read was changed (a key that was not there, or a row
 * that came into a range, included).
 *
 * Every method but commit() and rollback() fails with TOON_ECLOSED once the transaction has ended. One that is never ended
 * writes nothing.
 *
 * @example
 * const tx = db.begin()
 * tx.put('a', tx.get('a') + 1)
 * await tx.commit()
 */
class Transaction {
  #store // keeps the store from being collected
  #writer
  #opened // handle of the store
  #handle // of the snapshot
  #writes = new Map() // id -> { id, key, given, form (undefined: deleted), how }
  #journal = null // [id, write before] of each write inside atomically()
  #fresh = [] // { keys, forms, how } of putFresh()
  #size = 0 // of #writes and #fresh
  #expected = null // keys that must be as they were, for collections: id -> key
  #keys = null // what was read, for 'serializable': id -> key
  #ranges = null // { bounds, last, complete }
  #commit = null // promise of the commit

  /** @private Use store.begin() or store.transaction(). */
  constructor (store, writer, options, attempt = 1, handle = writer.handle) {
    const given = checkObject(options)
    checkNames(given, BEGIN_OPTIONS, 'option of a transaction')
    const isolation = checkIsolation(given.isolation)
    this.#store = store
    this.#writer = writer
    this.#opened = handle
    this.#handle = native.snapshotOpen(handle)
    if (isolation === 'serializable') {
      this.#keys = new Map()
      this.#ranges = []
    }
    forgotten.register(this, this.#handle, this)
    /** Which attempt of transaction() this is, from 1. */
    this.attempt = attempt
  }

  /**
   * 'open', 'committed' (commit() was called) or 'rolled back'.
   *
   * @type {string}
   */
  get state () {
    if (this.#handle !== ENDED) return 'open'
    return this.#commit === null ? 'rolled back' : 'committed'
  }

  #check () {
    if (this.#handle === ENDED) throw new ToonError('TOON_ECLOSED', 'the transaction has ended')
    native.storeNow(this.#handle) // throws if the store is closed
  }

  #end () {
    native.snapshotClose(this.#handle)
    forgotten.unregister(this)
    this.#handle = ENDED
    this.#store = null
  }

  // The key's id, for a key that can be used.
  #idOf (key) {
    this.#check()
    checkKey(key)
    native.checkKey(key)
    return idOf(key)
  }

  #noteKey (id, key) {
    if (this.#keys !== null && !this.#keys.has(id)) this.#keys.set(id, isBytes(key) ? Buffer.from(key) : key)
  }

  // The value of a write, as a read gives it.
  #valueOf ({ given, form }, mutable) {
    if (form === undefined || given === STRING) return form
    if (given === BYTES) return Buffer.from(form)
    const value = JSON.parse(form)
    return mutable || typeof value !== 'object' || value === null ? value : deepFreeze(value)
  }

  /**
   * The value of a key, as this transaction sees it.
   *
   * @param {string|Uint8Array} key
   * @param {{ mutable?: boolean }} [options]
   * @returns {any} undefined if there is no such key
   */
  get (key, options) {
    const id = this.#idOf(key)
    const mutable = mutableOf(options)
    const own = this.#writes.get(id)
    if (own !== undefined) return this.#valueOf(own, mutable)
    this.#noteKey(id, key)
    const value = native.get(this.#handle, key, AS_VALUE)
    return finish(integers[0], value, mutable)
  }

  /**
   * @param {string|Uint8Array} key
   * @returns {boolean}
   */
  has (key) {
    const id = this.#idOf(key)
    const own = this.#writes.get(id)
    if (own !== undefined) return own.form !== undefined
    this.#noteKey(id, key)
    return native.has(this.#handle, key)
  }

  /**
   * @param {Array<string|Uint8Array>} keys
   * @param {{ mutable?: boolean }} [options]
   * @returns {any[]} in the order of keys, undefined where there is none
   */
  getMany (keys, options) {
    this.#check()
    return checkList(keys, 'keys', checkKey).map(key => this.get(key, options))
  }

  /**
   * Walk over a range as this transaction sees it when the range is made: rows of its snapshot, and its own writes in their
   * place.
   *
   * @param {{ gt?, gte?, lt?, lte?, prefix?, reverse?: boolean, limit?: number }} [options]
   * @returns {MergedRange} iterable of [key, value], once; toArray()
   */
  range (options) {
    this.#check()
    const bounds = boundsOf(options)
    if (bounds === null) return new MergedRange(nothing())
    for (const bound of bounds.slice(0, 3)) if (bound !== undefined) native.checkKey(bound)
    for (let i = 0; i < 3; i++) if (isBytes(bounds[i])) bounds[i] = Buffer.from(bounds[i])
    const own = []
    for (const write of this.#writes.values()) if (within(write.id, bounds)) own.push(write)
    const direction = bounds[3] & REVERSE ? -1 : 1
    own.sort((a, b) => a.id < b.id ? -direction : direction)
    return new MergedRange(this.#merge(bounds, own, direction))
  }

  * #merge (bounds, own, direction) {
    const [lower, upper, prefix, flags, limit] = bounds
    this.#check()
    const note = { bounds, last: undefined, complete: false }
    const base = new Range(this, this.#handle, {
      [flags & LOWER_OPEN ? 'gt' : 'gte']: lower, [flags & UPPER_OPEN ? 'lt' : 'lte']: upper, prefix, reverse: direction < 0
    }, 'pairs', false)
    this.#ranges?.push(note)
    try {
      let row = base.next()
      for (let at = 0, left = limit === 0 ? Infinity : limit; left > 0;) {
        const write = own[at]
        if (row.done && write === undefined) {
          note.complete = true
          return
        }
        const id = row.done ? undefined : idOf(row.value[0])
        let item
        if (write === undefined || (id !== undefined && (direction > 0 ? id < write.id : id > write.id))) {
          item = row.value
        } else {
          at++
          if (write.form !== undefined) item = [shown(write.key), this.#valueOf(write, false)]
        }
        if (item !== undefined) {
          note.last = item[0]
          left--
          yield item
          this.#check()
        }
        if (write === undefined || id === undefined ? id !== undefined : direction > 0 ? id <= write.id : id >= write.id) {
          row = base.next()
        }
      }
    } finally {
      base.return()
    }
  }

  /**
   * @param {string|Uint8Array} key
   * @param {any} value
   * @param {{ ttl?: number, expiresAt?: number }} [options] - ttl counts from the commit
   * @throws as put() of the store; TOON_EVALUETOOBIG and text that is not Unicode are found by commit(); TOON_ETXNTOOBIG
   *   when more than 4 times maxTxnSize is buffered (the commit holds the text that is written against maxTxnSize itself)
   */
  put (key, value, options) {
    if (arguments.length < 2) throw invalidType('put needs a key and a value: put(key, value)')
    const id = this.#idOf(key)
    try {
      const form = formOf(value) // a toJSON of the value may have ended the transaction
      const how = options === undefined ? undefined : putOptions(options, ROW_OPTIONS)
      this.#check()
      this.#set({ id, key: copyOf(key), given: givenOf(value), form: copyOf(form), how })
    } catch (err) {
      throw withKey(err, key)
    }
  }

  #grow (bytes) {
    if (bytes > 0 && this.#size + bytes > BUFFERED * this.#writer.maxTxnSize) {
      throw new ToonError('TOON_ETXNTOOBIG', `the transaction has buffered more than ${BUFFERED} times maxTxnSize (${this.#writer.maxTxnSize} bytes); split it`)
    }
    this.#size += bytes
  }

  #set (write) {
    const before = this.#writes.get(write.id)
    this.#grow(sizeOf(write) - (before === undefined ? 0 : sizeOf(before)))
    this.#journal?.push([write.id, before])
    this.#writes.set(write.id, write)
  }

  /** @private Call fn; if it throws, what it wrote is taken back, and the transaction may go on. */
  atomically (fn) {
    if (this.#journal !== null) return fn()
    const size = this.#size
    const journal = this.#journal = []
    try {
      return fn()
    } catch (err) {
      for (const [id, before] of journal.reverse()) {
        if (before === undefined) this.#writes.delete(id)
        else this.#writes.set(id, before)
      }
      this.#size = size
      throw err
    } finally {
      this.#journal = null
    }
  }

  /**
   * A collection inside this transaction: get, insert, put, update and delete, buffered with the rest.
   *
   * @param {string} name
   * @returns {TransactionCollection}
   */
  collection (name) {
    this.#check()
    return this.#store.collection(name).within(this)
  }

  /** @private The snapshot's handle, for reading past the transaction's own writes. */
  get source () {
    this.#check()
    return this.#handle
  }

  /** @private The commit is a conflict if this key is changed by somebody else. */
  expect (key) {
    const id = this.#idOf(key)
    this.#expected ??= new Map()
    this.#expected.set(id, key)
  }

  /** @private The value of a key, to be changed, and whether it has an expiry; undefined if there is none. */
  look (key) {
    const own = this.#writes.get(this.#idOf(key))
    if (own !== undefined && own.form === undefined) return undefined
    const value = this.get(key, { mutable: true })
    if (value === undefined) return undefined
    return { value, lapses: own === undefined ? doubles[1] !== 0 : own.how !== undefined }
  }

  /** @private put() of a string key and JSON text, with options that were checked. The commit finds a key that is wrong. */
  putJson (key, json, how) {
    if (this.#handle === ENDED) this.#check() // throws
    const id = idOf(key)
    this.#set({ id, key, given: JSON_FORM, form: json, how })
  }

  /** @private put() of string keys and JSON texts; the transaction neither reads nor writes these keys otherwise. */
  putFresh (keys, forms, how) {
    this.#check()
    this.#grow(keys.reduce((sum, key, i) => sum + sizeOf({ key, form: forms[i] }), 0))
    this.#fresh.push({ keys, forms, how })
  }

  /**
   * @param {string|Uint8Array} key
   * @returns {boolean} whether the key existed
   */
  delete (key) {
    const existed = this.has(key)
    const id = idOf(key)
    this.#set({ id, key: copyOf(key), given: STRING, form: undefined, how: undefined })
    return existed
  }

  /**
   * Remember the writes made so far.
   *
   * @returns {{ rollback: function() }} rollback() takes back what was written since; it may be called again
   */
  savepoint () {
    this.#check()
    const writes = new Map(this.#writes)
    const size = this.#size
    return {
      rollback: () => {
        this.#check()
        this.#writes = new Map(writes)
        this.#size = size
      }
    }
  }

  #isEmpty () {
    return this.#writes.size === 0 && this.#fresh.length === 0
  }

  // Write the transaction as a member of an arena; true if the arena is full.
  #fill (arena) {
    native.arenaBeginAt(arena, this.#handle)
    let key
    try {
      if (this.#expected !== null) for (const read of this.#expected.values()) native.arenaExpect(arena, read)
      if (this.#keys !== null) {
        for (const read of this.#keys.values()) native.arenaExpect(arena, read)
        for (const note of this.#ranges) {
          const bounds = readPart(note)
          if (bounds !== null) native.arenaExpectRange(arena, ...bounds)
        }
      }
      for (const write of this.#writes.values()) {
        const { given, form, how } = write
        key = write.key
        if (form === undefined) native.arenaDelete(arena, key)
        else if (how === undefined) native.arenaPut(arena, given, key, form)
        else native.arenaPutWith(arena, given, key, form, how.ttl, how.expiresAt, 0, 0)
      }
      for (const { keys, forms, how } of this.#fresh) {
        for (let i = 0; i < keys.length; i++) {
          key = keys[i]
          if (how === undefined) native.arenaPut(arena, JSON_FORM, key, forms[i])
          else native.arenaPutWith(arena, JSON_FORM, key, forms[i], how.ttl, how.expiresAt, 0, 0)
        }
      }
      return native.arenaEnd(arena)
    } catch (err) {
      native.arenaAbandon(arena)
      throw withKey(err, key)
    }
  }

  /**
   * Write everything, at once. Called again it gives the same promise.
   *
   * @returns {Promise<void>}
   * @throws {ToonError} by rejection: TOON_ECONFLICT, TOON_ECLOSED after rollback(), and as batch() of the store
   */
  commit () {
    if (this.#commit !== null) return this.#commit
    try {
      this.#check()
    } catch (err) {
      return Promise.reject(err)
    }
    try {
      // What was only read is one moment of the store, so there is nothing to check.
      this.#commit = this.#isEmpty() ? Promise.resolve() : this.#writer.transact(arena => this.#fill(arena), this.#opened)
    } catch (err) {
      this.#commit = Promise.reject(err)
    }
    this.#end()
    return this.#commit
  }

  /** @private commit() that waits for the disk. */
  commitSync () {
    this.#check()
    try {
      if (!this.#isEmpty()) this.#writer.sync(arena => this.#fill(arena))
      this.#commit = Promise.resolve()
    } finally {
      this.#end()
    }
  }

  /** Forget everything. Does nothing once the transaction has ended. */
  rollback () {
    if (this.#handle !== ENDED) this.#end()
  }

  [inspect.custom] () {
    return `Transaction { ${this.state} }`
  }
}

function copyOf (value) {
  return isBytes(value) ? Buffer.from(value) : value
}

// The bounds of what was read of a range, or null.
function readPart ({ bounds: [lower, upper, prefix, flags], last, complete }) {
  if (complete) return [lower, upper, prefix, flags, 0]
  if (last === undefined) return null
  if (flags & REVERSE) return [last, upper, prefix, flags & ~LOWER_OPEN, 0]
  return [lower, last, prefix, flags & ~UPPER_OPEN, 0]
}

module.exports = { Transaction, checkIsolation }
