'use strict'
// Ids of documents: those that are generated, and what an id may be.

const { randomBytes } = require('node:crypto')
const { invalidType, show } = require('./errors')

const MAX_BYTES = 1000
const COUNTS = 2 ** 15

const own = parseInt(randomBytes(5).toString('hex'), 16).toString(32).padStart(8, '0')
let lastTime = 0
let front = '' // the time as text
let counter = 0

/**
 * An id of 20 letters and digits: time, a counter, and 40 random bits of this thread. Ids of a thread are in the order in
 * which they were made, those of several by the millisecond.
 *
 * @returns {string}
 */
function makeId () {
  const now = Date.now()
  if (now > lastTime || ++counter === COUNTS) {
    lastTime = Math.max(now, lastTime + 1) // perhaps ahead of the clock, until it catches up
    front = lastTime.toString(32).padStart(9, '0')
    counter = 0
  }
  return front + counter.toString(32).padStart(3, '0') + own
}

// Throws for what cannot be an id.
function checkId (id) {
  if (typeof id !== 'string') throw invalidType(`the id of a document must be a string (got ${show(id)})`)
  if (id === '' || id.includes('/') || (id.length * 3 > MAX_BYTES && Buffer.byteLength(id) > MAX_BYTES)) {
    throw invalidType(`the id of a document has 1 to ${MAX_BYTES} bytes and no slash (got ${show(id)})`)
  }
  return id
}

module.exports = { makeId, checkId }
