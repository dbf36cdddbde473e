'use strict'
// The table of commands: what COMMAND tells of it, and csrc/resp/COMMANDS.md, which is written from it by
//   UPDATE=1 npx mocha test/commands.test.js
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { setup, root } = require('./support')
const { Client } = require('./resp-client')

const file = path.join(root, 'csrc', 'resp', 'COMMANDS.md')
const TITLES = {
  connection: 'Connections', server: 'The server', generic: 'Keys', string: 'Strings', hash: 'Hashes', transactions: 'Transactions',
  pubsub: 'Publish and subscribe', json: 'JSON documents', toon: 'TOON documents'
}

// A cell of a table: bytes of UTF-8, which the client has read as latin1.
const cell = text => Buffer.from(text, 'latin1').toString().replaceAll('|', '\\|')

const pairs = list => Object.fromEntries(Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i], list[2 * i + 1]]))

function document (infos, docs) {
  const lines = ['# Commands of tstd', '', 'Written from the command table (`table.h`) by `UPDATE=1 npx mocha test/commands.test.js`; do not edit.', '']
  const rows = {}
  function add (info, doc) {
    const [name, arity, flags, first, last, step, , , , subs] = info
    const given = pairs(doc)
    if (subs.length === 0) {
      const keys = first === 0 ? '' : last === first ? `${first}` : `${first} to ${last < 0 ? 'the last' : last}${step > 1 ? `, every ${step}` : ''}`
      const count = arity < 0 ? `${-arity} or more` : `${arity}`
      ;(rows[given.group] ??= []).push(`| ${name.toUpperCase().replace('|', ' ')} | ${cell(given.summary)} | ${count} | ${keys} | ${flags.join(', ')} | ${given.since} |`)
    }
    const subdocs = given.subcommands === undefined ? {} : pairs(given.subcommands)
    for (const sub of subs) add(sub, subdocs[sub[0]])
  }
  const described = pairs(docs)
  for (const info of infos) add(info, described[info[0]])
  for (const [group, list] of Object.entries(rows)) {
    assert.ok(TITLES[group], group)
    lines.push(`## ${TITLES[group]}`, '', '| command | what it does | arguments | keys | flags | since |', '|---|---|---|---|---|---|', ...list, '')
  }
  return lines.join('\n')
}

describe('the table of commands', () => {
  const { openStore } = setup()
  let server, client

  beforeEach(async () => {
    server = await (await openStore()).listen({ port: 0 })
    client = new Client(server.port)
  })

  afterEach(async () => {
    client.close()
    await server.close()
  })

  it('is what COMMANDS.md says', async () => {
    const text = document(await client.call('COMMAND'), await client.call('COMMAND', 'DOCS'))
    if (process.env.UPDATE) fs.writeFileSync(file, text)
    assert.strictEqual(fs.readFileSync(file, 'utf8'), text, 'UPDATE=1 npx mocha test/commands.test.js writes it anew')
  })

  it('is told by COMMAND', async () => {
    const error = text => ({ error: `ERR ${text}` })
    const cases = [
      ['COMMAND INFO get nope', [['get', 2, ['readonly', 'fast'], 1, 1, 1, ['@read', '@string', '@fast'], [], [], []], null]],
      ['COMMAND DOCS get nope', ['get', ['summary', 'The value of a key', 'since', '1.0.0', 'group', 'string']]],
      ['COMMAND COUNT', (await client.call('COMMAND')).length], ['COMMAND COUNT x', error("wrong number of arguments for 'command|count' command")],
      ['COMMAND GETKEYS get a', ['a']], ['COMMAND GETKEYS mset a 1 b 2', ['a', 'b']], ['COMMAND GETKEYS del a b c', ['a', 'b', 'c']],
      ['COMMAND GETKEYS nope a', error('Invalid command specified')], ['COMMAND GETKEYS echo a', error('The command has no key arguments')],
      ['COMMAND GETKEYS get a b', error('Invalid number of arguments specified for command')],
      ['COMMAND LIST FILTERBY PATTERN clie*me', ['client|getname', 'client|setname']], ['COMMAND LIST FILTERBY MODULE x', []],
      ['COMMAND LIST FILTERBY ACLCAT nope', []], ['COMMAND LIST x', error('syntax error')],
      ['COMMAND NOPE', error("unknown subcommand 'NOPE'. Try COMMAND HELP.")], ['CLIENT', error("wrong number of arguments for 'client' command")],
      ['CLIENT ID 4', error("wrong number of arguments for 'client|id' command")]
    ]
    for (const [text, want] of cases) assert.deepStrictEqual(await client.call(...text.split(' ')), want, text)
    for (const [container, sub] of Object.entries({ ACL: 'WHOAMI', CLIENT: 'KILL', COMMAND: 'GETKEYS', CONFIG: 'RESETSTAT', MEMORY: 'USAGE', OBJECT: 'FREQ', PUBSUB: 'NUMPAT' })) {
      const help = await client.call(container, 'HELP')
      assert.deepStrictEqual([help[0], help.includes(sub)], ['Subcommands are:', true], container)
    }
    const names = await client.call('COMMAND', 'LIST')
    assert.deepStrictEqual(names, (await client.call('COMMAND')).map(info => info[0]))
    assert.ok((await client.call('COMMAND', 'LIST', 'FILTERBY', 'ACLCAT', 'write')).includes('set'))
  })
})
