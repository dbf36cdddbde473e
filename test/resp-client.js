'use strict'
// What the tests of the server speak to it with.
const net = require('node:net')

// A client that knows no more of the protocol than these tests: replies as { error }, null, numbers, latin1 strings, arrays.
class Client {
  constructor (port) {
    this.socket = net.connect(port, '127.0.0.1')
    this.text = ''
    this.waiting = []
    this.socket.on('data', data => {
      this.text += data.toString('latin1')
      for (let r; this.waiting.length > 0 && (r = parse(this.text, 0)); this.text = this.text.slice(r.end)) this.waiting.shift()(r.value)
    })
    this.socket.on('error', () => {})
  }

  write (bytes) { this.socket.write(bytes) }
  reply () { return new Promise(resolve => { this.waiting.push(resolve) }) }
  call (...args) {
    this.write(encode(args))
    return this.reply()
  }

  close () { this.socket.destroy() }
}

function encode (args) {
  const parts = [`*${args.length}\r\n`]
  for (const arg of args) {
    const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg))
    parts.push(`$${bytes.length}\r\n`, bytes, '\r\n')
  }
  return Buffer.concat(parts.map(p => Buffer.from(p)))
}

function parse (text, at) {
  const line = text.indexOf('\r\n', at)
  if (line < 0) return undefined
  const head = text.slice(at + 1, line)
  let end = line + 2
  switch (text[at]) {
    case '+': return { value: head, end }
    case '-': return { value: { error: head }, end }
    case ':': return { value: Number(head), end }
    case '_': return { value: null, end }
    case '$': {
      const length = Number(head)
      if (length < 0) return { value: null, end }
      return text.length < end + length + 2 ? undefined : { value: text.slice(end, end + length), end: end + length + 2 }
    }
    default: {
      if (head === '-1') return { value: null, end }
      const value = []
      for (let n = Number(head) * (text[at] === '%' ? 2 : 1); n > 0; n--) {
        const item = parse(text, end)
        if (item === undefined) return undefined
        value.push(item.value)
        end = item.end
      }
      return { value, end }
    }
  }
}

module.exports = { Client, encode, parse }
