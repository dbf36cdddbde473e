'use strict'
// lru-cache: in memory only, as many rows as the case allows.

const { LRUCache } = require('lru-cache')

module.exports = async function open (path, { cached }) {
  const cache = new LRUCache({ max: cached.capacity })
  return {
    sync: true,
    volatile: true,
    get: key => cache.get(key),
    row: id => cache.get(id),
    addRows: texts => texts.map((text, id) => {
      cache.set(id, text)
      return id
    }),
    put: (key, value) => cache.set(key, value),
    batch (keys, list) {
      for (let i = 0; i < keys.length; i++) cache.set(keys[i], list[i])
    },
    close () {}
  }
}
