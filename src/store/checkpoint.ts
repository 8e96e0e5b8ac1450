import { join } from 'node:path'
import {
  ByteReader,
  ByteWriter,
  type ChunkId,
  type Clock,
  CorruptError,
  type DriveId,
  type Epoch,
  FsError,
  type KeyEpoch,
  type Log,
  limits,
  messageOf,
  newId,
  ProtocolError,
  type Random,
  type RecordSeq,
} from '../base/index.ts'
import { openBlob, sealBlob } from '../crypto/index.ts'
import { firstHead, holdsHead } from '../journal/index.ts'
import { type AppliedHead, type Change, keys } from '../meta/index.ts'
import { putPieces } from './chunk-pieces.ts'
import type { Draft } from './draft.ts'
import type { LocalVolume } from './local-volume.ts'

/** Entries dumped before other work of the thread gets its turn. */
const ENTRIES_PER_TURN = 1000
const MANIFEST = 'checkpoint'
const MANIFEST_VERSION = 1

export interface DumpChunk {
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

type Commit = (make: (draft: Draft) => object) => boolean

export interface TakeOptions {
  /** The one before goes too, and with it every journal file that ends before this one. */
  alone?: boolean
  /** Called when the new one is durable and named, before old journal files go. */
  beforeDrop?: () => void
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
  #running: Promise<void> | null = null
  #holds = 0
  /** The manifest file could not be read and the view's copy of it serves; null while it is whole. */
  problem: string | null = null

  constructor(volume: LocalVolume, world: { log: Log; clock: Clock; random: Random }) {
    this.#volume = volume
    this.#random = world.random
    this.#log = world.log
    try {
      this.#manifest = readManifest(volume)
      if (!this.#manifest && volume.view.get(keys.checkpointKey())) {
        throw new CorruptError('the checkpoint manifest is missing', { path: manifestPath(volume) })
      }
    } catch (error) {
      if (!(error instanceof CorruptError) && !(error instanceof ProtocolError)) throw error
      this.problem = messageOf(error)
      this.#log.error({ op: 'checkpoint', volume: volume.id, error: this.problem }, 'damaged')
      const copy = volume.view.get(keys.checkpointKey())
      this.#manifest = copy ? decodeManifest(copy) : null
    }
    this.problem ??= this.#gap()
  }

  /** Why the view could not be made anew from the newest checkpoint and the journal, null when it could. */
  #gap(): string | null {
    const { disk, opening } = this.#volume
    const { journalDirectory, id } = opening
    const newest = this.#manifest?.newest
    try {
      if (newest) {
        if (holdsHead(disk, journalDirectory, id, newest.head)) return null
        return 'the journal does not go on where it ends'
      }
      const first = firstHead(disk, journalDirectory, id)
      return first?.seq === 0 ? null : 'there is none, and the journal does not begin at the start'
    } catch (error) {
      // A damaged file header: the journal's own check tells it.
      if (!(error instanceof CorruptError)) throw error
      return error.message
    }
  }

