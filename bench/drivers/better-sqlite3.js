'use strict'
// better-sqlite3: one table, prepared statements, WAL, a transaction for each batch. It is synchronous: each put is a
// transaction of its own on the JavaScript thread.

const Database = require('better-sqlite3')

module.exports = async function open (path, { durable, values }) {
  const db = new Database(path + '/data.sqlite')
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = ' + (durable ? 'FULL' : 'NORMAL'))
  db.pragma('cache_size = -262144')
  db.pragma('mmap_size = 2147483648')
  db.exec('CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value ' + (values === 'bytes' ? 'BLOB' : 'TEXT') + ')')
  const get = db.prepare('SELECT value FROM kv WHERE key = ?').pluck()
  const put = db.prepare('INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value')
  const del = db.prepare('DELETE FROM kv WHERE key = ?')
  const all = db.prepare('SELECT key, value FROM kv ORDER BY key').raw()
  return {
    sync: true,
    get: key => get.get(key),
    getMany: keys => keys.map(key => get.get(key)),
    bytes: key => get.get(key),
    put: (key, value) => put.run(key, value),
    putSync: (key, value) => put.run(key, value),
    del: key => del.run(key).changes === 1,
    batch: db.transaction((keys, list) => {
      for (let i = 0; i < keys.length; i++) put.run(keys[i], list[i])
    }),
    scan (visit) {
      for (const row of all.iterate()) visit(row[0], row[1])
    },
    close: () => db.close()
  }
}
