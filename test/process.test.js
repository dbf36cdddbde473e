'use strict'
// A store in the life of a process: exits of every sort, garbage collection, worker threads, fork.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { Worker } = require('node:worker_threads')
const { setup, run, start, root } = require('./support')

describe('the end of a process', () => {
  const { folder, openStore } = setup()

  async function read (dir) {
    const db = await openStore({}, dir)
    return new Map(db.range())
  }

  function ends (script, { status = 0, flags, stderr = '' } = {}) {
    const dir = path.join(folder(), 'data')
    const ran = run(script, { args: [dir], flags })
    assert.equal(ran.stderr.replace(/^\(.*ExperimentalWarning.*\n.*\n/, ''), stderr)
    assert.equal(ran.signal, null)
    assert.equal(ran.status, status)
    return { dir, stdout: ran.stdout }
  }

  it('comes by itself although a store is open', async () => {
    const { dir } = ends(`toonstore.open(process.argv[1]).then(db => db.put('a', 1))`)
    assert.deepEqual(await read(dir), new Map([['a', 1]]))
    const db = await openStore({}, dir)
    assert.equal(db.stats().recovery.clean, true, 'and closes it')
  })

  it('waits for writes that were called', async () => {
    const { dir } = ends(`toonstore.open(process.argv[1]).then(db => { for (let i = 0; i < 1000; i++) db.put('k' + i, i) })`)
    assert.equal((await read(dir)).size, 1000)
  })

  it('keeps put(); process.exit()', async () => {
    for (const durability of ['commit', 'interval', 'close']) {
      const { dir } = ends(`toonstore.open(process.argv[1], { durability: '${durability}' }).then(db => {
        db.put('a', 1)
        db.rows.put('row')
        db.batch([{ type: 'put', key: 'b', value: 2 }])
        process.exit(3)
      })`, { status: 3 })
      assert.deepEqual(await read(dir), new Map([['a', 1], ['b', 2]]))
    }
  })

  it('keeps what was called in an exit handler, before and after ours', async () => {
    const { dir } = ends(`
      process.prependListener('exit', () => global.db.put('first', 1))
      process.on('exit', () => { global.db.put('last', 2); global.db.putSync('sync', 3) })
      toonstore.open(process.argv[1]).then(db => { global.db = db; process.exit(0) })`)
    assert.deepEqual(await read(dir), new Map([['first', 1], ['last', 2], ['sync', 3]]))
  })

  it('keeps writes in flight at process.exit()', async () => {
    const { dir } = ends(`toonstore.open(process.argv[1]).then(async db => {
      for (let i = 0; i < 100; i++) db.put('early' + i, i)
      await new Promise(resolve => setImmediate(resolve))
      for (let i = 0; i < 100; i++) db.put('late' + i, i)
      db.getAsync('x')
      db.checkpoint()
      process.exit(0)
    })`)
    assert.equal((await read(dir)).size, 200)
  })

  it('keeps what was called before an uncaught exception', async () => {
    const dir = path.join(folder(), 'data')
    const ran = run(`toonstore.open(process.argv[1]).then(db => { db.put('a', 1); setImmediate(() => { db.put('b', 2); throw new Error('oops') }) })`,
      { args: [dir] })
    assert.equal(ran.status, 1)
    assert.match(ran.stderr, /oops/)
    assert.deepEqual(await read(dir), new Map([['a', 1], ['b', 2]]))
  })

  it('may come while an open, a close, a range or reads are under way', async () => {
    for (const script of [
      `toonstore.open(process.argv[1]); process.exit(0)`,
      `toonstore.open(process.argv[1]).then(db => { db.put('a', 1); db.close(); process.exit(0) })`,
      `toonstore.open(process.argv[1]).then(db => { db.putSync('a', 1); db.range().next(); db.range()[Symbol.asyncIterator]().next(); db.getAsync('a'); process.exit(0) })`,
      `toonstore.open(process.argv[1]).then(db => { db.putSync('a', 1); global.it = db.range(); global.it.next() })`,
      `toonstore.open(process.argv[1]); setTimeout(() => {}, 1)`
    ]) ends(script)
  })

  it('leaves nothing acknowledged behind at SIGKILL', async () => {
    for (const durability of ['commit', 'interval', 'close']) {
      const dir = path.join(folder(), 'data')
      const { child, message } = await start(`
        toonstore.open(process.argv[1], { durability: '${durability}' }).then(async db => {
          for (let i = 0; i < 50; i++) await db.put('k' + i, i)
          process.send('done')
          setInterval(() => {}, 1000)
        })`, [dir])
      assert.equal(message, 'done')
      child.kill('SIGKILL')
      await new Promise(resolve => child.on('exit', resolve))
      const db = await openStore({ durability }, dir)
      assert.equal(db.size, 50)
      await db.close()
    }
  })

  it('closes a store that was collected, and lets it be opened by others', async () => {
    const { stdout, dir } = ends(`
      (async () => {
        const registry = new FinalizationRegistry(() => { global.collected = true })
        await (async () => {
          const db = await toonstore.open(process.argv[1])
          registry.register(db, 1)
          db.put('a', 1)
          db.range().next()
          db.rows.put('r')
        })()
        for (let i = 0; i < 100 && !global.collected; i++) {
          global.gc()
          await new Promise(resolve => setTimeout(resolve, 5))
        }
        const { spawnSync } = require('node:child_process')
        const code = 'require(' + JSON.stringify(${JSON.stringify(root)}) + ').open(process.argv[1]).then(db => console.log("size", db.size), err => console.log(err.code))'
        let other
        for (let i = 0; i < 50; i++) {
          other = spawnSync(process.execPath, ['-e', code, process.argv[1]], { encoding: 'utf8' }).stdout
          if (!/ELOCKED/.test(other)) break
          global.gc()
          await new Promise(resolve => setTimeout(resolve, 20))
        }
        console.log(global.collected, other.trim())
      })()`, { flags: ['--expose-gc'] })
    assert.equal(stdout, 'true size 1\n')
    assert.equal((await read(dir)).get('a'), 1)
  })

  it('does not collect a store that a range, its rows or a write still needs', async () => {
    const { stdout } = ends(`
      (async () => {
        const tick = async () => { for (let i = 0; i < 5; i++) { global.gc(); await new Promise(resolve => setTimeout(resolve, 2)) } }
        const { rows, range, values } = await (async () => {
          const db = await toonstore.open(process.argv[1])
          await db.batch(Array.from({ length: 100 }, (_, i) => ({ type: 'put', key: 'k' + i, value: i })))
          return { rows: db.rows, range: db.range(), values: db.values()[Symbol.asyncIterator]() }
        })()
        await tick()
        console.log(range.next().value[0], (await values.next()).value, await rows.put('r'))
        await tick()
        console.log(range.toArray().length, rows.length)
      })()`, { flags: ['--expose-gc'] })
    assert.equal(stdout, 'k0 0 0\n99 1\n')
  })

  it('releases ranges that were dropped before their end', async () => {
    ends(`
      (async () => {
        const db = await toonstore.open(process.argv[1], { durability: 'close' })
        await db.batch(Array.from({ length: 100 }, (_, i) => ({ type: 'put', key: 'k' + i, value: i })))
        for (let i = 0; i < 200000; i++) {
          db.range().next() // more than fit the table of open ranges
          if (i % 10000 === 0) { global.gc(); await new Promise(resolve => setTimeout(resolve, 1)) }
        }
        await db.close()
      })()`, { flags: ['--expose-gc'] })
  })
})

describe('worker threads', () => {
  const { folder, openStore } = setup()

  function worker (dir, body, workerData) {
    return new Worker(`
      const { parentPort, workerData } = require('node:worker_threads')
      const { ToonStore } = require(${JSON.stringify(root)})
      ;(async () => {
        const db = await ToonStore.open(${JSON.stringify(dir)}, { durability: 'close' })
        ${body}
      })()`, { eval: true, workerData })
  }
  const ended = thread => new Promise((resolve, reject) => thread.once('exit', resolve).once('error', reject))

  it('share a store with the main thread', async () => {
    const db = await openStore({ durability: 'close' })
    const threads = [0, 1, 2].map(n => worker(db.path, `
      for (let i = 0; i < 200; i++) await db.put('w' + workerData + '-' + i, i)
      await db.close()`, n))
    for (let i = 0; i < 200; i++) await db.put(`main-${i}`, i)
    await Promise.all(threads.map(ended))
    assert.equal(db.size, 800)
    for (let n = 0; n < 3; n++) assert.equal(db.get(`w${n}-199`), 199)
  })

  it('see a write of another thread as soon as it has resolved', async () => {
    const db = await openStore({ durability: 'close' })
    const thread = worker(db.path, `
      parentPort.on('message', key => parentPort.postMessage(db.get(key)))
      parentPort.postMessage('ready')`)
    const answer = () => new Promise(resolve => thread.once('message', resolve))
    assert.equal(await answer(), 'ready')
    for (let i = 0; i < 100; i++) {
      await db.put('k', i)
      const reply = answer()
      thread.postMessage('k')
      assert.equal(await reply, i)
    }
    await thread.terminate()
  })

  it('may be terminated at any moment', async () => {
    const db = await openStore({ durability: 'close' })
    for (let round = 0; round < 12; round++) {
      const thread = worker(db.path, `
        parentPort.postMessage('ready')
        for (let i = 0; ; i++) {
          db.put('w', i)
          db.getAsync('w')
          db.rows.put('r')
          db.range()[Symbol.asyncIterator]().next()
          if (i % 7 === 0) db.checkpoint().catch(() => {})
          if (i % 10 === 0) await db.batch([{ type: 'put', key: 'x', value: i }, { type: 'put', key: 'y', value: i }])
        }`)
      await new Promise(resolve => thread.once('message', resolve))
      await new Promise(resolve => setTimeout(resolve, round * 3))
      await thread.terminate()
      assert.equal(db.get('x'), db.get('y'))
      await db.put(`round ${round}`, 1)
    }
    assert.equal(db.count({ prefix: 'round' }), 12)
    await db.close()
    const again = await openStore({}, db.path)
    assert.equal(again.count({ prefix: 'round' }), 12)
  })

  it('may be terminated while the addon is loaded, and while a store or a server is opened', async function () {
    this.timeout(60000)
    const ran = run(`
      const { Worker } = require('node:worker_threads')
      const root = ${JSON.stringify(JSON.stringify(root))}
      const load = 'require("node:worker_threads").parentPort.postMessage(1); require(' + root + ')'
      const loop = 'const { open } = require(' + root + '); require("node:worker_threads").parentPort.postMessage(1); ' +
        '(async () => { for (;;) { const db = await open(process.argv[2]); await db.listen({ port: 0 }); await db.close() } })()'
      ;(async () => {
        for (let round = 0; round < 50; round++) {
          const thread = new Worker(round % 2 ? load : loop, { eval: true, argv: [process.argv[1]] })
          await new Promise(resolve => thread.once('message', resolve))
          const until = performance.now() + round % 10
          while (performance.now() < until);
          await thread.terminate()
        }
        console.log('alive')
      })()`, { args: [path.join(folder(), 'data')] })
    assert.equal(ran.stderr, '')
    assert.equal(ran.stdout, 'alive\n')
    assert.equal(ran.status, 0)
  })

  it('may be the last to leave: an open store is closed with its thread', async () => {
    const db = await openStore()
    await db.close()
    const thread = worker(db.path, `await db.put('a', 1); db.put('b', 2); process.exit()`)
    await ended(thread)
    const again = await openStore({}, db.path)
    assert.equal(again.get('a'), 1)
    assert.equal(again.get('b'), 2)
    assert.equal(again.stats().recovery.clean, true)
  })

  it('load and leave one after the other', async () => {
    const db = await openStore({ durability: 'close' })
    for (let i = 0; i < 10; i++) await ended(worker(db.path, `await db.put('k', ${i})`))
    assert.equal(db.get('k'), 9)
  })
})

describe('a forked process', () => {
  const { folder } = setup()

  // On Linux, V8 keeps its heap from forked children (MADV_DONTFORK), so that no JavaScript runs there at all; then what is
  // left to see is that the parent's store does not suffer.
  it('may not use the stores of its parent, and does them no harm', function () {
    if (process.platform === 'win32') this.skip()
    // A tiny addon of its own: forkAnd(fn) calls fn in a child made by fork(2) and gives the child's exit status.
    const dir = folder()
    const source = path.join(dir, 'fork.c')
    const addon = path.join(dir, 'fork.node')
    fs.writeFileSync(source, `
      #include <stddef.h>
      #include <unistd.h>
      #include <sys/wait.h>
      typedef struct e *env; typedef struct v *value; typedef struct i *info;
      int napi_get_cb_info(env, info, size_t *, value *, value *, void **);
      int napi_get_undefined(env, value *);
      int napi_call_function(env, value, value, size_t, const value *, value *);
      int napi_get_value_int32(env, value, int *);
      int napi_create_int32(env, int, value *);
      int napi_create_function(env, const char *, size_t, value (*)(env, info), void *, value *);
      static value fork_and(env e, info i) {
        size_t argc = 1; value fn, self, out; int code = 99, status = 0;
        napi_get_cb_info(e, i, &argc, &fn, &self, NULL);
        napi_get_undefined(e, &self);
        pid_t pid = fork();
        if (pid == 0) {
          alarm(20);
          if (napi_call_function(e, self, fn, 0, NULL, &out) == 0) napi_get_value_int32(e, out, &code);
          _exit(code);
        }
        waitpid(pid, &status, 0);
        napi_create_int32(e, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), &out);
        return out;
      }
      __attribute__((visibility("default"))) value napi_register_module_v1(env e, value exports) {
        napi_create_function(e, "fork", (size_t)-1, fork_and, NULL, &exports);
        return exports;
      }`)
    const flags = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []
    const compiled = spawnSync(process.env.CC || 'cc', ['-shared', '-fPIC', ...flags, source, '-o', addon], { encoding: 'utf8' })
    assert.equal(compiled.status, 0, compiled.stderr)
    const { stdout, stderr, status } = run(`
      (async () => {
        const forkAnd = require(process.argv[1])
        const db = await toonstore.open(process.argv[2])
        await db.put('a', 1)
        const range = db.range()
        const runs = forkAnd(() => 7) === 7
        const code = forkAnd(() => {
          const codes = []
          for (const use of [
            () => db.get('a'), () => db.has('a'), () => db.putSync('a', 2), () => db.size, () => range.next(), () => db.range(), () => db.stats(),
            () => db.rows.get(0), () => db.getMany(['a', 'b'])
          ]) {
            try { use(); codes.push('none') } catch (err) { codes.push(/fork/.test(err.message) && err.code) }
          }
          db.put('b', 1).catch(() => {})
          return codes.every(code => code === 'TOON_ECLOSED') ? 7 : 1
        })
        await db.put('c', db.get('a'))
        console.log(runs ? code : 7, range.toArray().length, db.get('c'))
        await db.close()
      })()`, { args: [addon, path.join(dir, 'data')] })
    assert.equal(stderr, '')
    assert.equal(stdout, '7 1 1\n')
    assert.equal(status, 0)
  })
})
