'use strict'
// The tokenizer of the tour: a dev dependency, so an installed package may be without it.

/**
 * What counts the tokens of a text as OpenAI's newer models do, or undefined where gpt-tokenizer is not installed.
 *
 * @returns {((text: string) => number) | undefined}
 */
function findTokenizer () {
  let place
  try {
    place = require.resolve('gpt-tokenizer/encoding/o200k_base', { paths: [__dirname, process.cwd()] })
  } catch {
    return undefined
  }
  const { countTokens } = require(place)
  return text => countTokens(text, { disallowedSpecial: new Set() }) // a text may hold what looks like <|endoftext|>
}

module.exports = { findTokenizer }
