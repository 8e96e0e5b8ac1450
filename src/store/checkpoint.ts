import {
  type ChunkId,
  type Clock,
  CorruptError,
  codeOf,
  FsError,
  type Log,
  limits,
  messageOf,
  newId,
  ProtocolError,
  type Random,
  type RecordSeq,
} from '../base/index.ts'
import { type Checkpoint, encodeCheckpoint, firstHead } from '../journal/index.ts'
import { type AppliedHead, type Change, keys } from '../meta/index.ts'
import {
  type Dump,
  type DumpChunk,
  decodeManifest,
  dumpChunks,
  encodeManifest,
  type Manifest,
  placeHere,
  readManifest,
  sealManifest,
  writeManifest,
} from './checkpoint-manifest.ts'
import { nameChunks, putPieces } from './chunk-pieces.ts'
import type { Draft } from './draft.ts'
import type { LocalVolume } from './local-volume.ts'
import type { Replicas } from './replicas.ts'

/** Entries dumped before other work of the thread gets its turn. */
const ENTRIES_PER_TURN = 1000
/** After one that could not be taken. */
const RETRY_MS = 10_000

type Commit = (make: (draft: Draft) => object) => boolean

export interface TakeOptions {
  /** The one before goes too, and with it every journal file that ends before this one. */
  alone?: boolean
  /** Called when the new one is durable and named, before old journal files of this node go. */
  beforeDrop?: () => void
}

/**
 * Checkpoints of one volume: sealed dumps of the view as chunks, so that the journal need not be kept for ever and a
 * lost view is rebuilt. One is taken when the journal has grown by as much as the last dump, and at least one file.
 *
 * Of a volume of one copy the file is written first, then the record that names it. Of several copies the record comes
 * first and is committed; then every copy gets the file, and drops what is older (design §4, §6.6).
 */
export class Checkpoints {
  readonly #volume: LocalVolume
  readonly #clock: Clock
  readonly #random: Random
  readonly #log: Log
  /** The newest that is taken; of several copies the newest that the log names. */
  #manifest: Manifest | null
  /** Chunks that the record which names it stopped using, while that record is not committed. */
  #leaving: readonly DumpChunk[] = []
  #running: Promise<void> | null = null
  #holds = 0
  #dumping: Promise<unknown> = Promise.resolve()
  /** From the record that names the newest until every member has it. */
  #spreading: Promise<unknown> = Promise.resolve()
  readonly #pins = new Set<symbol>()
  #unpinned: (() => void)[] = []
  #stopped = false
  #notBeforeMs = Number.NEGATIVE_INFINITY
  /** Where the journal stood when the newest was taken. */
  #since: { file: number; offset: number } | null
  /** The checkpoint file could not be read and the view's copy of it serves; null while it is whole. */
  problem: string | null = null

  constructor(volume: LocalVolume, world: { log: Log; clock: Clock; random: Random }) {
    this.#volume = volume
    this.#clock = world.clock
    this.#random = world.random
    this.#log = world.log
    const { replicated } = volume.shared
    const file = this.#whatIsWhole(() => this.#readFile(replicated))
    const named = replicated || this.problem ? this.#whatIsWhole(() => this.#readNamed()) : null
    this.#manifest = replicated && !this.problem ? named : (file ?? named)
    this.problem ??= this.#gap(file)
    this.#since = this.#manifest ? placeIfAny(this.#volume, this.#manifest.newest) : null
  }

