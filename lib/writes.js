'use strict'
// Writes. The calls of one tick are collected in a native arena and submitted together; each call has its own promise and
// its own result. A Writer belongs to one open store and knows nothing of the store object, so that the store can be
// collected and closed while writes are still on their way.

const { native, callbacks, ROWS_PER_CALL, kinds } = require('./binding')
const { invalidType, invalidRange, withKey, withPlace, copyOf, show } = require('./errors')
const { checkKey, checkId, isBytes, formOf, givenOf, finishAll, FAILED } = require('./values')
const { checkObject, checkNames, checkInteger } = require('./options')

// What a member's result becomes.
const VOID = 0 // undefined
const BOOLEAN = 1
const NUMBER = 2

// TOON_IF_* of csrc/toonstore.h.
const IF_ABSENT = 1
const IF_PRESENT = 2
const IF_VERSION = 4

const MAX_TIME = 8.64e15 // the largest time of a Date

const PUT_OPTIONS = new Set(['ttl', 'expiresAt', 'ifAbsent', 'ifVersion'])
const ROW_OPTIONS = new Set(['ttl', 'expiresAt'])

// Arenas that were submitted, by the place that their handle names. Not a Map: its old tables lead to the newer ones, so
// once one of them is old, whatever was in a later one outlives its scavenge.
const submitted = []
const placeOf = handle => handle & 0xffff // csrc/napi/env.h
// Writers of open stores, for the end of the process.
const writers = new Set()
// The 'exit' event has begun: there will be no next tick.
let exiting = false

// One executor for all promises: no closure per call.
let lastResolve, lastReject
function executor (resolve, reject) {
  lastResolve = resolve
  lastReject = reject
}

// Calls whose promises are settled together.
const CHUNK = 32

// The calls collected for one batch. A call's promise is that of its chunk with then(tell): 105 bytes instead of the 275 of
// a promise with functions to settle it. Functions of then() are called in the order of the calls, so tell() knows whose
// result it is to give.
class Arena {
  constructor (writer, handle) {
    this.writer = writer
    this.handle = handle
    this.count = 0
    this.chunk = null // the promise of the last chunk
    this.chunks = [] // what resolves each of them
    this.results = [] // VOID, BOOLEAN or NUMBER of each call
    this.keys = []
    this.values = undefined // of the calls; undefined: all 1
    this.errors = undefined // of the calls; undefined: none
    this.failure = undefined // the error of all calls
    this.settled = 0 // calls whose chunk is resolved
    this.told = 0 // calls that have their results
    this.tell = () => this.next()
    this.after = null // functions to call when all have
  }

  // Note a call; its promise.
  enlist (result, key) {
    if (this.count++ % CHUNK === 0) {
      this.chunk = new Promise(executor)
      this.chunks.push(lastResolve)
    }
    this.results.push(result)
    this.keys.push(key)
    return this.chunk.then(this.tell)
  }

  // What the next call's promise becomes.
  next () {
    const i = this.told++
    const { keys, values, errors, results, failure } = this
    if (this.told === this.count) this.done()
    if (failure !== undefined) throw withKey(copyOf(failure), keys[i])
    const err = errors?.[i]
    if (err !== undefined) throw withKey(err, keys[i])
    const value = values === undefined ? 1 : values[i]
    switch (results[i]) {
      case VOID: return undefined
      case BOOLEAN: return value === 1
      default: return value
    }
  }

  done () {
    if (this.after !== null) for (const fn of this.after) fn()
    this.chunk = this.chunks = this.results = this.keys = this.tell = null
  }

  // Settle the promises of at least so many more calls, if there are; of how many.
  finish (least) {
    const { chunks, settled } = this
    const from = settled / CHUNK
    const to = Math.min(chunks.length, from + Math.ceil(least / CHUNK))
    for (let i = from; i < to; i++) chunks[i]()
    this.settled = Math.min(this.count, to * CHUNK)
    return this.settled - settled
  }

