import {
  ByteReader,
  ByteWriter,
  type ChunkId,
  CorruptError,
  type DriveId,
  type Epoch,
  type KeyEpoch,
  ProtocolError,
  type RecordSeq,
} from '../base/index.ts'
import { openBlob, sealBlob } from '../crypto/index.ts'
import {
  type Checkpoint,
  checkpointFront,
  holdsHead,
  placeBehind,
  readCheckpoint,
  writeCheckpoint,
} from '../journal/index.ts'
import type { AppliedHead } from '../meta/index.ts'
import type { LocalVolume } from './local-volume.ts'

export interface DumpChunk {
  id: ChunkId
  /** Where the node that took it has it. */
  drive: DriveId
  plainBytes: number
}

/** One dump of the view: the journal place it was taken at, and the chunks that hold its entries in order. */
export interface Dump {
  /** File and offset are those of the node that took it: `placeHere` says where that is on this one. */
  head: AppliedHead
  chunks: DumpChunk[]
}

/** The newest dump and the one before it, which stays until the next: docs/format.md §5. */
export interface Manifest {
  newest: Dump
  previous: Dump | null
}

/** What goes into the checkpoint file of every copy, sealed with the newest key. */
export function sealManifest(volume: LocalVolume, manifest: Manifest): Checkpoint {
  const front = {
    newest: manifest.newest.head,
    oldest: (manifest.previous ?? manifest.newest).head,
    chunks: dumpChunks(manifest).map(({ id }) => id),
  }
  const epoch = volume.keys.newest
  const ad = checkpointFront(volume.id, front)
  const sealed = sealBlob(volume.keys.get(epoch).journal, encodeManifest(manifest), ad)
  return { ...front, manifest: new ByteWriter().u32(epoch).bytes(sealed).finish() }
}

export function writeManifest(volume: LocalVolume, manifest: Manifest): void {
  const { disk, id, opening } = volume
  writeCheckpoint(disk, opening.journalDirectory, id, sealManifest(volume, manifest))
}

/** What the file of this node's copy says; null when there is none. @throws CorruptError; FsError ENOTSUP, ENOKEY */
export function readManifest(volume: LocalVolume): Manifest | null {
  const { disk, id, opening } = volume
  const file = readCheckpoint(disk, opening.journalDirectory, id)
  if (!file) return null
  try {
    const reader = new ByteReader(file.manifest)
    const key = volume.keys.get(reader.u32() as KeyEpoch).journal
    return decodeManifest(openBlob(key, reader.bytes(reader.left), checkpointFront(id, file)))
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    throw new CorruptError(`checkpoint manifest: ${error.message}`, { volume: id }, error)
  }
}

/** Where a dump's place is in the journal here; null when the journal does not hold it. @throws CorruptError at damage before it */
export function placeHere(volume: LocalVolume, head: AppliedHead): AppliedHead | null {
  const { disk, id, opening } = volume
  if (holdsHead(disk, opening.journalDirectory, id, head)) return head
  const place = placeBehind(disk, opening.journalDirectory, id, head.seq)
  return place?.chain.equals(head.chain) ? place : null
}

export function dumpChunks({ newest, previous }: Manifest): DumpChunk[] {
  return [...newest.chunks, ...(previous?.chunks ?? [])]
}

export function encodeManifest({ newest, previous }: Manifest): Buffer {
  const writer = new ByteWriter()
  writer.u8(previous ? 2 : 1)
  for (const dump of previous ? [newest, previous] : [newest]) {
    const { head, chunks } = dump
    writer.u53(head.epoch).u53(head.seq).bytes(head.chain).u53(head.file).u53(head.offset)
    writer.u32(chunks.length)
    for (const { id, drive, plainBytes } of chunks) {
      writer.bytes(Buffer.from(id, 'hex')).bytes(Buffer.from(drive, 'hex')).u32(plainBytes)
    }
  }
  return writer.finish()
}

export function decodeManifest(bytes: Buffer): Manifest {
  const reader = new ByteReader(bytes)
  const dumps = Array.from({ length: reader.u8() }, (): Dump => {
    const head: AppliedHead = {
      epoch: reader.u53() as Epoch,
      seq: reader.u53() as RecordSeq,
      chain: Buffer.from(reader.bytes(16)),
      file: reader.u53(),
      offset: reader.u53(),
    }
    const chunks = Array.from({ length: reader.u32() }, () => ({
      id: reader.bytes(16).toString('hex') as ChunkId,
      drive: reader.bytes(16).toString('hex') as DriveId,
      plainBytes: reader.u32(),
    }))
    return { head, chunks }
  })
  const [newest, previous] = dumps
  if (!newest) throw new CorruptError('checkpoint manifest names no dump')
  return { newest, previous: previous ?? null }
}
