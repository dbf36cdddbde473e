'use strict'
// L1: ready values on the JavaScript side, checked by one load of memory that every commit changes (csrc/cache/words.h).
//
// A plain load, not an Atomic, which costs more than the rest of a hit. Values are strings, numbers, booleans, null and
// frozen objects; bytes are never kept, because a Buffer can be written to. Each has a place, which a Map knows by its key
// and a direct-mapped ring by the id of its row; what belongs to it stands there in arrays, not in an object, which would be
// three times as many lines of memory to a hit. Place 0 stands for what is not here: it is never current, so a hit needs no
// test for it. The places are a clock as well: its hand takes what was not used since it came by last.
//
// The first word of the table is even between commits and never the same again. What was found current at one of its even
// values is current as long as it has that value; at another one the word of the key's slot tells.

const { native, integers, doubles, slots, lengths } = require('./binding')
const { READY, JSON_TEXT, NUMERAL, finish } = require('./values')

const FIRST = 16 // TOON_WORDS_FIRST
const OVERHEAD = 160 // bytes of an entry beside its text and key
const ROWS_MAX = 2 ** 20 // of the ring
const NEVER = 1 // as the first word at which an entry was current: it has to be looked at each time

const powerFrom = (least, from) => {
  let n = from
  while (n < least) n *= 2
  return n
}

// A typed array with the same contents and four times the room.
const grown = array => {
  const larger = new array.constructor(4 * array.length)
  larger.set(array)
  return larger
}

class L1 {
  #handle
  #words
  #capacity
  #limit // bytes
  #places = new Map() // by key
  #ring = new Int32Array(0) // places of rows, by id & #mask
  #ids = new Float64Array(0) // of the ring
  #mask
  // By place.
  #values = [undefined]
  #keys = [''] // strings, or ids of rows
  #sizes = [0]
  #current = new Int32Array(1024).fill(NEVER) // an even first word at which the value was current, or NEVER
  #used = new Uint8Array(1024)
  #stamps = new Int32Array(2048) // the slot of the key's word, and the word while the value is current
  #deadlines = new Float64Array(1024) // ms since 1970, 0: none
  #hand = 1
  #bytes = 0
  #hits = 0
  #misses = 0
  #evictions = 0

