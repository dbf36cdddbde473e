'use strict'
// The server of the Redis protocol inside this process. It runs on threads of its own; this is what JavaScript holds of it:
// its options, who may log in, and TLS.

const { EventEmitter } = require('node:events')
const net = require('node:net')
const { pipeline } = require('node:stream')
const { native, callbacks } = require('./binding')
const { ToonError, invalidType, invalidRange, show } = require('./errors')
const { checkObject, checkNames, checkInteger } = require('./options')
const { Users } = require('./users')

const OPTIONS = new Set(['port', 'host', 'path', 'maxClients', 'protectedMode', 'password', 'users', 'tls', 'idleTimeout', 'keepAlive',
  'outputLimit', 'pushLimit', 'logLevel'])
const LEVELS = ['debug', 'info', 'warning'] // resp_level of csrc/resp/server.h
const [AUTH, SHUTDOWN] = [0, 1] // resp_event_kind
const NEVER = 2 ** 31 - 1 // ms; the longest timer there is
const HANDSHAKE = 10000 // ms that TLS may take to agree

const isLoopback = host => /^(127\.\d+\.\d+\.\d+|::1)$/.test(host)
const servers = new Map() // by handle

callbacks.onServer = (handle, kind, ...args) => servers.get(handle)?.[told](kind, ...args)
const told = Symbol('told')

/**
 * A listening server, made by db.listen(). Keeps the process alive until it is closed, unless unref() is called. Emits
 * 'notice' (level, text) for a log, and 'shutdown' when a client has sent SHUTDOWN; if nobody listens to that, the server
 * closes.
 */
class Server extends EventEmitter {
  #handle
  #writer
  #users
  #alive
  #closing
  #secure

  /** @private */
  constructor (db, writer, handle, { host, path, users }) {
    super()
    this.#handle = handle
    this.#writer = writer
    this.#users = users
    this.host = host
    this.port = native.serverPort(handle)
    this.path = path
    // The timer keeps the process alive, and the store, which would be closed if it were collected.
    this.#alive = setInterval(() => db, NEVER)
    servers.set(handle, this)
    writer.servers.add(this)
  }

  /**
   * Where clients find it: redis://, rediss:// with TLS, or unix:// without TCP.
   *
   * @type {string}
   */
  get url () {
    if (this.host === undefined) return `unix://${this.path}`
    return `${this.#secure ? 'rediss' : 'redis'}://${this.host.includes(':') ? `[${this.host}]` : this.host}:${this.port}`
  }

  /** Keep the process alive as long as it listens, as it does from the start. */
  ref () {
    this.#alive.ref()
    this.#secure?.ref()
    return this
  }