  // All calls fail for one reason, each with an error object of its own.
  fail (err) {
    this.failure = err
    this.finish(this.count)
  }
}

// Arenas that are done go to their callers in the order in which they came, and no more of them in one turn of the event
// loop than what takes SLICE_MS with all that the callers do then: thousands of writers whose puts were committed
// together would hold up everybody else for as long.
const SLICE_MS = 0.25
const SLICE_MIN = CHUNK
const SLICE_MAX = 65536
let slice = 256 // calls a turn
let told = 0 // calls of this turn
let toldAt = 0 // ms, when the last of them was told
let turning = false // nextTurn will be called
const arrived = [] // { arena, events, failure }

function deliver () {
  while (arrived.length > 0 && told < slice) {
    const { arena, events, failure } = arrived[0]
    told += arena.finish(slice - told)
    if (arena.settled < arena.count) break
    arrived.shift()
    // Later, because a listener may throw, and these are all stores of the thread.
    if (events !== 0) process.nextTick(arena.writer.onEvents, events, failure)
  }
  if (told < SLICE_MIN) return
  toldAt = performance.now()
  if (turning) return
  turning = true
  setImmediate(nextTurn)
}

function nextTurn () {
  const factor = SLICE_MS / (performance.now() - toldAt)
  if (factor < 1) slice = Math.max(SLICE_MIN, Math.floor(Math.min(slice, told) * Math.max(0.25, factor)))
  else if (told >= slice) slice = Math.min(SLICE_MAX, Math.floor(slice * Math.min(1.25, factor)))
  turning = false
  told = 0
  deliver()
}

callbacks.onArena = (handle, values, errors, events, failure) => {
  const place = placeOf(handle)
  const arena = submitted[place]
  submitted[place] = undefined
  arena.values = values
  arena.errors = errors
  arrived.push({ arena, events, failure })
  if (told < slice) deliver()
}

function flushLater (writer) {
  writer.scheduled = false
  writer.flush()
}

class Writer {
  constructor (handle, { durability, ttl, maxTxnSize }) {
    this.handle = handle // 0 once closed
    this.opened = handle // the same, for what was called before close() and is not done yet
    this.syncAtExit = durability === 'interval'
    this.lapsing = ttl > 0 // rows without an expiry of their own get one
    this.maxTxnSize = maxTxnSize
    this.arena = null // collects the calls that are not submitted yet
    this.last = null // the arena submitted last
    this.scheduled = false
    this.servers = new Set() // lib/server.js
    this.cache = { rows: 0, bytes: 0 } // that each of them may keep ready
    this.filling = [] // arenas in which a batch is being written, the innermost last
    this.jobs = new Set() // promises of upkeep under way, and of transactions that may have to be tried again
    this.reads = null // reads that wait for the end of the tick
    this.compacting = false
    this.inside = false // the callback of a transaction runs
    this.turn = Promise.resolve() // of the last transaction that is tried again
    this.onEvents = () => {} // (events, failure): what the engine has to tell, see lib/events.js
    writers.add(this)
  }

  // The arena that takes the next call. Throws if the store is closed.
  collecting () {
    if (this.inside) warnOutside()
    if (this.arena === null) this.arena = new Arena(this, native.arenaNew(this.handle))
    return this.arena
  }

  // Note a call that the addon took; its promise.
  add (arena, result, key, full) {
    const promise = arena.enlist(result, key)
    this.schedule(full)
    return promise
  }

  // Submit at the end of the tick, or now if the arena is full.
  schedule (full) {
    if (full === true || exiting) {
      this.flush()
    } else if (!this.scheduled) {
      this.scheduled = true
      process.nextTick(flushLater, this)
    }
  }

  flush () {
    const arena = this.arena
    if (arena === null || arena.count === 0) return
    this.arena = null
    this.submit(arena)
  }

  submit (arena) {
    if (exiting) {
      native.arenaCommit(arena.handle) // nobody will see the result
      return
    }
    submitted[placeOf(arena.handle)] = arena
    try {
      native.arenaSubmit(arena.handle)
      this.last = arena
    } catch (err) {
      submitted[placeOf(arena.handle)] = undefined
      arena.fail(err)
    }
  }

