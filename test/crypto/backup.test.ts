import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError, hexId, type VolumeId } from '../../src/base/index.ts'
import {
  createBundle,
  exportBundle,
  importBundle,
  newBoxKeyPair,
  openBundle,
} from '../../src/crypto/index.ts'

const volume = hexId<VolumeId>('0123456789abcdef0123456789abcdef')
const other = hexId<VolumeId>('ffffffffffffffffffffffffffffffff')

async function backup() {
  const node = newBoxKeyPair()
  const slot = { kind: 'node', label: 'node a', publicKey: node.publicKey } as const
  const { bundle } = await createBundle(volume, [slot], '2025-11-23T00:00:00Z')
  return { node, bundle, text: exportBundle(bundle, volume) }
}

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof FsError) return error.code
    if (error instanceof CorruptError) return 'corrupt'
    throw error
  }
  return 'accepted'
}

test('a backup reads back and opens, with the volume asked or told', async () => {
  const { node, bundle, text } = await backup()
  assert.match(text, /^WEFT KEY BACKUP\nVersion: 1\nVolume: 0123456789abcdef/)
  assert.match(text, /\nSlot: 1 node node a\n/)
  assert.ok(text.split('\n').every((line) => line.length <= 78))
  assert.equal(importBundle(text, volume), { volumeId: volume, bundle })
  const read = importBundle(text, null)
  const { keys } = await openBundle(read.bundle, read.volumeId, { kind: 'keypair', ...node })
  assert.equal(keys.epochs(), [1])
})

test('mail and editors that change line ends and trailing blanks do no harm', async () => {
  const { bundle, text } = await backup()
  const mangled = `\n\n${text.replaceAll('\n', '  \r\n')}\r\n`
  assert.equal(importBundle(mangled, volume).bundle, bundle)
})

test('a backup of another volume, a newer version, or another text is refused as such', async () => {
  const { text } = await backup()
  assert.is(
    refusal(() => importBundle(text, other)),
    'EINVAL',
  )
  assert.is(
    refusal(() => importBundle(text.replace('Version: 1', 'Version: 2'), volume)),
    'ENOTSUP',
  )
  assert.is(
    refusal(() => importBundle('', volume)),
    'EINVAL',
  )
  assert.is(
    refusal(() => importBundle('hello', volume)),
    'EINVAL',
  )
  assert.is(
    refusal(() => importBundle('WEFT KEY BACKUP\nVersion: 1', volume)),
    'corrupt',
  )
})

test('a backup cut anywhere or with any character changed is never accepted', async () => {
  const { text } = await backup()
  const end = text.trimEnd().length
  for (let i = 0; i < end; i++) {
    assert.is.not(
      refusal(() => importBundle(text.slice(0, i), volume)),
      'accepted',
      `cut at ${i}`,
    )
    const changed = text.slice(0, i) + (text[i] === 'A' ? 'B' : 'A') + text.slice(i + 1)
    assert.is.not(
      refusal(() => importBundle(changed, volume)),
      'accepted',
      `changed at ${i}`,
    )
  }
})

test.run()
