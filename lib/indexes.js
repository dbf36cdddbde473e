'use strict'
// Secondary indexes of one collection: which there are, and how they are made and dropped.
//
// `$collection/<name>` is { indexes: [{ number, paths, unique, state }] }, `$index` the number that the next index gets.
// Every write of the collection keeps the entries of all its indexes in the same commit, and depends on that row: if
// somebody makes or drops an index meanwhile, the write is a conflict and tried again. So an index that is 'building' misses
// only documents that were there before; the builder goes through them, a few in each transaction. 'ready': it may be read.
// 'dropping': its entries are being deleted. An index that was left building or dropping is finished at the next open.

const { native, integers, doubles } = require('./binding')
const { ToonError, invalidType, show } = require('./errors')
const { AS_VALUE, AS_FACTS, MISSING, finish } = require('./values')
const { checkObject, checkNames } = require('./options')
const { MAX_TIME } = require('./writes')
const { Range, boundsOf } = require('./range')
const { parseFields } = require('./fields')
const { transaction } = require('./transactions')
const { entryOf, baseOf } = require('./indexkeys')

const NEXT = '$index'
const FOR_EVER = { expiresAt: MAX_TIME } // whatever ttl the store has
const INDEX_OPTIONS = new Set(['unique'])
const MAX_FIELDS = 6
const RETRIES = 1e6
const PATIENCE = 20 // conflicts of the builder in a row
const CHUNK = 256 // documents in a transaction of the builder

