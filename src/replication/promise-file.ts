import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type CopyId, CorruptError, type Epoch, FsError, type NodeId } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'

/**
 * What a copy has promised, `<journal directory>/promise`, 56 bytes, little-endian:
 *
 *   0 magic "WFPR"   4 u16 version (1)   6 u16 zero   8 copy id (16)   24 node promised to, zeros for none (16)
 *   40 u64 epoch     48 u32 zero         52 u32 CRC32 of what is before
 */
const MAGIC = Buffer.from('WFPR')
const VERSION = 1
const AT = { version: 4, copy: 8, owner: 24, epoch: 40, crc: 52 } as const
const BYTES = 56
const NOBODY = '0'.repeat(32)

export interface Promised {
  readonly copy: CopyId
  readonly epoch: Epoch
  readonly owner: NodeId | null
}

const pathIn = (directory: string) => join(directory, 'promise')

/** On stable storage when this returns. */
export function writePromise(disk: Disk, directory: string, promised: Promised): void {
  const bytes = Buffer.alloc(BYTES)
  MAGIC.copy(bytes)
  bytes.writeUInt16LE(VERSION, AT.version)
  bytes.write(promised.copy, AT.copy, 'hex')
  bytes.write(promised.owner ?? NOBODY, AT.owner, 'hex')
  bytes.writeBigUInt64LE(BigInt(promised.epoch), AT.epoch)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, AT.crc)), AT.crc)
  disk.replaceFile(pathIn(directory), bytes)
}

/** @throws FsError ENOENT where no copy was made, ENOTSUP when a newer weft wrote it; CorruptError */
export function readPromise(disk: Disk, directory: string): Promised {
  const path = pathIn(directory)
  const bytes = disk.readFile(path)
  if (bytes.length < BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new CorruptError('not a promise file', { path, bytes: bytes.length })
  }
  const version = bytes.readUInt16LE(AT.version)
  if (version > VERSION) {
    throw new FsError('ENOTSUP', 'copy.open', {
      path,
      message: `${path}: written by a newer weft (version ${version}, this build reads ${VERSION}): run that build`,
    })
  }
  if (bytes.readUInt32LE(AT.crc) !== crc32(bytes.subarray(0, AT.crc))) {
    throw new CorruptError('promise file damaged', { path })
  }
  const owner = bytes.toString('hex', AT.owner, AT.owner + 16)
  return {
    copy: bytes.toString('hex', AT.copy, AT.copy + 16) as CopyId,
    epoch: Number(bytes.readBigUInt64LE(AT.epoch)) as Epoch,
    owner: owner === NOBODY ? null : (owner as NodeId),
  }
}
