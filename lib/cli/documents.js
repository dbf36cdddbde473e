'use strict'
// What the tour stores: the package.json files below a directory, and the lines of its largest readable text.

const fs = require('node:fs')
const path = require('node:path')

const TEXT = /\.(md|txt)$|^(readme|licen[cs]e|changelog)/i
const LARGEST_TEXT = 8 * 1024 * 1024

function * filesBelow (dir) {
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const place = path.join(dir, entry.name)
    if (entry.isDirectory()) yield * filesBelow(place)
    else if (entry.isFile()) yield place // links are not followed
  }
}

function parse (json) {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

// pkg/<name>@<version>; a package.json without them (one that only sets a folder's module type) is named by its folder.
function keyOf (value, folder) {
  const { name, version } = value ?? {}
  return typeof name === 'string' && typeof version === 'string' ? `pkg/${name}@${version}` : `folder/${folder}`
}

/**
 * The documents and lines below a directory.
 *
 * @param {string} root - a node_modules
 * @returns {{ documents: Array<{ key: string, value: any, json: string }>, lines: string[], text: string, copies: number,
 *   unreadable: number }} json: the value as it has to come back; text: where the lines come from; copies: packages that are
 *   there more than once, all alike; unreadable: files that are no JSON
 */
function findDocuments (root) {
  const documents = new Map()
  let copies = 0
  let unreadable = 0
  let text
  for (const file of filesBelow(root)) {
    const folder = path.relative(root, path.dirname(file)).split(path.sep).join('/')
    if (path.basename(file) === 'package.json') {
      const value = parse(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, ''))
      if (value === undefined) {
        unreadable++
        continue
      }
      const json = JSON.stringify(value)
      let key = keyOf(value, folder)
      if (documents.get(key)?.json === json) {
        copies++
        continue
      }
      if (documents.has(key)) key += ` in ${folder}` // the same version, but not the same file
      documents.set(key, { key, value, json })
    } else if (TEXT.test(path.basename(file))) {
      const bytes = fs.statSync(file).size
      if (bytes <= LARGEST_TEXT && !(text?.bytes >= bytes)) text = { file, bytes }
    }
  }
  text ??= { file: path.join(__dirname, '..', '..', 'package.json') }
  return {
    documents: [...documents.values()],
    lines: fs.readFileSync(text.file, 'utf8').split('\n'),
    text: path.relative('.', text.file),
    copies,
    unreadable
  }
}

module.exports = { findDocuments }
