'use strict'
// toonstore: an embedded database for Node.js that keeps its data as readable TOON text.

const { ToonStore } = require('./store')
const { ToonCache, open } = require('./cache')
const { ToonError } = require('./errors')
const { encode, decode } = require('./encoding')
const { encodeLines, decodeStream } = require('./streams')

// A literal of plain names: that is what lets `import { open } from 'toonstore'` find them.
module.exports = { open, ToonStore, ToonCache, ToonError, encode, decode, encodeLines, decodeStream }
