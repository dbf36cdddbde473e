'use strict'
// The tables of the benchmarks: a plain one for the terminal, one in Markdown; and results.md, a section for each benchmark.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { CASES, PERSISTENT } = require('./cases')
const { installedVersion } = require('./peers')

const RESULTS = path.join(__dirname, 'results.md')
const SECTIONS = ['store', 'engine', 'codec', 'tokens', 'server']

const PEERS = PERSISTENT.filter(name => name !== 'toonstore')

function median (list) {
  const sorted = [...list].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

function digits (value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

// 361234 -> '361 k', 2.345 -> '2.35 ms'
function figure (value, unit = '') {
  if (unit === 'ms' || unit === 'us' || unit === 'MB') return `${digits(value)} ${unit}`
  if (value >= 999.5e3) return `${digits(value / 1e6)} M`
  return value >= 1000 ? `${digits(value / 1e3)} k` : digits(value)
}

// How many times faster `ours` is.
function ratio (ours, other, unit) {
  const times = unit === 'ms' ? other / ours : ours / other
  return `${times >= 10 ? times.toFixed(0) : times.toFixed(2)} x`
}

function goalText (goal, unit) {
  if (goal === undefined) return ''
  const text = goal.least !== undefined ? `>= ${figure(goal.least, unit)}` : `<= ${figure(goal.most, unit)}`
  return goal.rust !== undefined && goal.rust !== goal.least ? `${text} (Rust: ${figure(goal.rust, unit)})` : text
}

function verdict (goal, value) {
  if (goal === undefined || value === undefined) return ''
  return (goal.least !== undefined ? value >= goal.least : value <= goal.most) ? 'met' : 'missed'
}

/**
 * The rows of the table, as texts.
 *
 * @param {Map<string, Map<string, { value?: number, error?: string }>>} results - by case, then by driver
 * @param {string[]} drivers
 * @returns {string[][]} the head first
 */
function table (results, drivers) {
  const rows = [['case', 'unit', ...drivers, 'to best peer', 'goal', '']]
  for (const [name, byDriver] of results) {
    const { title, unit, goal } = CASES[name]
    const value = driver => byDriver.get(driver)?.value
    const cell = driver => {
      if (!byDriver.has(driver)) return ''
      return value(driver) === undefined ? 'failed' : figure(value(driver), unit)
    }
    const peers = PEERS.map(value).filter(v => v !== undefined)
    const ours = value('toonstore')
    const best = unit === 'ms' ? Math.min(...peers) : Math.max(...peers)
    rows.push([
      title, unit, ...drivers.map(cell),
      ours !== undefined && peers.length > 0 ? ratio(ours, best, unit) : '',
      goalText(goal, unit), verdict(goal, ours)
    ])
  }
  return rows
}

function plain (rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map(row => row[i].length)))
  const left = new Set([0, 1, rows[0].length - 2, rows[0].length - 1])
  return rows.map(row => row.map((cell, i) => left.has(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join('  ').trimEnd()).join('\n')
}

function markdown (rows) {
  const line = cells => `| ${cells.join(' | ')} |`
  const rule = rows[0].map((_, i) => i < 2 || i >= rows[0].length - 2 ? '---' : '---:')
  return [line(rows[0]), line(rule), ...rows.slice(1).map(line)].join('\n')
}

/**
 * What was measured where: the machine, and the versions of all that took part.
 *
 * @param {string[]} packages - of bench/package.json
 * @returns {string[]}
 */
function machine (packages) {
  const cpus = os.cpus()
  const git = spawnSync('git', ['-C', __dirname, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' })
  const commit = git.status === 0 ? ` (commit ${git.stdout.trim()})` : ''
  const versions = packages.map(name => `, ${name} ${installedVersion(name) ?? 'missing'}`).join('')
  return [
    `${cpus.length} x ${cpus[0]?.model.trim() ?? 'CPU'}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, ${os.type()} ${os.release()} ${os.arch()}`,
    `Node.js ${process.version}, toonstore ${require('../package.json').version}${commit}${versions}`
  ]
}

// Replace one section of results.md; the others stay. A section begins with a line <!-- NAME -->.
function writeSection (name, text) {
  const old = fs.existsSync(RESULTS) ? fs.readFileSync(RESULTS, 'utf8') : ''
  const parts = new Map(old.split(/^(?=<!-- \w+ -->$)/m).map(part => [/^<!-- (\w+) -->/.exec(part)?.[1], part]))
  parts.set(name, `<!-- ${name} -->\n${text}`)
  const sections = SECTIONS.filter(section => parts.has(section)).map(section => parts.get(section).trimEnd() + '\n')
  fs.writeFileSync(RESULTS, ['# Benchmark results\n', ...sections].join('\n'))
}

module.exports = { median, figure, ratio, goalText, verdict, table, plain, markdown, machine, writeSection }
