'use strict'
// The programs in bench/c: compiled as the addon is, with -O3, and run.

const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')

const root = path.join(__dirname, '..')

/**
 * Compile bench/c/NAME.c together with rooms of the engine.
 *
 * @param {string} name
 * @param {string[]} rooms - folders of csrc
 * @param {string} dir - where the program goes
 * @returns {string} its path
 */
function compile (name, rooms, dir) {
  const program = path.join(dir, name)
  const sources = rooms.flatMap(room => fs.readdirSync(path.join(root, 'csrc', room))
    .filter(file => file.endsWith('.c')).map(file => path.join('csrc', room, file)))
  run(process.env.CC ?? 'cc', ['-O3', '-DNDEBUG', '-std=c11', '-D_GNU_SOURCE', '-Icsrc', `bench/c/${name}.c`, ...sources, '-lm', '-pthread', '-o', program])
  return program
}

/**
 * @param {string} file - a program
 * @param {string[]} args
 * @param {object} [env] - variables beside those of this process
 * @returns {string} what it printed
 */
function run (file, args, env) {
  const { status, signal, stdout, stderr, error } = spawnSync(file, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } })
  if (status !== 0) throw new Error(`${path.basename(file)} ${args[0]}: ${error?.message ?? (stderr.trim() || `ended by ${signal}`)}`)
  return stdout
}

module.exports = { compile, run }
