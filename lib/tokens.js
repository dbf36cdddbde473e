'use strict'
// An estimate of how many tokens a model makes of a text, for callers who give no tokenizer.

// Pieces of text, in the order in which they are tried: what begins a word takes the blank in front of it along.
const PIECES = / ?[A-Z]?[a-z]+| ?[A-Z]+|\d{1,3}|[\n\r]+| +(?= )|[ \t]+| ?[!-/:-@[-`{-~]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]| ?[^\x00-\x7f]+|[^]/g

const WORD = 8 // letters of a word that are one token; more take another one each FURTHER
const FURTHER = 4
const MARKS = 3 // punctuation marks in a row that are one token
const OTHER = 4 // letters of other scripts that are one token

/**
 * About as many tokens as o200k_base makes of a text. Words of up to 8 letters are one token and further 4 letters one more
 * (in capitals 3 each), three digits are one, three punctuation marks in a row, a line end, the indentation of a line, one
 * Chinese, Japanese or Korean character, four letters of another script. README says how far it errs.
 *
 * @param {string} text
 * @returns {number}
 */
function estimateTokens (text) {
  let tokens = 0
  PIECES.lastIndex = 0
  for (let match; (match = PIECES.exec(text)) !== null;) {
    const piece = match[0]
    const blank = piece.length > 1 && piece.charCodeAt(0) === 32 ? 1 : 0
    const length = piece.length - blank
    const last = piece.charCodeAt(piece.length - 1)
    if (last >= 97 && last <= 122) tokens += length <= WORD ? 1 : 1 + Math.ceil((length - WORD) / FURTHER)
    else if (last >= 65 && last <= 90) tokens += Math.ceil(length / 3)
    else if (last > 127) tokens += last >= 0x3040 && last <= 0xd7af ? 1 : Math.ceil(length / OTHER)
    else if (last > 32 && (last < 48 || last > 57)) tokens += Math.ceil(length / MARKS)
    else tokens++
  }
  return tokens
}

module.exports = { estimateTokens }
