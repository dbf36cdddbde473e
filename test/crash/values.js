'use strict'
// What the writer writes and the test expects.

const KINDS = [
  n => `text ${n} ` + 'abc '.repeat(n % 40) + 'end',
  n => ({ n, list: [1, 2, n], nested: { yes: true, text: `quoted: "${n}", and a\nline` } }),
  n => n * 1.5,
  n => Array.from({ length: n % 5 + 1 }, (_, id) => ({ id, name: `name ${n}` })),
  n => 'x'.repeat(n % 3000),
  () => null
]

const valueOf = n => KINDS[n % KINDS.length](n)
const batchSize = n => 2 + n % 30

module.exports = { valueOf, batchSize }
