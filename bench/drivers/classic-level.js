'use strict'
// classic-level (LevelDB): synchronous gets, batches as arrays, scans by nextv.

const { ClassicLevel } = require('classic-level')

module.exports = async function open (path, { durable, values }) {
  const db = new ClassicLevel(path + '/data.level', { cacheSize: 256 * 1024 * 1024, writeBufferSize: 32 * 1024 * 1024, compression: false, valueEncoding: values === 'bytes' ? 'buffer' : 'utf8' })
  await db.open()
  const options = { sync: durable }
  return {
    get: key => db.getSync(key),
    getMany: keys => db.getMany(keys),
    bytes: key => db.getSync(key),
    put: (key, value) => db.put(key, value, options),
    del: key => db.del(key),
    batch: (keys, list) => db.batch(keys.map((key, i) => ({ type: 'put', key, value: list[i] })), options),
    async scan (visit) {
      const iterator = db.iterator({ highWaterMarkBytes: 4 * 1024 * 1024 })
      for (;;) {
        const rows = await iterator.nextv(1000)
        if (rows.length === 0) break
        for (const row of rows) visit(row[0], row[1])
      }
      await iterator.close()
    },
    close: () => db.close()
  }
}
