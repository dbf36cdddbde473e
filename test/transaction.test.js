'use strict'
// Transactions.

const assert = require('node:assert/strict')
const { setup, run } = require('./support')

const CONFLICT = { name: 'ToonError', code: 'TOON_ECONFLICT' }
const CLOSED = { name: 'ToonError', code: 'TOON_ECLOSED' }
const TYPE = { name: 'TypeError', code: 'TOON_EINVAL' }

describe('transactions', () => {
  const { openStore, reopen } = setup()

  describe('begin', () => {
    it('reads its snapshot and its own writes, which others see after the commit', async () => {
      let db = await openStore()
      await db.put('a', 1)
      await db.put('b', 2)
      const tx = db.begin()
      await db.put('other', 'later')
      tx.put('a', { x: [1] })
      assert.equal(tx.delete('b'), true)
      assert.equal(tx.delete('none'), false)
      tx.put('c', 'text')
      tx.put(Buffer.from('d'), Buffer.from([1, 2]))
      assert.deepEqual(tx.getMany(['a', 'b', 'c', 'd', 'other']), [{ x: [1] }, undefined, 'text', Buffer.from([1, 2]), undefined])
      assert.ok(Object.isFrozen(tx.get('a').x))
      assert.ok(!Object.isFrozen(tx.get('a', { mutable: true })))
      assert.equal(tx.get(Buffer.from('c')), 'text')
      assert.deepEqual([tx.has('a'), tx.has('b'), tx.has('c'), tx.has('other')], [true, false, true, false])
      assert.deepEqual(db.range().toArray(), [['a', 1], ['b', 2], ['other', 'later']])
      assert.equal(tx.state, 'open')
      assert.equal(await tx.commit(), undefined)
      assert.equal(tx.state, 'committed')
      for (let round = 0; round < 2; round++) {
        assert.deepEqual(db.range().toArray(), [['a', { x: [1] }], ['c', 'text'], ['d', Buffer.from([1, 2])], ['other', 'later']])
        db = await reopen(db)
      }
    })

    it('copies what it is given', async () => {
      const db = await openStore()
      const tx = db.begin()
      const key = Buffer.from('key')
      const bytes = Buffer.from('value')
      const object = { x: 1 }
      tx.put(key, bytes)
      tx.put('o', object)
      key.fill('?')
      bytes.fill('?')
      object.x = 2
      tx.get('key').fill('!')
      assert.deepEqual(tx.get('key'), Buffer.from('value'))
      await tx.commit()
      assert.deepEqual(db.range().toArray(), [['key', Buffer.from('value')], ['o', { x: 1 }]])
    })

    it('lets the first committer win', async () => {
      const db = await openStore()
      await db.put('a', 1)
      const first = db.begin()
      const second = db.begin()
      first.put('a', first.get('a') + 1)
      second.put('a', second.get('a') + 10)
      second.put('b', 1)
      const done = await Promise.allSettled([first.commit(), second.commit()])
      assert.equal(done[0].status, 'fulfilled')
      assert.equal(done[1].reason.code, 'TOON_ECONFLICT')
      assert.deepEqual(db.range().toArray(), [['a', 2]])
    })

    it('takes creation, deletion and plain puts as changes', async () => {
      const db = await openStore()
      await db.put('a', 1)
      for (const change of [() => db.put('new', 1), () => db.delete('a'), () => db.clear(), () => db.putSync('a', 5)]) {
        await db.put('a', 1)
        await db.delete('new')
        const tx = db.begin()
        tx.put('a', 2)
        tx.put('new', 2)
        await change()
        await assert.rejects(tx.commit(), CONFLICT, String(change))
        assert.notEqual(db.get('a'), 2)
      }
    })

    it('fails nobody over keys that are only read, under snapshot isolation', async () => {
      const db = await openStore()
      await db.put('x', 1)
      const tx = db.begin()
      tx.put('y', tx.get('x'))
      tx.range().toArray()
      await db.put('x', 2)
      await tx.commit()
      assert.equal(db.get('y'), 1)
    })

    it('is over after commit and rollback', async () => {
      const db = await openStore()
      await db.put('a', 1)
      for (const end of ['commit', 'rollback']) {
        const tx = db.begin()
        tx.put('b', end)
        const range = tx.range()
        range.next()
        const point = tx.savepoint()
        const ended = tx[end]()
        for (const use of [
          () => tx.get('a'), () => tx.get('b'), () => tx.has('a'), () => tx.getMany(['a']), () => tx.range(), () => tx.put('a', 1),
          () => tx.delete('a'), () => tx.savepoint(), () => range.next(), () => point.rollback()
        ]) {
          assert.throws(use, CLOSED, `${end} ${use}`)
        }
        await ended
        tx.rollback()
        if (end === 'commit') assert.equal(await tx.commit(), undefined)
        else await assert.rejects(tx.commit(), CLOSED)
        assert.equal(db.get('b'), end === 'commit' ? 'commit' : undefined)
        await db.delete('b')
      }
    })

    it('ends with its store', async () => {
      const db = await openStore()
      const tx = db.begin()
      tx.put('a', 1)
      await db.close()
      assert.throws(() => tx.get('a'), CLOSED)
      assert.throws(() => tx.put('a', 1), CLOSED)
      await assert.rejects(tx.commit(), CLOSED)
      tx.rollback()
      assert.throws(() => db.begin(), CLOSED)
      const again = await openStore({ readOnly: true }, db.path)
      assert.equal(again.size, 0)
      const reading = again.begin()
      assert.equal(reading.get('a'), undefined)
      await reading.commit()
      const writing = again.begin()
      writing.put('a', 1)
      await assert.rejects(writing.commit(), { code: 'TOON_EREADONLY' })
    })

    it('goes back to savepoints', async () => {
      const db = await openStore()
      const tx = db.begin()
      tx.put('a', 1)
      const one = tx.savepoint()
      tx.put('a', 2)
      tx.put('b', 2)
      const two = tx.savepoint()
      tx.delete('a')
      two.rollback()
      assert.equal(tx.get('a'), 2)
      one.rollback()
      assert.deepEqual(tx.range().toArray(), [['a', 1]])
      tx.put('c', 3)
      one.rollback()
      tx.put('d', 4)
      await tx.commit()
      assert.deepEqual(db.range().toArray(), [['a', 1], ['d', 4]])
    })

    it('refuses to become too large, before it takes the memory, and at the commit', async () => {
      const TOO_BIG = { name: 'ToonError', code: 'TOON_ETXNTOOBIG' }
      const db = await openStore({ maxTxnSize: 10000 })
      const fill = (tx, rows) => {
        for (let i = 0; i < rows; i++) tx.put(`k${i}`, 'x'.repeat(100))
      }
      let attempts = 0
      await assert.rejects(db.transaction(tx => {
        attempts++
        fill(tx, 200)
      }), TOO_BIG)
      assert.equal(attempts, 1)
      const tx = db.begin()
      const { rollback } = tx.savepoint()
      assert.throws(() => fill(tx, 1000), TOO_BIG)
      assert.throws(() => tx.put('one more', 'x'.repeat(100)), { ...TOO_BIG, key: 'one more' })
      for (let i = 0; i < 1000; i++) tx.put('k0', `${i}`) // in its place
      rollback()
      fill(tx, 50)
      await tx.commit()
      assert.equal(db.size, 50)
    })

    it('gives rows an expiry', async () => {
      const db = await openStore()
      const tx = db.begin()
      tx.put('a', 1, { ttl: 3600000 })
      tx.put('b', 1, { expiresAt: 1 })
      await tx.commit()
      assert.ok(db.ttl('a') > 0)
      assert.equal(db.get('b'), undefined)
    })

    it('refuses wrong arguments, and goes on', async () => {
      const db = await openStore({ maxValueSize: 100 })
      const tx = db.begin()
      for (const key of [1, null, undefined, {}, '\ud800']) {
        for (const use of [() => tx.get(key), () => tx.has(key), () => tx.put(key, 1), () => tx.delete(key), () => tx.getMany([key])]) assert.throws(use, TYPE)
      }
      for (const value of [undefined, NaN, 1n, () => 1]) assert.throws(() => tx.put('a', value), TYPE)
      assert.throws(() => tx.put('a'), TYPE)
      assert.throws(() => tx.put('a', 1, { ifAbsent: true }), TYPE)
      assert.throws(() => tx.put('k'.repeat(5000), 1), { code: 'TOON_EKEYTOOBIG' })
      assert.throws(() => tx.range({ fields: ['a'] }), TYPE)
      for (const options of [null, 5, { isolation: 'none' }, { timeout: 5 }]) assert.throws(() => db.begin(options), TYPE)
      tx.put('good', 1)
      tx.put('big', 'x'.repeat(200))
      await assert.rejects(tx.commit(), { code: 'TOON_EVALUETOOBIG', key: 'big' })
      const neighbour = db.put('neighbour', 1)
      await neighbour
      assert.deepEqual(db.keys().toArray(), ['neighbour'])
    })
  })

  describe('ranges', () => {
    async function both () {
      const db = await openStore({ durability: 'close' })
      await db.batch(Array.from({ length: 60 }, (_, i) => ({ type: 'put', key: `k${String(i * 2).padStart(3, '0')}`, value: i * 2 })))
      const tx = db.begin()
      for (let i = 0; i < 120; i += 3) {
        if (i % 4 === 0) tx.delete(`k${String(i).padStart(3, '0')}`)
        else tx.put(`k${String(i).padStart(3, '0')}`, -i)
      }
      tx.put('a', 'first')
      tx.put('z', 'last')
      tx.put('ö', 'not ASCII')
      tx.put('\u{1f600}', 'above the surrogates')
      tx.put('\uffee', 'below them')
      tx.put(Buffer.from([0xff, 1]), 'no UTF-8')
      return { db, tx }
    }

    const bounds = [
      {}, { gte: 'k010', lt: 'k050' }, { gt: 'k009', lte: 'k051' }, { gt: 'k010', lte: 'k050' }, { prefix: 'k01' }, { prefix: 'k' }, { gte: 'k118' },
      { lt: 'a' }, { lte: 'a' }, { gt: 'l' }, { gte: 'k050', prefix: 'k0' }, { gt: 'm', lt: 'b' }, { gte: Buffer.from('ö'), lt: Buffer.from([0xff]) }
    ]

    it('show its own writes in their places, both ways', async () => {
      const { db, tx } = await both()
      const seen = bounds.flatMap(range => [range, { ...range, reverse: true }, { ...range, limit: 7 }, { ...range, limit: 7, reverse: true }])
        .map(range => [range, tx.range(range).toArray()])
      await tx.commit()
      for (const [range, rows] of seen) assert.deepEqual(rows, db.range(range).toArray(), JSON.stringify(range))
      assert.ok(seen[0][1].length > 60)
    })

    it('show the moment of their making', async () => {
      const db = await openStore()
      await db.put('b', 1)
      const tx = db.begin()
      tx.put('a', 1)
      const range = tx.range()
      tx.put('c', 1)
      tx.delete('b')
      assert.deepEqual(range.next(), { value: ['a', 1], done: false })
      assert.deepEqual(range.toArray(), [['b', 1]])
      assert.deepEqual(tx.range().toArray(), [['a', 1], ['c', 1]])
      assert.deepEqual(tx.range({ limit: 0 }).toArray(), [])
      const left = tx.range()
      for (const [key] of left) {
        assert.equal(key, 'a')
        break
      }
      assert.deepEqual(left.toArray(), [])
    })
  })

  describe('serializable', () => {
    const serial = { isolation: 'serializable' }

    it('catches write skew, which snapshot isolation lets pass', async () => {
      for (const isolation of ['snapshot', 'serializable']) {
        const db = await openStore()
        await db.batch([{ type: 'put', key: 'x', value: 1 }, { type: 'put', key: 'y', value: 1 }])
        const one = db.begin({ isolation })
        const two = db.begin({ isolation })
        if (one.get('x') + one.get('y') === 2) one.put('x', 0)
        if (two.get('x') + two.get('y') === 2) two.put('y', 0)
        const done = await Promise.allSettled([one.commit(), two.commit()])
        assert.deepEqual(done.map(result => result.reason?.code), [undefined, isolation === 'snapshot' ? undefined : 'TOON_ECONFLICT'])
        assert.deepEqual(db.getMany(['x', 'y']), [0, isolation === 'snapshot' ? 0 : 1])
      }
    })

    // tx reads, somebody changes something, tx writes elsewhere: is it a conflict?
    async function conflicts (read, change) {
      const db = await openStore()
      await db.batch(['p/1', 'p/3', 'p/5', 'q'].map(key => ({ type: 'put', key, value: 1 })))
      const tx = db.begin(serial)
      read(tx)
      await change(db)
      tx.put('result', 1)
      return tx.commit().then(() => false, err => {
        assert.equal(err.code, 'TOON_ECONFLICT')
        return true
      })
    }

    it('names keys that were read, there or not', async () => {
      assert.equal(await conflicts(tx => tx.get('q'), db => db.put('q', 2)), true)
      assert.equal(await conflicts(tx => tx.has('q'), db => db.delete('q')), true)
      assert.equal(await conflicts(tx => tx.getMany(['x', 'none']), db => db.put('none', 2)), true)
      assert.equal(await conflicts(tx => tx.get('q'), db => db.put('other', 2)), false)
      assert.equal(await conflicts(tx => tx.delete('none'), db => db.put('none', 2)), true)
    })

    it('names ranges that were read, as far as they were', async () => {
      const all = tx => tx.range({ prefix: 'p/' }).toArray()
      assert.equal(await conflicts(all, db => db.put('p/2', 1)), true, 'a phantom')
      assert.equal(await conflicts(all, db => db.put('p/9', 1)), true, 'a phantom at the end')
      assert.equal(await conflicts(all, db => db.put('p/3', 2)), true)
      assert.equal(await conflicts(all, db => db.delete('p/5')), true)
      assert.equal(await conflicts(all, db => db.put('q', 2)), false)
      const two = tx => tx.range({ prefix: 'p/', limit: 2 }).toArray()
      assert.equal(await conflicts(two, db => db.put('p/2', 1)), true)
      assert.equal(await conflicts(two, db => db.put('p/4', 1)), false, 'behind the limit')
      const left = tx => { for (const [key] of tx.range({ prefix: 'p/' })) if (key === 'p/3') break }
      assert.equal(await conflicts(left, db => db.put('p/3', 2)), true)
      assert.equal(await conflicts(left, db => db.put('p/4', 1)), false, 'not read any more')
      const back = tx => tx.range({ prefix: 'p/', reverse: true, limit: 2 }).toArray()
      assert.equal(await conflicts(back, db => db.put('p/4', 1)), true)
      assert.equal(await conflicts(back, db => db.put('p/7', 1)), true)
      assert.equal(await conflicts(back, db => db.put('p/2', 1)), false)
      assert.equal(await conflicts(tx => tx.range({ prefix: 'p/' }), db => db.put('p/2', 1)), false, 'nothing was read')
      assert.equal(await conflicts(tx => tx.range({ gt: 'x' }).toArray(), db => db.put('y', 1)), true, 'an empty range')
    })

    it('does not take its own writes for conflicts', async () => {
      const db = await openStore()
      await db.put('a', 1)
      const tx = db.begin(serial)
      tx.put('a', tx.get('a') + 1)
      tx.put('b', tx.get('b') ?? 0)
      tx.range().toArray()
      tx.delete('a')
      await tx.commit()
      assert.deepEqual(db.range().toArray(), [['b', 0]])
    })

    it('never fails a transaction that only reads', async () => {
      const db = await openStore()
      await db.put('a', 1)
      const tx = db.begin(serial)
      tx.get('a')
      await db.put('a', 2)
      assert.equal(tx.get('a'), 1)
      await tx.commit()
    })
  })

  describe('transaction()', () => {
    it('commits when its function has returned, and gives what it returned', async () => {
      const db = await openStore()
      assert.equal(await db.transaction(tx => { tx.put('a', 1); return 'sync' }), 'sync')
      assert.equal(await db.transaction(async tx => {
        tx.put('b', tx.get('a') + 1)
        await new Promise(resolve => setImmediate(resolve))
        tx.put('c', 3)
        return tx.attempt
      }), 1)
      assert.deepEqual(db.range().toArray(), [['a', 1], ['b', 2], ['c', 3]])
    })

    it('is rolled back when its function throws', async () => {
      const db = await openStore()
      const mine = new Error('mine')
      let tx
      await assert.rejects(db.transaction(t => { tx = t; t.put('a', 1); throw mine }), mine)
      assert.equal(tx.state, 'rolled back')
      await assert.rejects(db.transaction(async t => { tx = t; t.put('a', 1); await null; throw mine }), mine)
      assert.throws(() => tx.put('a', 1), CLOSED)
      assert.equal(db.size, 0)
    })

    it('lets go of its snapshot when its commit fails', async () => {
      const db = await openStore({ maxValueSize: 100 })
      const { open } = db.stats().snapshots
      for (let i = 0; i < 5; i++) {
        await assert.rejects(db.transaction(tx => { tx.put('a', 1); tx.put('z', 'x'.repeat(101)) }), { code: 'TOON_EVALUETOOBIG' })
        assert.throws(() => db.transactionSync(tx => tx.put('z', 'x'.repeat(101))), { code: 'TOON_EVALUETOOBIG' })
        assert.equal(db.stats().snapshots.open, open)
      }
      // One that fails behind others of its tick takes nothing of theirs with it.
      const fine = db.transaction(tx => tx.put('a', 1))
      await assert.rejects(db.transaction(tx => tx.put('z', 'x'.repeat(101))), { code: 'TOON_EVALUETOOBIG' })
      await fine
      assert.equal(db.get('a'), 1)
      assert.equal(db.stats().snapshots.open, open)
    })

    it('can be ended by its function', async () => {
      const db = await openStore()
      assert.equal(await db.transaction(tx => { tx.put('a', 1); tx.rollback(); return 5 }), 5)
      assert.equal(db.size, 0)
      await db.transaction(async tx => { tx.put('a', 1); await tx.commit() })
      assert.equal(db.get('a'), 1)
    })

    it('tries a sync function again, many at once', async () => {
      const db = await openStore({ durability: 'close' })
      const attempts = []
      await Promise.all(Array.from({ length: 100 }, () => db.transaction(tx => {
        attempts.push(tx.attempt)
        tx.put('n', (tx.get('n') ?? 0) + 1)
      })))
      assert.equal(db.get('n'), 100)
      assert.ok(attempts.length > 100)
      assert.ok(attempts.includes(2))
    })

    it('tries as often as it is told', async () => {
      const db = await openStore()
      const spoil = retries => {
        let attempts = 0
        return db.transaction(tx => {
          attempts++
          tx.put('a', attempts)
          db.putSync('a', 'spoilt')
        }, { retries }).then(assert.fail, err => [err.code, attempts])
      }
      assert.deepEqual(await spoil(undefined), ['TOON_ECONFLICT', 11])
      assert.deepEqual(await spoil(0), ['TOON_ECONFLICT', 1])
      assert.deepEqual(await spoil(2), ['TOON_ECONFLICT', 3])
      let attempts = 0
      const spoilt = async tx => {
        attempts++
        tx.put('a', 1)
        await db.put('a', 'spoilt')
      }
      await assert.rejects(db.transaction(spoilt), CONFLICT)
      assert.equal(attempts, 1, 'an async function once')
      await assert.rejects(db.transaction(spoilt, { retries: 2 }), CONFLICT)
      assert.equal(attempts, 4)
      await db.transaction(async tx => {
        tx.put('a', 'mine')
        if (tx.attempt === 1) await db.put('a', 'spoilt')
      }, { retries: 1 })
      assert.equal(db.get('a'), 'mine')
    })

    it('moves money without making any, under serializable too', async () => {
      const db = await openStore({ durability: 'close' })
      await db.batch(Array.from({ length: 5 }, (_, i) => ({ type: 'put', key: `account/${i}`, value: 100 })))
      await Promise.all(Array.from({ length: 100 }, (_, i) => db.transaction(tx => {
        const [from, to] = [`account/${i % 5}`, `account/${(i * 3 + 1) % 5}`]
        if (from === to) return
        tx.put(from, tx.get(from) - 1)
        tx.put(to, tx.get(to) + 1)
        tx.put('sum', tx.range({ prefix: 'account/' }).toArray().reduce((sum, [, value]) => sum + value, 0))
      }, { isolation: i % 2 ? 'snapshot' : 'serializable' })))
      assert.equal(db.values({ prefix: 'account/' }).toArray().reduce((a, b) => a + b), 500)
      assert.equal(db.get('sum'), 500)
    })

    it('ends in time', async () => {
      const db = await openStore()
      let tx
      await assert.rejects(db.transaction(t => { tx = t; t.put('a', 1); return new Promise(() => {}) }, { timeout: 5 }), { name: 'ToonError', code: 'TOON_ETIMEOUT' })
      assert.equal(tx.state, 'rolled back')
      assert.throws(() => tx.put('a', 1), CLOSED)
      assert.equal(db.size, 0)
      assert.equal(await db.transaction(() => 1, { timeout: 60000 }), 1)
    })

    it('rejects with the reason of its signal', async () => {
      const db = await openStore()
      const reason = new Error('enough')
      await assert.rejects(db.transaction(assert.fail, { signal: AbortSignal.abort(reason) }), reason)
      const control = new AbortController()
      let tx
      const running = db.transaction(t => { tx = t; t.put('a', 1); return new Promise(() => {}) }, { signal: control.signal })
      control.abort(reason)
      await assert.rejects(running, reason)
      assert.equal(tx.state, 'rolled back')
      assert.equal(db.size, 0)
    })

    it('leaves writes of the store outside, and says so once', async () => {
      const db = await openStore()
      await db.close()
      const { stdout, stderr } = run(`
        (async () => {
          const db = await toonstore.open(process.argv[1])
          const mine = new Error('mine')
          for (let i = 0; i < 3; i++) await db.transaction(tx => { db.put('out' + i, 1); tx.put('in', 1); throw mine }).catch(() => {})
          await db.transaction(tx => tx.put('fine', 1))
          await db.sync()
          console.log(db.keys().toArray().join())
          await db.close()
        })()`, { args: [db.path] })
      assert.equal(stdout, 'fine,out0,out1,out2\n')
      assert.equal(stderr.match(/TOON_OUTSIDE/g).length, 1)
    })

    it('refuses wrong arguments', async () => {
      const db = await openStore()
      for (const fn of [undefined, null, 5, {}]) await assert.rejects(db.transaction(fn), TYPE)
      for (const options of [null, 5, { isolation: 'none' }, { retries: '1' }, { timeout: '1' }, { signal: 1 }, { retry: 1 }]) {
        await assert.rejects(db.transaction(() => 1, options), TYPE)
      }
      for (const options of [{ retries: -1 }, { timeout: 0 }, { retries: 0.5 }]) {
        await assert.rejects(db.transaction(() => 1, options), { name: 'RangeError', code: 'TOON_EINVAL' })
      }
      await db.close()
      await assert.rejects(db.transaction(() => 1), CLOSED)
    })
  })

  describe('transactionSync()', () => {
    it('is done when it returns, or has not happened', async () => {
      const db = await openStore()
      assert.equal(db.transactionSync(tx => { tx.put('a', 1); return 'given' }), 'given')
      assert.equal(db.get('a'), 1)
      const mine = new Error('mine')
      assert.throws(() => db.transactionSync(tx => { tx.put('a', 2); throw mine }), mine)
      assert.throws(() => db.transactionSync(async tx => { tx.put('a', 2) }), TYPE)
      assert.throws(() => db.transactionSync(() => 1, { timeout: 5 }), TYPE)
      assert.equal(db.get('a'), 1)
    })

    it('is tried again after a conflict', async () => {
      const db = await openStore()
      let spoil = 2
      const attempt = db.transactionSync(tx => {
        tx.put('a', tx.attempt)
        if (spoil-- > 0) db.putSync('a', 'spoilt')
        return tx.attempt
      })
      assert.deepEqual([attempt, db.get('a')], [3, 3])
      assert.throws(() => db.transactionSync(tx => { tx.put('a', 1); db.putSync('a', 2) }, { retries: 1 }), CONFLICT)
    })
  })

  describe('update', () => {
    it('replaces a value by what is made of it', async () => {
      const db = await openStore()
      assert.equal(await db.update('n', n => (n ?? 0) + 1), 1)
      assert.equal(await db.update('n', async n => n + 1), 2)
      assert.ok(Object.isFrozen(await db.update('o', () => ({ x: 1 }))))
      assert.equal(await db.update('n', () => undefined), undefined)
      assert.equal(db.has('n'), false)
    })

    it('writes the key that it was given, whatever becomes of its bytes', async () => {
      const db = await openStore()
      const key = Buffer.from('k1')
      const update = db.update(key, async n => { await null; return (n ?? 0) + 1 })
      key[1] = 0x32
      await update
      assert.deepEqual(db.range().toArray(), [['k1', 1]])
    })

    it('is tried again with a function that has become async, and waits for others', async () => {
      const db = await openStore({ durability: 'close' })
      const inc = n => (n ?? 0) + 1
      let calls = 0
      const both = Promise.all([db.update('a', inc), db.update('a', n => {
        if (calls++ === 0) return inc(n)
        return (async () => {
          await Promise.all([db.update('b', inc), db.update('b', inc)])
          return inc(n)
        })()
      })])
      await both
      assert.deepEqual(db.range().toArray(), [['a', 2], ['b', 2]])
    })

    it('loses nothing, however many come at once', async () => {
      const db = await openStore({ durability: 'close' })
      await Promise.all(Array.from({ length: 300 }, (_, i) => i % 3 ? db.update('n', n => (n ?? 0) + 1) : db.put(`other ${i}`, i)))
      assert.equal(db.get('n'), 200)
    })

    it('rejects with what the function throws, and with its conflicts', async () => {
      const db = await openStore()
      const mine = new Error('mine')
      await assert.rejects(db.update('a', () => { throw mine }), mine)
      await assert.rejects(db.update('a', async () => { await db.put('a', 1); return 2 }), CONFLICT)
      assert.equal(db.get('a'), 1)
      await assert.rejects(db.update('a', 5), TYPE)
      await assert.rejects(db.update(5, () => 1), TYPE)
      await assert.rejects(db.update('a', () => 1n), TYPE)
      await assert.rejects(db.update('a', () => 1, { timeout: 1 }), TYPE)
    })
  })
})
