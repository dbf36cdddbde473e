'use strict'
// The server of the Redis protocol under attack: mutated bytes, SIGKILL under load, a disk that is full.
const assert = require('node:assert')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const { once } = require('node:events')
const { spawn, spawnSync } = require('node:child_process')
const { setup, root } = require('./support')
const { Client, encode } = require('./resp-client')

// Numbers from 0 to n - 1, the same in every run.
function dice (seed) {
  let state = seed
  return n => {
    state = (state * 1103515245 + 12345) % 2147483648
    return Math.floor(state / 2147483648 * n)
  }
}

describe('the server under attack', function () {
  const children = []
  const mounts = []
  afterEach(async () => {
    const left = children.splice(0)
    for (const child of left) child.kill('SIGKILL')
    await Promise.all(left.map(child => child.exitCode ?? child.signalCode ?? once(child, 'exit')))
    for (const dir of mounts.splice(0)) spawnSync('umount', ['-l', dir])
  })
  const { openStore, folder } = setup() // its folders go after what is mounted there

  async function tstd (data, { durability = 'commit', limit } = {}) {
    const args = [path.join(root, 'lib', 'cli', 'tstd.js'), '--data', data, '--bind', '127.0.0.1:0', '--durability', durability]
    const child = limit === undefined
      ? spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      : spawn('sh', ['-c', `trap '' XFSZ; ulimit -f ${limit}; exec "$@"`, 'sh', process.execPath, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    let text = ''
    for await (const chunk of child.stdout) {
      text += chunk
      const port = /redis:\/\/127\.0\.0\.1:(\d+)/.exec(text)
      if (port) return { child, port: Number(port[1]) }
    }
    throw new Error(`tstd has ended: ${text}`)
  }

  it('answers on, whatever bytes come', async () => {
    const roll = dice(20261121)
    const db = await openStore({ durability: 'close' })
    const server = await db.listen({ port: 0 })
    const words = ['GET', 'SET', 'INCR', 'MGET', 'MSET', 'DEL', 'APPEND', 'EXPIRE', 'SCAN', 'HELLO', 'CLIENT', 'LIST', 'INFO', 'CONFIG', 'COMMAND', 'DOCS', 'MULTI', 'EXEC', 'WATCH', 'HSET',
      'HGETALL', 'KEYS', 'SUBSCRIBE', 'PSUBSCRIBE', 'PUBLISH', 'JSON.SET', 'JSON.GET', 'TOON.GET', 'TOON.SET', 'TOON.RANGE', 'RESET', 'MONITOR', 'OBJECT', 'MEMORY', 'USAGE', 'LCS', 'COPY', 'RENAME', 'SORT',
      'a', 'b', 'c', '*', '[a', '0', '-1', '9223372036854775807', 'EX', 'NX', 'MATCH', 'COUNT', '$.a[0]', 'x: 1', '', '\0\xff', '\r\n']
    const check = new Client(server.port)
    for (let round = 0; round < 300; round++) {
      const commands = Array.from({ length: 1 + roll(6) }, () => encode(Array.from({ length: 1 + roll(5) }, (_, i) => i === 0 && roll(10) ? words[roll(39)] : words[roll(words.length)])))
      const bytes = [...Buffer.concat(commands)]
      for (let n = roll(5); n > 0; n--) {
        const at = roll(bytes.length)
        const kind = roll(4)
        if (kind === 0) bytes[at] = roll(256)
        else if (kind === 1) bytes.splice(at, 0, ...Array.from({ length: 1 + roll(4) }, () => roll(2) ? 48 + roll(10) : '*$\r\n"\'\0'.charCodeAt(roll(7))))
        else if (kind === 2) bytes.splice(at, 1 + roll(3))
        else bytes.length = Math.max(1, at)
      }
      const socket = net.connect(server.port, '127.0.0.1')
      socket.on('error', () => {}).resume()
      const cut = roll(bytes.length)
      socket.write(Buffer.from(bytes.slice(0, cut)))
      await new Promise(resolve => socket.end(Buffer.from(bytes.slice(cut)), resolve))
      if (roll(3) === 0) socket.resetAndDestroy()
      if (round % 10 === 0) assert.strictEqual(await check.call('PING'), 'PONG')
    }
    assert.strictEqual(await check.call('SET', 'a', '1'), 'OK')
    check.close()
    await server.close()
  })

  for (const durability of ['commit', 'interval']) {
    it(`loses nothing that it has acknowledged when it is killed under load (${durability})`, async () => {
      const data = path.join(folder(), 'data')
      const acknowledged = new Map()
      for (let round = 0; round < 3; round++) {
        const { child, port } = await tstd(data, { durability })
        const ended = once(child, 'exit')
        const answers = new Set() // of which writers some have come
        const writers = Array.from({ length: 8 }, async (_, w) => {
          const socket = net.connect(port, '127.0.0.1').on('error', () => {})
          let sent = 0
          let answered = 0
          const more = () => {
            for (; sent < answered + 20; sent++) socket.write(encode(['SET', `${w}/${sent % 50}`, `${round} ${sent}`]))
          }
          socket.on('data', bytes => {
            assert.match(bytes.toString(), /^[+OK\r\n]+$/)
            for (const byte of bytes) {
              if (byte !== 10) continue
              acknowledged.set(`${w}/${answered % 50}`, [round, answered])
              answered++
              answers.add(w)
            }
            if (!socket.destroyed) more()
          })
          more()
          await ended
        })
        do await new Promise(resolve => setTimeout(resolve, 150 + 50 * round))
        while (answers.size < writers.length && child.exitCode === null)
        child.kill('SIGKILL')
        await Promise.all(writers)
        assert.strictEqual(answers.size, writers.length)
        const db = await openStore({}, data)
        for (const [key, [r, n]] of acknowledged) {
          // What stands there is what was acknowledged, or was written after it.
          const [storedRound, stored] = db.get(key).split(' ').map(Number)
          assert.ok(storedRound > r || (storedRound === r && stored >= n), `${key}: ${db.get(key)}, acknowledged ${r} ${n}`)
        }
        await db.close()
      }
    })
  }

  // A disk that is full: a small tmpfs where that may be mounted (ENOSPC), and everywhere a limit of a file's size (EFBIG).
  for (const kind of ['disk', 'file']) it(`refuses writes and goes on reading when the ${kind} is full`, async function () {
    const dir = folder()
    const data = path.join(dir, 'data')
    if (kind === 'disk') {
      fs.mkdirSync(data)
      if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', data]).status !== 0) return this.skip() // it takes root
      mounts.push(data)
      fs.writeFileSync(path.join(data, 'filler'), Buffer.alloc(1 << 20))
    }
    const { child, port } = await tstd(data, kind === 'disk' ? {} : { limit: 4096 }) // blocks of 512 bytes, or of 1024
    const client = new Client(port)
    await client.call('SET', 'before', '1')
    let reply = 'OK'
    let written = 0
    for (; reply === 'OK' && written < 100; written++) reply = await client.call('SET', `k${written}`, 'x'.repeat(100000))
    assert.match(reply.error, kind === 'disk' ? /^MISCONF .*the disk is full; nothing of this write was kept; free some space/ : /^\w+ .*(space|large|full|write)/i)
    assert.strictEqual(await client.call('GET', 'before'), '1')
    assert.strictEqual((await client.call('GET', 'k0')).length, 100000)
    assert.strictEqual(await client.call('GET', `k${written - 1}`), null)
    assert.strictEqual(await client.call('PING'), 'PONG')
    if (kind === 'disk') { // with some space it takes writes again
      fs.rmSync(path.join(data, 'filler'))
      assert.strictEqual(await client.call('SET', `k${written - 1}`, 'x'), 'OK')
      written++
    }
    client.close()
    child.kill('SIGKILL')
    await once(child, 'exit')
    const db = await openStore({}, data)
    assert.strictEqual(db.size, written)
    assert.strictEqual(fs.existsSync(path.join(data, 'db.toon')), true)
  })
})
