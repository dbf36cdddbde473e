'use strict'
// The faults of test/mutants still fit the engine, so that .ci/mutants can try them.

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

describe('the mutants', () => {
  const folder = path.join(__dirname, 'mutants')

  it('apply, and name a C test that catches them', function () {
    if (spawnSync('patch', ['--version']).error) this.skip()
    for (const name of fs.readdirSync(folder)) {
      const text = fs.readFileSync(path.join(folder, name), 'utf8')
      const [, catcher] = /^caught by: (\w+)\n/.exec(text) ?? []
      assert.ok(fs.existsSync(path.join(__dirname, 'c', `${catcher}.test.c`)), `${name}: there is no test/c/${catcher}.test.c`)
      const { status, stdout } = spawnSync('patch', ['-p1', '--dry-run', '--force'], { cwd: path.join(__dirname, '..'), input: text, encoding: 'utf8' })
      assert.equal(status, 0, `${name}: ${stdout}`)
    }
  })
})
