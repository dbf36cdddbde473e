'use strict'
// The planner: from a filter and an order to ranges of keys to be walked. There are no statistics; rules decide. A range of
// ids or an index is used for equality, $in and comparisons that all documents must fulfil, and for the order.

const { native } = require('./binding')
const { valueKey, baseOf, OTHER } = require('./indexkeys')
const { AND, EQ, GT, GE, LT, LE, IN } = require('./filter')
const { UPPER_OPEN } = require('./range')

const TYPES = { boolean: ['0', '2'], number: ['N', 'Q'], string: ['S', 'T'] } // where their values begin and end

const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))
const less = (a, b) => byBytes(a, b) < 0

// What all documents must fulfil, by path: { values, bounds } with lists of operands and of { op, operand }.
function gather (tree, found = new Map()) {
  if (tree === null) return found
  if (tree.op === AND) {
    for (const node of tree.nodes) gather(node, found)
  } else if ([EQ, IN, GT, GE, LT, LE].includes(tree.op)) {
    const name = tree.path.join('\0')
    if (!found.has(name)) found.set(name, { values: null, bounds: [] })
    const entry = found.get(name)
    if (tree.op === EQ || tree.op === IN) {
      const values = tree.op === EQ ? [tree.operand] : tree.operands
      // Of several lists each must hold; the shortest one reads least.
      if (entry.values === null || values.length < entry.values.length) entry.values = values
    } else {
      entry.bounds.push(tree)
    }
  }
  return found
}

// Pairs of texts, from and to, that the values of a field lie between (without what stands in front of them), for values
// that have a key. null: there is no condition.
function spans (entry) {
  if (entry === undefined) return null
  if (entry.values !== null) {
    const keys = entry.values.map(value => typeof value === 'object' && value !== null ? undefined : valueKey(value))
    return [...new Set(keys.filter(key => key !== undefined))].sort(byBytes).map(key => [`${key} `, `${key}!`])
  }
  if (entry.bounds.length === 0) return null
  let [from, to] = ['', OTHER]
  for (const { op, operand } of entry.bounds) {
    const key = valueKey(operand)
    let [low, high] = TYPES[typeof operand]
    if (key !== undefined) {
      if (op === GT) low = `${key}!`
      else if (op === GE) low = `${key} `
      else if (op === LT) high = `${key} `
      else high = `${key}!`
    }
    if (less(from, low)) from = low
    if (less(high, to)) to = high
  }
  return less(from, to) ? [[from, to]] : []
}

// The same for ids, whose keys are the ids themselves.
function idSpans (entry) {
  if (entry === undefined) return null
  const isId = value => typeof value === 'string'
  if (entry.values !== null) {
    return [...new Set(entry.values.filter(isId))].sort(byBytes).map(id => [id, `${id}\0`])
  }
  if (entry.bounds.length === 0) return null
  let [from, to] = ['', undefined]
  for (const { op, operand } of entry.bounds) {
    if (!isId(operand)) return []
    const edge = op === GT || op === LE ? `${operand}\0` : operand
    if (op === GT || op === GE) from = less(from, edge) ? edge : from
    else to = to === undefined || less(edge, to) ? edge : to
  }
  return to === undefined || less(from, to) ? [[from, to]] : []
}

// Whether walking fields in turn gives the order; `fixed` have one value.
function ordered (fields, order, fixed) {
  if (order.length === 0) return true
  const wanted = order.filter(o => !fixed.has(o.path.join('\0')))
  const down = order.at(-1).descending
  return wanted.length === fields.length &&
    wanted.every((o, i) => o.path.join('\0') === fields[i] && o.descending === down)
}

// The plan of one index, with how good it is.
function indexPlan (index, conditions, order, limited) {
  const base = baseOf(index.number)
  const names = index.paths.map(path => path.join('\0'))
  const fixed = new Set()
  let front = base
  let ranges = null
  let score = 0
  let used = 0
  for (; used < names.length && ranges === null; used++) {
    const list = spans(conditions.get(names[used]))
    if (list === null) break
    const single = list.length === 1 && conditions.get(names[used]).values?.length === 1
    if (!single) {
      ranges = list.map(([from, to]) => [front + from, front + to])
      score += conditions.get(names[used]).values === null ? 50 : 60
      break
    }
    front += list[0][0]
    fixed.add(names[used])
    score += 100
  }
  ranges ??= [[front, front === base ? base + OTHER : `${front.slice(0, -1)}!`]]
  const sorted = ordered(names.slice(fixed.size), order, fixed)
  if (score === 0 && !(sorted && order.length > 0 && limited)) return null
  if (index.unique && fixed.size === names.length) score += 1000
  if (sorted && order.length > 0) score += limited ? 45 : 20
  return { kind: 'index', index, base, parts: names.length, ranges, sorted, score }
}

/**
 * Choose how a query is run.
 *
 * @param {number} source - a snapshot
 * @param {string} prefix - of the documents' keys
 * @param {object[]} indexes - { number, paths, unique }, those that are ready
 * @param {object|null} tree - of the filter
 * @param {{ path: string[], descending: boolean }[]} order
 * @param {boolean} limited - there is a limit
 * @returns {{ kind: 'scan'|'ids'|'index', index: object|undefined, base: string, parts: number, bounds: string[],
 *   reverse: boolean, sorted: boolean }} sorted: the walk gives the order
 */
function plan (source, prefix, indexes, tree, order, limited) {
  const conditions = gather(tree)
  const end = `${prefix.slice(0, -1)}0` // behind every key with the prefix
  const entry = conditions.get('_id')
  const ids = idSpans(entry)
  const oneId = entry?.values?.length === 1
  const byId = ordered(['_id'], order, new Set(oneId ? ['_id'] : [])) || (oneId && ordered([], order, new Set(['_id'])))
  const direct = {
    kind: ids === null ? 'scan' : 'ids',
    index: undefined,
    base: '',
    parts: 0,
    ranges: ids === null ? [[prefix, end]] : ids.map(([from, to]) => [prefix + from, to === undefined ? end : prefix + to]),
    sorted: order.length === 0 || byId,
    score: ids === null ? 0 : entry.values === null ? 55 : 2000
  }
  let best = direct
  for (const index of indexes) {
    const found = indexPlan(index, conditions, order, limited)
    if (found === null || found.score <= best.score) continue
    const others = [found.base + OTHER, `${found.base}Y`]
    if (native.rangeCount(source, ...others, undefined, UPPER_OPEN, 1) > 0) {
      if (found.score === 45) continue // it was for the order only
      found.ranges.push(others)
      found.sorted = order.length === 0
    }
    best = found
  }
  const { kind, index, base, parts, ranges, sorted } = best
  return {
    kind, index, base, parts, sorted, bounds: ranges.flat(), reverse: sorted && order.length > 0 && order.at(-1).descending
  }
}

module.exports = { plan }
