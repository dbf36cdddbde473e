#!/usr/bin/env node
'use strict'
// tstd: the server of the Redis protocol as a process. settings.js lists the flags.

const os = require('node:os')
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

// What an error says, with its code.
function explain (err) {
  return `${err.message}${err.code === undefined || err.message.includes(err.code) ? '' : ` (${err.code})`}`
}

const { EADDRINUSE, EADDRNOTAVAIL, EACCES, EPERM } = os.constants.errno

// What to do about an error of the open: what the engine advises is for code.
function adviseOpen ({ code, errno }, data) {
  if (code === 'TOON_ELOCKED') return 'Stop that process, or give this one a directory of its own with --data. An app can serve its store itself: db.listen().'
  if (code === 'TOON_ECORRUPT') {
    return 'Restore a backup; or cut the damage away, which loses what is behind it, with\n' +
      `  node -e "require('toonstore').open(process.argv[1], { repair: true }).then(db => db.close())" '${data}'`
  }
  if (errno === -EACCES || errno === -EPERM) return `This user (${os.userInfo().username}) may not write there: give it the directory, or choose another with --data.`
  if (errno !== undefined || code === 'TOON_EINVAL') return 'Choose another directory with --data.'
}

function adviseListen ({ errno }, { bind: { host, port }, unixsocket }) {
  if (errno === -EADDRINUSE) return `Something listens there already (--health tells whether it is a server of this kind): stop it, or choose another port, as in --bind ${host}:${port + 1}.`
  if (errno === -EADDRNOTAVAIL) return 'No network interface of this machine has that address: 127.0.0.1 is this machine alone, 0.0.0.0 is all addresses.'
  if (errno === -EACCES && port > 0 && port < 1024) return `This user (${os.userInfo().username}) may not use ports below 1024: choose another with --bind.`
  if (errno === -EACCES && unixsocket !== undefined) return 'Its directory must exist, and this user must be allowed to write there.'
}

// The same error with its place and what to do next.
function withAdvice (err, place, advice) {
  const message = `${place}${explain(err)}${advice === undefined ? '' : `\n${advice}`}`
  return Object.assign(new Error(message, { cause: err }), { advised: true })
}

// The standard input up to its first line's end.
async function readPassword () {
  if (process.stdin.isTTY) process.stderr.write('password (it is shown): ')
  let text = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += chunk
    if (text.includes('\n')) break
  }
  const [line] = text.split(/\r?\n/, 1)
  if (line === '') throw new UsageError('--hash-password reads a password from the standard input, and there was none')
  return line
}

// Resolves when the server has ended, as a signal asked it to.
async function serve (settings) {
  const { ToonCache } = require('..')
  const { isLoopback } = require('../server')
  const secrets = settings.password ?? settings['password-file'] ?? settings.users
  const { host } = settings.bind
  if (settings['protected-mode'] && secrets === undefined && host !== undefined && !isLoopback(host)) {
    throw new UsageError(`${host} can be reached from other machines, and there is no password: ` +
      'bind a loopback address, set a password, or say --protected-mode no')
  }
  const log = logger(settings['log-level'])
  const db = await ToonCache.open(settings.data, settings.capacity, {
    durability: settings.durability,
    syncInterval: settings['sync-interval'],
    maxValueSize: settings['max-value-size'],
    maxDbSize: settings['max-db-size']
  }).catch(err => { throw withAdvice(err, `cannot open the store in ${settings.data}: `, adviseOpen(err, settings.data)) })
  db.on('error', err => log('error', explain(err)))
  db.on('warning', err => log('warning', explain(err)))
  let server
  try {
    server = await db.listen({
      ...settings.bind,
      path: settings.unixsocket,
      maxClients: settings.maxclients,
      protectedMode: settings['protected-mode'],
      password: settings.password ?? settings['password-file'],
      users: settings.users,
      tls: settings['tls-cert'] && { cert: settings['tls-cert'], key: settings['tls-key'] },
      idleTimeout: settings.timeout * 1000,
      keepAlive: settings['tcp-keepalive'] * 1000,
      logLevel: settings['log-level'] === 'error' ? 'warning' : settings['log-level']
    })
  } catch (err) {
    await db.close()
    throw err.code === 'TOON_EINVAL' ? new UsageError(err.message) : withAdvice(err, '', adviseListen(err, settings))
  }
  server.on('notice', log)
  const asked = new Promise(resolve => { // before anybody is told that the server is there
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
    server.once('shutdown', () => resolve('SHUTDOWN'))
  })
  log('info', `tstd ${version()}, process ${process.pid}, Node.js ${process.version}`)
  log('info', `the store in ${db.path} has ${db.size} keys; durability ${settings.durability}`)
  if (settings.unixsocket !== undefined && host !== undefined) log('info', `ready for connections at unix://${settings.unixsocket}`)
  log('info', `ready for connections at ${server.url}${secrets === undefined ? '' : ' (log in first)'}`)

  const reason = await asked
  log('info', `${reason}: finishing`)
  await server.close()
  await db.close()
  log('info', 'everything is on the disk; goodbye')
}

async function main () {
  const settings = readSettings(process.argv.slice(2), process.env)
  if (settings.help) return console.log(help())
  if (settings.version) return console.log(`tstd ${version()}`)
  if (settings['hash-password']) return console.log(await require('../users').hashPassword(await readPassword()))
  if (settings.health) {
    const wrong = await checkHealth({ ...settings.bind, path: settings.bind.host ? undefined : settings.unixsocket, tls: settings['tls-cert'] !== undefined })
    console.log(wrong === undefined ? 'a server answers' : `no server: ${wrong}`)
    process.exitCode = wrong === undefined ? 0 : 1
    return
  }
  await serve(settings)
}

process.stdout.on('error', () => {}) // a log that nobody reads any more must not end the server

main().catch(err => {
  console.error(`tstd: ${err.advised ? err.message : explain(err)}${err instanceof UsageError ? '\nTry tstd --help.' : ''}`)
  process.exitCode = err instanceof UsageError ? 2 : 1
})
