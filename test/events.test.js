'use strict'
// What a store tells of itself: warnings and background failures.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { ToonError } = require('..')
const { setup, run } = require('./support')

describe('events', () => {
  const { openStore } = setup()

  async function fill (db, from, to) {
    for (let i = from; i < to; i++) await db.put(`key ${i}`, 'x'.repeat(100))
  }

  it('warn once when the store gets nearly full, and again after it was emptied', async () => {
    const db = await openStore({ maxDbSize: 50000, durability: 'close' })
    const warnings = []
    db.on('warning', warning => warnings.push(warning))
    await fill(db, 0, 300)
    assert.equal(warnings.length, 0)
    await fill(db, 300, 400)
    assert.equal(warnings.length, 1)
    assert.ok(warnings[0] instanceof ToonError)
    assert.equal(warnings[0].code, 'TOON_EDBFULL')
    assert.equal(warnings[0].path, db.path)
    assert.match(warnings[0].message, /80 % of maxDbSize \(50000 bytes\)/)
    await db.clear({ gte: 'key 2' })
    await db.checkpoint()
    await fill(db, 200, 300)
    assert.equal(warnings.length, 1)
    await fill(db, 300, 400)
    assert.equal(warnings.length, 2)
  })

  it('hold up nobody when a listener throws', () => {
    const child = run(`
      const fs = require('node:fs')
      const dir = fs.mkdtempSync(require('node:path').join(require('node:os').tmpdir(), 'toonstore-events-'))
      let thrown = 0
      process.on('uncaughtException', () => thrown++)
      toonstore.open(dir, { maxDbSize: 400000, durability: 'close' }).then(async db => {
        db.on('warning', () => { throw new Error('a listener') })
        const puts = Array.from({ length: 3200 }, (_, i) => db.put('key ' + i, 'x'.repeat(100)))
        await Promise.all(puts)
        await db.close()
        fs.rmSync(dir, { recursive: true })
        console.log(thrown)
      })`)
    assert.deepEqual(child, { status: 0, signal: null, stdout: '1\n', stderr: '' })
  })

  it('do not warn of rows that replace each other', async () => {
    const db = await openStore({ maxDbSize: 50000, durability: 'close' })
    db.on('warning', assert.fail)
    for (let round = 0; round < 10; round++) await fill(db, 0, 100)
  })

  it('do no harm when nobody listens', async () => {
    const db = await openStore({ maxDbSize: 50000, durability: 'close' })
    await fill(db, 0, 400)
    assert.equal(db.size, 400)
  })

  describe('of failures', () => {
    // A folder where the next run file would be: the checkpoint cannot create it, whoever runs the test.
    async function broken () {
      const db = await openStore({ durability: 'close' })
      await db.put('a', 1)
      for (let n = 0; n < 20; n++) fs.mkdirSync(path.join(db.path, `db.toon.idx-${n}`), { recursive: true })
      return db
    }

    async function repair (db) {
      for (const name of fs.readdirSync(db.path)) {
        const file = path.join(db.path, name)
        if (fs.statSync(file).isDirectory()) fs.rmdirSync(file)
      }
      await db.checkpoint()
    }

    it('are told to who listens', async () => {
      const db = await broken()
      const errors = []
      db.on('error', err => errors.push(err))
      await assert.rejects(db.checkpoint(), ToonError)
      await db.put('b', 2)
      assert.equal(errors.length, 1)
      assert.ok(errors[0] instanceof ToonError)
      assert.equal(typeof errors[0].syscall, 'string')
      await repair(db)
      await db.put('c', 3)
      assert.equal(db.size, 3)
    })

    it('do not end a process that does not listen', async () => {
      const db = await broken()
      await assert.rejects(db.checkpoint(), ToonError)
      await db.put('b', 2)
      await repair(db)
      assert.equal(db.size, 2)
    })
  })
})
