'use strict'
// The chart of the main cases: one group of bars for each, every group to a scale of its own.

const { figure } = require('./report')
const { CASES } = require('./cases')

// Case, its name in the chart, the drivers beside toonstore.
const MAIN = [
  ['hot-1k', 'cached GET, 1 KB', ['map', 'lru-cache', 'lmdb-cached']],
  ['hot-object', 'cached GET of an object', ['map', 'lru-cache', 'lmdb-cached']],
  ['get', 'random GET, 1 KB, no cache', ['lmdb', 'better-sqlite3', 'classic-level', 'rocksdb']],
  ['many-100', 'getMany of 100, of 1 M keys', ['lmdb', 'better-sqlite3', 'classic-level', 'rocksdb']],
  ['scan', 'scan, 1 KB rows', ['lmdb', 'better-sqlite3', 'classic-level', 'rocksdb']],
  ['put-1000', '1000 puts in flight, 1 KB', ['lmdb', 'better-sqlite3', 'classic-level', 'rocksdb']],
  ['batch', 'batch of 1000 puts', ['lmdb', 'better-sqlite3', 'classic-level', 'rocksdb']],
  ['mixed', '50 % GET, 50 % PUT', ['lmdb', 'better-sqlite3', 'classic-level', 'rocksdb']],
  ['durable-64', 'durable puts, 64 writers', ['lmdb', 'better-sqlite3', 'classic-level', 'rocksdb']]
]
const COLUMNS = 2
const WIDTH = 400
const BAR = 16
const NAMES = { map: 'Map (memory)', 'lru-cache': 'lru-cache (memory)', 'lmdb-cached': 'lmdb, cached', rocksdb: 'RocksDB' }

const escape = text => text.replace(/[&<>]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c])

function group (name, title, drivers, byDriver, x, y) {
  const bars = ['toonstore', ...drivers].filter(driver => byDriver?.get(driver)?.value !== undefined)
  if (bars[0] !== 'toonstore') return ''
  const { unit } = CASES[name]
  const most = Math.max(...bars.map(driver => byDriver.get(driver).value))
  const lines = [`<text class="title" x="${x}" y="${y + 14}">${escape(title)} <tspan class="unit">${escape(unit)}</tspan></text>`]
  bars.forEach((driver, i) => {
    const { value } = byDriver.get(driver)
    const top = y + 24 + i * (BAR + 4)
    const width = Math.max(1, value / most * 200)
    lines.push(
      `<text class="name" x="${x + 120}" y="${top + 12}">${escape(NAMES[driver] ?? driver)}</text>`,
      `<rect class="${driver === 'toonstore' ? 'ours' : 'peer'}" x="${x + 128}" y="${top}" width="${width.toFixed(1)}" height="${BAR}" rx="2"/>`,
      `<text class="value" x="${(x + 134 + width).toFixed(1)}" y="${top + 12}">${figure(value, unit)}</text>`)
  })
  return lines.join('\n')
}

/**
 * An SVG of the main cases.
 *
 * @param {Map<string, Map<string, { value: number }>>} figures - by case and driver
 * @returns {string}
 */
function chart (figures) {
  const groups = MAIN.filter(([name]) => figures.has(name))
  const height = 34 + 5 * (BAR + 4)
  const drawn = groups.map(([name, title, drivers], i) =>
    group(name, title, drivers, figures.get(name), 20 + i % COLUMNS * WIDTH, 10 + Math.floor(i / COLUMNS) * height))
  const total = 20 + Math.ceil(groups.length / COLUMNS) * height
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${COLUMNS * WIDTH}" height="${total}" viewBox="0 0 ${COLUMNS * WIDTH} ${total}" font-family="sans-serif" font-size="12">
<title>toonstore beside other stores, calls a second; longer is faster</title>
<style>.title{font-weight:bold;fill:#24292f}.unit{font-weight:normal;fill:#6e7781}.name{text-anchor:end;fill:#57606a}.value{fill:#57606a}.ours{fill:#0969da}.peer{fill:#afb8c1}</style>
<rect width="100%" height="100%" fill="#ffffff"/>
${drawn.join('\n')}
</svg>
`
}

module.exports = { chart }
