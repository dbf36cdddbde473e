'use strict'
// The settings of tstd: one table of flags, and reading them from the command line, from the environment (TSTD_BIND for
// --bind) and from a configuration file, a TOON document with the same names. The first of these that has a setting wins.

const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { decode } = require('../encoding')

/** What was asked for cannot be; the message says where it was asked for. Ends tstd with status 2. */
class UsageError extends Error {}

const UNITS = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 }

function whole (min, max) {
  return text => {
    const number = /^\d{1,16}$/.test(text) ? Number(text) : NaN
    if (!(number >= min && number <= max)) throw new Error(`takes a whole number from ${min} to ${max}`)
    return number
  }
}

function bytes (text) {
  const [, digits, unit] = /^(\d{1,15})([kmgt]?)b?$/i.exec(text) ?? []
  const number = digits === undefined ? NaN : Number(digits) * UNITS[unit.toLowerCase()]
  if (!(number >= 1 && number <= Number.MAX_SAFE_INTEGER)) throw new Error('takes a number of bytes, such as 65536, 512k, 64m or 1g')
  return number
}

function choice (...choices) {
  return text => {
    if (!choices.includes(text)) throw new Error(`takes one of ${choices.join(', ')}`)
    return text
  }
}

// HOST:PORT, HOST or :PORT; an IPv6 address stands in brackets where a port follows.
function address (text) {
  if (text === 'none') return {}
  const [, bracketed, plain, port = '6379'] = net.isIPv6(text) ? [text, text] : /^(?:\[(.*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? []
  const name = bracketed ?? (plain || '127.0.0.1')
  const host = name === 'localhost' ? '127.0.0.1' : name
  if ((bracketed ?? plain) === undefined || text === '' || net.isIP(host) === 0 || Number(port) > 65535) {
    throw new Error('takes HOST:PORT with an IP address, such as 127.0.0.1:6379 or [::1]:6379')
  }
  return { host, port: Number(port) }
}

function yesNo (text) {
  if (['yes', 'true', '1'].includes(text)) return true
  if (['no', 'false', '0'].includes(text)) return false
  throw new Error('takes yes or no')
}

function nonEmpty (text) {
  if (text === '') throw new Error('must not be empty')
  return text
}

function contents (file) {
  try {
    return fs.readFileSync(file)
  } catch (err) {
    throw new Error(`cannot read the file: ${reason(err)}`)
  }
}

// What Node says of a system error, without what the reader knows: 'no such file or directory'.
function reason (err) {
  return err.message.replace(/^E\w+: ([^,]*),.*$/s, '$1')
}

function firstLine (file) {
  return nonEmpty(contents(file).toString().split(/\r?\n/, 1)[0])
}

function usersFile (file) {
  const { users } = decode(contents(file).toString()) ?? {}
  if (!Array.isArray(users)) throw new Error('takes a file with a table users[N]{name,role,hash}')
  if (users.some(user => user?.password !== undefined)) throw new Error('takes a file with hashes, not passwords: see --hash-password')
  return users
}

// name: how a value is shown in the help, its default as it would be given, how it is read, what it is for. `once`: only on
// the command line.
const FLAGS = {
  bind: { value: 'HOST:PORT', default: '127.0.0.1:6379', read: address, help: 'where to listen; port 0: one that is free; none: not by TCP' },
  unixsocket: { value: 'FILE', read: nonEmpty, help: 'listen on a unix socket too, for this user only' },
  data: { value: 'DIR', default: './data', read: nonEmpty, help: 'the directory of the store; made if it is not there' },
  capacity: { value: 'ROWS', default: '10000', read: whole(0, 2 ** 32 - 1), help: 'rows of the cache of values that are not stored as GET gives them; 0: none' },
  durability: {
    value: 'LEVEL', default: 'commit', read: choice('commit', 'interval', 'close'),
    help: ['commit: a reply to a write comes when it is on the disk', 'interval: the disk is synced every --sync-interval', 'close: synced at checkpoints and at the end']
  },
  'sync-interval': { value: 'MS', default: '1000', read: whole(1, 3600000), help: 'for durability interval' },
  'max-value-size': { value: 'BYTES', default: '1m', read: bytes, help: 'of one value, as stored' },
  'max-db-size': { value: 'BYTES', default: '1g', read: bytes, help: 'of all that is alive in the store' },
  password: { value: 'TEXT', secret: true, read: nonEmpty, help: 'of the user default, who may do everything; better kept in a file:' },
  'password-file': { value: 'FILE', read: firstLine, help: 'whose first line is that password' },
  users: { value: 'FILE', read: usersFile, help: ['who may do what: a TOON file such as', 'users[2]{name,role,hash}:', '  ada,admin,scrypt$14$8$1$…', '  bob,read-only,scrypt$14$8$1$…', 'with roles read-only, read-write and admin'] },
  'hash-password': { once: true, help: 'read a password from the standard input and print its hash' },
  'tls-cert': { value: 'FILE', read: contents, help: 'serve TLS alone, with this certificate (PEM)' },
  'tls-key': { value: 'FILE', read: contents, help: 'and its key' },
  maxclients: { value: 'N', default: '10000', read: whole(1, 1000000), help: 'who comes later is refused' },
  timeout: { value: 'SECONDS', default: '0', read: whole(0, 100000000), help: 'close connections that are silent for so long; 0: never' },
  'tcp-keepalive': { value: 'SECONDS', default: '300', read: whole(0, 86400), help: 'between signs of life that TCP asks for; 0: none' },
  'protected-mode': { value: 'yes|no', default: 'yes', read: yesNo, help: 'refuse to listen off loopback without a password' },
  'log-level': { value: 'LEVEL', default: 'info', read: choice('debug', 'info', 'warning', 'error'), help: 'what is written to the standard output' },
  config: { value: 'FILE', read: nonEmpty, help: 'read settings from a TOON file, a line for each: durability: interval' },
  health: { once: true, help: 'ask whether a server answers there: exit status 0 or 1' },
  version: { once: true, short: 'v', help: 'print the version' },
  help: { once: true, short: 'h', help: 'print this' }
}

const variable = name => `TSTD_${name.toUpperCase().replaceAll('-', '_')}`

/**
 * The text of --help.
 *
 * @returns {string}
 */
function help () {
  const lines = ['tstd: a Redis-protocol server over a toonstore directory.', '', 'Usage: tstd [flags]', '']
  for (const [name, flag] of Object.entries(FLAGS)) {
    const left = `  --${name}${flag.value ? ` ${flag.value}` : ''}${flag.short ? `, -${flag.short}` : ''}`
    const [first, ...more] = [flag.help].flat()
    const preset = flag.default === undefined ? '' : ` (${flag.default})`
    lines.push(`${left.padEnd(28)}${first}${more.length ? '' : preset}`, ...more.map((line, i) => ' '.repeat(28) + line + (i === more.length - 1 ? preset : '')))
  }
  lines.push('', `A flag beats the environment (${variable('bind')}, ${variable('sync-interval')}, …), that beats the configuration file, that beats the default.`,
    'SIGTERM and SIGINT finish the writes under way, sync, and end with status 0. Status 1: it could not be; 2: wrong settings.',
    '', 'Try it: npx tstd, and in another terminal: redis-cli set greeting hello')
  return lines.join('\n')
}

// What those who know redis-server may look for.
const REDIS = {
  port: '--bind 127.0.0.1:PORT', p: '--bind 127.0.0.1:PORT', h: '--bind HOST:PORT', 'tls-port': '--bind', dir: '--data',
  requirepass: '--password-file', a: '--password-file', aclfile: '--users', appendonly: '--durability', appendfsync: '--durability',
  save: '--durability', maxmemory: '--max-db-size', loglevel: '--log-level', 'tls-cert-file': '--tls-cert', 'tls-key-file': '--tls-key'
}

// Changes of one letter that lead from one word to another.
function distance (a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]
}

function suggestion (name) {
  if (Object.hasOwn(REDIS, name)) return `; here it is ${REDIS[name]}`
  const near = Object.keys(FLAGS).find(flag => distance(flag, name) <= 2)
  return near === undefined ? '' : `; did you mean --${near}?`
}

function readArguments (args) {
  const options = {}
  for (const [name, flag] of Object.entries(FLAGS)) {
    options[name] = { type: flag.value ? 'string' : 'boolean', ...(flag.short && { short: flag.short }) }
  }
  try {
    return parseArgs({ args, options, allowPositionals: false }).values
  } catch (err) {
    // The first sentence names the flag; what follows is advice about positional arguments, which there are none of.
    const [message] = err.message.split('. ')
    const [, name] = /^Unknown option '--?([^']*)'/.exec(message) ?? []
    throw new UsageError(`${message}${name === undefined ? '' : suggestion(name)}`)
  }
}

