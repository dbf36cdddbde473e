'use strict'
// Running functions as transactions: attempts, retries, time limits.

const { ToonError, invalidType, show } = require('./errors')
const { checkObject, checkNames, checkInteger, checkSignal } = require('./options')
const { Transaction, checkIsolation } = require('./transaction')
const { checkKey, isBytes } = require('./values')

const OPTIONS = new Set(['isolation', 'retries', 'timeout', 'signal'])
const SYNC_OPTIONS = new Set(['isolation', 'retries'])
const UPDATE_OPTIONS = new Set(['retries'])
const SYNC_RETRIES = 10
const MAX_RETRIES = 1e6
const MAX_TIMEOUT = 2 ** 31 - 1

const CONFLICT = Symbol('conflict')

function parse (fn, options, known) {
  if (typeof fn !== 'function') throw invalidType(`a transaction is a function (got ${show(fn)})`)
  const given = checkObject(options)
  checkNames(given, known, 'option of a transaction')
  const { retries, timeout } = given
  if (retries !== undefined) checkInteger('retries', retries, 0, MAX_RETRIES)
  if (timeout !== undefined) checkInteger('timeout', timeout, 1, MAX_TIMEOUT)
  return { isolation: checkIsolation(given.isolation), retries, timeout, signal: checkSignal(given.signal) }
}

function isThenable (value) {
  return typeof value === 'object' && value !== null && typeof value.then === 'function'
}

// Ends a transaction by time or signal.
class Limit {
  #timer
  #abort
  #signal
  #over // promise that rejects then, or null
  #reason = null

  constructor ({ timeout, signal }) {
    this.#signal = signal
    this.#over = timeout === undefined && signal === undefined ? null : new Promise((resolve, reject) => {
      const end = reason => {
        this.#reason ??= { reason }
        reject(reason)
      }
      this.#abort = () => end(signal.reason)
      signal?.addEventListener('abort', this.#abort, { once: true })
      if (timeout !== undefined) {
        this.#timer = setTimeout(() => end(new ToonError('TOON_ETIMEOUT',
          `the transaction took more than ${timeout} ms and was rolled back`)), timeout)
      }
    })
    this.#over?.catch(() => {})
  }

  check () {
    if (this.#reason !== null) throw this.#reason.reason
  }

  race (promise) {
    return this.#over === null ? promise : Promise.race([promise, this.#over])
  }

  end () {
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#abort)
  }
}

// Call fn(tx); writes of the store that it makes directly are noticed.
function call (writer, fn, tx) {
  const { inside } = writer
  writer.inside = true
  try {
    return fn(tx)
  } finally {
    writer.inside = inside
  }
}

// One attempt, with this handle of the store. CONFLICT if it is to be tried again.
async function attempt (run, number, handle) {
  const { store, writer, fn, how, limit } = run
  limit.check()
  const tx = new Transaction(store, writer, { isolation: how.isolation }, number, handle)
  let result
  try {
    result = call(writer, fn, tx)
    run.sync = !isThenable(result)
    if (!run.sync) {
      run.retries = how.retries ?? 0
      result = await limit.race(result)
    }
    limit.check()
  } catch (err) {
    tx.rollback()
    throw err
  }
  if (tx.state === 'rolled back') return result
  try {
    await tx.commit()
  } catch (err) {
    if (err.code === 'TOON_ECONFLICT' && number <= run.retries) return CONFLICT
    throw err
  }
  return result
}

// Sync functions are tried again one at a time, so that many that want one key do not fail each other over and over. They
// are finished although the store is being closed.
function inTurn (run, number) {
  const { writer } = run
  const begun = writer.turn.then(() => ({ done: attempt(run, number, writer.opened) }))
  // One that turns out to be async may wait for another's turn.
  writer.turn = begun.then(({ done }) => run.sync ? done : undefined).catch(() => {})
  return begun.then(({ done }) => done)
}

function runAll (store, writer, fn, how) {
  how.signal?.throwIfAborted()
  const limit = new Limit(how)
  const run = { store, writer, fn, how, limit, retries: how.retries ?? SYNC_RETRIES, sync: false, job: null }
  const job = untilDone(run)
  // close() waits for it. An async function may itself wait for a close().
  if (run.sync) writer.jobs.add(run.job = job)
  return job
}

async function untilDone (run) {
  const { writer } = run
  try {
    let result = await attempt(run, 1, writer.handle)
    for (let number = 2; result === CONFLICT; number++) {
      // An async function may wait for another transaction, so it does not wait for its turn.
      result = await (run.sync ? inTurn(run, number) : attempt(run, number, writer.handle))
    }
    return result
  } finally {
    run.limit.end()
    writer.jobs.delete(run.job)
  }
}

async function transaction (store, writer, fn, options) {
  return runAll(store, writer, fn, parse(fn, options, OPTIONS))
}

function transactionSync (store, writer, fn, options) {
  const how = parse(fn, options, SYNC_OPTIONS)
  const retries = how.retries ?? SYNC_RETRIES
  for (let number = 1; ; number++) {
    const tx = new Transaction(store, writer, { isolation: how.isolation }, number, writer.handle)
    let result
    try {
      result = call(writer, fn, tx)
      if (isThenable(result)) {
        if (result instanceof Promise) result.catch(() => {})
        throw invalidType('the function of transactionSync() must not be async; transaction() takes one that is')
      }
    } catch (err) {
      tx.rollback()
      throw err
    }
    if (tx.state !== 'open') return result
    try {
      tx.commitSync()
      return result
    } catch (err) {
      if (err.code !== 'TOON_ECONFLICT' || number > retries) throw err
    }
  }
}

async function update (store, writer, key, fn, options) {
  const how = parse(fn, options, UPDATE_OPTIONS)
  checkKey(key)
  const own = isBytes(key) ? Buffer.from(key) : key
  return runAll(store, writer, tx => {
    const write = value => {
      if (value === undefined) tx.delete(own)
      else tx.put(own, value)
      return tx.get(own)
    }
    const value = fn(tx.get(own))
    return isThenable(value) ? Promise.resolve(value).then(write) : write(value)
  }, how)
}

module.exports = { transaction, transactionSync, update }
