import { join } from 'node:path'
import {
  ByteReader,
  ByteWriter,
  type ChunkId,
  type Clock,
  CorruptError,
  type DriveId,
  type Epoch,
  type KeyEpoch,
  type Log,
  limits,
  messageOf,
  newId,
  type Random,
  type RecordSeq,
} from '../base/index.ts'
import { openBlob, sealBlob } from '../crypto/index.ts'
import { systemDisk } from '../disk/index.ts'
import { type AppliedHead, type Change, keys } from '../meta/index.ts'
import { putPieces } from './chunk-pieces.ts'
import type { Draft } from './draft.ts'
import type { LocalVolume } from './local-volume.ts'

/** Entries dumped before other work of the thread gets its turn. */
const ENTRIES_PER_TURN = 1000
const MANIFEST = 'checkpoint'
const MANIFEST_VERSION = 1

interface DumpChunk {
  id: ChunkId
  drive: DriveId
  plainBytes: number
}

/** One dump of the view: the journal place it was taken at, and the chunks that hold its entries in order. */
interface Dump {
  head: AppliedHead
  chunks: DumpChunk[]
}

/** The newest dump and the one before it, which stays until the next: docs/format.md §5. */
interface Manifest {
  newest: Dump
  previous: Dump | null
}

/**
 * Checkpoints of one volume: sealed dumps of the view as chunks, so that the journal need not be kept for ever and a
 * lost view is rebuilt. One is taken when the journal has grown by as much as the last dump, and at least one file.
 */
export class Checkpoints {
  readonly #volume: LocalVolume
  readonly #random: Random
  readonly #log: Log
  #manifest: Manifest | null
  #running = false

  constructor(volume: LocalVolume, world: { log: Log; clock: Clock; random: Random }) {
    this.#volume = volume
    this.#random = world.random
    this.#log = world.log
    this.#manifest = readManifest(volume)
  }

  /** Chunks that checkpoints use; the sweep of unnamed chunks leaves them alone. */
  chunks(): DumpChunk[] {
    return [...(this.#manifest?.newest.chunks ?? []), ...(this.#manifest?.previous?.chunks ?? [])]
  }

  /** Start a checkpoint in the background when one is due. */
  maybeTake(commit: (make: (draft: Draft) => object) => boolean): void {
    if (this.#running || !this.#due()) return
    this.#running = true
    this.take(commit)
      .catch((error: unknown) =>
        this.#log.error(
          { op: 'checkpoint', volume: this.#volume.id, error: messageOf(error) },
          'checkpoint failed; the journal stays',
        ),
      )
      .finally(() => {
        this.#running = false
      })
  }

  async take(commit: (make: (draft: Draft) => object) => boolean): Promise<void> {
    const volume = this.#volume
    const newest = await this.#dump()
    const before = this.#manifest
    const manifest: Manifest = { newest, previous: before?.newest ?? null }
    writeManifest(volume, manifest)
    this.#manifest = manifest
    commit((draft) => {
      draft.put(keys.checkpointKey(), encodeManifest(manifest))
      return {}
    })
    volume.journal.dropBefore(manifest.previous?.head.file ?? 0)
    for (const { id, drive } of before?.previous?.chunks ?? [])
      await volume.chunks.delete(id, drive)
  }

  #due(): boolean {
    const since = this.#manifest?.newest
    const { head } = this.#volume.shared
    const files = head.file - (since?.head.file ?? 1)
    const grown = files * limits.journalFileBytesMax + head.offset - (since?.head.offset ?? 0)
    const last = since?.chunks.reduce((sum, chunk) => sum + chunk.plainBytes, 0) ?? 0
    return grown > Math.max(limits.journalFileBytesMax, last)
  }

  async #dump(): Promise<Dump> {
    const { head, entries } = this.#volume.view.snapshot()
    const chunks: DumpChunk[] = []
    const plain = Buffer.allocUnsafe(limits.chunkBytesMax)
    let at = 0
    let turn = 0
    const put = async () => {
      if (at === 0) return
      const id = newId<ChunkId>(this.#random)
      const { drive, plainBytes } = await putPieces(this.#volume, id, plain, at, [])
      chunks.push({ id, drive, plainBytes })
      at = 0
    }
    for (const [key, value] of entries) {
      const bytes = 5 + key.length + value.length
      if (at + bytes > plain.length) await put()
      plain[at] = key.length
      plain.writeUInt32LE(value.length, at + 1)
      key.copy(plain, at + 5)
      value.copy(plain, at + 5 + key.length)
      at += bytes
      if (++turn % ENTRIES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await put()
    return { head, chunks }
  }
}

/** Fill an empty view from the newest checkpoint. @returns false when the volume has none */
export function loadCheckpoint(volume: LocalVolume): boolean {
  const manifest = readManifest(volume)
  if (!manifest) return false
  const { head, chunks } = manifest.newest
  for (const [index, { id, drive, plainBytes }] of chunks.entries()) {
    const plain = Buffer.allocUnsafe(plainBytes)
    volume.chunks.readSync(id, drive, volume.reader, 0, plainBytes, plain, 0)
    // The head goes in with the last part: a view without a head is known to be incomplete.
    if (index < chunks.length - 1) volume.view.fill(dumpedEntries(plain))
    else volume.view.apply(dumpedEntries(plain), head)
  }
  return true
}

function* dumpedEntries(plain: Buffer): Generator<Change> {
  let at = 0
  while (at < plain.length) {
    const keyBytes = plain[at] as number
    if (at + 5 + keyBytes > plain.length) throw new CorruptError('checkpoint entry cut short')
    const valueBytes = plain.readUInt32LE(at + 1)
    const valueAt = at + 5 + keyBytes
    if (valueAt + valueBytes > plain.length) throw new CorruptError('checkpoint entry cut short')
    yield {
      key: plain.subarray(at + 5, valueAt),
      value: plain.subarray(valueAt, valueAt + valueBytes),
    }
    at = valueAt + valueBytes
  }
}

function manifestPath(volume: LocalVolume): string {
  return join(volume.opening.journalDirectory, MANIFEST)
}

function writeManifest(volume: LocalVolume, manifest: Manifest): void {
  const epoch = volume.keys.newest
  const ad = Buffer.from(volume.id, 'hex')
  const sealed = sealBlob(volume.keys.get(epoch).journal, encodeManifest(manifest), ad)
  const bytes = new ByteWriter().u8(MANIFEST_VERSION).u32(epoch).bytes(sealed).finish()
  systemDisk.replaceFile(manifestPath(volume), bytes)
}

function readManifest(volume: LocalVolume): Manifest | null {
  const path = manifestPath(volume)
  if (!systemDisk.exists(path)) return null
  const reader = new ByteReader(systemDisk.readFile(path))
  const version = reader.u8()
  if (version !== MANIFEST_VERSION) {
    throw new CorruptError(`checkpoint manifest of version ${version}, this build reads 1`, {
      path,
    })
  }
  const key = volume.keys.get(reader.u32() as KeyEpoch).journal
  return decodeManifest(openBlob(key, reader.bytes(reader.left), Buffer.from(volume.id, 'hex')))
}

function encodeManifest({ newest, previous }: Manifest): Buffer {
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

function decodeManifest(bytes: Buffer): Manifest {
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
