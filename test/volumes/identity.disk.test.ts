import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError } from '../../src/base/index.ts'
import { nodeIdOf, sign, verify } from '../../src/crypto/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { openNodeIdentity } from '../../src/volumes/index.ts'

interface World {
  readonly home: string
  readonly key: string
  readonly json: string
}

const now = '2026-11-23T00:00:00.000Z'
const open = ({ home }: World) => openNodeIdentity(home, systemDisk, now)

function inWorld(work: (world: World) => void): () => void {
  return () => {
    const base = mkdtempSync(join(tmpdir(), 'weft-identity-'))
    const home = join(base, 'home')
    try {
      work({ home, key: join(home, 'node.key'), json: join(home, 'node.json') })
    } finally {
      rmSync(base, { recursive: true, force: true })
    }
  }
}

function refusal(code: string, work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (code === 'corrupt') assert.instance(error, CorruptError)
    else assert.is((error as FsError).code, code)
    return (error as Error).message
  }
  return assert.unreachable(`expected ${code}`) as never
}

test(
  'an identity is made once and is the same afterwards',
  inWorld((world) => {
    const first = open(world)
    const again = openNodeIdentity(world.home, systemDisk, 'another time')
    assert.match(first.id, /^[0-9a-f]{32}$/)
    assert.is(again.id, first.id)
    assert.is(again.createdAt, now)
    assert.ok(again.keys.box.publicKey.equals(first.keys.box.publicKey))
    assert.ok(
      verify(
        Buffer.from('m'),
        sign(Buffer.from('m'), first.keys.sign.secretKey),
        again.keys.sign.publicKey,
      ),
    )
    assert.is(first.id, nodeIdOf(again.keys.sign.publicKey))
  }),
)

test(
  'the key file is readable by its owner alone, and the other one holds no secret',
  inWorld((world) => {
    const { keys } = open(world)
    assert.is(statSync(world.key).mode & 0o777, 0o600)
    assert.is(statSync(world.key).size, 44)
    const text = readFileSync(world.json, 'utf8')
    for (const secret of [keys.seed, keys.sign.secretKey, keys.box.secretKey]) {
      assert.not.ok(
        text.includes(secret.toString('base64')) || text.includes(secret.toString('hex')),
      )
    }
  }),
)

test(
  'two homes are two nodes',
  inWorld((world) => {
    const other = { ...world, home: join(world.home, 'other') }
    assert.is.not(open(world).id, open(other).id)
  }),
)

test(
  'a crash between the two files is mended',
  inWorld((world) => {
    const { id } = open(world)
    rmSync(world.json)
    assert.is(open(world).id, id)
    assert.is(JSON.parse(readFileSync(world.json, 'utf8')).id, id)
  }),
)

test(
  'a lost key is never replaced silently',
  inWorld((world) => {
    open(world)
    renameSync(world.key, `${world.key}.away`)
    const message = refusal('ENOKEY', () => open(world))
    assert.match(
      message,
      `${world.key}: missing, and ${world.json} says this node had one; put it back from a backup, or remove`,
    )
    renameSync(`${world.key}.away`, world.key)
    open(world)
  }),
)

test(
  'a key that others may read is refused with the command that mends it',
  inWorld((world) => {
    open(world)
    for (const mode of [0o640, 0o604, 0o620, 0o777]) {
      chmodSync(world.key, mode)
      const message = refusal('EACCES', () => open(world))
      assert.is(
        message,
        `${world.key}: mode 0${mode.toString(8)} lets others read this node's secret; if nobody did: chmod 600 ${world.key}`,
      )
    }
    chmodSync(world.key, 0o400)
    open(world)
  }),
)

test(
  'a link, a directory or a file of another owner in its place is refused',
  inWorld((world) => {
    open(world)
    renameSync(world.key, `${world.key}.real`)
    symlinkSync(`${world.key}.real`, world.key)
    assert.match(
      refusal('EPERM', () => open(world)),
      'not a plain file',
    )
    rmSync(world.key)
    mkdirSync(world.key)
    assert.match(
      refusal('EPERM', () => open(world)),
      'not a plain file',
    )
    rmSync(world.key, { recursive: true })
    renameSync(`${world.key}.real`, world.key)
    if (process.geteuid?.() !== 0) return
    chownSync(world.key, 1000, 1000)
    assert.is(
      refusal('EPERM', () => open(world)),
      `${world.key}: belongs to uid 1000, this process is uid 0; run weft as its owner, or: chown 0 ${world.key}`,
    )
  }),
)

test(
  'a damaged key is CorruptError at every byte and every length, and stays as it was',
  inWorld((world) => {
    open(world)
    const whole = readFileSync(world.key)
    for (let at = 0; at < whole.length; at++) {
      const flipped = Buffer.from(whole)
      flipped.writeUInt8(flipped.readUInt8(at) ^ 1, at)
      if (at === 7) continue
      writeFileSync(world.key, flipped)
      refusal('corrupt', () => open(world))
    }
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(world.key, whole.subarray(0, length))
      refusal('corrupt', () => open(world))
    }
    writeFileSync(world.key, Buffer.concat([whole, whole]))
    refusal('corrupt', () => open(world))
    assert.is(readFileSync(world.key).length, 88)
    writeFileSync(world.key, whole)
    open(world)
  }),
)

test(
  'files of a newer build are refused by name of their version',
  inWorld((world) => {
    open(world)
    const key = readFileSync(world.key)
    const json = readFileSync(world.json)
    const newerKey = Buffer.from(key)
    newerKey.writeUInt8(2, 7)
    writeFileSync(world.key, newerKey)
    assert.is(
      refusal('ENOTSUP', () => open(world)),
      `${world.key}: written by a newer weft (key version 2, this build reads 1): run that build`,
    )
    writeFileSync(world.key, key)
    writeFileSync(world.json, json.toString().replace('"version": 1', '"version": 2'))
    assert.is(
      refusal('ENOTSUP', () => open(world)),
      `${world.json}: written by a newer weft (version 2, this build reads 1): run that build`,
    )
  }),
)

test(
  'a description that is damaged or of another node is CorruptError',
  inWorld((world) => {
    open(world)
    const json = readFileSync(world.json, 'utf8')
    for (const text of [
      '',
      '{',
      'null',
      '{}',
      '{"version":1}',
      json.replace(/"id": ".{4}/, '"id": "0000'),
    ]) {
      writeFileSync(world.json, text)
      refusal('corrupt', () => open(world))
    }
  }),
)

test('a home that cannot be written says why', () => {
  assert.is(
    (() => {
      try {
        openNodeIdentity('/proc/weft-home', systemDisk, now)
        return 'made'
      } catch (error) {
        assert.instance(error, FsError)
        return (error as FsError).code
      }
    })() === 'made',
    false,
  )
})

test.run()
