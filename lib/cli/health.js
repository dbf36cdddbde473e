'use strict'
// tstd --health: does a server of the Redis protocol answer there?

const net = require('node:net')
const tls = require('node:tls')

const PATIENCE = 5000 // ms
const ANYWHERE = { '0.0.0.0': '127.0.0.1', '::': '::1' }

/**
 * Ask a server for a sign of life. That it wants a password is one.
 *
 * @param {{ host?: string, port?: number, path?: string, tls: boolean }} bind - where it was told to listen
 * @returns {Promise<string | undefined>} undefined if it answers, else what is wrong
 */
function checkHealth ({ host, port, path, tls: secure }) {
  return new Promise(resolve => {
    const address = path === undefined ? { host: ANYWHERE[host] ?? host, port } : { path }
    // Whose certificate it is does not matter to whether it is alive.
    const socket = secure && path === undefined
      ? tls.connect({ ...address, rejectUnauthorized: false })
      : net.connect(address)
    let text = ''
    const end = wrong => {
      socket.destroy()
      resolve(wrong)
    }
    socket.setTimeout(PATIENCE, () => end(`no answer within ${PATIENCE / 1000} s`))
    socket.on('error', err => end(err.message))
    socket.on('end', () => end('the connection was closed without an answer'))
    socket.on('data', data => {
      text += data.toString('latin1')
      if (text.includes('\r\n')) end(/^(\+PONG|-NOAUTH)/.test(text) ? undefined : `it answered ${JSON.stringify(text.split('\r\n')[0].slice(0, 100))}`)
    })
    socket.write('PING\r\n')
  })
}

module.exports = { checkHealth }