  submitOrDrop (arena) {
    if (arena.count > 0) this.submit(arena)
    else native.arenaDrop(arena.handle)
  }

  // Submit what waits; the promise resolves when all that was called before is done.
  drained () {
    this.flush()
    const arena = this.last
    if (arena === null || arena.told === arena.count) return Promise.resolve()
    return new Promise(resolve => {
      arena.after ??= []
      arena.after.push(resolve)
    })
  }

  // Do `work(handle)`, which gives a promise, after all that was called before.
  upkeep (work) {
    const { handle } = this
    native.storeNow(handle) // throws if the store is closed
    const job = this.drained().then(() => work(handle)).finally(() => this.jobs.delete(job))
    this.jobs.add(job)
    return job
  }

  put (key, value, options) {
    try {
      checkKey(key)
      return this.putAny(key, value, options, 0)
    } catch (err) {
      return Promise.reject(withKey(err, key))
    }
  }

  // `conditions`: more TOON_IF_* for the put.
  putAny (key, value, options, conditions) {
    const form = formOf(value)
    const given = givenOf(value)
    if (options === undefined && conditions === 0) {
      const arena = this.collecting()
      return this.add(arena, VOID, key, native.arenaPut(arena.handle, given, key, form))
    }
    const how = putOptions(options, PUT_OPTIONS)
    how.conditions |= conditions
    const arena = this.collecting()
    const full = native.arenaPutWith(arena.handle, given, key, form, how.ttl, how.expiresAt, how.conditions, how.version)
    return this.add(arena, how.conditions === 0 ? VOID : BOOLEAN, key, full)
  }

  putRow (value, options) {
    try {
      const form = formOf(value)
      const how = putOptions(options, ROW_OPTIONS)
      const arena = this.collecting()
      return this.add(arena, NUMBER, undefined,
        native.arenaRow(arena.handle, givenOf(value), form, how.ttl, how.expiresAt))
    } catch (err) {
      return Promise.reject(err)
    }
  }

  updateRow (id, value, options) {
    try {
      checkId(id)
      if (options !== undefined) checkNames(checkObject(options), ROW_OPTIONS, 'option')
      return this.putAny(id, value, options, IF_PRESENT)
    } catch (err) {
      return Promise.reject(withKey(err, id))
    }
  }

  // `check` is checkKey or checkId.
  delete (key, check) {
    try {
      check(key)
      const arena = this.collecting()
      return this.add(arena, BOOLEAN, key, native.arenaDelete(arena.handle, key))
    } catch (err) {
      return Promise.reject(withKey(err, key))
    }
  }

  // `ttl` undefined: the row is to stay for ever.
  expire (key, ttl) {
    try {
      checkKey(key)
      const arena = this.collecting()
      return this.add(arena, BOOLEAN, key, native.arenaExpire(arena.handle, key, ttl ?? 0))
    } catch (err) {
      return Promise.reject(withKey(err, key))
    }
  }

  // `bounds`: [lower, upper, prefix, flags, limit]
  clear (bounds) {
    const arena = this.collecting()
    return this.add(arena, NUMBER, undefined, native.arenaClear(arena.handle, ...bounds))
  }

  batch (ops) {
    try {
      checkOps(ops)
      const arena = this.collecting()
      if (ops.length === 0) return this.drained()
      // A value's toJSON may call the store: what it writes goes to another arena, behind this one. If it closes the store,
      // that has submitted this one.
      let promise, full
      this.arena = null
      this.filling.push(arena)
      try {
        full = fill(arena.handle, ops)
        promise = arena.enlist(VOID, undefined)
      } finally {
        if (this.filling.pop() === arena) {
          if (this.arena === null) this.arena = arena
          else this.submitOrDrop(arena)
        }
      }
      if (this.arena === arena) this.schedule(full)
      return promise
    } catch (err) {
      return Promise.reject(err)
    }
  }

