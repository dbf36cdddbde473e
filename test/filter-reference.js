'use strict'
// The plain reference of queries: filters, order and aggregates over an array of documents, written for being read.

const bytes = Buffer.compare
const rank = value => value === undefined || value === null ? 0 : value === false ? 1 : value === true ? 2
  : typeof value === 'number' ? 3 : typeof value === 'string' ? 4 : 5

// Order of values: null and absent, false, true, numbers, strings, anything else.
function compare (a, b) {
  if (rank(a) !== rank(b)) return rank(a) - rank(b)
  if (rank(a) === 3) return a - b
  return rank(a) === 4 ? bytes(Buffer.from(a), Buffer.from(b)) : 0
}

function valueAt (document, path) {
  let value = document
  for (const name of path.split('.')) {
    if (rank(value) !== 5 || Array.isArray(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

const isScalar = value => rank(value) < 5
const equals = (value, operand) => isScalar(value) && isScalar(operand) ? compare(value, operand) === 0
  : !isScalar(value) && !isScalar(operand) && JSON.stringify(value) === JSON.stringify(operand)
const sameType = (a, b) => isScalar(a) && isScalar(b) && a !== null && a !== undefined && typeof a === typeof b

const TESTS = {
  $eq: equals,
  $in: (value, list) => list.some(operand => equals(value, operand)),
  $gt: (value, operand) => sameType(value, operand) && compare(value, operand) > 0,
  $gte: (value, operand) => sameType(value, operand) && compare(value, operand) >= 0,
  $lt: (value, operand) => sameType(value, operand) && compare(value, operand) < 0,
  $lte: (value, operand) => sameType(value, operand) && compare(value, operand) <= 0,
  $regex: (value, regex) => typeof value === 'string' && new RegExp(regex).test(value)
}

// One of an array's scalars may fulfil a condition, or the array as a whole.
function holds (value, operator, operand) {
  switch (operator) {
    case '$exists': return (value !== undefined) === operand
    case '$ne': return !holds(value, '$eq', operand)
    case '$nin': return !holds(value, '$in', operand)
    case '$not': return !operators(value, operand)
  }
  const test = TESTS[operator]
  return test(value, operand) || (Array.isArray(value) && value.some(item => isScalar(item) && test(item, operand)))
}

const operators = (value, given) => Object.entries(given).every(([name, operand]) => holds(value, name, operand))
const isOperators = given => typeof given === 'object' && given !== null && Object.keys(given).some(name => name[0] === '$')

function matches (document, where) {
  return Object.entries(where).every(([name, given]) => {
    if (name === '$and') return given.every(inner => matches(document, inner))
    if (name === '$or') return given.some(inner => matches(document, inner))
    if (name === '$not') return !matches(document, given)
    const value = valueAt(document, name)
    return isOperators(given) ? operators(value, given) : holds(value, '$eq', given)
  })
}

function pick (document, fields) {
  const out = {}
  for (const field of fields) {
    const value = valueAt(document, field)
    if (value !== undefined) out[field] = value
  }
  return out
}

// What find() gives.
function find (documents, { where = {}, orderBy, fields, limit = Infinity, offset = 0 }) {
  const order = typeof orderBy === 'string' ? [[orderBy, 1]] : Object.entries(orderBy ?? {})
  const last = order.at(-1)?.[1] ?? 1
  const found = documents.filter(document => matches(document, where))
  found.sort((a, b) => {
    for (const [path, direction] of order) {
      const c = compare(valueAt(a, path), valueAt(b, path)) * direction
      if (c !== 0) return c
    }
    return compare(a._id, b._id) * last
  })
  const page = found.slice(offset, offset + limit)
  return fields === undefined ? page : page.map(document => pick(document, fields))
}

// What aggregate() gives with count, and sum, min and max of one field.
function aggregate (documents, { where = {}, groupBy, field }) {
  const groups = new Map()
  for (const document of documents.filter(d => matches(d, where))) {
    const value = valueAt(document, groupBy) ?? null
    const key = JSON.stringify(value)
    if (!groups.has(key)) groups.set(key, { value, documents: [] })
    groups.get(key).documents.push(document)
  }
  return [...groups.values()].map(({ value, documents: own }) => {
    const numbers = own.map(d => valueAt(d, field)).filter(v => typeof v === 'number')
    const values = own.map(d => valueAt(d, field)).filter(v => isScalar(v) && v !== null && v !== undefined).sort(compare)
    return {
      group: { [groupBy]: value },
      count: own.length,
      sum: { [field]: numbers.reduce((sum, v) => sum + v, 0) },
      min: { [field]: values[0] ?? null },
      max: { [field]: values.at(-1) ?? null },
      size: numbers.reduce((sum, v) => sum + Math.abs(v), 0) // what rounding is to be measured by
    }
  })
}

module.exports = { find, aggregate, matches, compare, valueAt }
