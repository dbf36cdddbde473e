'use strict'
// What a run leaves: the figures of its cases in results.json, and made from all figures there the section "The store" of
// results.md and chart.svg. So a long run can be made of several short ones; each case tells when it was measured.

const fs = require('node:fs')
const path = require('node:path')
const { CASES } = require('./cases')
const { table, markdown, writeSection } = require('./report')
const { chart } = require('./chart')
const reasons = require('./reasons')

const FIGURES = path.join(__dirname, 'results.json')
const CHART = path.join(__dirname, 'chart.svg')

function kept () {
  if (!fs.existsSync(FIGURES)) return { facts: [], cases: {} }
  return JSON.parse(fs.readFileSync(FIGURES, 'utf8'))
}

// What misses a goal, and why.
function misses (rows) {
  const names = new Map(Object.entries(CASES).map(([name, { title }]) => [title, name]))
  const missed = rows.slice(1).filter(row => row.at(-1).includes('missed'))
  if (missed.length === 0) return 'Every goal is met.'
  return `Goals that were missed, and why:\n\n${missed.map(([title]) => `- **${title}**: ${reasons[names.get(title)] ?? 'not known'}.`).join('\n')}`
}

function section ({ facts, cases }, figures) {
  const dates = Object.values(cases).map(({ date }) => date).sort()
  const commits = new Map()
  for (const [name, { commit }] of Object.entries(cases)) commits.set(commit, [...commits.get(commit) ?? [], name])
  const missing = Object.keys(CASES).filter(name => !(name in cases))
  const note = missing.length === 0 ? '' : ` Not measured with three rounds yet: ${missing.join(', ')}.`
  const measured = [...commits].map(([commit, names]) => `commit ${commit}: ${names.join(', ')}`).join('; ')
  const rows = table(figures)
  const when = dates[0] === dates.at(-1) ? dates[0] : `${dates[0]} to ${dates.at(-1)}`
  return `## The store

${when}, ${facts.join('; ')}.
Rerun with \`npm run bench\`; [README.md](README.md) says how it measures. Measured at ${measured}.${note} A case
without a figure of rocksdb, lmdb's cache or lru-cache was measured before they took part. Absolute figures of different commits do not compare:
the machine is shared and its speed moves by 2 x; the ratios of a line do.

Figures are calls or rows a second, or milliseconds: medians of three rounds or more, every case and driver in a process of its
own, all called from JavaScript; what a line compares was measured in one run. Unless a case says durable, toonstore runs with durability
\`interval\`. "To best peer": how many times faster toonstore is than the best of lmdb, better-sqlite3, classic-level and rocksdb without a
cache of their own; lru-cache and a Map store nothing and are there for comparison. "floor": a call that
does nothing but what Node-API and V8 ask for, reading the key and making the value of memory that it lies in ready. "Rust": what was once published for an engine of
this kind in Rust, in process.

${markdown(rows)}

${misses(rows)}

What each case is:

${[...figures.keys()].map(name => `- **${CASES[name].title}** (\`--only ${name}\`): ${CASES[name].what}.`).join('\n')}
`
}

/**
 * Keep what was measured.
 *
 * @param {Map<string, Map<string, { value?: number, rounds: number[], error?: string }>>} figures - by case and driver
 * @param {string[]} facts - the machine and the versions
 * @param {number} started - ms since 1970
 * @returns {string[]} the files written
 */
function record (figures, facts, started) {
  const all = kept()
  all.facts = facts
  const date = new Date(started).toISOString().slice(0, 10)
  const commit = /commit (\w+)/.exec(facts.join(' '))?.[1] ?? 'unknown'
  for (const [name, byDriver] of figures) {
    const drivers = {}
    for (const [driver, { value, rounds, error }] of byDriver) {
      if (error === undefined) drivers[driver] = { value: Number(value.toPrecision(4)), rounds: rounds.map(n => Number(n.toPrecision(4))) }
    }
    all.cases[name] = { date, commit, drivers }
  }
  return write(all)
}

// Write what is made of all figures; the files.
function write (all) {
  all.cases = Object.fromEntries(Object.keys(CASES).filter(name => name in all.cases).map(name => [name, all.cases[name]]))
  const lines = Object.entries(all.cases).map(([name, one]) => `    ${JSON.stringify(name)}: ${JSON.stringify(one)}`)
  fs.writeFileSync(FIGURES, `{\n  "facts": ${JSON.stringify(all.facts)},\n  "cases": {\n${lines.join(',\n')}\n  }\n}\n`)
  const byCase = new Map(Object.entries(all.cases).map(([name, { drivers }]) => [name, new Map(Object.entries(drivers))]))
  writeSection('store', section(all, byCase))
  fs.writeFileSync(CHART, chart(byCase))
  return [FIGURES, CHART, 'results.md'].map(file => path.relative(process.cwd(), path.resolve(__dirname, file)))
}

module.exports = { record, kept, write }