  // Add the member that `write(arena handle)` writes, which calls nothing of the user's. `handle`: of the store, as the
  // transaction has it.
  transact (write, handle) {
    if (this.handle === 0 && handle !== 0) return this.transactLate(write, handle)
    const { inside } = this
    this.inside = false
    try {
      const arena = this.collecting()
      return this.add(arena, VOID, undefined, write(arena.handle))
    } finally {
      this.inside = inside
    }
  }

  // transact() after close() was called: alone, so that nobody else's write comes with it.
  transactLate (write, handle) {
    const arena = new Arena(this, native.arenaNew(handle))
    write(arena.handle)
    const promise = arena.enlist(VOID, undefined)
    this.submit(arena)
    return promise
  }

  // Run `write(arena handle)`, which adds one member, and commit it. Waits for the disk; the member's result.
  sync (write) {
    if (this.inside) warnOutside()
    const handle = native.arenaNew(this.handle)
    try {
      write(handle)
      this.flush() // what was called before comes before it in the log
    } catch (err) {
      native.arenaDrop(handle)
      throw err
    }
    return native.arenaCommit(handle)
  }

  putSync (key, value, options) {
    checkKey(key)
    const form = formOf(value)
    const how = putOptions(options, PUT_OPTIONS)
    try {
      const done = this.sync(arena => native.arenaPutWith(arena, givenOf(value), key, form, how.ttl, how.expiresAt,
        how.conditions, how.version))
      return how.conditions === 0 ? undefined : done === 1
    } catch (err) {
      throw withKey(err, key)
    }
  }

  deleteSync (key) {
    checkKey(key)
    try {
      return this.sync(arena => native.arenaDelete(arena, key)) === 1
    } catch (err) {
      throw withKey(err, key)
    }
  }

  batchSync (ops) {
    checkOps(ops)
    if (ops.length > 0) this.sync(arena => fill(arena, ops))
    else native.storeNow(this.handle) // throws if the store is closed
  }

  // Finish what was called, then close the addon's store. Called once.
  close () {
    for (const arena of this.filling.splice(0)) {
      native.arenaAbandon(arena.handle)
      this.submitOrDrop(arena)
    }
    const drained = this.drained()
    flushReads(this)
    const handle = this.handle
    this.handle = 0
    writers.delete(this)
    // The store is closed at once, so that nothing is taken any more; callers are told of their writes first.
    const servers = Array.from(this.servers, server => server.close())
    const closing = this.jobs.size === 0 && servers.length === 0
      ? native.storeClose(handle)
      : Promise.allSettled([...this.jobs, ...servers]).then(() => native.storeClose(handle))
    return closing.finally(() => drained)
  }
}

let warned = false
function warnOutside () {
  if (warned) return
  warned = true
  process.emitWarning('a write of the store inside the callback of a transaction is not part of the transaction; ' +
    'use the methods of its argument', { type: 'ToonWarning', code: 'TOON_OUTSIDE' })
}

// Write a batch's operations as one member. Whether the arena is full.
function fill (arena, ops) {
  native.arenaBegin(arena)
  let at = 0
  try {
    for (; at < ops.length; at++) writeOp(arena, ops[at])
    return native.arenaEnd(arena)
  } catch (err) {
    native.arenaAbandon(arena)
    throw withKey(withPlace(err, `operation ${at} of the batch`), ops[at]?.key)
  }
}

function writeOp (arena, op) {
  if (typeof op !== 'object' || op === null) throw invalidType(`an operation must be an object (got ${show(op)})`)
  const { type, key } = op
  checkKey(key)
  if (type === 'put') {
    const { value, ttl, expiresAt } = op
    if (op.ifAbsent !== undefined || op.ifVersion !== undefined) {
      throw invalidType('a batch has no conditions; put() has')
    }
    const form = formOf(value)
    if (ttl === undefined && expiresAt === undefined) {
      native.arenaPut(arena, givenOf(value), key, form)
    } else {
      const how = putOptions({ ttl, expiresAt }, ROW_OPTIONS)
      native.arenaPutWith(arena, givenOf(value), key, form, how.ttl, how.expiresAt, 0, 0)
    }
  } else if (type === 'del') {
    native.arenaDelete(arena, key)
  } else {
    throw invalidType(`an operation's type must be 'put' or 'del' (got ${show(type)})`)
  }
}

