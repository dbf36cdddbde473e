'use strict'
// toToon: a range as one TOON document, made by the engine from the stored text, and cut to a budget of tokens.

const { native, doubles } = require('./binding')
const { invalidType, show } = require('./errors')
const { checkObject, checkNames, checkInteger, checkDelimiter, checkSignal } = require('./options')
const { parseBounds, BOUND_OPTIONS } = require('./range')
const { parseFields } = require('./fields')
const { encode } = require('./encoding')
const { exportToon } = require('./export')
const { estimateTokens } = require('./tokens')

const OPTIONS = new Set([...BOUND_OPTIONS, 'fields', 'name', 'delimiter', 'maxTokens', 'countTokens', 'note', 'signal'])
const FIRST_GUESS = 64 // rows
const LIMIT = 4 // the place of the limit among the bounds

// What decides about the text of a document, of the options given.
function parseText (given) {
  const { name, delimiter = ',', maxTokens, countTokens = estimateTokens, note = false } = given
  if (name !== undefined && typeof name !== 'string') throw invalidType(`name must be a string (got ${show(name)})`)
  checkDelimiter(delimiter)
  if (maxTokens !== undefined) checkInteger('maxTokens', maxTokens, 0, Number.MAX_SAFE_INTEGER)
  if (typeof countTokens !== 'function') {
    throw invalidType(`countTokens must be a function (got ${show(countTokens)})`)
  }
  if (typeof note !== 'boolean') throw invalidType(`note must be a boolean (got ${show(note)})`)

  function count (text) {
    const tokens = countTokens(text)
    if (Number.isFinite(tokens) && tokens >= 0) return tokens
    throw invalidType(`countTokens must return a finite number from 0 (got ${show(tokens)})`)
  }
  return { name, delimiter: delimiter.charCodeAt(0), maxTokens, count, note }
}

function parse (options) {
  const given = checkObject(options)
  checkNames(given, OPTIONS, 'option of toToon')
  const text = parseText(given)
  checkSignal(given.signal)?.throwIfAborted()
  const bounds = parseBounds(given, false)
  const empty = encode(text.name === undefined ? {} : Object.fromEntries([[text.name, {}]]))
  return { ...text, bounds, paths: parseFields(given.fields), empty }
}

function noteOf (rows) {
  return `# ${rows} more row${rows === 1 ? '' : 's'}`
}

// The largest number of rows whose text fits the budget, with that text (undefined if there is none). `texts(rows)` gives
// { text, rows, whole }; whole: the range has no more than those. `most`: more rows than that do not fit. Texts are counted
// whole, since a counter need not be additive; more rows are taken to need more tokens.
function fit (texts, count, budget, guess, most = Infinity) {
  let best = { rows: 0, tokens: 0, text: undefined }
  let worst = { rows: most + 1, tokens: Infinity }
  for (let tries = 1; best.rows + 1 < worst.rows; tries++) {
    const found = texts(guess)
    const tokens = count(found.text)
    if (tokens > budget) {
      worst = { rows: found.rows, tokens }
    } else {
      best = { ...found, tokens }
      if (found.whole) break
    }
    if (worst.tokens === Infinity) { // towards the budget, though not too far at once
      guess = Math.min(Math.floor(best.rows * Math.min(8, Math.max(2, budget / (tokens + 1)))), most)
    } else {
      const share = tries % 3 === 0 ? 0.5 : (budget - best.tokens) / (worst.tokens - best.tokens)
      guess = Math.floor(best.rows + (worst.rows - best.rows) * share)
      guess = Math.min(Math.max(guess, best.rows + 1), worst.rows - 1)
    }
  }
  return best
}

