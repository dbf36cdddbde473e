'use strict'
// The tables of the benchmarks: a plain one for the terminal, one in Markdown; and results.md, a section for each benchmark.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { CASES, EVERYBODY, PEERS } = require('./cases')
const { installedVersion } = require('./peers')

const RESULTS = path.join(__dirname, 'results.md')
const SECTIONS = ['store', 'engine', 'codec', 'tokens', 'collections', 'server']

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
  if (['ms', 'us', 'MB', '%'].includes(unit)) return `${digits(value)} ${unit}`
  if (value >= 999.5e3) return `${digits(value / 1e6)} M`
  return value >= 1000 ? `${digits(value / 1e3)} k` : digits(value)
}

const less = unit => unit === 'ms' || unit === '%' // is better

// The best figure of the persistent peers, { driver, value }, or undefined.
function bestPeer (value, unit) {
  const found = PEERS.map(driver => ({ driver, value: value(driver) })).filter(peer => peer.value !== undefined)
  return found.sort((a, b) => less(unit) ? a.value - b.value : b.value - a.value)[0]
}

// How many times faster `ours` is.
function ratio (ours, other, unit) {
  const times = less(unit) ? other / ours : ours / other
  return `${times >= 10 ? times.toFixed(0) : times.toFixed(2)} x`
}

function goalText (goal, unit) {
  if (goal === undefined) return ''
  return `${goal.least !== undefined ? '>=' : '<='} ${figure(goal.least ?? goal.most, unit)}${goal.rust ? ' (Rust)' : ''}`
}

function verdict (goal, value) {
  if (goal === undefined || value === undefined) return ''
  return (goal.least !== undefined ? value >= goal.least : value <= goal.most) ? 'met' : 'missed'
}

// One goal of a case: [what it is, 'met', 'missed' or ''].
function judge (goal, unit, value) {
  const ours = value('toonstore')
  if (goal.to === undefined) return [goalText(goal, unit), verdict(goal, ours)]
  const other = goal.to === 'best' ? bestPeer(value, unit)?.value : value(goal.to)
  const text = `>= ${goal.least} x ${goal.to === 'best' ? 'best peer' : goal.to}`
  if (ours === undefined || other === undefined) return [text, '']
  return [`${text}: ${ratio(ours, other, unit)}`, verdict(goal, ours / other)]
}

/**
 * The rows of the table, as texts.
 *
 * @param {Map<string, Map<string, { value?: number, error?: string }>>} results - by case, then by driver
 * @returns {string[][]} the head first
 */
function table (results) {
  const drivers = EVERYBODY.filter(driver => [...results.values()].some(byDriver => byDriver.has(driver)))
  const rows = [['case', 'unit', ...drivers, 'to best peer', 'goals', '']]
  for (const [name, byDriver] of results) {
    const { title, unit, goals = [] } = CASES[name]
    const value = driver => byDriver.get(driver)?.value
    const cell = driver => {
      if (!byDriver.has(driver)) return ''
      return value(driver) === undefined ? 'failed' : figure(value(driver), unit)
    }
    const ours = value('toonstore')
    const best = bestPeer(value, unit)
    const judged = goals.map(goal => judge(goal, unit, value))
    rows.push([
      title, unit, ...drivers.map(cell),
      ours !== undefined && best !== undefined && ours > 0 ? `${ratio(ours, best.value, unit)} ${best.driver}` : '',
      judged.map(([text]) => text).join('; '), judged.map(([, word]) => word).filter(Boolean).join(', ')
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
