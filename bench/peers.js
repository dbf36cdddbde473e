'use strict'
// What the benchmarks need and the package does not: bench/package.json, installed on the first run.

const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')

// A peer that cannot be built here is left out; benchmark itself is needed.
const { dependencies, optionalDependencies } = require('./package.json')
const wanted = { ...dependencies, ...optionalDependencies }

function installedVersion (name) {
  try {
    return JSON.parse(fs.readFileSync(path.join(__dirname, 'node_modules', name, 'package.json'), 'utf8')).version
  } catch {
    return undefined
  }
}

/** Install what is missing or of another version. False if benchmarks cannot run without what is missing. */
function install () {
  const missing = Object.keys(wanted).filter(name => installedVersion(name) !== wanted[name])
  if (missing.length === 0) return true
  console.log(`Installing ${missing.join(', ')} into bench/node_modules, once; this takes a minute or two where one of them has to be compiled.`)
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const run = spawnSync(npm, ['install', '--prefix', __dirname, '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error'],
    { stdio: ['ignore', 'inherit', 'inherit'], shell: process.platform === 'win32' })
  if (run.status !== 0) console.log('npm install failed; the reason is above.')
  return Object.keys(dependencies).every(name => installedVersion(name) !== undefined)
}

module.exports = { install, installedVersion }
