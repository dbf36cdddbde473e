'use strict'
// The server of the Redis protocol inside this process. It runs on threads of its own; this is what JavaScript holds of it.

const { native } = require('./binding')
const { invalidType, invalidRange, show } = require('./errors')
const { checkObject, checkNames, checkInteger } = require('./options')

const OPTIONS = new Set(['port', 'host', 'maxClients', 'protectedMode'])
const NEVER = 2 ** 31 - 1 // ms; the longest timer there is

/**
 * A listening server, made by db.listen(). Keeps the process alive until it is closed, unless unref() is called.
 */
class Server {
  #handle
  #writer
  #alive
  #closing

  /** @private */
  constructor (db, writer, host, handle) {
    this.#handle = handle
    this.#writer = writer
    this.host = host
    this.port = native.serverPort(handle)
    // The timer keeps the process alive, and the store, which would be closed if it were collected.
    this.#alive = setInterval(() => db, NEVER)
    writer.servers.add(this)
  }

  /**
   * Where clients find it.
   *
   * @type {string}
   */
  get url () {
    return `redis://${this.host.includes(':') ? `[${this.host}]` : this.host}:${this.port}`
  }

  /** Keep the process alive as long as it listens, as it does from the start. */
  ref () {
    this.#alive.ref()
    return this
  }

  /** Do not keep the process alive. */
  unref () {
    this.#alive.unref()
    return this
  }

  /**
   * Stop listening, finish writes under way, close all connections. Calling it again gives the same promise.
   *
   * @returns {Promise<void>}
   */
  close () {
    if (this.#closing === undefined) {
      clearInterval(this.#alive)
      this.#closing = native.serverStop(this.#handle).finally(() => this.#writer.servers.delete(this))
    }
    return this.#closing
  }

  [Symbol.asyncDispose] () {
    return this.close()
  }
}

const isLoopback = host => /^(127\.\d+\.\d+\.\d+|::1)$/.test(host)

function listen (db, writer, options) {
  const given = checkObject(options)
  checkNames(given, OPTIONS, 'option of listen()')
  const { port = 6379, host = '127.0.0.1', maxClients = 10000, protectedMode = true } = given
  if (typeof host !== 'string') throw invalidType(`host must be a string (got ${show(host)})`)
  if (typeof protectedMode !== 'boolean') throw invalidType(`protectedMode must be a boolean (got ${show(protectedMode)})`)
  if (protectedMode && !isLoopback(host)) {
    throw invalidRange(`without a password only loopback addresses are listened on (got ${show(host)}); protected mode can be turned off`)
  }
  checkInteger('port', port, 0, 65535)
  checkInteger('maxClients', maxClients, 1, 1000000)
  return new Server(db, writer, host, native.serverStart(writer.handle, host, port, maxClients))
}

module.exports = { listen, Server, isLoopback }
