'use strict'
// The documents of the codec's benchmark (SETS) and of the token counts (KINDS). All of it follows from seeds.

const { generator, values } = require('./data')

const FIRST = ['Ada', 'Bob', 'Chen', 'Dora', 'Emil', 'Farah', 'Goran', 'Hana', 'Ines', 'Jonas', 'Kofi', 'Lena']
const LAST = ['Lovelace', 'Martin', 'Wei', 'Keller', 'Okafor', 'Novak', 'Silva', 'Tanaka', 'Haddad', 'Berg']
const STATES = ['open', 'paid', 'shipped', 'returned']

const pick = (next, list) => list[next() % list.length]
const cents = (next, most) => next() % (most * 100) / 100
const date = (next) => new Date(1.7e12 + next() % 5e7 * 1000).toISOString()
const rows = (count, seed, row) => {
  const next = generator(seed)
  return Array.from({ length: count }, (_, i) => row(next, i))
}

function user (next, i) {
  const first = pick(next, FIRST)
  const last = pick(next, LAST)
  return { id: i + 1, name: `${first} ${last}`, email: `${first}.${last}${i}@example.com`.toLowerCase(), active: next() % 4 > 0, score: cents(next, 100) }
}

const CHILDREN = [4, 3, 2, 2, 2, 2, 1, 1, 1]

// A tree: objects in objects and in lists, no two neighbours alike enough for a table.
function node (next, level) {
  const value = { name: `${pick(next, FIRST)} ${level}`, size: next() % 5000 }
  if (next() % 2) value.tags = values(1 + next() % 3, 5 + next() % 6)
  if (next() % 3) value.limits = { cpu: cents(next, 8), owner: { name: pick(next, LAST), since: date(next).slice(0, 10) } }
  if (next() % 5 === 0) value.note = null
  if (level < CHILDREN.length) value.children = Array.from({ length: CHILDREN[level] }, () => node(next, level + 1))
  return value
}

const SETS = {
  small: { title: 'small object', what: 'one object of 5 fields', make: () => user(generator(3), 41) },
  table: {
    title: 'table of 1,000 rows',
    what: 'an object with one array of 1,000 objects of the same 5 fields: id, name, email, active, score',
    make: () => ({ users: rows(1000, 7, user) })
  },
  deep: { title: 'deep document', what: 'a tree of objects in objects and lists, up to 20 levels of them', make: () => node(generator(5), 0) },
  long: { title: 'long strings', what: 'an object of 10 ASCII texts of 10 KB that need no quotes in TOON', make: () => Object.assign({}, values(10, 10240)) },
  escapes: {
    title: 'strings with escapes',
    what: 'an array of 500 texts of 100 characters with commas, quotes, colons and line ends',
    make: () => values(500, 100, 'quoted')
  },
  numbers: {
    title: 'numbers only',
    what: 'an array of 5,000 numbers: small and large integers, amounts, and doubles of 15 to 17 digits by turns',
    make: () => rows(5000, 11, (next, i) => [next() % 1000, next() * 1024, cents(next, 1000), next() / 4294967296][i % 4])
  }
}

const events = [
  next => ({ type: 'login', user: next() % 900, ip: `10.0.${next() % 256}.${next() % 256}` }),
  next => ({ type: 'order', user: next() % 900, items: rows(1 + next() % 3, next(), n => ({ sku: `A-${n() % 9000}`, count: 1 + n() % 5 })), total: cents(next, 500) }),
  next => ({ type: 'error', message: values(1, 40 + next() % 40, 'quoted')[0], stack: values(3, 30) }),
  next => ({ type: 'setting', path: ['view', 'theme'], from: null, to: { dark: next() % 2 > 0 } })
]

const KINDS = {
  users: { title: 'users: 5 fields, texts and numbers', uniform: true, make: () => ({ users: rows(500, 7, user) }) },
  orders: {
    title: 'orders: ids, dates, amounts, states',
    uniform: true,
    make: () => ({ orders: rows(500, 13, (next, i) => ({ id: 10000 + i, customer: next() % 900, date: date(next), amount: cents(next, 900), state: pick(next, STATES) })) })
  },
  series: {
    title: 'time series: a date and 3 numbers',
    uniform: true,
    make: () => ({ series: rows(500, 17, (next, i) => ({ date: new Date(1.7e12 + i * 864e5).toISOString().slice(0, 10), visits: next() % 9000, sales: next() % 400, rate: cents(next, 1) })) })
  },
  log: {
    title: 'log: time, level, code, sentence',
    uniform: true,
    make: () => ({ log: rows(300, 19, (next) => ({ time: date(next), level: pick(next, ['info', 'warn', 'error']), code: 200 + next() % 300, message: values(1, 60, 'plain')[0] })) })
  },
  nested: {
    title: 'rows with an object in each',
    uniform: true,
    make: () => ({ places: rows(300, 23, (next, i) => ({ id: i, name: pick(next, LAST), at: { lat: cents(next, 90), lon: cents(next, 180) }, open: next() % 2 > 0 })) })
  },
  optional: {
    title: 'rows of which some lack fields',
    make: () => ({ users: rows(300, 29, (next, i) => {
      const { score, ...row } = user(next, i)
      return next() % 2 ? { ...row, score } : row
    }) })
  },
  events: { title: 'events of 4 different forms', make: () => ({ events: rows(300, 31, next => pick(next, events)(next)) }) },
  deep: { title: 'deep tree (that of the codec benchmark)', make: SETS.deep.make },
  lock: { title: 'a real package-lock.json (this project\'s)', make: () => require('../package-lock.json') },
  manifest: { title: 'a real package.json (this project\'s)', make: () => require('../package.json') },
  small: { title: 'one small object', make: SETS.small.make },
  texts: { title: 'long texts', make: SETS.long.make }
}

module.exports = { SETS, KINDS }
