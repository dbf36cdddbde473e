'use strict'
// npm run bench:tokens: how many tokens documents of several kinds take as TOON, as compact JSON and as JSON indented by two
// spaces, counted with gpt-tokenizer (o200k_base). Writes the section "Tokens" of bench/results.md.

const { countTokens } = require('gpt-tokenizer/encoding/o200k_base')
const { version } = require('gpt-tokenizer/package.json')
const { encode } = require('..')
const { KINDS } = require('./documents')
const { plain, markdown, writeSection } = require('./report')

const change = (ours, other) => `${ours >= other ? '+' : ''}${((ours / other - 1) * 100).toFixed(1)} %`

const rows = [['kind', 'form', 'TOON', 'JSON, compact', 'JSON, indented', 'to compact', 'to indented']]
for (const { title, uniform, make } of Object.values(KINDS)) {
  const value = make()
  const toon = countTokens(encode(value))
  const compact = countTokens(JSON.stringify(value))
  const indented = countTokens(JSON.stringify(value, null, 2))
  rows.push([title, uniform ? 'table' : 'other', ...[toon, compact, indented].map(String), change(toon, compact), change(toon, indented)])
}

console.log(plain(rows))
writeSection('tokens', `## Tokens

Tokens of one document as TOON, as compact JSON and as JSON indented by two spaces; \`npm run bench:tokens\`, gpt-tokenizer ${version}, o200k_base.

${markdown(rows)}
`)
console.log('\nWritten to bench/results.md')
