'use strict'
// context(): several results as one TOON document, within one budget of tokens.

const { invalidType, show } = require('./errors')
const { checkObject, checkNames, checkInteger } = require('./options')
const { parseText } = require('./document')

const OPTIONS = new Set(['maxTokens', 'countTokens', 'delimiter'])
const SECTION_OPTIONS = new Set(['title', 'query', 'maxTokens', 'priority'])
const MAX = Number.MAX_SAFE_INTEGER

function parseSection (given, i) {
  const at = `section ${i} of a context`
  const section = checkObject(given, at)
  checkNames(section, SECTION_OPTIONS, `option of ${at}`)
  const { title, maxTokens = Infinity, priority = 0 } = section
  if (typeof title !== 'string') throw invalidType(`${at} needs a title (got ${show(title)})`)
  if (maxTokens !== Infinity) checkInteger('maxTokens', maxTokens, 0, MAX)
  if (typeof priority !== 'number' || Number.isNaN(priority)) {
    throw invalidType(`priority must be a number (got ${show(priority)})`)
  }
  const query = checkObject(section.query, `the query of ${at}`)
  for (const name of ['name', 'maxTokens', 'countTokens', 'delimiter']) {
    if (query[name] !== undefined) throw invalidType(`the query of ${at} has a ${name}: that is for the section or the context`)
  }
  return { title, query, maxTokens, priority }
}

/**
 * @param {Snapshot} snapshot
 * @param {object[]} sections - { title, query, maxTokens, priority }; query: that of a collection's toToon() with its name
 *   as `collection`, or that of db.toToon()
 * @param {object} [options] - { maxTokens, countTokens, delimiter }
 * @returns {string}
 */
function context (snapshot, sections, options) {
  if (!Array.isArray(sections)) throw invalidType(`a context is made of an array of sections (got ${show(sections)})`)
  const given = checkObject(options)
  checkNames(given, OPTIONS, 'option of a context')
  const { count } = parseText(given)
  const { maxTokens: all = Infinity, countTokens, delimiter } = given
  const parts = sections.map(parseSection)
  const titles = new Set(parts.map(part => part.title))
  if (titles.size < parts.length) throw invalidType('two sections of a context have the same title')

  // The text of a part within a budget; '' if not even its head fits.
  function textOf ({ title, query, maxTokens }, budget) {
    const { collection, ...rest } = query
    const source = collection === undefined ? snapshot : snapshot.collection(collection)
    const most = Math.min(maxTokens, budget)
    return source.toToon({ ...rest, name: title, delimiter, countTokens, ...(most !== Infinity && { maxTokens: most }) })
  }

  const texts = new Map()
  const joined = () => parts.map(part => texts.get(part) ?? '').filter(text => text !== '').join('\n')
  const ranked = [...parts].sort((a, b) => b.priority - a.priority)
  let total = 0
  for (const part of ranked) {
    texts.set(part, textOf(part, Math.max(0, Math.floor(all - total))))
    // Counted together, since a counter need not be additive, nor count nothing as 0.
    for (let left = all - total; (total = count(joined())) > all && texts.get(part) !== '';) {
      left = Math.floor(Math.min(left, count(texts.get(part))) - (total - all))
      texts.set(part, left > 0 ? textOf(part, left) : '')
    }
  }
  return joined()
}

module.exports = { context }
