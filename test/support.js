'use strict'
// What the suites share: folders that go away, stores that get closed, and Node processes to be killed.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawn, spawnSync } = require('node:child_process')
const { ToonStore } = require('..')

const root = path.join(__dirname, '..')

// Call in a describe(): gives each test folders and stores that are gone after it.
function setup () {
  const dirs = []
  const stores = []
  afterEach(async function () {
    await Promise.allSettled(stores.splice(0).map(db => db.close()))
    for (const dir of dirs.splice(0)) {
      fs.chmodSync(dir, 0o755)
      // A store whose open was given up is closed in the background: it may still write its last file.
      fs.rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
    }
  })

  // A new folder; the store's own does not exist yet.
  function folder () {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-test-'))
    dirs.push(dir)
    return dir
  }

  async function openStore (options, location = path.join(folder(), 'data')) {
    const db = await ToonStore.open(location, options)
    stores.push(db)
    return db
  }

  async function reopen (db, options) {
    await db.close()
    return openStore(options, db.path)
  }
  return { folder, openStore, reopen, keep: db => { stores.push(db); return db } }
}

// Run a script in a process of its own, with `toonstore` as a global; what it printed and how it ended.
function run (script, { args = [], node = process.execPath, flags = [], cwd } = {}) {
  const code = `globalThis.toonstore = require(${JSON.stringify(root)});\n${script}`
  const child = spawnSync(node, [...flags, '-e', code, '--', ...args], { encoding: 'utf8', timeout: 60000, cwd })
  return { status: child.status, signal: child.signal, stdout: child.stdout, stderr: child.stderr }
}

// Start a script as a child with a message channel and wait for its first message.
async function start (script, args = []) {
  const code = `globalThis.toonstore = require(${JSON.stringify(root)});\n${script}`
  const child = spawn(process.execPath, ['-e', code, '--', ...args], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const message = await new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', (status, signal) => reject(new Error(`the child ended with ${status ?? signal}`)))
  })
  return { child, message }
}

// The key tokens and texts of a log file, without its header.
function logText (dir, name = 'db.toon') {
  return fs.readFileSync(path.join(dir, name)).subarray(16).toString('utf8')
}

module.exports = { setup, run, start, logText, root }
