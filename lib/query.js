'use strict'
// Queries of collections: options, and what a query gives. Filters, order, fields and sums are worked out by the engine from
// the stored text (csrc/query); JavaScript gets the JSON of what is handed out, a chunk at a time.

const { native, doubles } = require('./binding')
const { invalidType, show } = require('./errors')
const { checkObject, checkNames, checkInteger, checkSignal } = require('./options')
const { parseFields } = require('./fields')
const { parseFilter, compile } = require('./filter')
const { parseText, withinBudget } = require('./document')
const { valueKey, valueAt, baseOf } = require('./indexkeys')
const { plan } = require('./plan')
const { encode } = require('./encoding')
const { exportToon } = require('./export')
const { canGenerate, rowsOf, columnsOf } = require('./tables')

// Flags of csrc/napi/query.cc.
const REVERSE = 1
const PICKS = 2
const NULLS = 4
const COLUMNS = 8

const FIRST_CHUNK = 16
const ROWS_OF_COLUMNS = 4096 // of a chunk
const FEW = 64 // documents: to get at columns is not worth it
const MAX = Number.MAX_SAFE_INTEGER

const FIND_OPTIONS = new Set(['where', 'fields', 'orderBy', 'limit', 'offset', 'signal'])
const COUNT_OPTIONS = new Set(['where', 'limit', 'offset'])
const TOON_OPTIONS = new Set([...FIND_OPTIONS, 'name', 'delimiter', 'maxTokens', 'countTokens', 'note'])
const AGGREGATE_OPTIONS = new Set(['where', 'groupBy', 'count', 'sum', 'avg', 'min', 'max'])
const DIRECTIONS = new Map([[1, false], ['asc', false], [-1, true], ['desc', true]])

// [{ path, descending }]
function parseOrder (orderBy) {
  if (orderBy === undefined) return []
  if (typeof orderBy === 'string') return [{ path: orderBy.split('.'), descending: false }]
  if (typeof orderBy !== 'object' || orderBy === null || Array.isArray(orderBy)) {
    throw invalidType(`orderBy must be a field or an object as { price: 'desc' } (got ${show(orderBy)})`)
  }
  return Object.keys(orderBy).map(name => {
    const direction = orderBy[name]
    if (!DIRECTIONS.has(direction)) {
      throw invalidType(`orderBy.${name} must be 'asc', 'desc', 1 or -1 (got ${show(direction)})`)
    }
    return { path: name.split('.'), descending: DIRECTIONS.get(direction) }
  })
}

function parseQuery (options, known) {
  const given = checkObject(options)
  checkNames(given, known, 'option of a query')
  const { limit, offset = 0 } = given
  if (limit !== undefined && limit !== Infinity) checkInteger('limit', limit, 0, MAX)
  checkInteger('offset', offset, 0, MAX)
  const signal = checkSignal(given.signal)
  signal?.throwIfAborted()
  return {
    tree: parseFilter(given.where),
    fields: parseFields(given.fields),
    order: parseOrder(given.orderBy),
    limit: limit === Infinity ? undefined : limit,
    offset,
    nulls: false,
    signal
  }
}

/**
 * Begin a query, at a snapshot of its own or the one given.
 *
 * @param {{ handle: number }} place - of a store or snapshot
 * @param {{ prefix: string, indexes: function(number): object[] }} from - the collection; its indexes at a snapshot
 * @param {object} query - as parseQuery() gives it
 * @returns {{ handle: number, test: function|undefined, plan: object }}
 */
function openQuery (place, from, query) {
  const { tree, fields, order, limit, offset } = query
  const own = place.handle >= 0
  const snapshot = own ? native.snapshotOpen(place.handle) : place.handle
  try {
    const indexes = tree === null && (order.length === 0 || limit === undefined) ? [] : from.indexes(snapshot)
    const chosen = plan(snapshot, from.prefix, indexes, tree, order, limit !== undefined)
    const { paths, program, test } = compile(tree)
    const sort = chosen.sorted ? [] : order
    const few = tree === null && sort.length === 0 && limit !== undefined && limit + offset <= FEW
    const columns = chosen.kind === 'scan' && !chosen.reverse && !few && (fields !== undefined || tree !== null)
    const flags = (columns ? COLUMNS : 0) | (chosen.reverse ? REVERSE : 0) | (fields === undefined ? 0 : PICKS) |
      (query.nulls ? NULLS : 0)
    const handle = native.queryOpen(snapshot, from.prefix, chosen.base, chosen.parts, flags, offset, limit ?? -1,
      chosen.bounds, paths, program, fields, sort.map(o => o.path), Uint8Array.from(sort, o => o.descending ? 1 : 0))
    return { handle, test, plan: chosen }
  } finally {
    if (own) native.snapshotClose(snapshot)
  }
}