function isDocument (value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

function pathsOf (fields) {
  const paths = parseFields(typeof fields === 'string' ? [fields] : fields)
  if (paths === undefined || paths.length === 0 || paths.length > MAX_FIELDS) {
    throw invalidType(`an index has 1 to ${MAX_FIELDS} fields (got ${show(fields)})`)
  }
  return paths
}

/**
 * What an index is to be.
 *
 * @returns {{ paths: string[][], unique: boolean }}
 * @throws {TypeError} TOON_EINVAL
 */
function parseIndex (fields, options) {
  const given = checkObject(options)
  checkNames(given, INDEX_OPTIONS, 'option of an index')
  const { unique = false } = given
  if (typeof unique !== 'boolean') throw invalidType(`unique must be a boolean (got ${show(unique)})`)
  return { paths: pathsOf(fields), unique }
}

const sameFields = (a, b) => JSON.stringify(a) === JSON.stringify(b)
const nameOf = paths => paths.map(path => path.join('.')).join(', ')

class Indexes {
  #store
  #writer
  #name
  #prefix
  #key
  #version = -1 // of the row that the next three are from
  #cached = []
  #ready = []
  #unique = new Map() // of those: unique ones of one field, by its name
  #work = new Map() // number -> promise of its building or dropping

  constructor (store, writer, name, prefix) {
    this.#store = store
    this.#writer = writer
    this.#name = name
    this.#prefix = prefix
    this.#key = `$collection/${name}`
  }

  /** All indexes at a store or snapshot. */
  at (source) {
    native.get(source, this.#key, AS_FACTS)
    if ((integers[0] === MISSING ? 0 : doubles[0]) !== this.#version) {
      const raw = native.get(source, this.#key, AS_VALUE)
      this.#version = integers[0] === MISSING ? 0 : doubles[0]
      const found = finish(integers[0], raw, false)
      this.#cached = (found?.indexes ?? []).map(index => ({ ...index, fields: index.paths.map(path => path.join('.')) }))
      this.#ready = this.#cached.filter(index => index.state === 'ready')
      const simple = this.#ready.filter(({ unique, paths }) => unique && paths.length === 1 && !paths[0].some(name => name.includes('.')))
      this.#unique = new Map(simple.map(index => [index.fields[0], index]))
    }
    return this.#cached
  }

  ready (source) {
    this.at(source)
    return this.#ready
  }

  /** The unique index of one field, as filters name it. */
  unique (source, name) {
    this.at(source)
    return this.#unique.get(name)
  }

  /** Those that a write has to keep. */
  kept (tx) {
    tx.expect(this.#key)
    return this.at(tx.source).filter(index => index.state !== 'dropping')
  }

  // ---- keeping entries ----

  /** Put the entry of a document. Throws TOON_EUNIQUE if another has it. how: options of the put, with an expiry. */
  put (tx, index, id, entry, how) {
    if (entry.other && index.unique) {
      throw invalidType(`the unique index on ${nameOf(index.paths)} takes null, booleans, numbers and strings of up to ` +
        `500 bytes (document ${show(id)})`)
    }
    if (!entry.alone) {
      tx.putJson(entry.key, 'null', how)
      return
    }
    const holder = tx.get(entry.key)
    if (typeof holder === 'string' && holder !== id && this.#holds(tx, index, holder, entry.key)) {
      throw new ToonError('TOON_EUNIQUE', `another document has this ${nameOf(index.paths)} already: ${show(holder)}`,
        { key: this.#prefix + id })
    }
    tx.putJson(entry.key, JSON.stringify(id), how)
  }

  // An entry that was left by a write past the collection does not count.
  #holds (tx, index, id, key) {
    const document = tx.get(this.#prefix + id)
    return isDocument(document) && entryOf(index, id, document).key === key
  }

  /** Delete the entry of a document that changes or goes. */
  remove (tx, id, entry) {
    if (!entry.alone || tx.get(entry.key) === id) tx.delete(entry.key)
  }

  // ---- making and dropping ----

  #change (fn) {
    return transaction(this.#store, this.#writer, tx => {
      const indexes = [...(tx.get(this.#key)?.indexes ?? [])]
      const result = fn(tx, indexes)
      const { changed = indexes } = result
      if (changed.length > 0) tx.put(this.#key, { indexes: changed }, FOR_EVER)
      else tx.delete(this.#key)
      return result
    }, { retries: RETRIES })
  }

  // The number of a new index.
  #number (tx) {
    const number = tx.get(NEXT) ?? 1
    tx.put(NEXT, number + 1, FOR_EVER)
    return number
  }

  /** paths, unique: as parseIndex() gives them. */
  async create ({ paths, unique }) {
    const here = index => index.state !== 'dropping' && index.replaces === undefined && sameFields(index.paths, paths)
    const existing = this.at(this.#writer.handle).find(index => here(index) && index.state === 'ready' && index.unique === unique)
    if (existing !== undefined) return
    const { index } = await this.#change((tx, indexes) => {
      const old = indexes.find(here)
      if (old !== undefined) {
        if (old.unique === unique) return { index: old }
        throw invalidType(`there is an index on ${nameOf(paths)} that is ${old.unique ? '' : 'not '}unique: drop it first`)
      }
      const made = { number: this.#number(tx), paths, unique, state: 'building' }
      indexes.push(made)
      return { index: made }
    })
    if (index.state !== 'ready') await this.#build(index.number)
  }

  async drop (fields) {
    const paths = pathsOf(fields)
    const { numbers } = await this.#change((tx, indexes) => {
      const going = index => index.state !== 'dropping' && sameFields(index.paths, paths) // and the one that is to replace it
      return {
        numbers: indexes.filter(going).map(index => index.number),
        changed: indexes.map(index => going(index) ? { ...index, state: 'dropping' } : index)
      }
    })
    for (const number of numbers) await this.#clear(number)
    return numbers.length > 0
  }

  /** Make all indexes again, one after the other. Each replaces the old one, which is kept until then, in one commit. */
  async rebuild () {
    for (const { number: old } of this.ready(this.#writer.handle)) {
      const { index } = await this.#change((tx, indexes) => {
        const before = indexes.find(other => other.number === old && other.state === 'ready')
        if (before === undefined) return {} // dropped, or replaced, by somebody else
        const begun = indexes.find(other => other.replaces === old && other.state === 'building')
        if (begun !== undefined) return { index: begun }
        const { paths, unique } = before
        const made = { number: this.#number(tx), paths, unique, state: 'building', replaces: old }
        indexes.push(made)
        return { index: made }
      })
      if (index !== undefined) await this.#build(index.number, old)
    }
  }

  /** Finish what the last process left, in the background. */
  resume () {
    return this.at(this.#writer.handle).filter(index => index.state !== 'ready').map(index =>
      index.state === 'building' ? this.#build(index.number, index.replaces) : this.#clear(index.number))
  }

  // One job for each index at a time.
  #once (number, work) {
    if (!this.#work.has(number)) {
      this.#work.set(number, work().finally(() => this.#work.delete(number)))
    }
    return this.#work.get(number)
  }

  async #clear (number) {
    await this.#work.get(number)?.catch(() => {}) // its builder notices, and ends
    return this.#once(number, () => this.#erase(number))
  }

  async #erase (number) {
    await this.#writer.clear(boundsOf({ prefix: baseOf(number) }))
    await this.#change((tx, indexes) => ({ changed: indexes.filter(index => index.number !== number) }))
  }

  #build (number, replaced) {
    return this.#once(number, async () => {
      try {
        await this.#fill(number)
        if (replaced !== undefined) await this.#clear(replaced)
      } catch (err) {
        if (err.code === 'TOON_EUNIQUE' || err.code === 'TOON_EINVAL') { // there can be no such index
          await this.#change((tx, indexes) => ({
            changed: indexes.map(index => index.number === number ? { ...index, state: 'dropping' } : index)
          }))
          await this.#erase(number)
        }
        throw err
      }
    })
  }

  async #fill (number) {
    let from = this.#prefix
    let rows = CHUNK
    let refused = 0 // times in a row
    while (from !== undefined) {
      try {
        const strict = refused < PATIENCE
        from = await transaction(this.#store, this.#writer, tx => this.#some(tx, number, from, rows, strict), { retries: 0 })
        rows = Math.min(2 * rows, CHUNK)
        refused = 0
      } catch (err) {
        if (err.code !== 'TOON_ECONFLICT') throw err
        refused++
        rows = Math.max(rows >> 1, 1) // somebody writes what is being read: take less at a time
      }
    }
  }

  // Index up to `rows` documents behind the key `from`. The last key; undefined at the end, when the index is ready. Not
  // `strict`: a document may change meanwhile. Writers of the collection put its new entry then; one too many does no harm.
  #some (tx, number, from, rows, strict) {
    const index = this.kept(tx).find(other => other.number === number)
    if (index === undefined) throw new ToonError('TOON_ENOTFOUND', 'the index was dropped while it was being built')
    if (index.state === 'ready') return undefined // by another handle
    const chunk = new Range(tx, tx.source, { gt: from, prefix: this.#prefix, limit: rows }, 'pairs', false).toArray()
    for (const [key, value] of chunk) {
      if (typeof key !== 'string' || !isDocument(value) || key.includes('/', this.#prefix.length)) continue
      const id = key.slice(this.#prefix.length)
      const entry = entryOf(index, id, value)
      if (entry.alone ? tx.get(entry.key) === id : native.has(tx.source, entry.key)) continue // who wrote it keeps it
      native.get(tx.source, key, AS_FACTS)
      const expiresAt = doubles[1] === 0 && this.#writer.lapsing ? MAX_TIME : doubles[1]
      if (strict) tx.expect(key)
      this.put(tx, index, id, entry, expiresAt === 0 ? undefined : { ttl: 0, expiresAt, conditions: 0, version: 0 })
    }
    if (chunk.length === rows) return chunk.at(-1)[0]
    const indexes = tx.get(this.#key).indexes.map(({ replaces, ...other }) => {
      if (other.number === index.replaces) return { ...other, state: 'dropping' }
      return { ...other, ...(other.number === number ? { state: 'ready' } : replaces !== undefined && { replaces }) }
    })
    tx.put(this.#key, { indexes }, FOR_EVER)
    return undefined
  }
}

module.exports = { Indexes, parseIndex, isDocument }
