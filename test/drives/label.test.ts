import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DriveId, FsError, type NodeId } from '../../src/base/index.ts'
import { type BlockLabel, decodeLabel, encodeLabel } from '../../src/drives/index.ts'
import { labelBytes, signLabel, verifyLabel } from '../../src/drives/label.ts'
import { nodeKeys } from './node-keys.ts'

/** Golden bytes of both released versions: test/fixtures is not built, so it is read from the sources. */
const fixtures = resolve(import.meta.dirname, '../../../test/fixtures')
const textOf = (name: string) => readFileSync(resolve(fixtures, name), 'utf8')

const { nodeId, keys } = nodeKeys(1)

const unsigned = {
  version: 2,
  id: '0123456789abcdef0123456789abcdef' as DriveId,
  class: 3,
  createdAt: '2026-11-30T17:00:00.000Z',
  cluster: 'c1'.repeat(16),
  node: nodeId,
  nodeKey: keys.nodeKey,
  kind: 'block',
  wwn: '5000c500a1b2c3d4',
  serial: 'SER0001',
  sizeBytes: 480_103_981_056,
} as const

function failure(work: () => unknown): FsError {
  try {
    work()
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

test('a label of version 1 is read and written as it ever was', () => {
  const text = textOf('drive-label-v1.json')
  const label = decodeLabel(text, 'drive.json')
  assert.equal(label, {
    version: 1,
    id: 'c3'.repeat(16),
    class: 2,
    createdAt: '2026-01-01T00:00:00.000Z',
    node: 'a1'.repeat(16),
    kind: 'directory',
  })
  assert.is(encodeLabel(label).toString(), text)
})

test('a label of version 2 is read, written and signed to the byte', () => {
  const text = textOf('drive-label-v2.json')
  const label = signLabel(unsigned, keys)
  assert.is(encodeLabel(label).toString(), text)
  assert.equal(decodeLabel(text, 'drive.json'), label)
  verifyLabel(label, keys, 'drive.json')
})

test('the signed bytes begin with their own domain and name every field', () => {
  const bytes = labelBytes(unsigned).toString()
  assert.is(
    bytes,
    `weft drive label v2\0[2,"block","${unsigned.id}","${unsigned.cluster}","${nodeId}","${keys.nodeKey}","5000c500a1b2c3d4","SER0001",480103981056,3,"2026-11-30T17:00:00.000Z"]`,
  )
})

test('a change of any field, and a signature of another node, is refused', () => {
  const label = signLabel(unsigned, keys)
  const other = nodeKeys(2)
  const forged: BlockLabel[] = [
    { ...label, id: 'ff'.repeat(16) as DriveId },
    { ...label, class: 1 },
    { ...label, createdAt: '2026-11-30T17:00:00.001Z' },
    { ...label, cluster: null },
    { ...label, node: 'ff'.repeat(16) as NodeId },
    { ...label, nodeKey: other.keys.nodeKey },
    { ...label, wwn: '' },
    { ...label, serial: 'SER0002' },
    { ...label, sizeBytes: 1 },
    { ...signLabel({ ...unsigned, nodeKey: other.keys.nodeKey }, other.keys) },
    { ...label, signature: '00'.repeat(64) },
  ]
  for (const [n, one] of forged.entries()) {
    const error = failure(() => verifyLabel(one, keys, 'drive.json'))
    assert.is(error.code, 'EKEYREJECTED', `number ${n}`)
  }
})

test('a damaged label of a block drive is refused with the field', () => {
  const label = signLabel(unsigned, keys)
  const bad: [unknown, RegExp][] = [
    [{ ...label, kind: 'directory' }, /kind is not "block"/],
    [{ ...label, cluster: undefined }, /cluster is missing/],
    [{ ...label, cluster: 'x' }, /cluster is not 32 hex/],
    [{ ...label, nodeKey: 'ab' }, /nodeKey is not 64 hex/],
    [{ ...label, signature: `${label.signature}0` }, /signature is not 128 hex/],
    [{ ...label, wwn: null }, /no wwn/],
    [{ ...label, serial: 7 }, /no serial/],
    [{ ...label, sizeBytes: 1.5 }, /sizeBytes is not a size/],
  ]
  for (const [value, message] of bad) {
    const error = failure(() => decodeLabel(JSON.stringify(value), 'drive.json'))
    assert.is(error.code, 'EUCLEAN')
    assert.match(error.message, message)
  }
})

test.run()
