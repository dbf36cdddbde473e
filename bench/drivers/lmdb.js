'use strict'
// lmdb: strings as values. Without `durable` nothing is synced, which is what it is fastest at; with it a put counts when
// the commit has been flushed (db.flushed), commits overlapping as is its default.

const lmdb = require('lmdb')

module.exports = async function open (path, { durable }) {
  const db = lmdb.open({ path: path + '/data.mdb', encoding: 'string', mapSize: 2 ** 36, noSync: !durable })
  const written = async promise => {
    await promise
    await db.flushed
  }
  return {
    how: durable ? 'encoding string, flushed awaited' : 'encoding string, noSync',
    get: key => db.get(key),
    put: durable ? (key, value) => written(db.put(key, value)) : (key, value) => db.put(key, value),
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