  constructor (handle, capacity, bytes) {
    this.#handle = handle
    this.#capacity = capacity
    this.#limit = bytes
    this.#mask = powerFrom(Math.min(capacity, ROWS_MAX), 1) - 1
    this.#words = new Int32Array(new SharedArrayBuffer(4 * (FIRST + powerFrom(Math.min(2 * capacity, 2 ** 20), 1024))))
    native.storeWatch(handle, this.#words, capacity, bytes)
  }

  // The value of a key, undefined if there is none that is current.
  key (key) {
    return this.#at(this.#places.get(key) | 0)
  }

  // The value of a row.
  row (id) {
    const at = id & this.#mask
    return this.#ids[at] === id ? this.#at(this.#ring[at]) : undefined
  }

  #at (place) {
    const word = this.#words[0]
    if (((word & 1) !== 0 || this.#current[place] !== word) && !this.#look(place)) return undefined
    const value = this.#values[place]
    this.#hits++
    this.#used[place] = 1
    return value
  }

  // Is the value at a place current? The order of the two loads matters: it was current at the first word if it was later.
  #look (place) {
    if (place === 0) return false
    const words = this.#words
    const word = Atomics.load(words, 0)
    if (Atomics.load(words, this.#stamps[2 * place]) !== this.#stamps[2 * place + 1]) return false
    const deadline = this.#deadlines[place]
    // By the engine's clock, which all threads share.
    if (deadline !== 0) return native.storeNow(this.#handle) < deadline
    this.#current[place] = word & 1 ? NEVER : word
    return true
  }

  #find (key) {
    if (typeof key !== 'number') return this.#places.get(key) | 0
    const at = key & this.#mask
    return this.#ids[at] === key ? this.#ring[at] : 0
  }

  // The values of all these keys (or ids) at one moment, or undefined if one of them is not here. Nothing became visible
  // between two looks at the same even first word, so what was current at some time between them was so all the time.
  // What may lapse is left to the engine, which looks at the clock once for all.
  many (keys) {
    const began = this.began()
    if ((began & 1) !== 0) return undefined
    const values = new Array(keys.length)
    for (let i = 0; i < keys.length; i++) {
      const place = this.#find(keys[i])
      if (this.#deadlines[place] !== 0) return undefined
      if (this.#current[place] !== began && !this.#look(place)) return undefined
      this.#used[place] = 1
      values[i] = this.#values[place]
    }
    if (this.began() !== began) return undefined
    this.#hits += keys.length
    return values
  }

  // The first word: to be called before a native.getMany that is to be kept.
  began () {
    return Atomics.load(this.#words, 0)
  }

  // What native.getMany has returned for the keys, finished: keep what may be kept, if nothing became visible since began().
  fillMany (keys, values, began) {
    this.#misses += keys.length
    const words = this.#words
    if ((began & 1) !== 0) return
    const versions = new Array(keys.length)
    for (let i = 0; i < keys.length; i++) versions[i] = slots[i] < 0 ? 0 : Atomics.load(words, slots[i])
    if (Atomics.load(words, 0) !== began) return
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]
      if (slots[i] < 0 || (typeof key !== 'string' && typeof key !== 'number')) continue
      this.#keep(key, values[i], slots[i], versions[i], 0, lengths[i])
    }
  }

  // What native.get has just returned for the key or id, finished and, if it may be, kept.
  fill (key, raw) {
    const kind = integers[0]
    const keep = integers[2] === 1
    const slot = integers[3]
    const version = integers[4]
    const length = integers[5]
    const deadline = doubles[1]
    const value = finish(kind, raw, false)
    this.#misses++
    // Bytes come as a Buffer that is READY, or from the slab.
    const shareable = kind === JSON_TEXT || kind === NUMERAL || (kind === READY && (typeof value !== 'object' || value === null))
    if (keep && shareable) this.#keep(key, value, slot, version, deadline, length)
    return value
  }

  #keep (key, value, slot, version, deadline, length) {
    // An estimate: the value may take two bytes for each of its text, or an object many fields.
    const size = 2 * length + (typeof key === 'string' ? 2 * key.length : 8) + OVERHEAD
    if (size > this.#limit) return
    const row = typeof key === 'number'
    const at = key & this.#mask
    if (row && this.#ring.length === 0) {
      this.#ring = new Int32Array(this.#mask + 1)
      this.#ids = new Float64Array(this.#mask + 1)
    }
    let place = row ? this.#ring[at] : this.#places.get(key) | 0
    if (place !== 0) {
      this.#bytes -= this.#sizes[place]
      if (this.#keys[place] !== key) this.#evictions++
    } else {
      if (this.#values.length > this.#capacity) this.#evict()
      place = this.#values.length
      if (place >= this.#used.length) this.#grow()
      if (row) this.#ring[at] = place
      else this.#places.set(key, place)
    }
    if (row) this.#ids[at] = key
    this.#values[place] = value
    this.#keys[place] = key
    this.#sizes[place] = size
    this.#current[place] = NEVER
    this.#used[place] = 0
    this.#stamps[2 * place] = slot
    this.#stamps[2 * place + 1] = version
    this.#deadlines[place] = deadline
    this.#bytes += size
    while (this.#bytes > this.#limit) this.#evict()
  }

  #grow () {
    this.#current = grown(this.#current)
    this.#used = grown(this.#used)
    this.#stamps = grown(this.#stamps)
    this.#deadlines = grown(this.#deadlines)
  }

  // Take the first entry from the hand on that was not used since the hand came by.
  #evict () {
    const used = this.#used
    const keys = this.#keys
    for (;;) {
      if (this.#hand >= keys.length) this.#hand = 1
      if (used[this.#hand] === 0) break
      used[this.#hand++] = 0
    }
    const place = this.#hand
    const key = keys[place]
    if (typeof key === 'number') this.#ring[key & this.#mask] = 0
    else this.#places.delete(key)
    this.#bytes -= this.#sizes[place]
    this.#evictions++
    // The last takes its place.
    const last = keys.length - 1
    const value = this.#values.pop()
    const lastKey = keys.pop()
    const size = this.#sizes.pop()
    if (last === place) return
    this.#values[place] = value
    keys[place] = lastKey
    this.#sizes[place] = size
    this.#current[place] = this.#current[last]
    used[place] = used[last]
    this.#stamps.copyWithin(2 * place, 2 * last, 2 * last + 2)
    this.#deadlines[place] = this.#deadlines[last]
    if (typeof lastKey === 'number') this.#ring[lastKey & this.#mask] = place
    else this.#places.set(lastKey, place)
    this.#hand++
  }

  stats () {
    const hits = this.#hits
    const misses = this.#misses
    return {
      hits,
      misses,
      ratio: hits === 0 ? 0 : hits / (hits + misses),
      evictions: this.#evictions,
      rows: this.#values.length - 1,
      bytes: this.#bytes
    }
  }
}

module.exports = { L1 }
