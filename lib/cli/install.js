'use strict'
// The install script: uses a prebuilt addon when the package carries one for this platform, compiles it otherwise, and
// names the package to install when a tool for that is missing. Also `npm run build`; arguments go to node-gyp.

const { spawnSync } = require('node:child_process')
const path = require('node:path')

const root = path.join(__dirname, '..', '..')

function works (command, args) {
  if (!command) return false
  const [file, ...more] = command.split(' ').filter(Boolean)
  return spawnSync(file, [...more, ...args], { stdio: 'ignore' }).status === 0
}

// The names of the tools that node-gyp will need and that are not there.
function missingTools (env) {
  if (process.platform === 'win32') return [] // node-gyp finds Visual Studio by itself and says so if it cannot
  const missing = []
  if (!works(env.CC || 'cc', ['--version'])) missing.push(`a C compiler (${env.CC || 'cc'})`)
  if (!works(env.CXX || 'c++', ['--version'])) missing.push(`a C++ compiler (${env.CXX || 'c++'})`)
  if (!works('make', ['--version']) && !works('gmake', ['--version'])) missing.push('make')
  const pythons = [env.npm_config_python, env.NODE_GYP_FORCE_PYTHON, env.PYTHON, 'python3', 'python']
  if (!pythons.some(python => works(python, ['--version']))) missing.push('python3')
  return missing
}

function advice () {
  switch (process.platform) {
    case 'darwin': return 'xcode-select --install'
    case 'win32': return 'install Visual Studio Build Tools with "Desktop development with C++", and Python 3'
    default: return [
      'Debian, Ubuntu:  apt-get install build-essential python3',
      'Fedora, RHEL:    dnf install gcc gcc-c++ make python3',
      'Alpine:          apk add build-base python3'
    ].join('\n    ')
  }
}

function complain (what) {
  console.error(`\ntoonstore: ${what}\n  The addon is compiled when the package is installed. What that needs is installed by\n    ${advice()}\n` +
    '  Then run npm install again.\n')
  process.exit(1)
}

// node-gyp's own script: the one of this package's development tree, or the one that npm brings along.
function nodeGyp (env) {
  try {
    return require.resolve('node-gyp/bin/node-gyp.js', { paths: [root] })
  } catch {
    return env.npm_config_node_gyp
  }
}

function hasPrebuild () {
  try {
    return /prebuilds/.test(require('node-gyp-build').path(root))
  } catch {
    return false
  }
}

function main (args, env) {
  if (args.length === 0 && env.npm_config_build_from_source !== 'true' && hasPrebuild()) return
  const missing = missingTools(env)
  if (missing.length) complain(`cannot compile the addon: ${missing.join(' and ')} not found.`)
  const script = nodeGyp(env)
  const options = { cwd: root, stdio: 'inherit', env }
  const rest = ['rebuild', '--jobs', env.npm_config_jobs || env.JOBS || 'max', ...args]
  const run = script
    ? spawnSync(process.execPath, [script, ...rest], options)
    : spawnSync('node-gyp', rest, { ...options, shell: process.platform === 'win32' })
  if (run.error) complain(`cannot run node-gyp: ${run.error.message}`)
  if (run.status !== 0) complain('compiling the addon failed; the reason is above.')
}

if (require.main === module) main(process.argv.slice(2), process.env)

module.exports = { missingTools, main }
