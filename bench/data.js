'use strict'
// Keys and values of the benchmarks: 16-byte keys, and texts of an exact length made of common words. All of it follows from
// a seed, so that every driver gets the same.

const WORDS = ('the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were ' +
  'when we there can an your which their said if do will each about how up out them then she many some so these would other into has ' +
  'more her two like him see time could no make than first been its who now people my made over did down only way find use may water ' +
  'long little very after words called just where most know store engine memory page segment commit snapshot cache index reader').split(' ')

// A small fast generator of 32-bit numbers (xorshift), the same sequence for the same seed.
function generator (seed = 1) {
  let x = seed * 2654435769 >>> 0 || 1
  return () => {
    x ^= x << 13
    x >>>= 0
    x ^= x >>> 17
    x ^= x << 5
    return x >>>= 0
  }
}

/**
 * A key of 16 characters, built anew at each call.
 *
 * @param {number} number
 * @returns {string}
 */
function keyOf (number) {
  return 'k' + (1e15 + number).toString().slice(1)
}

// A key of 16 characters as an application builds it, a constant and a number below 90,000: cheaper than keyOf.
function buildKey (number) {
  return 'users/name-' + (10000 + number)
}

// A generator of numbers below `count`, distributed by Zipf's law (exponent 0.99) and scattered.
function zipf (count, seed = 5) {
  const next = generator(seed)
  const sums = new Float64Array(count)
  let sum = 0
  for (let i = 0; i < count; i++) sums[i] = sum += 1 / (i + 1) ** 0.99
  const scattered = shuffled(count, 3)
  const drawn = Uint32Array.from({ length: 2 ** 20 }, () => {
    const wanted = next() / 2 ** 32 * sum
    let low = 0
    let high = count - 1
    while (low < high) {
      const half = (low + high) >> 1
      if (sums[half] < wanted) low = half + 1
      else high = half
    }
    return scattered[low]
  })
  let at = 0
  return () => drawn[at++ & (2 ** 20 - 1)]
}

// Sentences. kind 'plain': letters, digits, spaces and full stops, which TOON writes as they are; 'quoted': also commas,
// colons, quotes and line ends, for which TOON quotes and escapes a string.
function text (next, length, kind) {
  let out = ''
  for (let n = 1; out.length < length; n++) {
    const word = WORDS[next() % WORDS.length]
    if (n % 12 === 1) out += word[0].toUpperCase() + word.slice(1)
    else out += word
    if (kind === 'quoted' && n % 12 === 0) out += n % 48 === 0 ? '.\n' : n % 24 === 0 ? ': "' + word + '". ' : ', '
    else out += n % 12 === 0 ? '. ' : ' '
  }
  return Buffer.from(out.slice(0, length - 1) + 'x').toString('latin1') // flat in memory, no blank at its end
}

// A text of `length` bytes in UTF-8, an even number: words of Greek and of Chinese by turns, of the same number of characters each time.
function foreign (next, length) {
  const greek = count => Array.from({ length: count }, () => String.fromCharCode(0x3B1 + next() % 24)).join('')
  const chinese = count => Array.from({ length: count }, () => String.fromCharCode(0x4E00 + next() % 8000)).join('')
  let out = ''
  let left = length
  for (; left >= 24; left -= 24) out += greek(4) + ' ' + chinese(5)
  return Buffer.from(out + greek(left / 2)).toString()
}

/**
 * Different texts of one length.
 *
 * @param {number} count
 * @param {number} length - bytes in UTF-8
 * @param {'plain'|'quoted'|'foreign'} kind - ASCII in the first two
 * @returns {string[]}
 */
function values (count, length, kind = 'plain') {
  const next = generator(length)
  if (kind === 'foreign') return Array.from({ length: count }, () => foreign(next, length))
  return Array.from({ length: count }, () => text(next, length, kind))
}

// The numbers from 0 to count - 1 in random order.
function shuffled (count, seed = 1) {
  const next = generator(seed)
  const order = Uint32Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const j = next() % (i + 1)
    const kept = order[i]
    order[i] = order[j]
    order[j] = kept
  }
  return order
}

module.exports = { generator, keyOf, buildKey, zipf, values, shuffled }
