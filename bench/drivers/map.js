'use strict'
// A Map: no storage at all, as a measure of what JavaScript itself costs.

module.exports = async function open () {
  const map = new Map()
  return {
    sync: true,
    how: 'in memory, not stored',
    get: key => map.get(key),
    put: (key, value) => map.set(key, value),
    del: key => map.delete(key),
    batch (keys, list) {
      for (let i = 0; i < keys.length; i++) map.set(keys[i], list[i])
    },
    scan (visit) {
      for (const [key, value] of map) visit(key, value)
    },
    close () {}
  }
}
