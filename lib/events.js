'use strict'
// What the engine tells of itself: 'warning' and 'error' events of a store. It comes along with finished writes.

const { ToonError } = require('./errors')

// TOON_EVENT_* of csrc/toonstore.h.
const NEARLY_FULL = 1
const FAILED = 2

// A function for a Writer that emits the events of `store`, which it does not keep from being collected.
function emitter (store, options) {
  const ref = new WeakRef(store)
  const { maxDbSize } = options
  return (events, failure) => {
    const target = ref.deref()
    if (target === undefined) return
    if (events & NEARLY_FULL) {
      target.emit('warning', new ToonError('TOON_EDBFULL',
        `the store holds more than 80 % of maxDbSize (${maxDbSize} bytes); at 100 % puts will fail`, { path: target.path }))
    }
    // Without a listener it is not worth the process: the next write or close reports what goes on failing.
    if (events & FAILED && failure !== undefined && target.listenerCount('error') > 0) target.emit('error', failure)
  }
}

module.exports = { emitter }