  /** Do not keep the process alive. */
  unref () {
    this.#alive.unref()
    this.#secure?.unref()
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
      const secured = this.#secure && new Promise(resolve => { this.#secure.close(resolve) })
      this.#closing = native.serverStop(this.#handle).then(() => secured).finally(() => {
        servers.delete(this.#handle)
        this.#writer.servers.delete(this)
      })
    }
    return this.#closing
  }

  [Symbol.asyncDispose] () {
    return this.close()
  }

  // What the server's thread tells.
  [told] (kind, conn, first, second) {
    if (kind === AUTH) {
      const answer = role => native.serverAnswer(this.#handle, conn, role)
      this.#users.verify(first, second).then(answer, err => {
        answer(0)
        this.emit('notice', 'warning', `a password could not be checked: ${err.message}`)
      })
    } else if (kind === SHUTDOWN) {
      if (!this.emit('shutdown')) this.close()
    } else {
      this.emit('notice', LEVELS[second], first)
    }
  }

  // Serve a connection whose TLS has been agreed on: its bytes go through a pair of sockets.
  #bridge (socket) {
    const { remoteAddress, remoteFamily, remotePort } = socket
    let inner
    try {
      const address = remoteFamily === 'IPv6' ? `[${remoteAddress}]` : remoteAddress
      inner = new net.Socket({ fd: native.serverAdopt(this.#handle, `${address}:${remotePort}`) })
    } catch (err) {
      socket.destroy()
      this.emit('notice', 'warning', `a connection could not be served: ${err.message}`)
      return
    }
    socket.setNoDelay(true)
    // An end that is broken off is no more than an end.
    pipeline(socket, inner, socket, () => {
      inner.destroy()
      socket.destroy()
    })
  }

  /** @private */
  async secure (options, port, maxClients) {
    let server
    try {
      server = require('node:tls').createServer({ handshakeTimeout: HANDSHAKE, ...options, allowHalfOpen: true }, socket => this.#bridge(socket))
    } catch (cause) {
      throw invalidType(`tls: ${cause.message}`, cause)
    }
    server.maxConnections = maxClients
    server.on('tlsClientError', (err, socket) => {
      this.emit('notice', 'debug', `TLS with ${socket.remoteAddress} failed: ${err.message}`)
    })
    await new Promise((resolve, reject) => {
      server.once('error', cause => reject(new ToonError('TOON_EIO', `cannot listen on ${this.host} port ${port}: ${cause.message}`,
        { cause, errno: cause.errno, syscall: cause.syscall })))
      server.listen(port, this.host, resolve)
    })
    server.on('error', err => { this.emit('notice', 'warning', `a TLS connection could not be accepted: ${err.message}`) })
    this.#secure = server
    this.port = server.address().port
  }
}

function checkString (name, value) {
  if (value !== undefined && (typeof value !== 'string' || value === '')) throw invalidType(`${name} must be a string that is not empty (got ${show(value)})`)
  return value
}

// The users that the options name, or undefined if everybody may do everything.
function usersOf ({ password, users }) {
  if (users === undefined && password === undefined) return undefined
  if (users !== undefined && !Array.isArray(users)) throw invalidType(`users must be an array (got ${show(users)})`)
  if (password !== undefined && typeof password !== 'string') throw invalidType('password must be a string')
  return new Users([...users ?? [], ...password === undefined ? [] : [{ name: 'default', role: 'admin', password }]])
}

async function listen (db, writer, options) {
  const given = checkObject(options)
  checkNames(given, OPTIONS, 'option of listen()')
  const { maxClients = 10000, protectedMode = true, idleTimeout = 0, keepAlive = 300000, logLevel = 'warning', tls } = given
  const path = checkString('path', given.path)
  // As in Node's net: with a path alone there is no TCP.
  const tcp = path === undefined || given.port !== undefined || given.host !== undefined
  const host = tcp ? checkString('host', given.host) ?? '127.0.0.1' : undefined
  const port = checkInteger('port', given.port ?? 6379, 0, 65535)
  const users = usersOf(given)
  if (typeof protectedMode !== 'boolean') throw invalidType(`protectedMode must be a boolean (got ${show(protectedMode)})`)
  if (protectedMode && !users && tcp && !isLoopback(host)) {
    throw invalidRange(`without a password only loopback addresses are listened on (got ${show(host)}); protected mode can be turned off`)
  }
  checkInteger('maxClients', maxClients, 1, 1000000)
  if (!LEVELS.includes(logLevel)) throw invalidType(`logLevel must be one of ${LEVELS.join(', ')} (got ${show(logLevel)})`)
  const handle = native.serverStart(writer.handle, {
    host: tls === undefined ? host : undefined,
    port,
    path,
    maxClients,
    timeout: Math.ceil(checkInteger('idleTimeout', idleTimeout, 0, 10 ** 11) / 1000),
    keepalive: Math.ceil(checkInteger('keepAlive', keepAlive, 0, 86400000) / 1000),
    outputMax: checkInteger('outputLimit', given.outputLimit ?? 256 * 1024 * 1024, 1024, Number.MAX_SAFE_INTEGER),
    pushMax: checkInteger('pushLimit', given.pushLimit ?? 32 * 1024 * 1024, 1024, Number.MAX_SAFE_INTEGER),
    cacheRows: writer.cache.rows,
    cacheBytes: writer.cache.bytes,
    level: LEVELS.indexOf(logLevel),
    auth: users !== undefined
  })
  const server = new Server(db, writer, handle, { host, path, users })
  if (tls === undefined || !tcp) return server
  try {
    await server.secure(checkObject(tls, 'tls'), port, maxClients)
  } catch (err) {
    await server.close()
    throw err
  }
  return server
}

module.exports = { listen, Server, isLoopback }
