import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { newBoxKeyPair } from '../../src/crypto/index.ts'
import {
  forgetConnection,
  passwordOf,
  readConnection,
  storeConnection,
} from '../../src/daemon/synergy-connection.ts'
import { systemDisk } from '../../src/disk/index.ts'

const PASSWORD = 'correct horse battery'
const CONNECTION = {
  url: 'https://composer.example',
  user: 'weft',
  domain: null,
  ca: null,
  pin: `sha256:${'ab'.repeat(32)}`,
  cluster: 'c'.repeat(32),
}

function world() {
  const directory = mkdtempSync(join(tmpdir(), 'weft-frame-'))
  const pair = newBoxKeyPair()
  const path = join(directory, 'connection.json')
  storeConnection(directory, systemDisk, CONNECTION, Buffer.from(PASSWORD), pair.publicKey)
  return {
    directory,
    pair,
    path,
    stored: () => readConnection(directory, systemDisk),
    close: () => rmSync(directory, { recursive: true }),
  }
}

function thrownBy(call: () => unknown): FsError {
  try {
    call()
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

test('what was stored is read again, and its password opens with the node that sealed it', () => {
  const w = world()
  try {
    const stored = w.stored()
    assert.ok(stored)
    const { sealedPassword, ...rest } = stored
    assert.equal(rest, CONNECTION)
    assert.is(passwordOf(stored, w.pair).toString(), PASSWORD)
  } finally {
    w.close()
  }
})

test('the password stands in the file in no form that can be read, and the file is its owner’s alone', () => {
  const w = world()
  try {
    const bytes = readFileSync(w.path)
    for (const form of ['utf8', 'base64', 'hex'] as const) {
      assert.not(bytes.includes(Buffer.from(PASSWORD).toString(form)), form)
    }
    assert.is(statSync(w.path).mode & 0o777, 0o600)
  } finally {
    w.close()
  }
})

test('another node cannot open it, and says how to seal it anew', () => {
  const w = world()
  try {
    const error = thrownBy(() => passwordOf(w.stored()!, newBoxKeyPair()))
    assert.is(error.code, 'ENOKEY')
    assert.match(error.message, /does not open with this node's key/)
    assert.is(
      error.subject.next,
      'weft synergy connect https://composer.example --user weft seals it anew',
    )
  } finally {
    w.close()
  }
})

test('a file whose url, user or certificate was changed shows the password to nobody', () => {
  const w = world()
  try {
    const stored = w.stored()!
    const changes = [{ url: 'https://thief' }, { user: 'root' }, { pin: null }, { ca: 'PEM' }]
    for (const change of changes) {
      assert.is(thrownBy(() => passwordOf({ ...stored, ...change }, w.pair)).code, 'ENOKEY')
    }
  } finally {
    w.close()
  }
})

test('a damaged file and one of a newer build are refused with what to do; a forgotten one is gone', () => {
  const w = world()
  try {
    const text = readFileSync(w.path, 'utf8')
    for (const bad of ['', '{', '[]', '{"version":1}', text.replace('"url"', '"uri"')]) {
      writeFileSync(w.path, bad)
      assert.is(thrownBy(w.stored).code, 'EUCLEAN', bad)
    }
    writeFileSync(w.path, '{"version":2}')
    const error = thrownBy(w.stored)
    assert.is(error.code, 'ENOTSUP')
    assert.match(String(error.subject.next), /run that build/)
    forgetConnection(w.directory, systemDisk)
    assert.is(w.stored(), null)
    forgetConnection(w.directory, systemDisk)
  } finally {
    w.close()
  }
})

test.run()
