'use strict'
// What the tests of the server speak to it with: a client that knows no more of the protocol than they need. Replies come as { error },
// null, numbers, latin1 strings and arrays; pushes of RESP3 are gathered in `pushes`.
const net = require('node:net')
const { once } = require('node:events')

class Client {
  // where: a port of this machine, or the path of a socket. typed: replies come with their types, as [type, value].
  constructor (where, { typed = false } = {}) {
    this.socket = typeof where === 'number' ? net.connect(where, '127.0.0.1') : net.connect(where)
    this.text = ''
    this.waiting = []
    this.pushes = []
    this.socket.on('data', data => {
      this.text += data.toString('latin1')
      let at = 0
      for (let r; at < this.text.length && (r = parse(this.text, at, typed)); at = r.end) {
        if (this.text[at] === '>' || this.waiting.length === 0) this.pushes.push(r.value)
        else this.waiting.shift()(r.value)
      }
      this.text = this.text.slice(at)
    })
    this.socket.on('error', () => {})
  }

  write (bytes) { this.socket.write(bytes) }
  reply () { return new Promise(resolve => { this.waiting.push(resolve) }) }
  call (...args) {
    this.write(encode(args))
    return this.reply()
  }

  // Several commands in one write, each a list of arguments or a text of words.
  pipeline (commands) {
    const lists = commands.map(c => Array.isArray(c) ? c : c.split(' '))
    this.write(Buffer.concat(lists.map(encode)))
    return Promise.all(lists.map(() => this.reply()))
  }

  close () { this.socket.destroy() }

  // Until the connection has ended, which it may have before anyone waits.
  async closed () { if (!this.socket.closed) await once(this.socket, 'close') }
}

function encode (args) {
  const parts = [`*${args.length}\r\n`]
  for (const arg of args) {
    const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg))
    parts.push(`$${bytes.length}\r\n`, bytes, '\r\n')
  }
  return Buffer.concat(parts.map(p => Buffer.from(p)))
}

// The reply at a place of the text, and where it ends; undefined if it has not ended. Typed, every value is [its type's byte, value].
function parse (text, at, typed = false) {
  const read = untyped(text, at, typed)
  return typed && read ? { value: [text[at], read.value], end: read.end } : read
}

function untyped (text, at, typed) {
  const line = text.indexOf('\r\n', at)
  if (line < 0) return undefined
  const head = text.slice(at + 1, line)
  let end = line + 2
  switch (text[at]) {
    case '+': return { value: head, end }
    case '-': return { value: { error: head }, end }
    case ':': return { value: Number(head), end }
    case ',': return { value: Number(head), end }
    case '_': return { value: null, end }
    case '=':
    case '$': {
      const length = Number(head)
      if (length < 0) return { value: null, end }
      return text.length < end + length + 2 ? undefined : { value: text.slice(end, end + length), end: end + length + 2 }
    }
    default: {
      if (head === '-1') return { value: null, end }
      const value = []
      for (let n = Number(head) * (text[at] === '%' ? 2 : 1); n > 0; n--) {
        const item = parse(text, end, typed)
        if (item === undefined) return undefined
        value.push(item.value)
        end = item.end
      }
      return { value, end }
    }
  }
}

/**
 * Before each test of a suite a store with a server and a client, which `given` takes; all is closed after it.
 *
 * @param {function(): Promise<ToonStore>} openStore - of setup() in support.js
 * @param {function({ db, server, client })} given
 * @returns {function(number?): Client} connects one more, to that server or to the one at a port
 */
function served (openStore, given) {
  const clients = []
  let server

  function connect (port = server.port) {
    const client = new Client(port)
    clients.push(client)
    return client
  }

  beforeEach(async () => {
    const db = await openStore()
    server = await db.listen({ port: 0 })
    given({ db, server, client: connect() })
  })

  afterEach(async () => {
    for (const client of clients.splice(0)) client.close()
    await server.close()
  })

  return connect
}

module.exports = { Client, encode, parse, served }