// Run `fn(query)` on a query that is closed at the end.
function once (place, from, parsed, fn) {
  const query = openQuery(place, from, parsed)
  try {
    return fn(query)
  } finally {
    native.queryClose(query.handle)
  }
}

// A query that was dropped before its end holds back files; it is closed when it is collected.
const dropped = new FinalizationRegistry(handle => native.queryClose(handle))

/**
 * The documents of one query, at the moment the query was made. Iterate it once, by `for...of` or `for await...of`, or call
 * toArray(). Leaving the loop early releases what it holds. Documents are yours: they are not frozen.
 *
 * @example
 * for (const user of users.find({ where: { age: { $gte: 18 } } })) console.log(user._id, user.name)
 */
class Found {
  #store // keeps the store from being collected
  #query // handle; 0: closed
  #test
  #signal
  #chunk = []
  #at = 0
  #rows = FIRST_CHUNK

  constructor (store, place, from, parsed) {
    const { handle, test } = openQuery(place, from, parsed)
    this.#store = store
    this.#query = handle
    this.#test = test
    this.#signal = parsed.signal
    dropped.register(this, handle, this)
  }

  #close () {
    if (this.#query === 0) return
    native.queryClose(this.#query)
    dropped.unregister(this)
    this.#query = 0
    this.#store = null
  }

  // Take a chunk: a table, or JSON, [1 if that was the end else 0, document, …].
  #take (given) {
    if (typeof given === 'string') {
      this.#chunk = JSON.parse(given)
      this.#at = 1
      if (this.#chunk[0] === 1) this.#close()
    } else {
      this.#chunk = rowsOf(given)
      this.#at = 0
    }
    return this.#chunk.length > this.#at
  }

  #wanted () {
    const rows = this.#rows
    this.#rows = Math.min(rows * 4, ROWS_OF_COLUMNS)
    return rows
  }

  #fetch () {
    if (this.#query === 0) return false
    try {
      this.#signal?.throwIfAborted()
      return this.#take(native.queryNext(this.#query, this.#wanted(), this.#test, canGenerate))
    } catch (err) {
      if (err?.code !== 'TOON_EINVAL') this.#close() // else it is being read already
      throw err
    }
  }

