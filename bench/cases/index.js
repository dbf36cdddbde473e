'use strict'
// The cases. Each runs in a process of its own (child.js), for one driver. A case has
//   title, unit, what    for the tables; `what` says what is measured, and whether keys are warm (the same string objects
//                        at each call) or fresh (built at each call)
//   goals                what toonstore has to reach: { least } or { most }, in the case's unit or, with `to`, as a multiple
//                        of that driver's figure of the same run ('best': the best of PEERS). rust: what was once
//                        published for an engine of this kind in Rust, in process
//   durable              a write counts when it is on the disk
//   cached               { capacity, bytes } or { share of the rows } of a cache in front; without it there is none
//   objects, foreign, size   values are objects; texts that are not ASCII; texts of so many bytes instead of 1 KB
//   drivers              if not DRIVERS
//   fixture              the store it begins with, one of FIXTURES; without one it begins with an empty directory
//   changes              it writes to its fixture, so each run gets a copy
//   slow                 one sample takes seconds: left out by --quick
//   run (bench)          measures; resolves to calls or rows a second, ms or %, one figure for each sample
// `bench` is what child.js gives: open(), fill(), repeat(), sizes and values.

const { PEERS, PERSISTENT } = require('./parts')

// Stores to begin with, loaded by batches of 1000 and closed.
const FIXTURES = {
  random: 'random order, plain texts of 1 KB',
  ascending: 'key order, plain texts of 1 KB',
  compacted: 'random order, plain texts of 1 KB, every third put again, then compacted',
  quoted: 'random order, texts of 1 KB that need quotes',
  bytes: 'random order, 1 KB of bytes',
  many: '1 M keys in key order, plain texts of 100 bytes'
}

module.exports = {
  CASES: { ...require('./cached'), ...require('./read'), ...require('./write') },
  FIXTURES,
  DRIVERS: [...PERSISTENT, 'map'],
  EVERYBODY: [...PERSISTENT.slice(0, 2), 'lmdb-cached', ...PERSISTENT.slice(2), 'lru-cache', 'map', 'utf8', 'floor'],
  PEERS
}