function checkOps (ops) {
  if (!Array.isArray(ops)) throw invalidType(`a batch must be an array of operations (got ${show(ops)})`)
}

function putOptions (options, known) {
  const how = { ttl: 0, expiresAt: 0, conditions: 0, version: 0 }
  if (options === undefined) return how
  checkNames(checkObject(options), known, 'option')
  const { ttl, expiresAt, ifAbsent, ifVersion } = options
  if (ttl !== undefined) how.ttl = checkInteger('ttl', ttl, 1, MAX_TIME)
  if (expiresAt !== undefined) how.expiresAt = checkInteger('expiresAt', expiresAt, 1, MAX_TIME)
  if (ttl !== undefined && expiresAt !== undefined) throw invalidType('give ttl or expiresAt, not both')
  if (ifAbsent !== undefined && typeof ifAbsent !== 'boolean') {
    throw invalidType(`ifAbsent must be a boolean (got ${show(ifAbsent)})`)
  }
  if (ifAbsent === true) how.conditions |= IF_ABSENT
  if (ifVersion !== undefined) {
    if (ifAbsent === true) throw invalidRange('give ifAbsent or ifVersion, not both')
    how.conditions |= IF_VERSION
    how.version = checkInteger('ifVersion', ifVersion, 0, Number.MAX_SAFE_INTEGER)
  }
  return how
}

// Jobs of reads, by number; the numbers that are free. Not a Map, as with `submitted`.
const reading = []
const free = []

// Read a key on the threadpool; all reads of a tick are one job. `place`: { handle, reads } of a store (a Writer) or a
// snapshot, reads being those that wait for the end of the tick, or null.
function readLater (place, key, mutable) {
  native.storeNow(place.handle) // throws if it is closed
  native.checkKey(key) // now, so that it fails alone
  if (place.reads === null) {
    place.reads = { keys: [], resolves: [], rejects: [], mutable: [] }
    process.nextTick(flushReads, place)
  }
  const promise = new Promise(executor)
  place.reads.keys.push(isBytes(key) ? Buffer.from(key) : key)
  place.reads.resolves.push(lastResolve)
  place.reads.rejects.push(lastReject)
  place.reads.mutable.push(mutable)
  if (place.reads.keys.length === ROWS_PER_CALL) flushReads(place)
  return promise
}

function flushReads (place) {
  const { reads } = place
  if (reads === null) return
  place.reads = null
  const job = free.pop() ?? reading.length
  reading[job] = reads
  try {
    native.readsStart(place.handle, job, ...reads.keys)
  } catch (err) {
    endReads(job)
    reads.rejects.forEach((reject, i) => reject(withKey(copyOf(err), reads.keys[i])))
  }
}

function endReads (job) {
  const reads = reading[job]
  reading[job] = undefined
  free.push(job)
  return reads
}

callbacks.onReads = (job, ...values) => {
  const { keys, resolves, rejects, mutable } = endReads(job)
  const how = kinds.slice(0, values.length)
  finishAll(values, how, mutable) // before anybody is told: all their bytes lie in one slab
  for (let i = 0; i < values.length; i++) {
    if (how[i] === FAILED) rejects[i](withKey(values[i], keys[i]))
    else resolves[i](values[i])
  }
}

// The process ends: what was called is still written.
process.on('exit', () => {
  exiting = true
  for (const writer of writers) {
    try {
      writer.flush()
      if (writer.syncAtExit) native.storeSyncNow(writer.handle)
    } catch {} // the outcome has nobody to go to
  }
})

module.exports = { Writer, MAX_TIME, ROW_OPTIONS, putOptions, readLater, flushReads }
