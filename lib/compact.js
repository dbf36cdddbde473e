'use strict'
// Compaction on demand: one at a time, with progress, ended early by an AbortSignal.

const { native } = require('./binding')
const { ToonError, invalidType, show } = require('./errors')
const { checkObject, checkNames, checkSignal } = require('./options')

const OPTIONS = new Set(['signal', 'onProgress'])

function parse (options) {
  const given = checkObject(options)
  checkNames(given, OPTIONS, 'option of compact()')
  const { onProgress } = given
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalidType(`onProgress must be a function (got ${show(onProgress)})`)
  }
  return { signal: checkSignal(given.signal), onProgress }
}

async function compact (writer, options) {
  const { signal, onProgress } = parse(options)
  signal?.throwIfAborted()
  if (writer.compacting) throw new ToonError('TOON_EINVAL', 'a compaction is under way already')
  let told = -1
  let running = true
  let thrown // { err } by onProgress
  let handle = 0
  const stop = () => { if (handle !== 0) native.storeCompactStop(handle) }
  const progress = onProgress === undefined ? undefined : share => {
    if (!running || thrown !== undefined || signal?.aborted || share <= told) return
    told = share
    try {
      onProgress(share)
    } catch (err) {
      thrown = { err }
      stop()
    }
  }
  signal?.addEventListener('abort', stop, { once: true })
  writer.compacting = true
  try {
    await writer.upkeep(store => {
      signal?.throwIfAborted()
      handle = store
      return native.storeCompact(store, progress)
    })
  } catch (err) {
    if (thrown === undefined) signal?.throwIfAborted() // it ended early for one of these
    throw thrown === undefined ? err : thrown.err
  } finally {
    writer.compacting = false
    signal?.removeEventListener('abort', stop)
  }
  if (thrown === undefined) signal?.throwIfAborted()
  progress?.(1) // the last news may still be on their way
  running = false
  if (thrown !== undefined) throw thrown.err
}

module.exports = { compact }
