'use strict'
// Filters of queries: what a caller gives as `where` is checked, and made into the program that csrc/toon/filter.h
// describes. index.d.ts has the rules of the language.

const { invalidType, show } = require('./errors')
const { isBytes } = require('./values')

const AND = 1
const OR = 2
const NOT = 3
const EXISTS = 4
const EQ = 5
const GT = 6
const GE = 7
const LT = 8
const LE = 9
const IN = 10
const REGEX = 11

const COMPARISONS = { $gt: GT, $gte: GE, $lt: LT, $lte: LE }
const MAX_DEPTH = 64
const MAX_PATHS = 0xffff

function isPlain (value) {
  if (typeof value !== 'object' || value === null) return false
  const proto = Object.getPrototypeOf(value)
  return proto === null || proto === Object.prototype || Object.getPrototypeOf(proto) === null
}

function isRegExp (value) {
  return Object.prototype.toString.call(value) === '[object RegExp]'
}

// What a value is compared with, as the store would have it.
function operandOf (value, at) {
  if (typeof value === 'object' && value !== null) {
    if (isBytes(value)) throw invalidType(`${at}: documents have no bytes to compare with`)
    let text
    try {
      text = JSON.stringify(value)
    } catch (err) {
      throw invalidType(`${at} has no JSON form: ${err.message}`, err)
    }
    if (typeof text !== 'string') throw invalidType(`${at} has no JSON form`)
    const parsed = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? { json: text } : parsed
  }
  if (value === undefined) throw invalidType(`${at} is undefined: leave it out, or compare with null`)
  if (typeof value === 'number' && !Number.isFinite(value)) throw invalidType(`${at}: ${value} is no value of a document`)
  if (typeof value === 'string' && !value.isWellFormed()) throw invalidType(`${at} is no Unicode text`)
  if (value === null || ['number', 'string', 'boolean'].includes(typeof value)) return value
  throw invalidType(`${at}: ${show(value)} cannot be compared with`)
}

function comparable (value, at) {
  const operand = operandOf(value, at)
  if (operand !== null && typeof operand !== 'object') return operand
  throw invalidType(`${at} compares with a number, a string or a boolean (got ${show(value)})`)
}

function listOf (value, at) {
  if (!Array.isArray(value)) throw invalidType(`${at} must be an array (got ${show(value)})`)
  return value.map((item, i) => operandOf(item, `${at}[${i}]`))
}

function regexOf (value, options, at) {
  if (typeof value !== 'string' && !isRegExp(value)) {
    throw invalidType(`${at} must be a RegExp or a string (got ${show(value)})`)
  }
  if (options !== undefined && typeof options !== 'string') throw invalidType(`${at}: $options must be a string of flags`)
  try {
    const flags = options ?? (typeof value === 'string' ? '' : value.flags)
    return new RegExp(typeof value === 'string' ? value : value.source, flags.replace(/[gy]/g, ''))
  } catch (err) {
    throw invalidType(`${at}: ${err.message}`, err)
  }
}

function not (node) {
  return { op: NOT, nodes: [node] }
}

// The conditions of { $gt: 1, … } on a path.
function operators (given, path, at, depth) {
  if (depth > MAX_DEPTH) throw invalidType(`${at} is nested more than ${MAX_DEPTH} deep`)
  const nodes = []
  for (const name of Object.keys(given)) {
    const value = given[name]
    const here = `${at}.${name}`
    switch (name) {
      case '$eq': nodes.push({ op: EQ, path, operand: operandOf(value, here) }); break
      case '$ne': nodes.push(not({ op: EQ, path, operand: operandOf(value, here) })); break
      case '$gt': case '$gte': case '$lt': case '$lte':
        nodes.push({ op: COMPARISONS[name], path, operand: comparable(value, here) })
        break
      case '$in': nodes.push({ op: IN, path, operands: listOf(value, here) }); break
      case '$nin': nodes.push(not({ op: IN, path, operands: listOf(value, here) })); break
      case '$exists':
        if (typeof value !== 'boolean') throw invalidType(`${here} must be a boolean (got ${show(value)})`)
        nodes.push(value ? { op: EXISTS, path } : not({ op: EXISTS, path }))
        break
      case '$regex': nodes.push({ op: REGEX, path, regex: regexOf(value, given.$options, here) }); break
      case '$options':
        if (!Object.hasOwn(given, '$regex')) throw invalidType(`${here} belongs to a $regex`)
        break
      case '$not':
        if (isRegExp(value)) nodes.push(not({ op: REGEX, path, regex: regexOf(value, undefined, here) }))
        else if (isOperators(value, here)) nodes.push(not(operators(value, path, here, depth + 1)))
        else throw invalidType(`${here} must be an object of operators (got ${show(value)})`)
        break
      default: throw invalidType(`${here}: unknown operator ${show(name)}`)
    }
  }
  return { op: AND, nodes }
}

