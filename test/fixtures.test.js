'use strict'
// The specification's own cases (npm package @toon-format/spec 3.3.2) through encode and decode, and through the reference
// implementation. It is of an older version than the codec: what v4 and 4.4.0 changed is named here, and must be changed in the
// reference as well.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const toon = require('@toon-format/toon')
const ours = require('..')

const folder = path.join(path.dirname(require.resolve('@toon-format/spec/package.json')), 'tests', 'fixtures')
const NO_FOLDING = 'v4 has no key folding'
const NO_PATHS = 'v4 has no path expansion'
const BAD_HEADER = '4.4 refuses malformed headers in non-strict mode too'

const CHANGED = {
  'encode/arrays-objects.json': {
    'uses list format for objects with nested values': 'v4 has nested columns in tables'
  },
  'encode/key-folding.json': {
    'encodes folded chain to primitive (safe mode)': NO_FOLDING,
    'encodes folded chain with inline array': NO_FOLDING,
    'encodes folded chain with tabular array': NO_FOLDING,
    'encodes partial folding with flattenDepth=2': NO_FOLDING,
    'encodes full chain with flattenDepth=Infinity (default)': NO_FOLDING,
    'encodes folded chain ending with empty object': NO_FOLDING,
    'stops folding at array boundary (not single-key object)': NO_FOLDING,
    'encodes folded chains preserving sibling field order': NO_FOLDING
  },
  'decode/objects.json': {
    'treats extra brackets after valid array segment as literal key (non-strict)': BAD_HEADER,
    'treats non-integer bracket content as literal key (non-strict)': BAD_HEADER,
    'treats text between bracket segment and colon as literal key (non-strict)': BAD_HEADER
  },
  'decode/path-expansion.json': {
    'expands dotted key to nested object in safe mode': NO_PATHS,
    'expands dotted key with inline array': NO_PATHS,
    'expands dotted key with tabular array': NO_PATHS,
    'expands and deep-merges preserving document-order insertion': NO_PATHS,
    'throws on expansion conflict (object vs primitive) when strict=true': NO_PATHS,
    'throws on expansion conflict (object vs array) when strict=true': NO_PATHS,
    'applies LWW when strict=false (primitive overwrites expanded object)': NO_PATHS,
    'applies LWW when strict=false (expanded object overwrites primitive)': NO_PATHS,
    'preserves quoted dotted key as literal when expandPaths=safe': NO_PATHS,
    'expands keys creating empty nested objects': NO_PATHS
  }
}

// The options of a case that there still are.
const KNOWN = { encode: ['delimiter', 'indent'], decode: ['strict', 'indent'] }

function outcome (module, kind, { input, options = {} }) {
  const given = Object.fromEntries(Object.entries(options).filter(([name]) => KNOWN[kind].includes(name)))
  try { return { value: module[kind](input, given) } } catch (error) { return { error } }
}

function asSaid ({ value, error }, test) {
  if (test.shouldError || error) return Boolean(test.shouldError) === Boolean(error)
  try { assert.deepEqual(value, test.expected) } catch { return false }
  return true
}

describe('the cases of the specification', () => {
  for (const kind of ['encode', 'decode']) {
    for (const name of fs.readdirSync(path.join(folder, kind))) {
      it(`${kind}/${name}`, () => {
        const { tests } = JSON.parse(fs.readFileSync(path.join(folder, kind, name), 'utf8'))
        const changed = CHANGED[`${kind}/${name}`] ?? {}
        assert.ok(tests.length > 0)
        for (const test of tests) {
          const got = outcome(ours, kind, test)
          const reference = outcome(toon, kind, test)
          const reason = changed[test.name]
          const as = reason ? `not as in the fixture: ${reason}` : 'as in the fixture'
          assert.equal(asSaid(reference, test), !reason, `the reference is ${as}: ${test.name}`)
          assert.equal(asSaid(got, test), !reason, `ours is ${as}: ${test.name}`)
          assert.equal(Boolean(got.error), Boolean(reference.error), test.name)
          if (!got.error) assert.deepEqual(got.value, reference.value, test.name)
        }
        for (const title of Object.keys(changed)) assert.ok(tests.some(test => test.name === title), title)
      })
    }
  }
})
