'use strict'
// toonstore without a cache: reads come from storage.

const { ToonStore } = require('../..')

module.exports = async function open (dir, { durable }) {
  const db = await ToonStore.open(dir, { durability: durable ? 'commit' : 'interval', maxDbSize: 2 ** 40 })
  return {
    how: 'ToonStore.open, durability ' + (durable ? 'commit' : 'interval'),
    get: key => db.get(key),
    put: (key, value) => db.put(key, value),
    del: key => db.delete(key),
    batch: (keys, list) => db.batch(keys.map((key, i) => ({ type: 'put', key, value: list[i] }))),
    scan (visit) {
      for (const [key, value] of db.range()) visit(key, value)
    },
    close: () => db.close()
  }
}