  #whatIsWhole(read: () => Manifest | null): Manifest | null {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof CorruptError) && !(error instanceof ProtocolError)) throw error
      this.problem ??= messageOf(error)
      this.#log.error(
        { op: 'checkpoint', volume: this.#volume.id, error: messageOf(error) },
        'damaged',
      )
      return null
    }
  }

  /** Of several copies the file comes after the record that names it. */
  #readFile(mayBeMissing: boolean): Manifest | null {
    const volume = this.#volume
    const file = readManifest(volume)
    if (!file && !mayBeMissing && volume.view.get(keys.checkpointKey())) {
      throw new CorruptError('the checkpoint manifest is missing', { volume: volume.id })
    }
    return file
  }

  #readNamed(): Manifest | null {
    const named = this.#volume.view.get(keys.checkpointKey())
    return named ? decodeManifest(named) : null
  }

  /** Why the view could not be made anew from the newest checkpoint of this node and the journal, null when it could. */
  #gap(file: Manifest | null): string | null {
    const { disk, opening } = this.#volume
    const { journalDirectory, id } = opening
    const newest = file?.newest
    try {
      if (newest) {
        if (placeHere(this.#volume, newest.head)) return null
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
    const used = new Map<ChunkId, DumpChunk>()
    const add = (chunks: readonly DumpChunk[]) => {
      for (const chunk of chunks) used.set(chunk.id, chunk)
    }
    if (this.#manifest) add(dumpChunks(this.#manifest))
    add(this.#leaving)
    // Of several copies each has the file that its owner gave it, which may be another.
    if (this.#volume.shared.replicated) add(this.#chunksOfFile())
    return [...used.values()]
  }

  #chunksOfFile(): DumpChunk[] {
    try {
      const file = readManifest(this.#volume)
      return file ? dumpChunks(file) : []
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error
      this.problem ??= messageOf(error)
      return []
    }
  }

  /** Chunks of checkpoints that records use, and those whose end is not committed. */
  get named(): ChunkId[] {
    const chunks = this.#manifest ? dumpChunks(this.#manifest) : []
    return [...chunks, ...this.#leaving].map(({ id }) => id)
  }

  /** The newest that the log names, for the copies; null when it names none. */
  get newest(): Checkpoint | null {
    return this.#manifest ? sealManifest(this.#volume, this.#manifest) : null
  }

  /** Start a checkpoint in the background when one is due. */
  maybeTake(commit: Commit): void {
    if (this.#stopped || this.#running || this.#holds > 0 || !this.#due()) return
    this.#begin(commit, {}).catch((error: unknown) => {
      this.#notBeforeMs = this.#clock.monotonicMs() + RETRY_MS
      this.#log.error(
        { op: 'checkpoint', volume: this.#volume.id, error: messageOf(error) },
        'checkpoint failed; the journal stays',
      )
    })
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

  /**
   * The newest that the log names stays the newest until the returned function is called: a copy begins at it. Does not
   * wait for the dump of a further one, which may itself wait for the copies.
   */
  async pin(): Promise<() => void> {
    const pin = Symbol('pin')
    this.#pins.add(pin)
    await this.#spreading
    return () => {
      this.#pins.delete(pin)
      if (this.#pins.size === 0) for (const go of this.#unpinned.splice(0)) go()
    }
  }

  async #untilUnpinned(): Promise<void> {
    while (this.#pins.size > 0 && !this.#stopped) {
      await new Promise<void>((resolve) => this.#unpinned.push(resolve))
    }
  }

  /** None is begun any more, and nothing reads the view: the volume can be closed. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const go of this.#unpinned.splice(0)) go()
    await this.#dumping
  }

  /**
   * Take one now. @returns how many copies of the volume do not have it
   * @throws what kept it from being taken; the journal then stays as it is
   */
  async take(commit: Commit, options: TakeOptions = {}): Promise<number> {
    while (this.#running) await this.#running.catch(() => null)
    return await this.#begin(commit, options)
  }

  async #begin(commit: Commit, options: TakeOptions): Promise<number> {
    const { replicas } = this.#volume
    const taking = replicas
      ? this.#takeOnAll(commit, options, replicas)
      : this.#take(commit, options).then(() => 0)
    this.#running = taking.then(
      () => {},
      () => {},
    )
    try {
      return await taking
    } finally {
      this.#running = null
    }
  }

  async #take(commit: Commit, { alone = false, beforeDrop }: TakeOptions): Promise<void> {
    const volume = this.#volume
    const newest = await this.#dump()
    const before = this.#manifest
    const manifest: Manifest = { newest, previous: alone ? null : (before?.newest ?? null) }
    // Taken at a durable place (design §4): behind a log that a cut in power left shorter, nothing can go on from it.
    await volume.journal.syncAsync(newest.head)
    writeManifest(volume, manifest)
    this.#noteTaken(manifest)
    this.problem = null
    const gone = leftBehind(before, manifest)
    this.#name(commit, manifest, gone)
    beforeDrop?.()
    volume.journal.dropBefore((manifest.previous ?? (alone ? newest : null))?.head.file ?? 0)
    for (const { id, drive } of gone) await volume.chunks.delete(id, drive)
  }

  async #takeOnAll(
    commit: Commit,
    { alone = false, beforeDrop = () => {} }: TakeOptions,
    replicas: Replicas,
  ): Promise<number> {
    const newest = await this.#dump()
    const before = this.#manifest
    const manifest: Manifest = { newest, previous: alone ? null : (before?.newest ?? null) }
    const gone = leftBehind(before, manifest)
    await this.#commit(replicas)
    await this.#untilUnpinned()
    const spreading = this.#spread(manifest, gone, commit, replicas, beforeDrop)
    this.#spreading = spreading.catch(() => {})
    return await spreading
  }

  async #spread(
    manifest: Manifest,
    gone: readonly DumpChunk[],
    commit: Commit,
    replicas: Replicas,
    beforeDrop: () => void,
  ): Promise<number> {
    const volume = this.#volume
    await nameChunks(volume, manifest.newest.chunks, () => this.#name(commit, manifest, gone))
    this.#noteTaken(manifest)
    this.#leaving = gone
    await this.#commit(replicas)
    this.#leaving = []
    beforeDrop()
    const file = encodeCheckpoint(volume.id, sealManifest(volume, manifest))
    const without = await replicas.checkpoint(file)
    this.problem = null
    // Deleted with the file that named them.
    for (const { id } of gone) volume.chunks.forget(id)
    return without
  }

  /** All that is appended now on stable storage, here and on every other member. */
  async #commit(replicas: Replicas): Promise<void> {
    const { shared, journal } = this.#volume
    // Under the lock: a head half moved could name a record of the next file with the file before.
    shared.lock()
    const { head } = shared
    shared.unlock()
    await Promise.all([replicas.sync(head.seq), journal.syncAsync(head)])
    shared.syncedThrough(head.seq)
  }

  #noteTaken(manifest: Manifest): void {
    this.#manifest = manifest
    this.#since = manifest.newest.head
  }

  #name(commit: Commit, manifest: Manifest, gone: readonly DumpChunk[]): void {
    this.#refuseStopped()
    commit((draft) => {
      draft.put(keys.checkpointKey(), encodeManifest(manifest))
      draft.besides = {
        begins: manifest.newest.chunks.map(({ id }) => id),
        ends: gone.map(({ id }) => id),
      }
      return {}
    })
  }

  #due(): boolean {
    if (this.#clock.monotonicMs() < this.#notBeforeMs) return false
    const { head } = this.#volume.shared
    const since = this.#since ?? { file: 1, offset: 0 }
    const grown = (head.file - since.file) * limits.journalFileBytesMax + head.offset - since.offset
    const last =
      this.#manifest?.newest.chunks.reduce((sum, chunk) => sum + chunk.plainBytes, 0) ?? 0
    return grown > Math.max(limits.journalFileBytesMax, last)
  }

  #refuseStopped(): void {
    if (!this.#stopped) return
    throw new FsError('ECANCELED', 'checkpoint', { message: 'the volume is being closed' })
  }

  async #dump(): Promise<Dump> {
    const dumping = this.#dumpAll()
    this.#dumping = dumping.catch(() => {})
    return await dumping
  }

  /** What was put of one that fails is taken back: no record names it. */
  async #dumpAll(): Promise<Dump> {
    const chunks: DumpChunk[] = []
    try {
      return { head: await this.#dumpTo(chunks), chunks }
    } catch (error) {
      for (const chunk of chunks) await this.#takeBack(chunk)
      throw error
    }
  }

  async #takeBack({ id, drive }: DumpChunk): Promise<void> {
    const { chunks, replicas, shared } = this.#volume
    replicas?.deleteChunk(id, shared.committed as RecordSeq)
    try {
      await chunks.delete(id, drive)
    } catch (error) {
      // The first failure is the one to tell; what stays is swept.
      if (codeOf(error) === '') throw error
    }
  }

  async #dumpTo(chunks: DumpChunk[]): Promise<AppliedHead> {
    const { head, entries } = this.#volume.view.snapshot()
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
      this.#refuseStopped()
    }
    await put()
    return head
  }
}