/**
 * A document of as many rows as fit a budget.
 *
 * @param {function(number): { text: string, rows: number, whole: boolean }} texts - a document of at most so many rows, the
 *   number it has, and whether there are no more
 * @param {function(): number} total - of all rows, for a note
 * @param {{ maxTokens: number, count: function(string): number, note: boolean, empty: string }} how - empty: the document of
 *   no rows
 * @param {number} most - rows that texts() can be asked for
 * @returns {string}
 */
function withinBudget (texts, total, { maxTokens, count, note, empty }, most) {
  let best = fit(texts, count, maxTokens, Math.min(FIRST_GUESS, most))
  if (note && !best.whole) {
    const all = total()
    if (best.rows < all) {
      const noted = rows => {
        const found = texts(rows)
        return { text: `${found.text}\n${noteOf(all - found.rows)}`, rows: found.rows, whole: false }
      }
      if (best.rows > 0) best = fit(noted, count, maxTokens, best.rows, best.rows)
      if (best.text === undefined) {
        const text = empty === '' ? noteOf(all) : `${empty}\n${noteOf(all)}`
        return count(text) <= maxTokens ? text : ''
      }
    }
  }
  if (best.text !== undefined) return best.text
  return count(empty) <= maxTokens ? empty : ''
}

// A document of a range, from a snapshot.
function rangeWithinBudget (source, parsed) {
  const { bounds, paths, name, delimiter } = parsed
  const limit = bounds[LIMIT] === 0 ? Infinity : bounds[LIMIT]
  return withinBudget(rows => {
    const few = bounds.slice()
    few[LIMIT] = Math.min(rows, limit)
    const text = native.rangeToon(source, ...few, paths, name, delimiter)
    return { text, rows: doubles[2], whole: doubles[2] < rows || rows >= limit }
  }, () => native.rangeCount(source, ...bounds), parsed, limit)
}

/**
 * The rows of a range as one TOON document: what encode() gives for { key: value, … }, or for { [name]: { key: value, … } }.
 *
 * Two or more rows that are objects of scalars with the same keys become a keyed table, others lines of fields. With
 * `fields`, what a document lacks is null, so that it does not spoil the table. Bytes are the string 'base64:…'.
 *
 * With maxTokens the result never counts more than that: as many rows as fit, in the order of the range; the document of no
 * rows if none does; '' if even that is too much. countTokens is called some ten times, with whole results.
 *
 * @param {number} handle - of a store or snapshot
 * @param {object} [options] - as for db.toToon()
 * @returns {string}
 */
function toToon (handle, options) {
  const parsed = parse(options)
  const { bounds, paths, name, delimiter, maxTokens, empty } = parsed
  if (bounds === null) {
    native.storeNow(handle) // throws if it is closed
    return maxTokens === undefined || parsed.count(empty) <= maxTokens ? empty : ''
  }
  if (maxTokens === undefined) return native.rangeToon(handle, ...bounds, paths, name, delimiter)
  if (handle < 0) return rangeWithinBudget(handle, parsed)
  const snapshot = native.snapshotOpen(handle)
  try {
    return rangeWithinBudget(snapshot, parsed)
  } finally {
    native.snapshotClose(snapshot)
  }
}

const EXPORT_OPTIONS = new Set([...BOUND_OPTIONS, 'fields', 'name', 'delimiter', 'signal'])

/**
 * toToon() in chunks.
 *
 * @param {Snapshot} snapshot - closed at the end
 * @param {object} [options] - as for db.exportToon()
 * @returns {AsyncGenerator<string>}
 */
function exportRange (snapshot, options) {
  const given = checkObject(options)
  checkNames(given, EXPORT_OPTIONS, 'option of exportToon')
  const { name, delimiter = ',', ...range } = given
  parseText({ name, delimiter })
  const columns = parseFields(given.fields)?.map(path => path.join('.'))
  snapshot.range({ ...range, limit: 0 }) // throws for what is wrong
  return exportToon(() => snapshot.range(range), { keyed: true, name, delimiter, columns })
}

module.exports = { toToon, exportRange, parseText, withinBudget }
