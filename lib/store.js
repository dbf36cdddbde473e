'use strict'
// A store: the engine without a cache.

const { EventEmitter } = require('node:events')
const { inspect } = require('node:util')
const { native, integers, doubles } = require('./binding')
const { ToonError, invalidType } = require('./errors')
const {
  AS_VALUE, AS_TEXT, AS_BUFFER, AS_EXISTS, AS_FACTS, MISSING, READY, checkKey, finish, mutableOf
} = require('./values')
const { parseLocation } = require('./location')
const { parseOptions, nativeOptions, checkObject, checkInteger } = require('./options')
const { Writer, MAX_TIME, readLater } = require('./writes')
const { Range, boundsOf } = require('./range')
const { Rows, readMany, checkList } = require('./rows')
const { Snapshot } = require('./snapshot')
const { Transaction } = require('./transaction')
const { transaction, transactionSync, update } = require('./transactions')
const { emitter } = require('./events')
const { compact } = require('./compact')
const { toToon, exportRange } = require('./document')
const { context } = require('./context')
const { Collections } = require('./collection')
const { listen } = require('./server')

const OPENING = Symbol('opening')

// A store that is collected without having been closed is closed then. What it has acknowledged or taken is written.
const forgotten = new FinalizationRegistry(writer => {
  if (writer.handle !== 0) writer.close().catch(() => {})
})

// Errors of the open say where it was.
function atPath (err, path) {
  if (err instanceof ToonError && err.path === undefined) err.path = path
  return err
}

function openHandle (path, options) {
  const { signal } = options
  signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal?.addEventListener('abort', abort, { once: true })
    native.storeOpen(nativeOptions(path, options)).then(handle => {
      signal?.removeEventListener('abort', abort)
      if (signal?.aborted) native.storeClose(handle).catch(() => {})
      else resolve(handle)
    }, err => {
      signal?.removeEventListener('abort', abort)
      reject(atPath(err, path))
    })
  })
}

// Open a store of the class given.
async function openStore (Class, location, options, cache, capacity) {
  if (Class !== ToonStore && !(Class?.prototype instanceof ToonStore)) {
    throw invalidType('open() belongs to its class: call it as ToonStore.open() or ToonCache.open()')
  }
  const place = parseLocation(location)
  const given = checkObject(options)
  if (place.capacity !== undefined && given.capacity !== undefined) {
    throw invalidType('give capacity in the location or in the options, not both')
  }
  const wanted = capacity ?? place.capacity
  const parsed = parseOptions(wanted === undefined ? given : { ...given, capacity: wanted }, cache)
  const writer = new Writer(await openHandle(place.path, parsed), parsed)
  try {
    return new Class(OPENING, writer, place.path, parsed)
  } catch (err) {
    await writer.close()
    throw err
  }
}

/**
 * An open store. Reads are synchronous and see every write whose promise has resolved; writes are committed in groups on
 * other threads. Open one with ToonStore.open(); open() and ToonCache.open() add a cache.
 *
 * Times are milliseconds, sizes bytes. Objects and arrays come out deep-frozen; { mutable: true } gives a copy of your own.
 * Every method fails with TOON_ECLOSED once the store is closed.
 *
 * Events: 'close'; 'warning' with a ToonError TOON_EDBFULL when the store has grown above 80 % of maxDbSize, told again only
 * after it was below 70 %; 'error' with the ToonError of something that failed in the background, and only if somebody
 * listens. Warnings and errors come along with the results of writes.
 */
class ToonStore extends EventEmitter {
  #writer
  #path
  #closing
  #collections

