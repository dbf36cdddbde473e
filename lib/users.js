'use strict'
// Users of the server: their names, roles and passwords. Kept are scrypt hashes (made by hashPassword), or for a password
// that was given in clear a digest under a key of this process.

const crypto = require('node:crypto')
const { invalidType, invalidRange, show } = require('./errors')
const { checkObject, checkNames } = require('./options')

const ROLES = { 'read-only': 1, 'read-write': 2, admin: 3 } // resp_role of csrc/resp/server.h
const NAME_BYTES = 127 // CONN_USER_MAX of csrc/resp/connection.h
const COST = { log2: 14, blockSize: 8, parallel: 1 } // 16 MiB and some 50 ms
const LARGEST = 256 * 1024 * 1024 // bytes that a hash may take to check
const AT_ONCE = 2 // scrypts, so that the app's own file and name lookups still find a thread
const HASH = /^scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([\w-]{11,})\$([\w-]{22,})$/

function scrypt (password, salt, length, { log2, blockSize, parallel }) {
  const options = { N: 2 ** log2, r: blockSize, p: parallel, maxmem: LARGEST }
  return new Promise((resolve, reject) => {
    crypto.scrypt(password, salt, length, options, (err, key) => { err ? reject(err) : resolve(key) })
  })
}

/**
 * What a users file holds for a password.
 *
 * @param {string | Uint8Array} password
 * @returns {Promise<string>} scrypt$LOG2N$R$P$SALT$KEY, the last two in base64url
 */
async function hashPassword (password) {
  const salt = crypto.randomBytes(16)
  const key = await scrypt(password, salt, 32, COST)
  return ['scrypt', COST.log2, COST.blockSize, COST.parallel, salt.toString('base64url'), key.toString('base64url')].join('$')
}

function parseHash (text) {
  const [, log2, blockSize, parallel, salt, key] = HASH.exec(text) ?? []
  const cost = { log2: Number(log2), blockSize: Number(blockSize), parallel: Number(parallel) }
  const least = Math.min(cost.log2 - 9, cost.blockSize, cost.parallel) // NaN if it is no hash
  if (!(least >= 1 && 2 ** cost.log2 * cost.blockSize * 128 <= LARGEST / 2)) {
    throw invalidRange('a hash must be what tstd --hash-password prints: scrypt$14$8$1$…$…')
  }
  return { cost, salt: Buffer.from(salt, 'base64url'), key: Buffer.from(key, 'base64url') }
}

function checkUser (user) {
  const given = checkObject(user, 'a user')
  checkNames(given, new Set(['name', 'role', 'password', 'hash']), 'property of a user')
  const { name, role, password, hash } = given
  if (typeof name !== 'string') throw invalidType(`the name of a user must be a string (got ${show(name)})`)
  if (!/^[!-~\u0080-\uffff]+$/.test(name) || Buffer.byteLength(name) > NAME_BYTES) {
    throw invalidRange(`the name of a user must be 1 to ${NAME_BYTES} bytes without spaces (got ${show(name)})`)
  }
  if (!Object.hasOwn(ROLES, role)) throw invalidType(`the role of user ${show(name)} must be one of ${Object.keys(ROLES).join(', ')} (got ${show(role)})`)
  if ((password === undefined) === (hash === undefined)) throw invalidType(`user ${show(name)} must have either a password or a hash`)
  const secret = password ?? hash
  if (typeof secret !== 'string' || secret === '') throw invalidType(`the ${hash === undefined ? 'password' : 'hash'} of user ${show(name)} must be a string that is not empty`)
  return given
}

/**
 * Who may log in. The name 'default' is that of AUTH with a password alone.
 */
class Users {
  #users = new Map()
  #key = crypto.randomBytes(32)
  #waiting = []
  #running = 0
  #hashed

  /** @param {Array<{ name: string, role: string, password?: string, hash?: string }>} users */
  constructor (users) {
    for (const user of users) {
      const { name, role, password, hash } = checkUser(user)
      if (this.#users.has(name)) throw invalidRange(`there are two users ${show(name)}`)
      this.#users.set(name, { role: ROLES[role], digest: password && this.#digest(password), hash: hash && parseHash(hash) })
    }
    this.#hashed = [...this.#users.values()].find(user => user.hash)
  }

  #digest (password) {
    return crypto.createHmac('sha256', this.#key).update(password).digest()
  }

  // scrypt, a few at once.
  async #derive (password, { salt, key, cost }) {
    if (this.#running >= AT_ONCE) await new Promise(resolve => { this.#waiting.push(resolve) })
    else this.#running++
    try {
      return await scrypt(password, salt, key.length, cost)
    } finally {
      const next = this.#waiting.shift()
      next ? next() : this.#running--
    }
  }

  /**
   * The role of a user with that password, as a number; 0 if it is not theirs. Takes as long for a user that does not exist.
   *
   * @param {Buffer} name
   * @param {Buffer} password
   * @returns {Promise<number>}
   */
  async verify (name, password) {
    const user = this.#users.get(name.toString())
    const digest = this.#digest(password)
    // A hash is derived once; after that the password is known by its digest.
    if (user?.digest && crypto.timingSafeEqual(digest, user.digest)) return user.role
    const { hash } = user?.hash ? user : this.#hashed ?? {}
    if (hash === undefined) return 0
    const equal = crypto.timingSafeEqual(await this.#derive(password, hash), hash.key)
    if (!equal || !user?.hash) return 0
    user.digest = digest
    return user.role
  }
}

module.exports = { Users, hashPassword }
