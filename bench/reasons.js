'use strict'
// Why cases miss goals of theirs, where they do: shown beneath the table of results.md.

const HITS = 'a hit is one look-up in a Map, as in lru-cache, and then three loads and a store (is it current, the value, it is used); the column "map" shows how little a Map alone leaves for that'
const TEXT = 'the column "floor" is what making a string of 1 KB alone costs; the rest is the look-up, the row\'s checksum, which is computed at each read, and the guard that keeps its file'
const MEMORY = 'all drivers wait for memory that is not in the processor\'s cache, the row\'s and that of the new value, so ratios move towards 1 where the machine\'s memory is slow'

module.exports = {
  'hot-100': HITS,
  'hot-1k': HITS,
  'hot-10k': `${HITS}; here they miss the processor's first cache`,
  'row-100': TEXT,
  'key-10k': `${TEXT}; 10 MB are more than the processor's second cache holds`,
  get: MEMORY,
  'get-fresh': MEMORY,
  'get-1m': MEMORY,
  'get-foreign': 'UTF-16 is made of UTF-8 in C at each read, and both wait for the memory of the new string; from run to run it is 3.8 to 5.2 x',
  buffer: `${MEMORY}; a Buffer costs the copy into a slab and a view that JavaScript makes`,
  blocked: 'two cores are shared by the event loop, the thread that commits and the background thread: most of the time that counts as blocked the loop waits for a core (csrc/DESIGN.md, section 12)',
  'durable-batch': 'each batch waits for a sync of the disk, rocksdb\'s as well as ours; of the others the best is half as fast as rocksdb'
}
