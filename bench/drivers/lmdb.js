'use strict'
// lmdb: strings as values (or bytes, or objects in its own encoding). Without `durable` nothing is synced, which is what it
// is fastest at; with it a put counts when the commit has been flushed (db.flushed), commits overlapping as is its default.
// Its own cache is used by the driver lmdb-cached.

const lmdb = require('lmdb')

const ENCODINGS = { strings: 'string', bytes: 'binary', objects: 'msgpack' }

module.exports = async function open (path, { durable, values, cache }) {
  const db = lmdb.open({ path: path + '/data.mdb', encoding: ENCODINGS[values], mapSize: 2 ** 36, noSync: !durable, cache: cache ?? false })
  const written = async promise => {
    await promise
    await db.flushed
  }
  return {
    get: key => db.get(key),
    getMany: keys => keys.map(key => db.get(key)),
    bytes: key => db.getBinary(key),
    view: key => db.getBinaryFast(key),
    row: id => db.get(id),
    async addRows (texts) {
      await Promise.all(texts.map((text, id) => db.put(id, text)))
      return texts.map((_, id) => id)
    },
    put: durable ? (key, value) => written(db.put(key, value)) : (key, value) => db.put(key, value),
    putSync (key, value) { db.putSync(key, value) },
    del: key => db.remove(key),
    batch (keys, list) {
      const done = db.batch(() => {
        for (let i = 0; i < keys.length; i++) db.put(keys[i], list[i])
      })
      return durable ? written(done) : done
    },
    scan (visit) {
      for (const { key, value } of db.getRange()) visit(key, value)
    },
    close: () => db.close()
  }
}
