import { lstatSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { CorruptError, codeOf, FsError, type NodeId } from '../base/index.ts'
import {
  type Identity,
  identityFromSeed,
  newIdentity,
  nodeIdOf,
  secretFrom,
  wipe,
} from '../crypto/index.ts'
import type { Disk } from '../disk/index.ts'

/** Who this node is. `keys` holds secrets in secure memory until wipeIdentity. */
export interface NodeIdentity {
  readonly id: NodeId
  readonly keys: Identity
  readonly createdAt: string
}

/**
 * <home>/node.key, 44 bytes, mode 0600: "weftkey" and the version (1), the seed (32), u32 LE CRC32 of what is before.
 * <home>/node.json, for people and tools: id and public keys, all of it derived from the seed.
 */
const KEY_TITLE = Buffer.from('weftkey')
const KEY_VERSION = 1
const SEED = { at: 8, end: 40 }
const KEY_BYTES = 44
const FORMAT = 1

const shape = z.strictObject({
  version: z.literal(FORMAT),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  signPublicKey: z.base64(),
  boxPublicKey: z.base64(),
  createdAt: z.string().max(40),
})

/**
 * The node's identity; made, durably, at the first call for a home.
 *
 * The key file comes first and everything else follows from it, so a crash between the two files is mended by the next
 * call. A lost key file is never replaced silently: the new key would open none of the volumes.
 * @param now ISO time for a new identity
 * @throws FsError ENOKEY when the key file is gone, EACCES when others may read it, EPERM when it is not ours, ENOTSUP when
 * a newer build wrote it; CorruptError when damaged; what the disk throws (EROFS, ENOSPC …)
 */
export function openNodeIdentity(home: string, disk: Disk, now: string): NodeIdentity {
  const keyPath = join(home, 'node.key')
  const jsonPath = join(home, 'node.json')
  const haveJson = disk.exists(jsonPath)
  if (disk.exists(keyPath)) {
    const keys = readKey(keyPath, disk)
    try {
      if (!haveJson)
        return writeJson(jsonPath, disk, {
          id: nodeIdOf(keys.sign.publicKey),
          keys,
          createdAt: now,
        })
      return { id: nodeIdOf(keys.sign.publicKey), keys, createdAt: readJson(jsonPath, disk, keys) }
    } catch (error) {
      wipe(keys.seed, keys.sign.secretKey, keys.box.secretKey)
      throw error
    }
  }
  if (haveJson) {
    throw new FsError('ENOKEY', 'node.identity', {
      path: keyPath,
      message: `${keyPath}: missing, and ${jsonPath} says this node had one; put it back from a backup, or remove ${jsonPath} to begin as a new node, which opens only volumes that have another key slot`,
    })
  }
  disk.mkdir(home)
  const keys = newIdentity()
  writeKey(keyPath, disk, keys)
  return writeJson(jsonPath, disk, { id: nodeIdOf(keys.sign.publicKey), keys, createdAt: now })
}

function writeKey(path: string, disk: Disk, keys: Identity): void {
  const bytes = Buffer.alloc(KEY_BYTES)
  KEY_TITLE.copy(bytes)
  bytes.writeUInt8(KEY_VERSION, KEY_TITLE.length)
  keys.seed.copy(bytes, SEED.at)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, SEED.end)), SEED.end)
  try {
    // Disk makes every file with mode 0600.
    disk.replaceFile(path, bytes)
  } finally {
    wipe(bytes)
  }
}

function readKey(path: string, disk: Disk): Identity {
  mustBeOurs(path)
  const bytes = disk.readFile(path)
  try {
    if (bytes.length < SEED.at || !bytes.subarray(0, KEY_TITLE.length).equals(KEY_TITLE)) {
      throw new CorruptError(`${path}: not a node key; put it back from a backup`)
    }
    const version = bytes.readUInt8(KEY_TITLE.length)
    if (version > KEY_VERSION) throw newer(path, `key version ${version}`, KEY_VERSION)
    const whole = bytes.length === KEY_BYTES && version === KEY_VERSION
    if (!whole || crc32(bytes.subarray(0, SEED.end)) !== bytes.readUInt32LE(SEED.end)) {
      throw new CorruptError(`${path}: damaged; put it back from a backup`)
    }
    return identityFromSeed(secretFrom(bytes.subarray(SEED.at, SEED.end)))
  } finally {
    wipe(bytes)
  }
}

function mustBeOurs(path: string): void {
  const found = lstat(path)
  if (!found.isFile()) {
    throw new FsError('EPERM', 'node.identity', {
      path,
      message: `${path}: not a plain file; put the node's key there itself, no link to it`,
    })
  }
  const uid = process.geteuid?.() ?? found.uid
  if (found.uid !== uid) {
    throw new FsError('EPERM', 'node.identity', {
      path,
      message: `${path}: belongs to uid ${found.uid}, this process is uid ${uid}; run weft as its owner, or: chown ${uid} ${path}`,
    })
  }
  if ((found.mode & 0o077) !== 0) {
    const mode = (found.mode & 0o777).toString(8).padStart(4, '0')
    throw new FsError('EACCES', 'node.identity', {
      path,
      message: `${path}: mode ${mode} lets others read this node's secret; if nobody did: chmod 600 ${path}`,
    })
  }
}

function lstat(path: string): Stats {
  try {
    return lstatSync(path)
  } catch (error) {
    const code = codeOf(error) === 'EACCES' ? 'EACCES' : 'EIO'
    throw new FsError(code, 'node.identity', { path, cause: error })
  }
}

function writeJson(path: string, disk: Disk, identity: NodeIdentity): NodeIdentity {
  const { id, keys, createdAt } = identity
  const value: z.infer<typeof shape> = {
    version: FORMAT,
    id,
    signPublicKey: keys.sign.publicKey.toString('base64'),
    boxPublicKey: keys.box.publicKey.toString('base64'),
    createdAt,
  }
  disk.replaceFile(path, Buffer.from(`${JSON.stringify(value, null, 2)}\n`))
  return identity
}

/** Checks that the file tells of these keys. @returns when the identity was made */
function readJson(path: string, disk: Disk, keys: Identity): string {
  let value: unknown
  try {
    value = JSON.parse(disk.readFile(path).toString())
  } catch (error) {
    if (error instanceof FsError) throw error
    throw new CorruptError(
      `${path}: not JSON; remove it, it is made again from node.key`,
      {},
      error,
    )
  }
  const version =
    typeof value === 'object' && value !== null && 'version' in value ? value.version : 0
  if (typeof version === 'number' && version > FORMAT)
    throw newer(path, `version ${version}`, FORMAT)
  const parsed = shape.safeParse(value)
  if (!parsed.success)
    throw new CorruptError(`${path}: damaged; remove it, it is made again from node.key`)
  const { id, signPublicKey, boxPublicKey, createdAt } = parsed.data
  const same =
    id === nodeIdOf(keys.sign.publicKey) &&
    signPublicKey === keys.sign.publicKey.toString('base64') &&
    boxPublicKey === keys.box.publicKey.toString('base64')
  if (!same) {
    throw new CorruptError(
      `${path}: tells of node ${id}, node.key is of ${nodeIdOf(keys.sign.publicKey)}; put the right pair back from a backup`,
    )
  }
  return createdAt
}

function newer(path: string, what: string, reads: number): FsError {
  return new FsError('ENOTSUP', 'node.identity', {
    path,
    message: `${path}: written by a newer weft (${what}, this build reads ${reads}): run that build`,
  })
}
