'use strict'
// lmdb with `cache: true`, which keeps decoded values; where a case says how many rows may be kept, it is told.

const lmdb = require('./lmdb')

module.exports = (path, options) => lmdb(path, { ...options, cache: options.cached === undefined ? true : { cacheSize: options.cached.capacity } })