  async #fetchAsync () {
    // Regular expressions are matched on this thread, so what has one is read on it; others get their turn in between.
    if (this.#test !== undefined && this.#query !== 0) {
      await new Promise(resolve => setImmediate(resolve))
      if (this.#at < this.#chunk.length) return true // next() was called meanwhile
    }
    if (this.#test !== undefined || this.#query === 0) return this.#fetch()
    try {
      this.#signal?.throwIfAborted()
      return this.#take(await native.queryNextAsync(this.#query, this.#wanted(), canGenerate))
    } catch (err) {
      this.#close()
      throw err
    }
  }

  next () {
    if (this.#at >= this.#chunk.length && !this.#fetch()) {
      this.#chunk = []
      return { value: undefined, done: true }
    }
    return { value: this.#chunk[this.#at++], done: false }
  }

  return (value) {
    this.#close()
    this.#chunk = []
    return { value, done: true }
  }

  [Symbol.iterator] () {
    return this
  }

  /**
   * All documents that are left.
   *
   * @returns {object[]}
   */
  toArray () {
    const out = []
    if (this.#rows === FIRST_CHUNK) this.#rows = ROWS_OF_COLUMNS
    do {
      while (this.#at < this.#chunk.length) out.push(this.#chunk[this.#at++])
    } while (this.#fetch())
    this.#chunk = []
    return out
  }

  [Symbol.asyncIterator] () {
    let last = Promise.resolve() // one chunk at a time, however next() is called
    const step = async () => {
      if (this.#at >= this.#chunk.length && !await this.#fetchAsync()) {
        this.#chunk = []
        return { value: undefined, done: true }
      }
      return { value: this.#chunk[this.#at++], done: false }
    }
    return {
      next: () => {
        const result = last.then(step)
        last = result.catch(() => {})
        return result
      },
      return: async value => this.return(value),
      [Symbol.asyncIterator] () { return this }
    }
  }
}

/** Options of findOne() and findAsync() are those of find(). */
function find (store, place, from, options) {
  return new Found(store, place, from, parseQuery(options, FIND_OPTIONS))
}

// The document of a query for one value of a unique index: two reads in one call of the addon. undefined if it is another
// kind of query, null if there is no such document.
function byUnique (place, from, options) {
  if (typeof options !== 'object' || options === null || Object.keys(options).length !== 1) return undefined
  const { where } = options
  if (typeof where !== 'object' || where === null || Object.getPrototypeOf(where) !== Object.prototype) return undefined
  const names = Object.keys(where)
  const value = where[names[0]]
  if (names.length !== 1 || (typeof value !== 'string' && !Number.isFinite(value))) return undefined
  if (names[0].startsWith('$')) return undefined
  const index = from.unique(place.handle, names[0])
  const key = index === undefined ? undefined : valueKey(value)
  if (key === undefined || (typeof value === 'string' && !value.isWellFormed())) return undefined
  const json = native.queryUnique(place.handle, `${baseOf(index.number)}${key} `, from.prefix)
  if (typeof json !== 'string') return json
  const document = JSON.parse(json)
  // The document may have changed since, or past the collection.
  return valueAt(document, index.paths[0]) === value ? document : undefined
}

function findOne (place, from, options) {
  const unique = byUnique(place, from, options)
  if (unique !== undefined) return unique ?? undefined
  const parsed = parseQuery(options, FIND_OPTIONS)
  if (parsed.limit === 0) return undefined
  return once(place, from, { ...parsed, limit: 1 }, ({ handle, test }) => JSON.parse(native.queryNext(handle, 1, test))[1])
}

function count (place, from, options) {
  return once(place, from, parseQuery(options, COUNT_OPTIONS), ({ handle, test }) => native.queryCount(handle, test))
}

/** What was read, by which plan. */
function explain (place, from, options) {
  const parsed = parseQuery(options, FIND_OPTIONS)
  return once(place, from, parsed, ({ handle, test, plan: chosen }) => {
    let returned = 0
    for (let end = false; !end;) {
      const given = native.queryNext(handle, ROWS_OF_COLUMNS, test, true)
      if (typeof given !== 'string') {
        returned += given[1]
        continue
      }
      const chunk = JSON.parse(given)
      end = chunk[0] === 1
      returned += chunk.length - 1
    }
    native.queryCounted(handle)
    const columns = doubles[6] >= 0
    return {
      plan: columns ? 'columns' : chosen.kind,
      index: chosen.index === undefined ? null : [...chosen.index.fields],
      ranges: chosen.bounds.length / 2,
      sorted: !chosen.sorted,
      entriesRead: doubles[3],
      rowsRead: doubles[4],
      bytesRead: doubles[5],
      rowsReturned: returned,
      blocks: columns ? doubles[6] : 0,
      blocksRead: columns ? doubles[7] : 0
    }
  })
}

// Values, typed if all are numbers. The engine's kinds of columns do not tell: they go by all of a block.
function typed (part) {
  if (part instanceof Int32Array || (Array.isArray(part) && !part.every(value => typeof value === 'number'))) return part
  if (part.every(value => Object.is(value | 0, value))) return Int32Array.from(part)
  return Array.isArray(part) ? Float64Array.from(part) : part
}

// A list of values at its end another's: numbers stay typed as long as all are.
function joined (given, rows) {
  const parts = given.map(typed)
  const Type = parts.every(part => part instanceof Int32Array) ? Int32Array
    : parts.every(part => !Array.isArray(part)) ? Float64Array : Array
  const out = new Type(rows)
  let at = 0
  for (const part of parts) {
    if (Type === Array) for (let i = 0; i < part.length; i++) out[at + i] = part[i]
    else out.set(part, at)
    at += part.length
  }
  return out
}

/** The documents of find() by columns. */
function findColumns (place, from, options) {
  const parsed = parseQuery(options, FIND_OPTIONS)
  if (parsed.fields === undefined || parsed.fields.length === 0) {
    throw invalidType('findColumns needs fields: it gives a column for each')
  }
  parsed.nulls = true
  const names = parsed.fields.map(path => path.join('.'))
  const parts = names.map(() => [])
  let rows = 0
  once(place, from, parsed, ({ handle, test }) => {
    for (let end = false; !end;) {
      parsed.signal?.throwIfAborted()
      const given = native.queryNext(handle, ROWS_OF_COLUMNS, test, true)
      if (typeof given !== 'string') {
        rows += given[1]
        columnsOf(given).forEach((column, i) => parts[i].push(column))
        continue
      }
      const [last, ...documents] = JSON.parse(given)
      end = last === 1
      if (documents.length === 0) continue
      rows += documents.length
      names.forEach((name, i) => parts[i].push(documents.map(document => document[name])))
    }
  })
  const columns = {}
  names.forEach((name, i) => Object.defineProperty(columns, name,
    { value: joined(parts[i], rows), enumerable: true, writable: true, configurable: true }))
  return { rows, columns }
}

function toToon (place, from, options) {
  const given = checkObject(options)
  const parsed = parseQuery(given, TOON_OPTIONS)
  const text = parseText(given)
  const { name, delimiter } = text
  parsed.nulls = true
  return once(place, from, parsed, ({ handle, test }) => {
    const first = rows => native.queryToon(handle, rows, name, delimiter, test)
    if (text.maxTokens === undefined) return first(-1)
    const empty = encode(name === undefined ? [] : Object.fromEntries([[name, []]]))
    let listed = 0
    let all
    return withinBudget(rows => {
      const found = first(rows)
      listed = Math.max(listed, doubles[2])
      return { text: found, rows: doubles[2], whole: doubles[2] < rows || doubles[2] === parsed.limit }
    }, () => (all ??= listed + native.queryCount(handle, test)), { ...text, empty }, parsed.limit ?? Infinity)
  })
}

// A list of paths; `name` for errors.
function listOf (value, name) {
  if (value === undefined) return []
  return parseFields(typeof value === 'string' ? [value] : Array.isArray(value) ? value : invalid(value, name))
}

function invalid (value, name) {
  throw invalidType(`${name} must be a field or an array of fields (got ${show(value)})`)
}

const SUMS = {
  sum: ([, sum]) => sum,
  avg: ([numbers, sum]) => numbers === 0 || sum === null ? null : sum / numbers,
  min: ([,, min]) => min,
  max: ([,,, max]) => max
}

function aggregate (place, from, options) {
  const given = checkObject(options)
  checkNames(given, AGGREGATE_OPTIONS, 'option of aggregate')
  const { where, groupBy, count: counted } = given
  if (counted !== undefined && typeof counted !== 'boolean') {
    throw invalidType(`count must be a boolean (got ${show(counted)})`)
  }
  const groups = listOf(groupBy, 'groupBy')
  const fields = [...groups]
  const places = new Map() // of the fields that are summed up, by their paths
  const columns = {} // of each option that is given: [name, place]
  for (const option of Object.keys(SUMS)) {
    if (given[option] === undefined) continue
    columns[option] = listOf(given[option], option).map(path => {
      const key = JSON.stringify(path)
      if (!places.has(key)) places.set(key, fields.push(path) - 1 - groups.length)
      return [path.join('.'), places.get(key)]
    })
  }
  if (places.size === 0 && counted !== true && groups.length === 0) {
    throw invalidType('aggregate needs one of groupBy, count, sum, avg, min and max')
  }
  const parsed = { ...parseQuery({ where }, FIND_OPTIONS), fields }
  const rows = once(place, from, parsed, ({ handle, test }) => JSON.parse(native.queryGroups(handle, groups.length, test)))
  if (rows.length === 0 && groupBy === undefined) rows.push([[], 0, ...fields.map(() => [0, 0, null, null])])
  const results = rows.map(([values, documents, ...sums]) => {
    const out = {}
    if (groupBy !== undefined) out.group = Object.fromEntries(groups.map((path, i) => [path.join('.'), values[i]]))
    if (counted === true) out.count = documents
    for (const option of Object.keys(columns)) {
      out[option] = Object.fromEntries(columns[option].map(([name, at]) => [name, SUMS[option](sums[at])]))
    }
    return out
  })
  return groupBy === undefined ? results[0] : results
}

const EXPORT_OPTIONS = new Set([...FIND_OPTIONS, 'name', 'delimiter'])

/** toToon() in chunks. view: the collection at a snapshot. */
function exportQuery (view, options) {
  const given = checkObject(options)
  checkNames(given, EXPORT_OPTIONS, 'option of exportToon')
  const { name, delimiter = ',', ...query } = given
  parseText({ name, delimiter })
  const columns = parseQuery(query, FIND_OPTIONS).fields?.map(path => path.join('.'))
  async function * rows () {
    for await (const document of view.find(query)) yield [undefined, document]
  }
  return exportToon(rows, { keyed: false, name, delimiter, columns })
}

module.exports = { find, findOne, findColumns, count, explain, toToon, exportQuery, aggregate }