  /** @private Use ToonStore.open(). */
  constructor (token, writer, path, options) {
    if (token !== OPENING) throw invalidType(`use ${new.target.name}.open()`)
    super()
    this.#path = path
    this.#writer = writer
    this.#writer.onEvents = emitter(this, options)
    this.#collections = new Collections(this, this.#writer)
    this.rows = new Rows(this, this.#writer)
    Object.defineProperty(this, 'rows', { writable: false, configurable: false, enumerable: true })
    forgotten.register(this, this.#writer, this.#writer)
  }

  /**
   * Open the store in a directory, which is created if need be.
   *
   * @param {string|URL} location - a path or file: URL
   * @param {object} [options] - see OpenOptions in index.d.ts
   * @returns {Promise<ToonStore>}
   * @throws {ToonError} TOON_ENOTFOUND, TOON_ELOCKED, TOON_ECORRUPT, TOON_EFORMAT, TOON_EINVAL, TOON_EIO
   * @example
   * const db = await ToonStore.open('./data', { durability: 'interval' })
   */
  static open (location, options) {
    return openStore(this, location, options, false, undefined)
  }

  /**
   * The absolute path of the store's directory.
   *
   * @type {string}
   */
  get path () {
    return this.#path
  }

  /**
   * The value of a key.
   *
   * @param {string|Uint8Array} key
   * @param {{ mutable?: boolean }} [options] - mutable: a copy of your own instead of a frozen value
   * @returns {any} undefined if there is no such key
   * @throws {TypeError|ToonError} TOON_EINVAL, TOON_EKEYTOOBIG, TOON_ECLOSED, TOON_ECORRUPT
   * @example
   * db.get('users/1')?.name
   */
  get (key, options) {
    if (typeof key !== 'string') checkKey(key)
    const mutable = options !== undefined && mutableOf(options) // may run code of the caller's
    const value = native.get(this.#writer.handle, key, AS_VALUE)
    return integers[0] === READY ? value : finish(integers[0], value, mutable)
  }

  /**
   * As get(), read on another thread: for values that may have to come from a slow disk.
   *
   * @param {string|Uint8Array} key
   * @param {{ mutable?: boolean }} [options]
   * @returns {Promise<any>}
   */
  async getAsync (key, options) {
    checkKey(key)
    return readLater(this.#writer, key, mutableOf(options))
  }

  /**
   * The values of many keys, all at one moment.
   *
   * @param {Array<string|Uint8Array>} keys
   * @param {{ mutable?: boolean }} [options]
   * @returns {any[]} in the order of keys, undefined where there is none
   * @example
   * const [a, b] = db.getMany(['a', 'b'])
   */
  getMany (keys, options) {
    return readMany(this.#writer.handle, AS_VALUE, checkList(keys, 'keys', checkKey), mutableOf(options))
  }

  /**
   * A value with the facts about its row.
   *
   * @param {string|Uint8Array} key
   * @param {{ mutable?: boolean }} [options]
   * @returns {{ value: any, version: number, expiresAt: number|null }|undefined} version: the sequence of the commit that
   *   wrote it, for put(..., { ifVersion }); expiresAt: ms since 1970
   */
  getEntry (key, options) {
    checkKey(key)
    const mutable = mutableOf(options)
    const value = native.get(this.#writer.handle, key, AS_VALUE)
    const kind = integers[0]
    if (kind === MISSING) return undefined
    return { version: doubles[0], expiresAt: doubles[1] === 0 ? null : doubles[1], value: finish(kind, value, mutable) }
  }

  /**
   * The value as TOON text: what encode(get(key)) gives, without decoding it first. Bytes come as base64:...
   *
   * @param {string|Uint8Array} key
   * @returns {string|undefined}
   */
  getText (key) {
    checkKey(key)
    const value = native.get(this.#writer.handle, key, AS_TEXT)
    return finish(integers[0], value, false)
  }

  /**
   * The value as bytes: bytes as they are, strings in UTF-8, anything else its TOON text in UTF-8. Always a copy.
   *
   * @param {string|Uint8Array} key
   * @returns {Buffer|undefined}
   */
  getBuffer (key) {
    checkKey(key)
    const value = native.get(this.#writer.handle, key, AS_BUFFER)
    return finish(integers[0], value, false)
  }

  /**
   * @param {string|Uint8Array} key
   * @returns {boolean}
   */
  has (key) {
    if (typeof key !== 'string') checkKey(key)
    return native.has(this.#writer.handle, key)
  }

  /**
   * Which of the keys exist, at one moment.
   *
   * @param {Array<string|Uint8Array>} keys
   * @returns {boolean[]}
   */
  hasMany (keys) {
    return readMany(this.#writer.handle, AS_EXISTS, checkList(keys, 'keys', checkKey), false)
  }

  /**
   * Number of keys. Rows without keys are counted by rows.length.
   *
   * @type {number}
   */
  get size () {
    return native.storeSize(this.#writer.handle, 0)
  }

  /**
   * Store a value under a key, replacing what was there and its expiry.
   *
   * @param {string|Uint8Array} key - up to 4096 bytes
   * @param {any} value - null, boolean, finite number, string, Buffer or Uint8Array, or what JSON.stringify takes
   * @param {object} [options]
   * @param {number} [options.ttl] - ms from now until the row lapses
   * @param {number} [options.expiresAt] - the same as ms since 1970
   * @param {boolean} [options.ifAbsent] - only if there is no such key
   * @param {number} [options.ifVersion] - only if the row has this version; 0: only if there is none
   * @returns {Promise<void|boolean>} resolves when the write is as durable as the store was opened for; with a condition, to
   *   whether it was written
   * @throws {TypeError|RangeError|ToonError} by rejection: TOON_EINVAL, TOON_EKEYTOOBIG, TOON_EVALUETOOBIG, TOON_EDBFULL,
   *   TOON_EREADONLY, TOON_ENOSPC, TOON_EIO, TOON_ECLOSED
   * @example
   * await db.put('session/1', { user: 7 }, { ttl: 60000 })
   */
  put (key, value, options) {
    if (arguments.length < 2) return Promise.reject(onlyOne())
    return this.#writer.put(key, value, options)
  }

  /**
   * @param {string|Uint8Array} key
   * @returns {Promise<boolean>} whether the key existed
   */
  delete (key) {
    return this.#writer.delete(key, checkKey)
  }

  /**
   * Let a key lapse some time from now, whatever was set before. Its value stays as it is.
   *
   * @param {string|Uint8Array} key
   * @param {number} ttl - ms, a whole number from 1
   * @returns {Promise<boolean>} whether there is such a key
   * @throws {TypeError|RangeError|ToonError} by rejection, as put()
   * @example
   * await db.expire('session/1', 60000)
   */
  async expire (key, ttl) {
    return this.#writer.expire(key, checkInteger('ttl', ttl, 1, MAX_TIME))
  }

  /**
   * Take a key's expiry away: it stays until it is deleted.
   *
   * @param {string|Uint8Array} key
   * @returns {Promise<boolean>} whether there was an expiry to take away
   */
  persist (key) {
    return this.#writer.expire(key, undefined)
  }

  /**
   * How long a key has to live.
   *
   * @param {string|Uint8Array} key
   * @returns {number|null|undefined} ms, null if it has no expiry, undefined if there is no such key
   */
  ttl (key) {
    checkKey(key)
    native.get(this.#writer.handle, key, AS_FACTS)
    if (integers[0] === MISSING) return undefined
    const expiresAt = doubles[1]
    return expiresAt === 0 ? null : Math.max(expiresAt - native.storeNow(this.#writer.handle), 0)
  }

  /**
   * Write several keys at once: all of it is stored, or nothing.
   *
   * @param {Array<{ type: 'put', key: string|Uint8Array, value: any, ttl?: number, expiresAt?: number } |
   *   { type: 'del', key: string|Uint8Array }>} ops
   * @returns {Promise<void>}
   * @throws by rejection: as put(), and TOON_ETXNTOOBIG
   * @example
   * await db.batch([{ type: 'put', key: 'a', value: 1 }, { type: 'del', key: 'b' }])
   */
  batch (ops) {
    return this.#writer.batch(ops)
  }

  /**
   * Delete all keys, or those of a range. Rows without keys stay. The indexes of collections are keys too: those that
   * db.collection() was given are made again, others have to be.
   *
   * @param {{ gt?, gte?, lt?, lte?, prefix?, reverse?: boolean, limit?: number }} [range]
   * @returns {Promise<number>} how many keys were deleted
   * @example
   * await db.clear({ prefix: 'session/' })
   */
  async clear (range) {
    const bounds = boundsOf(range)
    if (bounds === null) {
      native.storeNow(this.#writer.handle) // throws if the store is closed
      return 0
    }
    const deleted = await this.#writer.clear(bounds)
    if (deleted > 0) await this.#collections.declareAgain()
    return deleted
  }

  /**
   * Walk over keys and values in the order of the keys' bytes, at one moment.
   *
   * @param {object} [options]
   * @param {string|Uint8Array} [options.gt] [options.gte] [options.lt] [options.lte] - bounds; gte beats gt, lte beats lt
   * @param {string|Uint8Array} [options.prefix] - only keys that begin so
   * @param {boolean} [options.reverse] - from the last to the first
   * @param {number} [options.limit] - at most so many
   * @param {string[]} [options.fields] - pick fields of the values, as 'name' or 'address.city'
   * @param {'value'|'text'|'buffer'} [options.as='value'] - as get(), getText() or getBuffer() give it
   * @param {'string'|'buffer'} [options.keyAs='string'] - a key that is not UTF-8 comes as a Buffer anyway
   * @param {AbortSignal} [options.signal]
   * @returns {Range} iterable and async iterable, once; toArray()
   * @example
   * for (const [key, user] of db.range({ prefix: 'users/', fields: ['name'] })) console.log(key, user.name)
   */
  range (options) {
    return new Range(this, this.#writer.handle, options, 'pairs', false)
  }

  /**
   * As range(), the keys alone.
   *
   * @returns {Range}
   */
  keys (options) {
    return new Range(this, this.#writer.handle, options, 'keys', false)
  }

  /**
   * As range(), the values alone.
   *
   * @returns {Range}
   */
  values (options) {
    return new Range(this, this.#writer.handle, options, 'values', false)
  }

  /**
   * Number of keys in a range.
   *
   * @param {{ gt?, gte?, lt?, lte?, prefix?, reverse?: boolean, limit?: number }} [range]
   * @returns {number}
   */
  count (range) {
    const bounds = boundsOf(range)
    if (bounds === null) {
      native.storeNow(this.#writer.handle) // throws if the store is closed
      return 0
    }
    return native.rangeCount(this.#writer.handle, ...bounds)
  }

  /**
   * The state of the store at this moment, to be read as long as it is held; later writes do not change it.
   *
   * @returns {Snapshot} with methods that read; close() it when it is done
   * @throws {ToonError} TOON_ECLOSED
   * @example
   * const then = db.snapshot()
   * await db.put('a', 2)
   * then.get('a') // as it was
   * then.close()
   */
  snapshot () {
    return new Snapshot(this, this.#writer.handle)
  }

  /**
   * The rows of a range as one TOON document, { key: value, … }, of one moment: documents of one shape become a table
   * with a line for each key. See document.js for the rules.
   *
   * @param {object} [options] - the options of range() that choose rows, and
   * @param {(string|string[])[]} [options.fields] - the columns; what a document lacks is null
   * @param {string} [options.name] - a name for all of it
   * @param {','|'\t'|'|'} [options.delimiter=',']
   * @param {number} [options.maxTokens] - as many rows as fit, in the order of the range
   * @param {function(string): number} [options.countTokens] - what counts; without it an estimate
   * @param {boolean} [options.note=false] - end with a comment that says how many rows maxTokens has left out
   * @param {AbortSignal} [options.signal]
   * @returns {string}
   * @throws {TypeError|RangeError|ToonError} TOON_EINVAL: wrong options, a key that is not UTF-8; TOON_EVALUETOOBIG: longer
   *   than a string can be
   * @example
   * db.toToon({ prefix: 'users/', fields: ['id', 'name'], name: 'users' })
   * // users[2:]{id,name}:
   * //   "users/1": 1,Ada
   * //   "users/2": 2,Bob
   */
  toToon (options) {
    return toToon(this.#writer.handle, options)
  }

  /**
   * toToon() in chunks, for ranges that are too large for one string; a value of other than uniform rows of scalars has the
   * form of lines. The range is read twice, from one snapshot.
   *
   * @param {object} [options] - of range() that choose rows, fields, name, delimiter, signal
   * @returns {AsyncGenerator<string>} chunks that, joined, are the document
   * @example
   * for await (const chunk of db.exportToon({ prefix: 'users/' })) process.stdout.write(chunk)
   */
  async * exportToon (options) {
    const snapshot = this.snapshot()
    try {
      yield * exportRange(snapshot, options)
    } finally {
      snapshot.close()
    }
  }

  /**
   * Several results as one TOON document, of one moment and within one budget of tokens: a field for each section, in the
   * order given. Sections of higher priority take what they need first, up to their own maxTokens.
   *
   * @param {Array<{ title: string, query?: object, maxTokens?: number, priority?: number }>} sections - query: that of
   *   toToon(), or with `collection: 'name'` that of a collection's toToon()
   * @param {{ maxTokens?: number, countTokens?: function(string): number, delimiter?: string }} [options]
   * @returns {string} which never counts more than maxTokens
   * @example
   * db.context([
   *   { title: 'user', query: { prefix: 'users/7' }, priority: 1 },
   *   { title: 'orders', query: { collection: 'orders', where: { user: 7 }, orderBy: { at: 'desc' } } }
   * ], { maxTokens: 2000 })
   */
  context (sections, options) {
    const snapshot = this.snapshot()
    try {
      return context(snapshot, sections, options)
    } finally {
      snapshot.close()
    }
  }

  /**
   * A collection: documents under the keys `<name>/<id>`, with queries and indexes. The same name gives the same object.
   *
   * @param {string} name - may have slashes: 'users/7/orders' is a collection of its own
   * @param {object} [options]
   * @param {Array<string|string[]|{ fields: string|string[], unique?: boolean }>} [options.indexes] - made in the background
   *   if they are not there; await its ready() to use them
   * @returns {Collection}
   * @throws {TypeError|ToonError} TOON_EINVAL, TOON_ECLOSED
   * @example
   * const users = db.collection('users', { indexes: ['age', { fields: 'email', unique: true }] })
   * await users.insert({ name: 'Ada', email: 'ada@example.com', age: 36 })
   * users.find({ where: { age: { $gte: 18 } }, orderBy: 'age' }).toArray()
   */
  collection (name, options) {
    return this.#collections.open(name, options)
  }

  /**
   * Begin a transaction, to be ended by its commit() or rollback(). transaction() does that by itself.
   *
   * @param {{ isolation?: 'snapshot'|'serializable' }} [options] - see transaction()
   * @returns {Transaction}
   * @example
   * const tx = db.begin()
   * tx.put('a', tx.get('a') + 1)
   * await tx.commit()
   */
  begin (options) {
    return new Transaction(this, this.#writer, options)
  }

  /**
   * Run a function as a transaction: it reads and writes through its argument, and what it wrote is stored at once when it
   * has returned. It is rolled back if the function throws. If somebody else has changed what it writes, it is run again. A
   * write of the store itself inside the function is not part of the transaction.
   *
   * @template T
   * @param {function(Transaction): T|Promise<T>} fn - may run several times; tx.attempt counts
   * @param {object} [options]
   * @param {'snapshot'|'serializable'} [options.isolation='snapshot'] - serializable: a change of what was read is a
   *   conflict too, so that the outcome is that of transactions one after the other
   * @param {number} [options.retries] - after conflicts; default 10, for an async function 0
   * @param {number} [options.timeout] - ms after which it is rolled back, if it has not come to its commit
   * @param {AbortSignal} [options.signal] - rolls it back, if it has not come to its commit
   * @returns {Promise<T>} what the function returned
   * @throws by rejection: what fn throws; TOON_ECONFLICT, TOON_ETIMEOUT, signal.reason, and as batch()
   * @example
   * await db.transaction(tx => {
   *   tx.put('from', tx.get('from') - 10)
   *   tx.put('to', tx.get('to') + 10)
   * })
   */
  transaction (fn, options) {
    return transaction(this, this.#writer, fn, options)
  }

  /**
   * transaction() of a sync function that waits for the disk: for scripts.
   *
   * @template T
   * @param {function(Transaction): T} fn
   * @param {{ isolation?: 'snapshot'|'serializable', retries?: number }} [options]
   * @returns {T}
   */
  transactionSync (fn, options) {
    return transactionSync(this, this.#writer, fn, options)
  }

  /**
   * Replace a value by what a function makes of it, with nobody in between. Clears an expiry.
   *
   * @param {string|Uint8Array} key
   * @param {function(any): any} fn - gets the value, or undefined, and returns the new one; undefined deletes the key. May
   *   run several times
   * @param {{ retries?: number }} [options] - after conflicts; default 10, for an async function 0
   * @returns {Promise<any>} the new value, frozen
   * @throws by rejection: what fn throws, TOON_ECONFLICT, and as put()
   * @example
   * await db.update('visits', n => (n ?? 0) + 1)
   */
  update (key, fn, options) {
    return update(this, this.#writer, key, fn, options)
  }

  /**
   * put() that waits for the disk: for scripts. It blocks the event loop.
   *
   * @returns {undefined|boolean}
   */
  putSync (key, value, options) {
    if (arguments.length < 2) throw onlyOne()
    return this.#writer.putSync(key, value, options)
  }

  /**
   * delete() that waits for the disk.
   *
   * @returns {boolean}
   */
  deleteSync (key) {
    return this.#writer.deleteSync(key)
  }

  /** batch() that waits for the disk. */
  batchSync (ops) {
    this.#writer.batchSync(ops)
  }

  /**
   * Counters of the engine.
   *
   * @returns {object} see Stats in index.d.ts
   */
  stats () {
    return JSON.parse(native.storeStats(this.#writer.handle))
  }

  /**
   * Put everything that was written so far on the disk, whatever the durability.
   *
   * @returns {Promise<void>}
   */
  async sync () {
    return this.#writer.upkeep(native.storeSync)
  }

  /**
   * Write the index to the disk, so that the next open has nothing to replay.
   *
   * @returns {Promise<void>}
   */
  async checkpoint () {
    return this.#writer.upkeep(native.storeCheckpoint)
  }

  /**
   * Rewrite the log files that hold replaced or deleted rows, so that the files hold live rows only. The store does that by
   * itself when it is worth it; this is for getting the space back now.
   *
   * @param {object} [options]
   * @param {AbortSignal} [options.signal] - ends it early, harmlessly; rejects with signal.reason
   * @param {function(number)} [options.onProgress] - called with a share from 0 to 1, which only grows
   * @returns {Promise<void>}
   * @throws {ToonError} by rejection: TOON_EINVAL if a compaction is under way already, TOON_ENOSPC, TOON_EIO,
   *   TOON_EREADONLY
   * @example
   * await db.compact({ onProgress: share => console.log(`${Math.round(share * 100)} %`) })
   */
  compact (options) {
    return compact(this.#writer, options)
  }

  /**
   * Serve the Redis protocol from this process, so that redis-cli and any Redis client can use the store. Reads and
   * writes are those of this object: a client sees what was put here, and the other way round.
   *
   * @param {object} [options]
   * @param {number} [options.port=6379] - 0: one that is free, see server.port
   * @param {string} [options.host='127.0.0.1'] - an IP address
   * @param {boolean} [options.protectedMode=true] - refuse addresses off loopback as long as there is no password
   * @param {number} [options.maxClients=10000] - who comes later is refused
   * @param {string} [options.password] - and users, tls, path and limits: see ListenOptions in index.d.ts
   * @returns {Promise<Server>} once it listens; server.close() ends it, and so does close() of the store
   * @throws {TypeError|RangeError|ToonError} by rejection: TOON_EINVAL, TOON_EIO (with errno, such as an address in use),
   *   TOON_ECLOSED
   * @example
   * const server = await db.listen({ port: 6379 })
   * console.log(server.url) // redis://127.0.0.1:6379
   */
  async listen (options) {
    return listen(this, this.#writer, options)
  }

  /**
   * Finish what was called, stop listening, release the store and emit 'close'. Ranges that are still open, transactions of
   * async functions and indexes that are being made end with TOON_ECLOSED. Calling it again gives the same promise.
   *
   * @returns {Promise<void>}
   * @throws {ToonError} by rejection, if the store could not be closed cleanly; it is closed all the same, and the next
   *   open recovers it
   */
  close () {
    if (this.#closing === undefined) {
      forgotten.unregister(this.#writer)
      this.#closing = this.#writer.close().finally(() => {
        try {
          this.emit('close')
        } catch (err) {
          process.nextTick(() => { throw err }) // a listener's: as if it was called from nowhere
        }
      })
    }
    return this.#closing
  }

  [Symbol.asyncDispose] () {
    return this.close()
  }

  [inspect.custom] (depth, options) {
    const state = this.#writer.handle === 0 ? 'closed' : 'open'
    return `${this.constructor.name} { ${inspect(this.#path, options)}, ${state} }`
  }
}

function onlyOne () {
  return invalidType('put needs a key and a value: put(key, value); to append a value without a key use rows.put(value)')
}

module.exports = { ToonStore, openStore }
