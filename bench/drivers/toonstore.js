'use strict'
// toonstore: without a cache reads come from storage, with one (`cached`) ToonCache answers what it can.

const { ToonStore, ToonCache } = require('../..')

module.exports = async function open (dir, { durable, cached }) {
  const options = { durability: durable ? 'commit' : 'interval', maxDbSize: 2 ** 40 }
  const db = cached === undefined
    ? await ToonStore.open(dir, options)
    : await ToonCache.open(dir, cached.capacity, { ...options, cacheBytes: cached.bytes })
  return {
    get: key => db.get(key),
    getMany: keys => db.getMany(keys),
    bytes: key => db.get(key),
    row: id => db.rows.get(id),
    addRows: texts => Promise.all(texts.map(text => db.rows.put(text))),
    put: (key, value) => db.put(key, value),
    putSync: (key, value) => db.putSync(key, value),
    del: key => db.delete(key),
    batch: (keys, list) => db.batch(keys.map((key, i) => ({ type: 'put', key, value: list[i] }))),
    compact: () => db.compact(),
    scan (visit) {
      for (const [key, value] of db.range()) visit(key, value)
    },
    close: () => db.close()
  }
}
