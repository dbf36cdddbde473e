'use strict'
// Bad input: every wrong argument, option, directory and file has an error of its own, and nothing is written or lost.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { open, ToonStore, ToonCache, ToonError, encode, decode } = require('..')
const { setup, run, start } = require('./support')

const TYPE = { name: 'TypeError', code: 'TOON_EINVAL' }
const RANGE = { name: 'RangeError', code: 'TOON_EINVAL' }

describe('wrong arguments', () => {
  let db
  afterEach('nothing was written', () => assert.deepEqual(db.range().toArray(), [['kept', 'as it was']]))
  const { openStore } = setup()
  beforeEach(async () => {
    db = await openStore()
    await db.put('kept', 'as it was')
  })

  it('a number as key names rows and String(id)', async () => {
    const numbered = err => err instanceof TypeError && err.code === 'TOON_EINVAL' && /rows/.test(err.message) && /String\(id\)/.test(err.message)
    for (const key of [0, 1, -1, NaN]) {
      for (const method of ['get', 'has', 'getEntry', 'getText', 'getBuffer', 'deleteSync']) assert.throws(() => db[method](key), numbered)
      for (const method of ['delete', 'getAsync']) await assert.rejects(db[method](key), numbered)
      await assert.rejects(db.put(key, 1), numbered)
      await assert.rejects(db.batch([{ type: 'del', key }]), numbered)
      assert.throws(() => db.putSync(key, 1), numbered)
      assert.throws(() => db.getMany(['a', key]), numbered)
      assert.throws(() => db.hasMany([key]), numbered)
    }
  })

  it('keys that are neither strings nor bytes', async () => {
    const keys = [null, undefined, true, 1n, {}, [], ['a'], () => 1, Symbol('a'), new Uint16Array(2), new ArrayBuffer(2), new DataView(new ArrayBuffer(2)), new String('a')]
    for (const key of keys) {
      for (const method of ['get', 'has', 'getEntry', 'getText', 'getBuffer', 'deleteSync']) assert.throws(() => db[method](key), TYPE)
      for (const method of ['delete', 'getAsync']) await assert.rejects(db[method](key), TYPE)
      await assert.rejects(db.put(key, 1), TYPE)
      assert.throws(() => db.putSync(key, 1), TYPE)
      assert.throws(() => db.getMany([key]), TYPE)
    }
    for (const list of ['a', null, undefined, 5, {}, new Set(['a'])]) {
      assert.throws(() => db.getMany(list), TYPE)
      assert.throws(() => db.hasMany(list), TYPE)
    }
  })

  it('bytes that are gone', async () => {
    const detached = new Uint8Array([1, 2, 3])
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    const shrunk = new ArrayBuffer(8, { maxByteLength: 16 })
    const outside = new Uint8Array(shrunk, 4, 4)
    shrunk.resize(4)
    for (const bytes of [detached, outside]) {
      for (const method of ['get', 'has', 'getEntry', 'getText', 'getBuffer', 'deleteSync']) assert.throws(() => db[method](bytes), TYPE)
      for (const method of ['delete', 'getAsync']) await assert.rejects(db[method](bytes), TYPE)
      await assert.rejects(db.put(bytes, 5), TYPE)
      await assert.rejects(db.put('a', bytes), TYPE)
      await assert.rejects(db.rows.put(bytes), TYPE)
      await assert.rejects(db.batch([{ type: 'put', key: 'a', value: bytes }]), TYPE)
      await assert.rejects(db.transaction(tx => tx.put('a', bytes)), TYPE)
      await assert.rejects(db.update(bytes, () => 1), TYPE)
      assert.throws(() => db.putSync('a', bytes), TYPE)
      assert.throws(() => db.getMany([bytes]), TYPE)
      assert.throws(() => db.range({ gte: bytes }), TYPE)
      assert.throws(() => encode(bytes), TYPE)
    }
    assert.equal(encode(new Uint8Array(new ArrayBuffer(0, { maxByteLength: 1 }))), 'base64:')
  })

  it('lone surrogates in keys and values', async () => {
    for (const text of ['\ud800', 'a\udfffb', '\udc00\ud800', 'x'.repeat(5000) + '\ud83d']) {
      if (text.length < 4097) {
        assert.throws(() => db.get(text), { code: 'TOON_EINVAL' })
        await assert.rejects(db.put(text, 1), { code: 'TOON_EINVAL' })
        await assert.rejects(db.getAsync(text), { code: 'TOON_EINVAL' })
        await assert.rejects(db.delete(text), { code: 'TOON_EINVAL' })
      }
      for (const value of [text, [text], { a: { b: text } }, { [text]: 1 }, '\\' + text, { a: '\\\\' + text }]) {
        await assert.rejects(db.put('a', value), { code: 'TOON_EINVAL' }, JSON.stringify(value))
        assert.throws(() => db.putSync('a', value), { code: 'TOON_EINVAL' })
        await assert.rejects(db.rows.put(value), { code: 'TOON_EINVAL' })
      }
    }
    await db.put('pairs', ['\ud83d\ude00', '\\ud800', '\\\\ud800', '\\u d800'])
    assert.deepEqual(db.get('pairs'), ['😀', '\\ud800', '\\\\ud800', '\\u d800'])
    await db.delete('pairs')
  })

  it('values that have no JSON form', async () => {
    const cyclic = { list: [] }
    cyclic.list.push(cyclic)
    let deep = []
    for (let i = 0; i < 1e5; i++) deep = [deep]
    const values = [
      undefined, NaN, Infinity, -Infinity, 1n, () => 1, Symbol('a'), cyclic, { a: 1n }, { toJSON: () => undefined }, { toJSON: () => 1n }, deep,
      new ArrayBuffer(2), new Uint16Array(2), new DataView(new ArrayBuffer(2)), new SharedArrayBuffer(2)
    ]
    for (const value of values) {
      await assert.rejects(db.put('a', value), TYPE)
      assert.throws(() => db.putSync('a', value), TYPE)
      await assert.rejects(db.rows.put(value), TYPE)
    }
  })

  it('values nested deeper than the codec goes', async () => {
    let deep = []
    for (let i = 0; i < 2500; i++) deep = [deep]
    await assert.rejects(db.put('a', deep), ToonError)
  })

  it('put with one argument names rows.put', async () => {
    const named = err => err instanceof TypeError && err.code === 'TOON_EINVAL' && /rows\.put/.test(err.message)
    await assert.rejects(db.put('value'), named)
    await assert.rejects(db.put({ a: 1 }), named)
    assert.throws(() => db.putSync('value'), named)
  })

  it('wrong options of put', async () => {
    for (const options of [null, 5, 'x', [], { ttl: '5' }, { ttl: null }, { expiresAt: new Date() }, { ifAbsent: 1 }, { ifVersion: '1' }, { expires: 1 }, { ttl: 5, expiresAt: 5 }]) {
      await assert.rejects(db.put('a', 1, options), TYPE, JSON.stringify(options))
      assert.throws(() => db.putSync('a', 1, options), TYPE)
    }
    for (const options of [{ ttl: 0 }, { ttl: -1 }, { ttl: 0.5 }, { ttl: NaN }, { ttl: 1e16 }, { expiresAt: 0 }, { expiresAt: Infinity }, { ifVersion: -1 }, { ifVersion: 1, ifAbsent: true }]) {
      await assert.rejects(db.put('a', 1, options), RANGE, JSON.stringify(options))
    }
  })

  it('wrong options of reads', () => {
    for (const options of [null, 5, 'x', { mutable: 1 }]) {
      assert.throws(() => db.get('kept2', options), TYPE)
      assert.throws(() => db.getMany(['a'], options), TYPE)
      assert.throws(() => db.getEntry('a', options), TYPE)
    }
  })

  it('values larger than maxValueSize, whose memory is not kept', () => {
    const { stdout, stderr } = run(`
      const rss = async () => {
        for (let i = 0; i < 3; i++) {
          await new Promise(resolve => setImmediate(resolve))
          gc()
        }
        return process.memoryUsage().rss
      }
      const refused = async (db, make) => { await db.put('a', make('x'.repeat(60e6))).catch(err => console.log(err.code)) }
      toonstore.open(process.argv[1]).then(async db => {
        const before = await rss()
        await refused(db, text => text)
        await refused(db, text => ({ text }))
        const grown = await rss() - before
        if (grown > 60e6) console.log(grown)
        await db.close()
      })`, { flags: ['--expose-gc'], args: [path.join(db.path, 'other')] })
    assert.equal(stderr, '')
    assert.equal(stdout, 'TOON_EVALUETOOBIG\nTOON_EVALUETOOBIG\n')
  })

  it('values larger than maxValueSize, alone among their neighbours', async () => {
    const small = await openStore({ maxValueSize: 1000 })
    const big = ['x'.repeat(1001), 'ж'.repeat(501), Buffer.alloc(800), Array(600).fill(1), { a: 'x'.repeat(1000) }, 'x'.repeat(1e6)]
    for (const value of big) {
      const results = await Promise.allSettled([small.put('before', 1), small.put('big', value), small.put('after', 2)])
      assert.deepEqual(results.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled'])
      const err = results[1].reason
      assert.ok(err instanceof ToonError && err.code === 'TOON_EVALUETOOBIG' && err.key === 'big' && /maxValueSize/.test(err.message))
      assert.throws(() => small.putSync('big', value), { code: 'TOON_EVALUETOOBIG', key: 'big' })
      await assert.rejects(small.batch([{ type: 'put', key: 'x', value: 1 }, { type: 'put', key: 'big', value }]), { code: 'TOON_EVALUETOOBIG' })
    }
    assert.deepEqual(small.keys().toArray(), ['after', 'before'])
    await small.put('fits', 'x'.repeat(900))
  })

  it('a full store refuses puts, allows deletes and takes puts again', async () => {
    const small = await openStore({ maxDbSize: 100000, durability: 'close' })
    let n = 0
    const value = 'x'.repeat(1000)
    await assert.rejects(async () => { for (; n < 1000; n++) await small.put(`k${n}`, value) }, { code: 'TOON_EDBFULL' })
    assert.ok(n > 50 && n < 110, `${n} rows`)
    for (let i = 0; i < n; i++) assert.equal(await small.delete(`k${i}`), true)
    await small.put('again', value)
  })

  it('encode and decode', () => {
    for (const options of [null, 5, { delimiter: ';' }, { delimiter: null }, { indentSize: '2' }, { indent: '2' }, { indents: 2 }, { replacer: {} }]) assert.throws(() => encode(1, options), TYPE)
    for (const options of [null, 5, { strict: 1 }, { delimiter: ',' }]) assert.throws(() => decode('1', options), TYPE)
    for (const indentSize of [0, 17, 1.5]) {
      assert.throws(() => encode(1, { indentSize }), RANGE)
      assert.throws(() => decode('1', { indentSize }), RANGE)
    }
    for (const text of [null, undefined, 5, {}, Buffer.from('a')]) assert.throws(() => decode(text), TYPE)
    assert.throws(() => encode({ a: 1n }), TYPE)
    assert.throws(() => encode('\ud800'), { code: 'TOON_EINVAL' })
    assert.throws(() => decode('a: "x'), err => err instanceof ToonError && err.code === 'TOON_ESYNTAX' && err.line === 1 && err.column > 1)
    assert.throws(() => decode('ok: 1\nlist[2]: 1'), err => err.code === 'TOON_ESYNTAX' && err.line === 2)
  })
})

describe('wrong options and locations of open', () => {
  const { folder } = setup()

  it('are refused before anything is made', async () => {
    const dir = path.join(folder(), 'data')
    const wrong = [
      [null, TYPE], [5, TYPE], ['x', TYPE], [[], TYPE],
      [{ createIfMising: true }, TYPE], [{ path: 'x' }, TYPE],
      [{ durability: 'never' }, TYPE], [{ durability: 1 }, TYPE], [{ durability: null }, TYPE],
      [{ syncInterval: 0 }, RANGE], [{ syncInterval: 3600001 }, RANGE], [{ syncInterval: '5' }, TYPE],
      [{ maxValueSize: 0 }, RANGE], [{ maxValueSize: 2 ** 30 + 1 }, RANGE], [{ maxValueSize: 1n }, TYPE],
      [{ maxDbSize: 0 }, RANGE], [{ maxDbSize: 1.5 }, RANGE], [{ maxDbSize: Infinity }, RANGE],
      [{ maxTxnSize: 0 }, RANGE], [{ segmentSize: 4095 }, RANGE], [{ segmentSize: 2 ** 30 + 1 }, RANGE], [{ checkpointBytes: 1 }, RANGE],
      [{ ttl: -1 }, RANGE], [{ ttl: NaN }, RANGE], [{ readOnly: 1 }, TYPE], [{ repair: 'yes' }, TYPE], [{ createIfMissing: 0 }, TYPE],
      [{ errorIfExists: null }, TYPE], [{ signal: {} }, TYPE], [{ signal: new EventTarget() }, TYPE]
    ]
    for (const [options, expected] of wrong) {
      await assert.rejects(open(dir, options), expected, JSON.stringify(options, (_, v) => typeof v === 'bigint' ? `${v}n` : v))
      await assert.rejects(ToonStore.open(dir, options), expected)
      if (typeof options === 'object') await assert.rejects(ToonCache.open(dir, 5, options), expected)
    }
    await assert.rejects(open(dir, { capacity: -1 }), RANGE)
    await assert.rejects(open(dir, { capacity: '5' }), TYPE)
    await assert.rejects(open(dir, { cacheBytes: 0.5 }), RANGE)
    await assert.rejects(ToonCache.open(dir, 0.5), RANGE)
    await assert.rejects(ToonCache.open(dir, '5'), TYPE)
    await assert.rejects(ToonStore.open(dir, { capacity: 5 }), TYPE)
    await assert.rejects(open(`file://${dir}?capacity=5`, { capacity: 5 }), TYPE)
    assert.equal(fs.existsSync(dir), false)
  })

  it('leave nothing open when the object cannot be made', async () => {
    const dir = path.join(folder(), 'data')
    const mine = new Error('mine')
    class Early extends ToonStore { constructor (...args) { throw mine; super(...args) } } // eslint-disable-line no-unreachable
    class Late extends ToonCache { constructor (...args) { super(...args); throw mine } }
    await assert.rejects(Early.open(dir), mine)
    await assert.rejects(Late.open(dir), mine)
    const { open: bare } = ToonStore
    const { open: cached } = ToonCache
    for (const call of [bare, cached, location => bare.call(class {}, location)]) {
      await assert.rejects(async () => call(dir), { ...TYPE, message: /ToonStore\.open\(\)/ })
    }
    const ran = run(`toonstore.open(process.argv[1]).then(db => db.close()).then(() => console.log('free'), err => console.log(err.code))`, { args: [dir] })
    assert.equal(ran.stdout, 'free\n')
  })

  it('are refused for every location that is none', async () => {
    for (const location of [
      undefined, null, 5, {}, Buffer.from('x'), '', 'file://', 'file://?capacity=5', 'file:', 'file:x', 'FILE:./x', 'a\0b', 'http://x/y', 'redis://127.0.0.1:6379', new URL('http://x/y'),
      'file://./x?size=5', 'file://./x?capacity=', 'file://./x?capacity=-5', 'file://./x?capacity=1.5', 'file://./x?capacity=1&capacity=2', 'file://./x#y',
      'file://./%zz', 'file://./%00', new URL('file:///x?size=5'), new URL('file:///x#y'), new URL('file://host/x')
    ]) {
      await assert.rejects(open(location), TYPE, String(location))
      await assert.rejects(ToonStore.open(location), TYPE)
    }
  })
})

describe('wrong directories and files', () => {
  const { folder, openStore } = setup()

  async function filled (options) {
    const db = await openStore(options)
    for (let i = 0; i < 100; i++) await db.put(`key ${i}`, { i, text: 'x'.repeat(100) })
    await db.close()
    return db.path
  }
  function flip (file, at, bit = 1) {
    const bytes = fs.readFileSync(file)
    bytes[at < 0 ? bytes.length + at : at] ^= bit
    fs.writeFileSync(file, bytes)
  }
  async function checkAll (dir) {
    const db = await openStore({}, dir)
    assert.equal(db.size, 100)
    for (let i = 0; i < 100; i++) assert.equal(db.get(`key ${i}`).i, i)
    const { recovery } = db.stats()
    await db.put('more', 1)
    await db.delete('more')
    await db.close()
    return recovery
  }

  it('a directory that is a file', async () => {
    const file = path.join(folder(), 'file')
    fs.writeFileSync(file, 'mine')
    for (const place of [file, path.join(file, 'below')]) {
      await assert.rejects(open(place), { name: 'ToonError', code: 'TOON_EINVAL', path: place, message: /is a file/ })
    }
    assert.equal(fs.readFileSync(file, 'utf8'), 'mine')
  })

  it('a directory that may not be written', async function () {
    if (process.platform === 'win32') this.skip()
    const dir = await filled()
    fs.chmodSync(dir, 0o555)
    for (const name of fs.readdirSync(dir)) fs.chmodSync(path.join(dir, name), 0o444)
    fs.chmodSync(path.dirname(dir), 0o755)
    const { status, stdout, stderr } = run(`
      if (process.getuid() === 0) process.setuid(65534)
      ;(async () => {
        const err = await toonstore.open(process.argv[1]).catch(err => err)
        console.log(err.code, err.errno, err.syscall !== undefined, err.path.startsWith(process.argv[1]))
        const db = await toonstore.open(process.argv[1], { readOnly: true })
        console.log(db.size)
        await db.close()
      })()`, { args: [dir], cwd: '/' })
    fs.chmodSync(dir, 0o755)
    if (/Cannot find module|EACCES.*node_modules/.test(stderr)) this.skip() // the project itself is not readable for others
    assert.equal(stderr, '')
    assert.equal(stdout, 'TOON_EIO -13 true true\n100\n')
    assert.equal(status, 0)
  })

  it('a directory locked by another process', async () => {
    const dir = await filled()
    const { child, message } = await start(`
      (async () => {
        const db = await toonstore.open(process.argv[1])
        await db.put('child', 1)
        process.send('open')
      })()`, [dir])
    assert.equal(message, 'open')
    await assert.rejects(open(dir), err => err instanceof ToonError && err.code === 'TOON_ELOCKED' && /readOnly/.test(err.message))
    const reader = await openStore({ readOnly: true }, dir)
    assert.equal(reader.get('key 5').i, 5)
    await reader.close()
    child.kill('SIGKILL')
    await new Promise(resolve => child.on('exit', resolve))
    const db = await openStore({}, dir)
    assert.equal(db.get('child'), 1)
    await db.close()
  })

  it('a file of a newer format, or of no format', async () => {
    const newer = await filled()
    flip(path.join(newer, 'db.toon'), 8, 7)
    await assert.rejects(open(newer), { name: 'ToonError', code: 'TOON_EFORMAT', path: path.join(newer, 'db.toon') })
    const other = folder()
    fs.writeFileSync(path.join(other, 'db.toon'), 'this is not a store, but it is long enough to be one')
    await assert.rejects(open(other), err => ['TOON_EFORMAT', 'TOON_ECORRUPT'].includes(err.code) && err.path === path.join(other, 'db.toon'))
    assert.match(fs.readFileSync(path.join(other, 'db.toon'), 'utf8'), /^this is not a store/)
  })

  it('a damaged row is an error with file and offset, and its neighbours are read', async () => {
    const dir = await filled()
    const file = path.join(dir, 'db.toon')
    const at = fs.readFileSync(file).indexOf('"key 50":') + 30
    flip(file, at)
    const db = await openStore({}, dir)
    const corrupt = err => err instanceof ToonError && err.code === 'TOON_ECORRUPT' && err.path === file && err.offset > 16 && err.offset <= at
    assert.throws(() => db.get('key 50'), corrupt)
    await assert.rejects(db.getAsync('key 50'), corrupt)
    assert.throws(() => db.getMany(['key 49', 'key 50']), corrupt)
    assert.throws(() => db.range().toArray(), corrupt)
    await assert.rejects(async () => { for await (const row of db.range()) assert.ok(row) }, corrupt)
    assert.equal(db.get('key 49').i, 49)
    assert.equal(db.get('key 51').i, 51)
    await db.put('key 50', 'repaired')
    assert.equal(db.get('key 50'), 'repaired')
    await db.close()
  })

  it('a closed log that was cut is an error with file and offset', async () => {
    const dir = await filled()
    const file = path.join(dir, 'db.toon')
    const size = fs.statSync(file).size
    fs.truncateSync(file, size - 300)
    await assert.rejects(open(dir), err => err instanceof ToonError && err.code === 'TOON_ECORRUPT' && err.path === file && err.offset <= size)
    const db = await openStore({ repair: true }, dir)
    assert.ok(db.size < 100 && db.size > 90)
    assert.ok(db.stats().recovery.cutBytes >= 0)
    await db.close()
    await openStore({}, dir)
  })

  it('a manifest that is damaged, cut or gone is made again from the log', async () => {
    for (const harm of [file => flip(file, 30), file => flip(file, -3), file => fs.truncateSync(file, 40), file => fs.truncateSync(file, 0), fs.unlinkSync]) {
      const dir = await filled()
      harm(path.join(dir, 'metadata.toon'))
      const recovery = await checkAll(dir)
      assert.equal(recovery.rebuilt, true)
    }
  })

  it('a run that is damaged, cut or gone is made again from the log, or reported', async () => {
    for (const harm of [file => flip(file, 30), file => flip(file, -3), file => fs.truncateSync(file, 40), file => fs.truncateSync(file, 0), fs.unlinkSync]) {
      const dir = await filled()
      const indexed = fs.readdirSync(dir).find(file => file.includes('.idx-'))
      harm(path.join(dir, indexed))
      try {
        await checkAll(dir)
      } catch (err) {
        assert.equal(err.code, 'TOON_ECORRUPT', err.stack)
        assert.equal(err.path, path.join(dir, indexed))
      }
      await checkAll(dir)
    }
  })

  it('a torn end of the log is cut off and told', async () => {
    const db = await openStore({ durability: 'close' })
    await db.close()
    const { child } = await start(`
      (async () => {
        const db = await toonstore.ToonStore.open(process.argv[1], { durability: 'close' })
        for (let i = 0; i < 100; i++) await db.put('key ' + i, { i })
        process.send('written')
      })()`, [db.path])
    child.kill('SIGKILL')
    await new Promise(resolve => child.on('exit', resolve))
    const file = path.join(db.path, 'db.toon')
    const bytes = fs.readFileSync(file)
    const end = bytes.lastIndexOf('# commit')
    fs.truncateSync(file, end + 5)
    const again = await openStore({}, db.path)
    const { recovery } = again.stats()
    assert.equal(again.size, 99)
    assert.ok(recovery.cutBytes > 0)
    assert.equal(recovery.cutFile, 'db.toon')
  })
})