  /** Chunks that checkpoints use; the sweep of unnamed chunks leaves them alone. */
  chunks(): DumpChunk[] {
    return [...(this.#manifest?.newest.chunks ?? []), ...(this.#manifest?.previous?.chunks ?? [])]
  }

  /** Start a checkpoint in the background when one is due. */
  maybeTake(commit: Commit): void {
    // A copy that is brought up gets the whole journal: checkpoints do not travel yet.
    if (this.#volume.replicas) return
    if (this.#running || this.#holds > 0 || !this.#due()) return
    this.#begin(commit, {}).catch((error: unknown) =>
      this.#log.error(
        { op: 'checkpoint', volume: this.#volume.id, error: messageOf(error) },
        'checkpoint failed; the journal stays',
      ),
    )
  }

  /** No checkpoint, and so no end of a journal file, until the returned function is called. */
  async hold(): Promise<() => void> {
    this.#holds++
    await this.#running?.catch(() => null)
    let held = true
    return () => {
      if (held) this.#holds--
      held = false
    }
  }

  /** Take one now. @throws what kept it from being taken; the journal then stays as it is */
  async take(commit: Commit, options: TakeOptions = {}): Promise<void> {
    while (this.#running) await this.#running.catch(() => null)
    await this.#begin(commit, options)
  }

  #begin(commit: Commit, options: TakeOptions): Promise<void> {
    this.#running = this.#take(commit, options).finally(() => {
      this.#running = null
    })
    return this.#running
  }

  async #take(commit: Commit, { alone = false, beforeDrop }: TakeOptions): Promise<void> {
    const volume = this.#volume
    const newest = await this.#dump()
    const before = this.#manifest
    const manifest: Manifest = { newest, previous: alone ? null : (before?.newest ?? null) }
    // Taken at a durable place (design §4): behind a log that a cut in power left shorter, nothing can go on from it.
    await volume.journal.syncAsync(newest.head)
    writeManifest(volume, manifest)
    this.#manifest = manifest
    this.problem = null
    commit((draft) => {
      draft.put(keys.checkpointKey(), encodeManifest(manifest))
      return {}
    })
    beforeDrop?.()
    volume.journal.dropBefore((manifest.previous ?? (alone ? newest : null))?.head.file ?? 0)
    const gone = [
      ...(before?.previous?.chunks ?? []),
      ...(alone ? (before?.newest.chunks ?? []) : []),
    ]
    for (const { id, drive } of gone) await volume.chunks.delete(id, drive)
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
      const { drive, plainBytes } = await putPieces(this.#volume, id, plain, at, [], true)
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

/** Fill an empty view from the newest checkpoint, or the one before where that is damaged. @returns false when the volume has none */
export function loadCheckpoint(volume: LocalVolume): boolean {
  const manifest = readManifest(volume)
  if (!manifest) return false
  try {
    fillFrom(volume, manifest.newest)
  } catch (error) {
    if (!(error instanceof CorruptError) || !manifest.previous) throw error
    volume.view.clear()
    fillFrom(volume, manifest.previous)
  }
  return true
}

function fillFrom(volume: LocalVolume, { head, chunks }: Dump): void {
  for (const [index, { id, drive, plainBytes }] of chunks.entries()) {
    const plain = Buffer.allocUnsafe(plainBytes)
    volume.chunks.readSync(id, drive, volume.reader, 0, plainBytes, plain, 0)
    // The head goes in with the last part: a view without a head is known to be incomplete.
    if (index < chunks.length - 1) volume.view.fill(dumpedEntries(plain))
    else volume.view.apply(dumpedEntries(plain), head)
  }
}

/** The last value that checkpoint and journal give to keys of the view: null says that they know of none. */
export interface LoggedValues {
  /** By key as latin1. */
  values: Map<string, Buffer | null>
  /** Journal place up to which the log was read. */
  head: AppliedHead
}

/**
 * What the newest checkpoint says of some keys; from there the journal goes on.
 * @param wanted keys as latin1
 * @returns null when the volume has no checkpoint: the journal then begins at the start
 */
export function checkpointValues(
  volume: LocalVolume,
  wanted: ReadonlySet<string>,
): LoggedValues | null {
  const manifest = readManifest(volume)
  if (!manifest) return null
  const values = new Map<string, Buffer | null>()
  const { head, chunks } = manifest.newest
  for (const { id, drive, plainBytes } of chunks) {
    const plain = Buffer.allocUnsafe(plainBytes)
    volume.chunks.readSync(id, drive, volume.reader, 0, plainBytes, plain, 0)
    for (const { key, value } of dumpedEntries(plain)) {
      const name = key.toString('latin1')
      if (wanted.has(name)) values.set(name, value ? Buffer.from(value) : null)
    }
  }
  return { values, head }
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
  volume.disk.replaceFile(manifestPath(volume), bytes)
}

export function readManifest(volume: LocalVolume): Manifest | null {
  const path = manifestPath(volume)
  if (!volume.disk.exists(path)) return null
  const reader = new ByteReader(volume.disk.readFile(path))
  const version = reader.u8()
  if (version > MANIFEST_VERSION) {
    throw new FsError('ENOTSUP', 'checkpoint', {
      message: `${path}: written by a newer weft (checkpoint manifest version ${version}, this build reads ${MANIFEST_VERSION}): run that build`,
    })
  }
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
