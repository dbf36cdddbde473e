'use strict'
// Collections: documents (objects) under the keys `<name>/<id>`, with queries and secondary indexes. All of it is ordinary
// keys. Writes are transactions, so that a document and its index entries are one commit.

const { inspect } = require('node:util')
const { native, integers } = require('./binding')
const { ToonError, invalidType, withKey, show } = require('./errors')
const { AS_VALUE, isBytes, finish } = require('./values')
const { checkObject, checkNames } = require('./options')
const { ROW_OPTIONS, putOptions } = require('./writes')
const { transaction } = require('./transactions')
const { hasAny } = require('./rows')
const { entryOf } = require('./indexkeys')
const { Indexes, parseIndex, isDocument } = require('./indexes')
const { makeId, checkId } = require('./ids')
const { parseFields } = require('./fields')
const queries = require('./query')

const RETRIES = 1e6 // conflicts of one call with others are no affair of the caller's
const MAX_NAME = 1000 // bytes

const COLLECTION_OPTIONS = new Set(['indexes', 'columns'])

function checkName (name) {
  if (typeof name !== 'string') throw invalidType(`the name of a collection must be a string (got ${show(name)})`)
  if (!/^[^$/][^/]*(\/[^/]+)*$/.test(name) || !name.isWellFormed() || Buffer.byteLength(name) > MAX_NAME) {
    throw invalidType('the name of a collection is Unicode text that begins with neither $ nor /, has nothing empty between ' +
      `slashes and at most ${MAX_NAME} bytes (got ${show(name)})`)
  }
  return name
}

// ---- documents on their way in ----

// A document as { id, given, json, document }; given: it has an id of its own, else id is undefined. Calls toJSON.
function prepare (given) {
  if (!isBytes(given) && typeof given?.toJSON === 'function') given = given.toJSON('')
  if (!isDocument(given) || isBytes(given)) {
    throw invalidType(`a document must be an object (got ${show(given)}): put other values with db.put(key, value)`)
  }
  let document = given
  let id
  if (Object.hasOwn(given, '_id')) ({ _id: id, ...document } = given)
  if (id !== undefined) checkId(id)
  let json
  try {
    json = JSON.stringify(document)
  } catch (err) {
    if (err instanceof TypeError || err instanceof RangeError) {
      throw invalidType(`the document cannot be stored: ${err.message}`, err)
    }
    throw err
  }
  if (json?.[0] !== '{') throw invalidType('a document must have the JSON form of an object')
  return { id, given: id !== undefined, json, document }
}

// Whether a path leads to what its JSON has, without a look at the JSON.
function isSimple (document, path) {
  let value = document
  for (const name of path) {
    if (typeof value !== 'object' || value === null) return true
    if (typeof value.toJSON === 'function') return false
    const own = Object.getOwnPropertyDescriptor(value, name)
    if (own === undefined) return true
    if (!own.enumerable || own.get !== undefined) return false
    value = own.value
  }
  if (typeof value === 'number') return Number.isFinite(value)
  return value === null || ['string', 'boolean', 'undefined'].includes(typeof value)
}

// What an index sees of a document. The JSON counts: the caller may have changed the object since.
function seen ({ json, document }, indexes, attempt) {
  const simple = attempt === 1 && indexes.every(index => index.paths.every(path => isSimple(document, path)))
  return simple ? document : JSON.parse(json)
}

function withId (id, value) {
  const out = { _id: id, ...value }
  out._id = id
  return out
}

// ---- writes, inside a transaction ----

class Changes {
  #tx
  #prefix
  #indexes

  constructor (tx, prefix, indexes) {
    this.#tx = tx
    this.#prefix = prefix
    this.#indexes = indexes
  }

  get (id) {
    const value = this.#tx.get(this.#prefix + checkId(id), { mutable: true })
    return isDocument(value) ? withId(id, value) : undefined
  }