function readConfig (file) {
  let settings
  try {
    settings = decode(contents(file).toString())
  } catch (err) {
    throw new UsageError(`the configuration file ${file}: ${err.message}`)
  }
  if (settings === null || typeof settings !== 'object' || Array.isArray(settings)) {
    throw new UsageError(`the configuration file ${file} must hold lines like 'durability: interval'`)
  }
  for (const [name, value] of Object.entries(settings)) {
    if (!Object.hasOwn(FLAGS, name) || FLAGS[name].once || name === 'config') throw new UsageError(`the configuration file ${file}: there is no setting '${name}'${suggestion(name)}`)
    if (value === null || typeof value === 'object') throw new UsageError(`the configuration file ${file}: ${name} must be one value`)
  }
  return settings
}

/**
 * All settings, read and checked. Relative paths of a configuration file are relative to that file.
 *
 * @param {string[]} args - of the command line, without node and the script
 * @param {Record<string, string | undefined>} env
 * @returns {Record<string, any>} by the names of the flags; undefined where nothing was given and there is no default
 * @throws {UsageError}
 */
function readSettings (args, env) {
  const given = readArguments(args)
  if (given.help || given.version || given['hash-password']) return given
  const file = given.config ?? env[variable('config')]
  const config = file === undefined ? {} : readConfig(file)
  const settings = {}
  for (const [name, flag] of Object.entries(FLAGS)) {
    if (flag.once) {
      settings[name] = given[name]
      continue
    }
    const [text, source] = given[name] !== undefined
      ? [given[name], `--${name}`]
      : env[variable(name)] !== undefined
        ? [env[variable(name)], variable(name)]
        : config[name] !== undefined ? [place(name, String(config[name]), file), `${name} in ${file}`] : [flag.default, name]
    try {
      settings[name] = text === undefined ? undefined : flag.read(text)
    } catch (err) {
      throw new UsageError(`${source} ${err.message}${flag.secret ? '' : ` (got '${text}')`}`)
    }
  }
  if (settings.password !== undefined && settings['password-file'] !== undefined) throw new UsageError('--password and --password-file are two ways to say the same')
  if ((settings['tls-cert'] === undefined) !== (settings['tls-key'] === undefined)) throw new UsageError('--tls-cert and --tls-key belong together')
  if (settings.bind.host === undefined && settings.unixsocket === undefined) throw new UsageError('--bind none needs a --unixsocket')
  return settings
}

function place (name, text, file) {
  return FLAGS[name].value === 'DIR' || FLAGS[name].value === 'FILE' ? path.resolve(path.dirname(file), text) : text
}

module.exports = { readSettings, help, UsageError }
