'use strict'
// The floor: what a call through Node-API and the making of a value cost alone, over memory that holds the values (bench/c/floor.c).

const path = require('node:path')
const { spawnSync } = require('node:child_process')

const SOURCE = path.join(__dirname, '..', 'c', 'floor.c')
const ADDON = path.join(__dirname, '..', 'node_modules', 'floor.node')
const ROOM = 128 * 2 ** 20 // bytes of values
const SLAB = 32 * 1024

// Compile the addon. False if this machine cannot.
function compile () {
  const headers = path.join(path.dirname(process.execPath), '..', 'include', 'node')
  const shared = process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-fPIC']
  return spawnSync(process.env.CC ?? 'cc', ['-O3', '-std=c11', ...shared, '-I', headers, SOURCE, '-o', ADDON]).status === 0
}

module.exports = async function open (dir, { values: kind }) {
  const addon = require(ADDON)
  const values = Buffer.alloc(ROOM)
  let slab
  let size
  const newSlab = () => {
    slab = Buffer.allocUnsafeSlow(SLAB)
    addon.use(values, size, slab)
  }
  const keep = (list, numberOf) => {
    if (size === undefined) {
      size = list[0].length
      newSlab()
    }
    list.forEach((value, i) => values.write(kind === 'bytes' ? value.latin1Slice() : value, numberOf(i) * size, 'latin1'))
  }
  return {
    sync: true,
    volatile: true, // nothing is there after close
    get: key => addon.text(1, key, 0),
    bytes (key) {
      const at = addon.bytes(1, key, 0)
      const out = slab.subarray(at, at + size)
      if (at + 2 * size > SLAB) newSlab()
      return out
    },
    row: id => addon.text(1, id, 0),
    addRows (texts) {
      keep(texts, i => i)
      return texts.map((_, i) => i)
    },
    batch: (keys, list) => keep(list.slice(0, keys.length), i => Number(keys[i].slice(1))),
    close () {}
  }
}
module.exports.compile = compile