  insert (prepared, how) {
    const kept = this.#indexes.kept(this.#tx)
    for (const one of prepared) {
      const key = this.#prefix + one.id
      if (one.given && this.#tx.has(key)) {
        throw new ToonError('TOON_EUNIQUE', `there is a document with the id ${show(one.id)} already`, { key })
      }
      if (kept.length > 0) {
        const document = seen(one, kept, this.#tx.attempt)
        for (const index of kept) this.#indexes.put(this.#tx, index, one.id, entryOf(index, one.id, document), how)
      }
      this.#tx.putJson(key, one.json, how)
    }
  }

  /** insert() into a transaction that does nothing else: all that must not be there yet is looked up at once. */
  insertAlone (prepared, how) {
    const tx = this.#tx
    const kept = this.#indexes.kept(tx)
    const keys = []
    const forms = []
    const absent = new Set()
    let wanted = 0
    for (const one of prepared) {
      const document = kept.length > 0 ? seen(one, kept, tx.attempt) : undefined
      for (const index of kept) {
        const { key, alone, other } = entryOf(index, one.id, document)
        if (other && index.unique) return this.insert(prepared, how)
        if (alone) {
          absent.add(key)
          wanted++
        }
        keys.push(key)
        forms.push(alone ? JSON.stringify(one.id) : 'null')
      }
      const key = this.#prefix + one.id
      if (one.given) {
        absent.add(key)
        wanted++
      }
      keys.push(key)
      forms.push(one.json)
    }
    // insert() knows what stands in the way, and whether it does.
    if (absent.size < wanted || hasAny(tx.source, [...absent])) {
      return this.insert(prepared, how)
    }
    tx.putFresh(keys, forms, how)
  }

  put (id, one, how) {
    const key = this.#prefix + id
    const kept = this.#indexes.kept(this.#tx)
    if (kept.length > 0) {
      const old = this.#tx.look(key)
      const document = seen(one, kept, this.#tx.attempt)
      for (const index of kept) {
        const entry = entryOf(index, id, document)
        const before = old !== undefined && isDocument(old.value) ? entryOf(index, id, old.value) : undefined
        const same = before !== undefined && before.key === entry.key
        if (before !== undefined && !same) this.#indexes.remove(this.#tx, id, before)
        if (!same || old.lapses || how !== undefined) this.#indexes.put(this.#tx, index, id, entry, how)
      }
    }
    this.#tx.putJson(key, one.json, how)
  }

  delete (id) {
    const key = this.#prefix + id
    const kept = this.#indexes.kept(this.#tx)
    const old = kept.length > 0 ? this.#tx.look(key)?.value : undefined
    if (isDocument(old)) for (const index of kept) this.#indexes.remove(this.#tx, id, entryOf(index, id, old))
    return this.#tx.delete(key)
  }

  update (id, fn) {
    const write = value => {
      if (value === undefined) {
        this.delete(id)
        return undefined
      }
      const one = prepareFor(id, value)
      this.#tx.atomically(() => this.put(id, one, undefined))
      return withId(id, JSON.parse(one.json))
    }
    const value = fn(this.get(id))
    return typeof value?.then === 'function' ? Promise.resolve(value).then(write) : write(value)
  }
}

// Documents to be inserted, with their ids.
function prepareAll (documents) {
  return documents.map(document => {
    const one = prepare(document)
    one.id ??= makeId()
    return one
  })
}

function prepareFor (id, document) {
  const one = prepare(document)
  if (!one.given || one.id === id) return one
  throw invalidType(`the document has the _id ${show(one.id)}, and is to be put under ${show(id)}`)
}

function howOf (options) {
  return options === undefined ? undefined : putOptions(options, ROW_OPTIONS)
}

function checkFunction (fn) {
  if (typeof fn !== 'function') throw invalidType(`update takes a function of the document (got ${show(fn)})`)
}

// What `make(snapshot)` generates, from a snapshot of its own (undefined if the place is one).
async function * withSnapshot (store, place, make) {
  const snapshot = place.handle < 0 ? undefined : store.snapshot()
  try {
    yield * make(snapshot)
  } finally {
    snapshot?.close()
  }
}

// ---- what callers see ----

/** The reading half: of a store as it is now, or of a snapshot. */
class CollectionView {
  #store
  #place // { handle }
  #from

  /** @private */
  constructor (store, place, from) {
    this.#store = store
    this.#place = place
    this.#from = from
  }

  /** @type {string} */
  get name () {
    return this.#from.name
  }

  /**
   * @param {string} id
   * @returns {object|undefined} a copy of your own, which begins with its _id
   */
  get (id) {
    return this.#from.get(this.#place.handle, checkId(id))
  }

  /**
   * The documents for which a filter holds. See Filter in index.d.ts.
   *
   * @param {object} [query]
   * @param {object} [query.where] - all of the collection if not given
   * @param {(string|string[])[]} [query.fields] - pick fields, as range() does; _id only if it is among them
   * @param {string|object} [query.orderBy] - 'price', or { price: 'desc', name: 'asc' }; equal ones by their ids
   * @param {number} [query.limit] [query.offset=0]
   * @param {AbortSignal} [query.signal]
   * @returns {Found} iterable and async iterable, once; toArray()
   * @throws {TypeError|RangeError|ToonError} TOON_EINVAL, with the place in the filter; TOON_ECLOSED, TOON_ECORRUPT
   * @example
   * products.find({ where: { stock: { $gt: 0 } }, orderBy: { added: 'desc' }, limit: 10 }).toArray()
   */
  find (query) {
    return queries.find(this.#store, this.#place, this.#from, query)
  }

  /**
   * The first document of find(), synchronously.
   *
   * @returns {object|undefined}
   */
  findOne (query) {
    return queries.findOne(this.#place, this.#from, query)
  }

  /**
   * All documents of find(), read on another thread.
   *
   * @returns {Promise<object[]>}
   */
  async findAsync (query) {
    const out = []
    for await (const document of this.find(query)) out.push(document)
    return out
  }

  /**
   * How many documents there are.
   *
   * @param {{ where?: object, limit?: number, offset?: number }} [query]
   * @returns {number}
   */
  count (query) {
    return queries.count(this.#place, this.#from, query)
  }

  /**
   * Count and sum up documents, in groups if asked. sum and avg are of numbers, min and max of all scalars but null.
   *
   * @param {object} query
   * @param {object} [query.where]
   * @param {string|(string|string[])[]} [query.groupBy] - a group for each value, in their order
   * @param {boolean} [query.count]
   * @param {string|(string|string[])[]} [query.sum] [query.avg] [query.min] [query.max] - fields
   * @returns {object|object[]} { group, count, sum: { field: … }, … } of each group; without groupBy one such object, which
   *   has no group
   * @example
   * orders.aggregate({ groupBy: 'city', count: true, sum: 'total' })
   * // [{ group: { city: 'Bonn' }, count: 2, sum: { total: 30 } }, …]
   */
  aggregate (query) {
    return queries.aggregate(this.#place, this.#from, query)
  }

  /**
   * The documents of find() as TOON: what encode() gives for their array, or for { [name]: array }. What a document lacks of
   * `fields` is null.
   *
   * @param {object} [query] - of find(), and name, delimiter, maxTokens, countTokens and note as in db.toToon()
   * @returns {string}
   * @example
   * products.toToon({ where: { stock: { $gt: 0 } }, fields: ['id', 'name', 'price'], name: 'products', maxTokens: 2000 })
   */
  toToon (query) {
    return queries.toToon(this.#place, this.#from, query)
  }

  /**
   * toToon() in chunks, for results that are too large for one string. Rows that are not uniform, or hold objects, are a
   * list.
   *
   * @param {object} [query] - of find(), and name and delimiter
   * @returns {AsyncGenerator<string>} chunks that, joined, are the document; of one moment, that of the first next()
   * @example
   * for await (const chunk of products.exportToon({ name: 'products' })) file.write(chunk)
   */
  exportToon (query) {
    return withSnapshot(this.#store, this.#place, snapshot =>
      queries.exportQuery(snapshot === undefined ? this : snapshot.collection(this.name), query))
  }

  /**
   * The documents of find() by columns: for each field a typed array if all its values are numbers, else an array. What a
   * document lacks is null.
   *
   * @param {object} query - of find(); fields are needed
   * @returns {{ rows: number, columns: { [field: string]: Int32Array|Float64Array|Array } }}
   * @example
   * const { columns: { price } } = products.findColumns({ where: { stock: { $gt: 0 } }, fields: ['price'] })
   */
  findColumns (query) {
    return queries.findColumns(this.#place, this.#from, query)
  }

  /**
   * Run a query and tell what was read, and by which plan.
   *
   * @param {object} [query] - of find()
   * @returns {{ plan: 'scan'|'ids'|'index'|'columns', index: string[]|null, ranges: number, sorted: boolean,
   *   entriesRead: number, rowsRead: number, bytesRead: number, rowsReturned: number, blocks: number, blocksRead: number }}
   *   sorted: in memory
   */
  explain (query) {
    return queries.explain(this.#place, this.#from, query)
  }

  /** The indexes: { fields, unique, state: 'building'|'ready'|'dropping' } of each. */
  indexes () {
    return this.#from.all(this.#place.handle).filter(({ replaces }) => replaces === undefined)
      .map(({ fields, unique, state }) => ({ fields: [...fields], unique, state }))
  }

  [inspect.custom] () {
    return `${this.constructor.name} { ${inspect(this.name)} }`
  }
}

/**
 * A collection of documents.
 *
 * @example
 * const users = db.collection('users', { indexes: [{ fields: 'email', unique: true }] })
 * const id = await users.insert({ email: 'ada@example.com', name: 'Ada' })
 * users.findOne({ where: { email: 'ada@example.com' } })._id === id
 */
class Collection extends CollectionView {
  #store
  #writer
  #from
  #indexes
  #declared = [] // { index, job }

  /** @private Use db.collection(). */
  constructor (store, writer, name) {
    const prefix = `${checkName(name)}/`
    const indexes = new Indexes(store, writer, name, prefix)
    const from = {
      name,
      prefix,
      indexes: source => indexes.ready(source),
      unique: (source, field) => indexes.unique(source, field),
      all: source => indexes.at(source),
      get (source, id) {
        const raw = native.get(source, prefix + id, AS_VALUE)
        const value = finish(integers[0], raw, true)
        return isDocument(value) ? withId(id, value) : undefined
      }
    }
    super(store, writer, from)
    this.#store = store
    this.#writer = writer
    this.#from = from
    this.#indexes = indexes
    for (const job of indexes.resume()) this.#background(job)
  }

  // What nobody awaits is told by an 'error' event.
  #background (job) {
    job.catch(err => {
      if (err.code === 'TOON_ECLOSED' || err.code === 'TOON_EREADONLY') return
      if (this.#store.listenerCount('error') > 0) this.#store.emit('error', err)
    })
  }

  /** @private indexes: as parseIndex() gives them. */
  declare (indexes) {
    for (const index of indexes) {
      const job = this.#indexes.create(index)
      this.#declared.push({ index, job })
      this.#background(job)
    }
  }

  /** @private Make the declared indexes again if a clear() of the store took their definitions away. */
  async declareAgain () {
    if (this.#declared.length === 0 || this.#from.all(this.#writer.handle).length > 0) return
    for (const { index } of this.#declared) await this.#indexes.create(index)
  }

  /** @private true: columns of the fields that documents have; false: none. */
  keepColumns (columns) {
    if (columns === false) {
      native.columnsDrop(this.#writer.handle, this.#from.prefix)
      return
    }
    if (columns !== true && !Array.isArray(columns)) {
      throw invalidType(`columns must be an array of fields, true or false (got ${show(columns)})`)
    }
    const paths = columns === true ? undefined : parseFields(columns).filter(path => path.join('.') !== '_id')
    if (paths?.length === 0) throw invalidType('columns names no field; ids are always kept with them')
    native.columnsKeep(this.#writer.handle, this.#from.prefix, paths)
  }

  /** @private The collection at a snapshot. */
  at (snapshot, place) {
    return new CollectionView(snapshot, place, this.#from)
  }

  /** @private The collection inside a transaction. */
  within (tx) {
    return new TransactionCollection(this.name, new Changes(tx, this.#from.prefix, this.#indexes), tx)
  }

  #write (fn, retries = RETRIES) {
    return transaction(this.#store, this.#writer, tx => fn(new Changes(tx, this.#from.prefix, this.#indexes)), { retries })
  }

  /**
   * Resolves when the indexes that were given to db.collection() can be used; rejects if one cannot be made.
   *
   * @returns {Promise<void>}
   */
  async ready () {
    await Promise.all(this.#declared.map(({ job }) => job))
  }

  /**
   * Store one document or, at once, several. One without an _id gets an id that sorts by time.
   *
   * @param {object|object[]} documents
   * @param {{ ttl?: number, expiresAt?: number }} [options]
   * @returns {Promise<string|string[]>} the ids
   * @throws by rejection: TOON_EINVAL for what is no object; TOON_EUNIQUE if the id or a value of a unique index is there
   *   already, nothing is written then; and as put() of the store
   */
  async insert (documents, options) {
    const how = howOf(options)
    const prepared = prepareAll(Array.isArray(documents) ? documents : [documents])
    if (prepared.length === 0) native.storeNow(this.#writer.handle) // throws if the store is closed
    else await this.#write(changes => changes.insertAlone(prepared, how))
    return Array.isArray(documents) ? prepared.map(one => one.id) : prepared[0].id
  }

  /**
   * Store a document under an id, replacing what was there.
   *
   * @param {string} id
   * @param {object} document - its _id, if it has one, must be the id
   * @param {{ ttl?: number, expiresAt?: number }} [options]
   * @returns {Promise<void>}
   * @throws by rejection: as insert()
   */
  async put (id, document, options) {
    if (arguments.length < 2) throw invalidType('put needs an id and a document: put(id, document); insert() makes an id')
    checkId(id)
    const how = howOf(options)
    const one = prepareFor(id, document)
    return this.#named(id, this.#write(changes => changes.put(id, one, how)))
  }

  /**
   * Replace a document by what a function makes of it, with nobody in between. Clears an expiry.
   *
   * @param {string} id
   * @param {function(object|undefined): object|undefined|Promise} fn - gets a copy of its own, which it may change and
   *   return; undefined deletes the document. May run several times
   * @param {{ retries?: number }} [options] - after conflicts; default 10, for an async function 0
   * @returns {Promise<object|undefined>} the new document
   */
  async update (id, fn, options) {
    checkId(id)
    checkFunction(fn)
    checkNames(checkObject(options), new Set(['retries']), 'option')
    return transaction(this.#store, this.#writer,
      tx => new Changes(tx, this.#from.prefix, this.#indexes).update(id, fn), checkObject(options))
  }

  /**
   * @param {string} id
   * @returns {Promise<boolean>} whether there was such a document
   */
  async delete (id) {
    checkId(id)
    return this.#named(id, this.#write(changes => changes.delete(id)))
  }

  async #named (id, promise) {
    try {
      return await promise
    } catch (err) {
      throw withKey(err, this.#from.prefix + id)
    }
  }

  /**
   * Make an index on one field or up to six. It is built in the background; queries use it when it is done, and from then on
   * all writes of the collection keep it. If there is one already, that is fine.
   *
   * @param {string|(string|string[])[]} fields
   * @param {{ unique?: boolean }} [options] - unique: no two documents have the same values, unless one of them is null or
   *   absent
   * @returns {Promise<void>} when it can be used
   * @throws by rejection: TOON_EUNIQUE if documents have the same values (there is no index then); TOON_EINVAL
   * @example
   * await users.createIndex('email', { unique: true })
   */
  async createIndex (fields, options) {
    return this.#indexes.create(parseIndex(fields, options))
  }

  /**
   * @param {string|(string|string[])[]} fields
   * @returns {Promise<boolean>} whether there was such an index
   */
  dropIndex (fields) {
    return this.#indexes.drop(fields)
  }

  /**
   * Bring the columns up to what has been written so far. They are brought up to date by themselves, later; queries are
   * right at any time, and read from the log what columns lack.
   *
   * @returns {Promise<void>}
   * @throws by rejection: TOON_EINVAL if the collection keeps no columns; TOON_EREADONLY, TOON_ENOSPC
   */
  buildColumns () {
    return native.columnsBuild(this.#writer.handle, this.#from.prefix)
  }

  /**
   * Build all indexes again: after documents were written past the collection (db.put, the server). The old ones are used,
   * and unique, until the new ones are there, and stay if one cannot be made.
   *
   * @returns {Promise<void>}
   */
  reindex () {
    return this.#indexes.rebuild()
  }
}

/** A collection inside a transaction: writes are buffered until its commit, indexes and all. */
class TransactionCollection {
  #name
  #changes
  #tx

  constructor (name, changes, tx) {
    this.#name = name
    this.#changes = changes
    this.#tx = tx
  }

  /** @type {string} */
  get name () {
    return this.#name
  }

  get (id) {
    return this.#changes.get(id)
  }

  insert (documents, options) {
    const prepared = prepareAll(Array.isArray(documents) ? documents : [documents])
    const how = howOf(options)
    this.#tx.atomically(() => this.#changes.insert(prepared, how))
    return Array.isArray(documents) ? prepared.map(one => one.id) : prepared[0].id
  }

  put (id, document, options) {
    const [one, how] = [prepareFor(checkId(id), document), howOf(options)]
    this.#tx.atomically(() => this.#changes.put(id, one, how))
  }

  update (id, fn) {
    checkFunction(fn)
    return this.#changes.update(checkId(id), fn)
  }

  delete (id) {
    return this.#tx.atomically(() => this.#changes.delete(checkId(id)))
  }
}

// The indexes that db.collection() is given.
function parseIndexes (indexes) {
  if (!Array.isArray(indexes)) throw invalidType(`indexes must be an array (got ${show(indexes)})`)
  return indexes.map(index => {
    if (typeof index === 'string' || Array.isArray(index)) return parseIndex(index)
    const { fields, ...options } = checkObject(index, 'an index')
    return parseIndex(fields, options)
  })
}

// The collections of a store, by name.
class Collections {
  #store
  #writer
  #byName = new Map()

  constructor (store, writer) {
    this.#store = store
    this.#writer = writer
  }

  open (name, options) {
    native.storeNow(this.#writer.handle) // throws if the store is closed
    const given = checkObject(options)
    checkNames(given, COLLECTION_OPTIONS, 'option of a collection')
    const indexes = given.indexes === undefined ? [] : parseIndexes(given.indexes)
    let collection = this.#byName.get(name)
    if (collection === undefined) {
      collection = new Collection(this.#store, this.#writer, name)
      this.#byName.set(name, collection)
    }
    if (given.columns !== undefined) collection.keepColumns(given.columns)
    collection.declare(indexes)
    return collection
  }

  /** After a clear() of the store. */
  async declareAgain () {
    for (const collection of this.#byName.values()) await collection.declareAgain()
  }
}

module.exports = { Collections }
