'use strict'
// L1: ready values on the JavaScript side, checked by one load of memory that every commit changes (csrc/cache/words.h).
//
// A plain load, not an Atomic, which costs more than the rest of a hit. Values are strings, numbers, booleans, null and
// frozen objects; bytes are never kept, because a Buffer can be written to. Entries of keys are found by a Map, those of
// rows in a direct-mapped ring. An entry has what a hit needs and no more, 64 bytes; the rest of it stands in arrays at its
// place, which are the clock: its hand takes what was not used since it came by last.

const { native, integers, doubles, slots, lengths } = require('./binding')
const { READY, JSON_TEXT, NUMERAL, finish } = require('./values')

const FIRST = 16 // TOON_WORDS_FIRST
const OVERHEAD = 160 // bytes of an entry beside its text and key
const ROWS_MAX = 2 ** 20 // of the ring

const powerFrom = (least, from) => {
  let n = from
  while (n < least) n *= 2
  return n
}

// What a hit needs.
class Entry {
  constructor (value, slot, version, deadline) {
    this.value = value
    this.slot = slot
    this.version = version
    this.deadline = deadline // ms since 1970, 0: none
    this.place = 0
  }
}

class L1 {
  #handle
  #words
  #capacity
  #limit // bytes
  #entries = new Map()
  #ring = [] // entries of rows, by id & #mask
  #ids = new Float64Array(0) // of the ring
  #mask
  // The clock, by place.
  #clock = [] // entries
  #keys = [] // strings, or ids of rows
  #sizes = []
  #used = new Uint8Array(1024)
  #hand = 0
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
    native.storeWatch(handle, this.#words)
  }

  // The entry of a key, or undefined if there is none that is current.
  key (key) {
    const entry = this.#entries.get(key)
    if (entry === undefined || this.#words[entry.slot] !== entry.version || this.#lapsed(entry)) return undefined
    this.#hits++
    this.#used[entry.place] = 1
    return entry
  }

  // The entry of a row.
  row (id) {
    const at = id & this.#mask
    const entry = this.#ring[at]
    if (entry === undefined || this.#ids[at] !== id || this.#words[entry.slot] !== entry.version || this.#lapsed(entry)) {
      return undefined
    }
    this.#hits++
    this.#used[entry.place] = 1
    return entry
  }

  // By the engine's clock, which all threads share.
  #lapsed (entry) {
    return entry.deadline !== 0 && native.storeNow(this.#handle) >= entry.deadline
  }

  #find (key) {
    if (typeof key !== 'number') return this.#entries.get(key)
    const at = key & this.#mask
    return this.#ids[at] === key ? this.#ring[at] : undefined
  }

  // The values of all these keys (or ids) at one moment, or undefined if one of them is not here. Nothing became visible
  // between two looks at the same even first word, so what was current at some time between them was so all the time.
  // What may lapse is left to the engine, which looks at the clock once for all.
  many (keys) {
    const words = this.#words
    const began = Atomics.load(words, 0)
    if ((began & 1) !== 0) return undefined
    const values = new Array(keys.length)
    for (let i = 0; i < keys.length; i++) {
      const entry = this.#find(keys[i])
      if (entry === undefined || entry.deadline !== 0 || Atomics.load(words, entry.slot) !== entry.version) return undefined
      this.#used[entry.place] = 1
      values[i] = entry.value
    }
    if (Atomics.load(words, 0) !== began) return undefined
    this.#hits += keys.length
    return values
  }

  // To be called before a native.getMany that is to be kept.
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
      this.#keep(key, new Entry(values[i], slots[i], versions[i], 0), lengths[i])
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
    if (keep && shareable) this.#keep(key, new Entry(value, slot, version, deadline), length)
    return value
  }

  #keep (key, entry, length) {
    // An estimate: the value may take two bytes for each of its text, or an object many fields.
    const size = 2 * length + (typeof key === 'string' ? 2 * key.length : 8) + OVERHEAD
    if (size > this.#limit) return
    const row = typeof key === 'number'
    const at = key & this.#mask
    if (row && this.#ring.length === 0) {
      // An array that has its size at once stays one of plain slots.
      this.#ring = new Array(this.#mask + 1).fill(undefined)
      this.#ids = new Float64Array(this.#mask + 1)
    }
    const old = row ? this.#ring[at] : this.#entries.get(key)
    if (old !== undefined) {
      entry.place = old.place
      this.#bytes -= this.#sizes[old.place]
      if (this.#keys[old.place] !== key) this.#evictions++
    } else {
      if (this.#clock.length >= this.#capacity) this.#evict()
      entry.place = this.#clock.length
      if (entry.place >= this.#used.length) this.#grow()
    }
    const { place } = entry
    this.#clock[place] = entry
    this.#keys[place] = key
    this.#sizes[place] = size
    this.#used[place] = 0
    this.#bytes += size
    if (row) {
      this.#ring[at] = entry
      this.#ids[at] = key
    } else {
      this.#entries.set(key, entry)
    }
    while (this.#bytes > this.#limit) this.#evict()
  }

  #grow () {
    const used = new Uint8Array(4 * this.#used.length)
    used.set(this.#used)
    this.#used = used
  }

  // Take the first entry from the hand on that was not used since the hand came by.
  #evict () {
    const used = this.#used
    const keys = this.#keys
    for (;;) {
      if (this.#hand >= keys.length) this.#hand = 0
      if (used[this.#hand] === 0) break
      used[this.#hand++] = 0
    }
    const place = this.#hand
    const key = keys[place]
    if (typeof key === 'number') this.#ring[key & this.#mask] = undefined
    else this.#entries.delete(key)
    this.#bytes -= this.#sizes[place]
    this.#evictions++
    // The last takes its place.
    const last = this.#clock.pop()
    const lastKey = keys.pop()
    const lastSize = this.#sizes.pop()
    if (last.place === place) return
    used[place] = used[last.place]
    last.place = place
    this.#clock[place] = last
    keys[place] = lastKey
    this.#sizes[place] = lastSize
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
      rows: this.#clock.length,
      bytes: this.#bytes
    }
  }
}

module.exports = { L1 }
