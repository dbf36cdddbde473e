#!/usr/bin/env node
'use strict'
// tstd: the server of the Redis protocol as a process. settings.js lists the flags.

const { readSettings, help, UsageError } = require('./settings')
const { checkHealth } = require('./health')

const LEVELS = ['debug', 'info', 'warning', 'error']

// A function for lines of the log from a level on.
function logger (level) {
  const least = LEVELS.indexOf(level)
  return (of, text) => {
    if (LEVELS.indexOf(of) >= least) console.log(`${new Date().toISOString()} ${of.padEnd(7)} ${text}`)
  }
}

function version () {
  return require('../../package.json').version
}

// What an error says, with the address or file where it belongs.
function explain (err) {
  return `${err.message}${err.code === undefined || err.message.includes(err.code) ? '' : ` (${err.code})`}`
}

// Resolves when the server has ended, as a signal asked it to.
async function serve (settings) {
  const { ToonCache } = require('..')
  const { isLoopback } = require('../server')
  if (settings['protected-mode'] && !isLoopback(settings.bind.host)) {
    throw new UsageError(`${settings.bind.host} can be reached from other machines, and there is no password: ` +
      'bind a loopback address, or say --protected-mode no')
  }
  const log = logger(settings['log-level'])
  const db = await ToonCache.open(settings.data, settings.capacity, {
    durability: settings.durability,
    syncInterval: settings['sync-interval'],
    maxValueSize: settings['max-value-size'],
    maxDbSize: settings['max-db-size']
  })
  db.on('error', err => log('error', explain(err)))
  db.on('warning', err => log('warning', explain(err)))
  let server
  try {
    server = await db.listen({ ...settings.bind, maxClients: settings.maxclients, protectedMode: settings['protected-mode'] })
  } catch (err) {
    await db.close()
    throw err
  }
  log('info', `tstd ${version()}, process ${process.pid}, Node.js ${process.version}`)
  log('info', `the store in ${db.path} has ${db.size} keys; durability ${settings.durability}`)
  log('info', `ready for connections at ${server.url}`)

  const reason = await new Promise(resolve => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  log('info', `${reason}: finishing`)
  await server.close()
  await db.close()
  log('info', 'everything is on the disk; goodbye')
}

async function main () {
  const settings = readSettings(process.argv.slice(2), process.env)
  if (settings.help) return console.log(help())
  if (settings.version) return console.log(`tstd ${version()}`)
  if (settings.health) {
    const wrong = await checkHealth(settings.bind)
    console.log(wrong === undefined ? 'a server answers' : `no server: ${wrong}`)
    process.exitCode = wrong === undefined ? 0 : 1
    return
  }
  await serve(settings)
}

process.stdout.on('error', () => {}) // a log that nobody reads any more must not end the server

main().catch(err => {
  console.error(`tstd: ${explain(err)}${err instanceof UsageError ? '\nTry tstd --help.' : ''}`)
  process.exitCode = err instanceof UsageError ? 2 : 1
})
