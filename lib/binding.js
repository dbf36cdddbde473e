'use strict'
// Loads the compiled addon and sets up the memory that it shares with JavaScript. Everything native goes through here;
// csrc/napi/functions.h lists the functions, the .cc files say what each takes and gives.

const path = require('node:path')
const { makeError } = require('./errors')

function load () {
  try {
    return require('node-gyp-build')(path.join(__dirname, '..'))
  } catch (cause) {
    throw new Error('toonstore: the compiled addon is missing or does not load here. Run "npm rebuild toonstore" ' +
      `(it needs a C++ compiler, make and python3; node ${process.version}, ${process.platform} ${process.arch}): ` +
      String(cause.message).split('\n')[0], { cause })
  }
}

const native = load()

// Calls from the addon: onArena(arena, values, errors, events, failure) when a batch of writes is done,
// onReads(id, ...values) and onChunk(id, end, error, ...values) when a job has read. They are set by writes.js and range.js.
// onServer(server, kind, connection, ...): what a server has to tell; set by server.js.
const callbacks = { onArena () {}, onReads () {}, onChunk () {}, onServer () {} }

const memory = native.setup({
  makeError,
  collect: (...values) => values,
  onArena: (...args) => callbacks.onArena(...args),
  onReads: (...args) => callbacks.onReads(...args),
  onChunk: (...args) => callbacks.onChunk(...args),
  onServer: (...args) => callbacks.onServer(...args)
})

// The layout is struct Shared of csrc/napi/env.h.
const integers = new Int32Array(memory, 0, 16) // [0]: kind of the value just returned, [1]: a cursor ended,
// [2..5]: may it be kept, the slot and number of its version word, the length of its text
// [0]: version, [1]: expiry of the row just returned, [2]: rows of the document just returned
const doubles = new Float64Array(memory, 64, 8)
const ROWS_PER_CALL = 512
const kinds = new Uint8Array(memory, 128, 2 * ROWS_PER_CALL) // of the values of a chunk
// Of the values of a getMany: the slot of the version word of each that may be kept, else -1; the length of its text.
const slots = new Int32Array(memory, 128 + 2 * ROWS_PER_CALL, ROWS_PER_CALL)
const lengths = new Int32Array(memory, 128 + 6 * ROWS_PER_CALL, ROWS_PER_CALL)

module.exports = { native, callbacks, integers, doubles, kinds, slots, lengths, ROWS_PER_CALL }
