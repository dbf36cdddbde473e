'use strict'
// rocksdb (the leveldown-like binding of RocksDB 6): there are only asynchronous reads.

const { promisify } = require('node:util')
const rocksdb = require('rocksdb')

module.exports = async function open (path, { durable }) {
  const db = rocksdb(path + '/data.rocks')
  const bound = name => promisify(db[name].bind(db))
  const [put, get, getMany, del, batch, close] = ['put', 'get', 'getMany', 'del', 'batch', 'close'].map(bound)
  await bound('open')({ cacheSize: 256 * 1024 * 1024, writeBufferSize: 32 * 1024 * 1024, compression: false })
  const options = { sync: durable }
  const text = { asBuffer: false }
  return {
    waits: true, // get() gives a promise
    get: key => get(key, text).catch(err => {
      if (!/not\s?found/i.test(err.message)) throw err
    }),
    getMany: keys => getMany(keys, text),
    put: (key, value) => put(key, value, options),
    del: key => del(key),
    batch: (keys, list) => batch(keys.map((key, i) => ({ type: 'put', key, value: list[i] })), options),
    scan (visit) {
      const iterator = db.iterator({ keyAsBuffer: false, valueAsBuffer: false, highWaterMark: 4 * 1024 * 1024 })
      return new Promise((resolve, reject) => {
        const step = (err, key, value) => {
          if (err) return reject(err)
          if (key === undefined) return iterator.end(failure => failure ? reject(failure) : resolve())
          visit(key, value)
          iterator.next(step)
        }
        iterator.next(step)
      })
    },
    close
  }
}
