'use strict'
// Closing while other threads write.

const assert = require('node:assert/strict')
const { Worker } = require('node:worker_threads')
const { setup, root } = require('./support')

describe('close', () => {
  const { openStore } = setup()

  it('ends while a worker keeps writing to the same store', async () => {
    const db = await openStore({ durability: 'close' })
    const worker = new Worker(`
      const { parentPort, workerData } = require('node:worker_threads')
      const { ToonStore } = require(workerData.root)
      let stop = false
      let written = 0
      const write = async db => {
        while (!stop) await db.put('w/' + written++, 1)
      }
      ToonStore.open(workerData.path, { durability: 'close' }).then(async db => {
        parentPort.once('message', () => { stop = true })
        parentPort.postMessage('open')
        await Promise.all(Array.from({ length: 200 }, () => write(db)))
        await db.close()
        parentPort.postMessage(written)
      })`, { eval: true, workerData: { root, path: db.path } })
    const next = () => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    await next()
    for (let i = 0; i < 20; i++) {
      const own = await openStore({ durability: 'close' }, db.path)
      const puts = Array.from({ length: 100 }, (_, n) => own.put(`m/${i}/${n}`, n))
      await own.close()
      await Promise.all(puts)
    }
    worker.postMessage('stop')
    const written = await next()
    await worker.terminate()
    assert.equal(db.count({ prefix: 'w/' }), written)
    assert.equal(db.count({ prefix: 'm/' }), 2000)
  })
})