// Whether it is an object of operators, not one to be equal to. A mixture is an error.
function isOperators (value, at) {
  if (!isPlain(value)) return false
  const names = Object.keys(value)
  const marked = names.filter(name => name.startsWith('$'))
  if (marked.length > 0 && marked.length < names.length) {
    throw invalidType(`${at} mixes operators and fields: ${show(marked[0])} and ${show(names.find(n => !n.startsWith('$')))}`)
  }
  return marked.length > 0
}

function condition (value, path, at, depth) {
  if (isRegExp(value)) return { op: REGEX, path, regex: regexOf(value, undefined, at) }
  if (isOperators(value, at)) return operators(value, path, at, depth)
  return { op: EQ, path, operand: operandOf(value, at) }
}

function filter (given, at, depth) {
  if (!isPlain(given)) throw invalidType(`${at} must be an object of conditions (got ${show(given)})`)
  if (depth > MAX_DEPTH) throw invalidType(`${at} is nested more than ${MAX_DEPTH} deep`)
  const nodes = []
  for (const name of Object.keys(given)) {
    const value = given[name]
    const here = `${at}.${name}`
    if (name === '$and' || name === '$or') {
      if (!Array.isArray(value) || value.length === 0) {
        throw invalidType(`${here} must be an array of at least one filter (got ${show(value)})`)
      }
      nodes.push({ op: name === '$and' ? AND : OR, nodes: value.map((item, i) => filter(item, `${here}[${i}]`, depth + 1)) })
    } else if (name === '$not') {
      nodes.push(not(filter(value, here, depth + 1)))
    } else if (name.startsWith('$')) {
      throw invalidType(`${here}: unknown operator ${show(name)}`)
    } else {
      nodes.push(condition(value, name.split('.'), here, depth + 1))
    }
  }
  return { op: AND, nodes }
}

/**
 * The tree of a filter: { op, nodes } for AND, OR and NOT (one node), else { op, path } and what is compared with. An
 * operand is a scalar, or { json } for an array or object.
 *
 * @param {object} [where]
 * @returns {object|null} null: everything
 * @throws {TypeError} TOON_EINVAL, with the place in the filter
 * @example
 * parseFilter({ price: { $lt: 10 } })
 */
function parseFilter (where) {
  if (where === undefined) return null
  const tree = filter(where, 'where', 0)
  return tree.nodes.length === 0 ? null : tree
}

// Bytes of a program.
class Program {
  bytes = Buffer.allocUnsafe(256)
  at = 0
  paths = []
  numbers = new Map() // of paths, by their names
  regexes = []

  room (n) {
    if (this.at + n <= this.bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(2 * this.bytes.length, this.at + n))
    this.bytes.copy(larger, 0, 0, this.at)
    this.bytes = larger
  }

  path (path) {
    const key = JSON.stringify(path)
    let number = this.numbers.get(key)
    if (number === undefined) {
      number = this.paths.length
      if (number >= MAX_PATHS) throw invalidType(`where has more than ${MAX_PATHS} different fields`)
      this.paths.push(path)
      this.numbers.set(key, number)
    }
    this.room(2)
    this.at = this.bytes.writeUInt16LE(number, this.at)
  }

  text (type, text) {
    const length = Buffer.byteLength(text)
    this.room(5 + length)
    this.bytes[this.at] = type
    this.bytes.writeUInt32LE(length, this.at + 1)
    this.bytes.write(text, this.at + 5)
    this.at += 5 + length
  }

  operand (value) {
    this.room(9)
    if (typeof value === 'string') {
      this.text(4, value)
    } else if (typeof value === 'number') {
      this.bytes[this.at] = 3
      this.at = this.bytes.writeDoubleLE(value, this.at + 1)
    } else if (typeof value === 'object' && value !== null) {
      this.text(5, value.json)
    } else {
      this.bytes[this.at++] = value === null ? 0 : value ? 2 : 1
    }
  }

  node (node) {
    this.room(5)
    const start = this.at
    this.bytes[start] = node.op
    this.at += 5
    if (node.nodes !== undefined) {
      for (const inner of node.nodes) this.node(inner)
    } else {
      this.path(node.path)
      if (node.op === IN) {
        for (const value of node.operands) this.operand(value)
      } else if (node.op === REGEX) {
        this.room(4)
        this.at = this.bytes.writeUInt32LE(this.regexes.push(node.regex) - 1, this.at)
      } else if (node.op !== EXISTS) {
        this.operand(node.operand)
      }
    }
    this.bytes.writeUInt32LE(this.at - start, start + 1)
  }
}

/**
 * A tree as the addon takes it.
 *
 * @param {object|null} tree
 * @returns {{ paths: string[][], program: Uint8Array|undefined, test: (function(number, string): boolean)|undefined }} test
 *   answers the regular expressions
 */
function compile (tree) {
  if (tree === null) return { paths: [], program: undefined, test: undefined }
  const program = new Program()
  program.node(tree)
  const { regexes } = program
  return {
    paths: program.paths,
    program: program.bytes.subarray(0, program.at),
    test: regexes.length === 0 ? undefined : (number, text) => regexes[number].test(text)
  }
}

module.exports = { parseFilter, compile, AND, EQ, GT, GE, LT, LE, IN }
