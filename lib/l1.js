'use strict'
// L1: ready values on the JavaScript side, checked by one load of memory that every commit changes (csrc/cache/words.h).
//
// A plain load, not an Atomic, which costs more than the rest of a hit. Values are strings, numbers, booleans, null and
// frozen objects; bytes are never kept, because a Buffer can be written to.

const { native, integers, doubles } = require('./binding')
const { READY, JSON_TEXT, NUMERAL, finish } = require('./values')

const FIRST = 16 // TOON_WORDS_FIRST
const OVERHEAD = 128 // bytes of an entry beside its text and key

class L1 {
  #handle
  #words
  #capacity
  #limit // bytes
  #entries = new Map()
  #clock = [] // the same entries; the hand goes round
  #hand = 0
  #rows = [] // by id & #mask
  #mask
  #bytes = 0
  #hits = 0
  #misses = 0
  #evictions = 0

  constructor (handle, capacity, bytes) {
    let slots = 1024
    while (slots < 4 * capacity && slots < 2 ** 20) slots *= 2
    let rows = 1
    while (2 * rows <= capacity && rows < 2 ** 20) rows *= 2
    this.#handle = handle
    this.#capacity = capacity
    this.#limit = bytes
    this.#mask = rows - 1
    this.#words = new Int32Array(new SharedArrayBuffer(4 * (FIRST + slots)))
    native.storeWatch(handle, this.#words)
  }

  // The entry of a key, or undefined if there is none that is current.
  key (key) {
    const entry = this.#entries.get(key)
    if (entry === undefined || this.#words[entry.slot] !== entry.version || this.#lapsed(entry)) return undefined
    this.#hits++
    entry.used = true
    return entry
  }

  // The entry of a row.
  row (id) {
    const entry = this.#rows[id & this.#mask]
    if (entry === undefined || entry.key !== id || this.#words[entry.slot] !== entry.version || this.#lapsed(entry)) {
      return undefined
    }
    this.#hits++
    return entry
  }

  // By the engine's clock, which all threads share.
  #lapsed (entry) {
    return entry.deadline !== 0 && native.storeNow(this.#handle) >= entry.deadline
  }

  // What native.get has just returned for the key, finished and, if it may be, kept.
  fillKey (key, raw) {
    const entry = this.#entryOf(key, raw)
    if (!entry.keep) return entry.value
    const old = this.#entries.get(key)
    if (old !== undefined) {
      this.#bytes += entry.size - old.size
      entry.place = old.place
    } else {
      if (this.#clock.length >= this.#capacity) this.#evict()
      entry.place = this.#clock.length
      this.#bytes += entry.size
    }
    this.#clock[entry.place] = entry
    this.#entries.set(key, entry)
    this.#shrink()
    return entry.value
  }

  fillRow (id, raw) {
    const entry = this.#entryOf(id, raw)
    if (!entry.keep) return entry.value
    const at = id & this.#mask
    const old = this.#rows[at]
    if (old !== undefined) {
      this.#bytes -= old.size
      if (old.key !== id) this.#evictions++
    }
    // An array that grows to its size at once stays one of plain slots.
    if (this.#rows.length === 0) this.#rows = new Array(this.#mask + 1).fill(undefined)
    this.#rows[at] = entry
    this.#bytes += entry.size
    this.#shrink()
    return entry.value
  }

  #entryOf (key, raw) {
    const kind = integers[0]
    const keep = integers[2] === 1
    const slot = integers[3]
    const version = integers[4]
    const size = 2 * integers[5] + 2 * (key.length ?? 4) + OVERHEAD
    const deadline = doubles[1]
    const value = finish(kind, raw, false)
    // Bytes come as a Buffer that is READY, or from the slab.
    const shareable = kind === JSON_TEXT || kind === NUMERAL || (kind === READY && (typeof value !== 'object' || value === null))
    this.#misses++
    return {
      value,
      slot,
      version,
      deadline,
      used: false,
      key,
      size,
      place: 0,
      keep: keep && shareable && size <= this.#limit
    }
  }

  // Take the first entry from the hand on that was not used since the hand came by.
  #evict () {
    const clock = this.#clock
    for (;;) {
      if (this.#hand >= clock.length) this.#hand = 0
      const entry = clock[this.#hand]
      if (entry.used) {
        entry.used = false
        this.#hand++
        continue
      }
      const last = clock.pop()
      if (last !== entry) {
        last.place = entry.place
        clock[entry.place] = last
        this.#hand++
      }
      this.#entries.delete(entry.key)
      this.#bytes -= entry.size
      this.#evictions++
      return
    }
  }

  #shrink () {
    if (this.#bytes <= this.#limit) return
    for (let i = 0; i < this.#rows.length; i++) {
      const entry = this.#rows[i]
      if (entry === undefined) continue
      this.#bytes -= entry.size
      this.#rows[i] = undefined
      this.#evictions++
    }
    while (this.#bytes > this.#limit) this.#evict()
  }

  stats () {
    const hits = this.#hits
    const misses = this.#misses
    const rows = this.#clock.length + this.#rows.reduce((n, entry) => n + (entry === undefined ? 0 : 1), 0)
    return {
      hits,
      misses,
      ratio: hits === 0 ? 0 : hits / (hits + misses),
      evictions: this.#evictions,
      rows,
      bytes: this.#bytes
    }
  }
}

module.exports = { L1 }