/** Chunks of the checkpoint before that the new one does not keep. */
function leftBehind(before: Manifest | null, now: Manifest): DumpChunk[] {
  const kept = new Set(dumpChunks(now).map(({ id }) => id))
  return before ? dumpChunks(before).filter(({ id }) => !kept.has(id)) : []
}

/**
 * Fill an empty view from the newest checkpoint, or the one before where that is damaged.
 * @param alone also when the journal does not go on there: the place is then where it was taken
 * @returns false when the volume has none
 */
export function loadCheckpoint(volume: LocalVolume, alone = false): boolean {
  const manifest = readManifest(volume)
  if (!manifest) return false
  try {
    fillFrom(volume, manifest.newest, alone)
  } catch (error) {
    if (!(error instanceof CorruptError) || !manifest.previous) throw error
    volume.view.clear()
    fillFrom(volume, manifest.previous, alone)
  }
  return true
}

function placeIfAny(volume: LocalVolume, { head }: Dump): AppliedHead | null {
  try {
    return placeHere(volume, head)
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    return null
  }
}

function fillFrom(volume: LocalVolume, dump: Dump, alone: boolean): void {
  const { head: taken, chunks } = dump
  const head = alone ? (placeIfAny(volume, dump) ?? taken) : placeHere(volume, taken)
  if (!head) {
    throw new CorruptError('the journal does not go on where the checkpoint ends', {
      volume: volume.id,
      seq: taken.seq,
    })
  }
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
  const { head: taken, chunks } = manifest.newest
  const head = placeHere(volume, taken)
  if (!head) {
    throw new CorruptError('the journal does not go on where the checkpoint ends', {
      volume: volume.id,
      seq: taken.seq,
    })
  }
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
