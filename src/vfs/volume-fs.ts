import {
  type ChunkId,
  type Clock,
  CorruptError,
  codeOf,
  type DriveId,
  FsError,
  type Ino,
  type Log,
  limits,
  messageOf,
  type RecordSeq,
  ROOT_INO,
  type Timespec,
  type VolumeId,
} from '../base/index.ts'
import { SECOND_READ_BYTES_MIN, type SecondReader } from '../chunks/index.ts'
import { nameHash } from '../crypto/index.ts'
import type { RequestId } from '../journal/index.ts'
import {
  type Answer,
  copyInode,
  type Dirent,
  decodeAnswer,
  decodeChunkInfo,
  decodeDirents,
  decodeInode,
  encodeAnswer,
  encodeDirents,
  type Inode,
  keys,
  S_IFDIR,
  S_IFMT,
} from '../meta/index.ts'
import {
  Draft,
  type LocalVolume,
  StagingReader,
  StagingWriter,
  takeTimes,
  VOLUME_STATE,
} from '../store/index.ts'
import { ABANDONED } from './abandoned.ts'
import { commitStaged } from './commit-staged.ts'
import { ExtentMaps } from './extent-maps.ts'
import { Overlay } from './overlay.ts'
import { StagedFiles } from './staged-files.ts'
import { SyncTimes } from './sync-times.ts'

/** Who asks, from the kernel's request header. */
export interface Caller {
  uid: number
  gid: number
  pid: number
}

/** Names a request across restarts of the daemon: the mount and the kernel's unique, without the resend bit. */
export interface Request {
  uniqueLo: number
  uniqueHi: number
}

/** An inode as a caller sees it: with what is staged. */
export interface Attributes {
  ino: Ino
  /** Shared with the cache when nothing is staged. */
  inode: Readonly<Inode>
}

export interface VolumeFsWorld {
  clock: Clock
  log: Log
  /** Number of the mount whose request this is; names its answers in the journal. */
  readonly mount: number
  wakeEngine(): void
  /** The engine is to give back inodes that have no name and no user any more. */
  purge(inos: Ino[]): void
  /** Reads parts of chunks beside this thread, into the buffer that answers are made in. */
  secondReader?: SecondReader
  /** A chunk failed its seal or is gone: goes to the log and to status. */
  damaged(volume: VolumeId, chunk: ChunkId, what: string): void
}

const ENGINE_BEHIND = Symbol('engine behind')
const CHUNK_DRIVES_MAX = 65_536
const INODES_CACHED_MAX = 20_000
/** Names whose places are kept: a look-up is mostly followed by a change of the same name. */
const PLACES_MAX = 4096

/** Spelled out, as all that is made for each request: a spread copies property by property through a slow path. */
function requestIdOf({ uniqueLo, uniqueHi }: Request, mount: number): RequestId {
  return { mount, uniqueLo, uniqueHi }
}

/** Where a name stands or would stand: the key of its bucket, and who else is in that. */
interface NamePlace {
  key: Buffer
  entry: Dirent | null
  others: Dirent[]
}

function placeId(parent: Ino, name: Buffer): string {
  return `${parent}/${name.toString('latin1')}`
}

/** @param value of the bucket; null when there is none */
function placeIn(key: Buffer, value: Buffer | null, name: Buffer): NamePlace {
  const place: NamePlace = { key, entry: null, others: [] }
  if (!value) return place
  for (const entry of decodeDirents(value)) {
    if (entry.name.equals(name)) place.entry = entry
    else place.others.push(entry)
  }
  return place
}

/**
 * One volume as POSIX sees it, in the thread that answers one mount. It orders the volume's changes: each is checked,
 * drafted and appended under the volume's lock, seen at once through the overlay, and applied by the engine.
 * The operations stand in files of their own (names.ts, attributes.ts, data.ts, …) as functions over this class.
 */
export class VolumeFs {
  readonly volume: LocalVolume
  readonly world: VolumeFsWorld
  readonly overlay: Overlay
  readonly staged = new StagedFiles()
  readonly staging: StagingReader
  readonly extents: ExtentMaps
  /** Nameless inodes a kernel still knows: their space comes back when it forgets them. */
  readonly orphans = new Set<Ino>()
  /** Those of a life before this one: another kernel mount may know them, too. */
  readonly inherited = new Set<Ino>()
  /** This thread orders the volume's changes. Otherwise another mount does, and this one reads what is committed. */
  readonly writes: boolean
  readonly #writer: StagingWriter | null
  readonly #inodes = new Map<Ino, Inode>()
  readonly #places = new Map<string, NamePlace>()
  readonly #chunkDrives = new Map<ChunkId, DriveId>()
  readonly #syncs: SyncTimes
  readonly #hash = Buffer.allocUnsafe(8)
  #foreignSeen = -1
  /** Changed by a record that was not in the view yet when this thread last dropped what it kept; null for anything. */
  #foreignLate: Ino[] | null = []
  #caughtUpTo = -1

  constructor(volume: LocalVolume, world: VolumeFsWorld, writes: boolean) {
    this.volume = volume
    this.world = world
    this.#syncs = new SyncTimes(world.clock)
    this.writes = writes
    this.overlay = new Overlay(volume, () => world.wakeEngine())
    this.staging = new StagingReader(volume.opening.stagingDirectory)
    this.extents = new ExtentMaps(this.overlay)
    this.#writer = writes ? new StagingWriter(volume.opening.stagingDirectory) : null
    if (writes) this.#takeOver()
  }

  /** Staged writes and orphans of the life before this one. */
  #takeOver(): void {
    const { shared } = this.volume
    for (const staged of this.staging.scan(shared.committedNumber, shared.stagedNumber)) {
      const inode = this.find(staged.ino)
      if (inode && staged.number > inode.dataThrough) this.staged.add(staged)
    }
    // The engine began before this thread and may have committed it already.
    for (const newest of this.staging.newest().values()) this.staged.recall(newest)
    const end = Buffer.of(keys.KIND.orphan + 1)
    for (const [key] of this.overlay.range(Buffer.of(keys.KIND.orphan), end)) {
      this.orphans.add(keys.inoOfKey(key))
      this.inherited.add(keys.inoOfKey(key))
    }
  }

  get writer(): StagingWriter {
    if (!this.#writer) throw new FsError('EROFS', 'write', { volume: this.volume.name })
    return this.#writer
  }

  /** See what others changed. To be called at the start of every request. @throws FsError when the volume is not open */
  enter(): void {
    const { shared } = this.volume
    if (shared.state !== VOLUME_STATE.open) this.#refuse()
    // Here and nowhere else: a change in the making has its new inodes in the cache alone.
    if (this.#inodes.size >= INODES_CACHED_MAX) this.#inodes.clear()
    if (this.#places.size >= PLACES_MAX) this.#places.clear()
    if (!this.writes) this.#catchUp()
    else if (shared.foreignChanges !== this.#foreignSeen) this.#refresh()
  }

  /** Another mount orders the changes: what it was answered before this request began is seen by this one. */
  #catchUp(): void {
    const { seq, foreignChanges } = this.volume.shared
    if (seq === this.#caughtUpTo && foreignChanges === this.#foreignSeen) return
    this.overlay.waitApplied(seq)
    this.#refresh()
    this.#caughtUpTo = seq
  }

  /** The view moved on since this request began: a chunk that cannot be read may be one that was given back. */
  get outdated(): boolean {
    return this.volume.shared.foreignChanges !== this.#foreignSeen
  }

  #refresh(): void {
    const { shared } = this.volume
    this.#foreignSeen = shared.foreignChanges
    const { committedNumber } = shared
    const changed = this.writes ? this.#takeForeign() : null
    this.overlay.prune()
    if (changed) for (const ino of changed) this.dropInode(ino)
    else {
      this.#inodes.clear()
      this.#places.clear()
      this.extents.clear()
    }
    this.staged.dropThrough(committedNumber)
  }

  /** Inodes that others changed since this was last asked, null when it may be anything. */
  #takeForeign(): Ino[] | null {
    const { shared } = this.volume
    const { underLock } = this.overlay
    if (!underLock) shared.lock()
    const taken = shared.foreign.take()
    const behind = shared.engineBehind
    if (!underLock) shared.unlock()
    const late = this.#foreignLate
    const changed = taken && late ? [...late, ...taken] : null
    // What is not in the view yet may be cached once more as it was before: it is dropped again then.
    this.#foreignLate = behind ? changed : []
    return changed
  }

  #refuse(): void {
    const { state } = this.volume.shared
    if (state === VOLUME_STATE.readOnly) return
    throw this.volume.stoppedError()
  }

  wakeEngine(): void {
    if (this.volume.shared.takeEngineSleeps()) this.world.wakeEngine()
  }

  now(): Timespec {
    return this.world.clock.now()
  }

  /** @throws FsError ESTALE when there is no such inode (any more) */
  inode(ino: Ino): Inode {
    const inode = this.find(ino)
    if (!inode) throw new FsError('ESTALE', 'inode', { ino })
    return inode
  }

  /** Shared with the cache: callers copy before they change it. */
  find(ino: Ino): Inode | null {
    const cached = this.#inodes.get(ino)
    if (cached) return cached
    const value = this.overlay.get(keys.inodeKey(ino))
    if (!value) return null
    const inode = decodeInode(value)
    this.#inodes.set(ino, inode)
    return inode
  }

  directory(ino: Ino): Inode {
    const inode = this.inode(ino)
    if ((inode.mode & S_IFMT) !== S_IFDIR) throw new FsError('ENOTDIR', 'inode', { ino })
    return inode
  }

  attributes(ino: Ino): Attributes {
    const inode = this.inode(ino)
    const staged = this.staged.get(ino)
    if (!staged) return { ino, inode }
    const seen = copyInode(inode)
    takeTimes(seen, staged.last)
    const { end } = staged.intervals
    seen.size = Math.max(inode.size, end)
    seen.bytes = Math.max(inode.bytes, Math.min(end, inode.bytes + end))
    return { ino, inode: seen }
  }

  /** The 8 bytes that stand for a name in keys, and as the cookie of READDIR: a positive number above 2^62. */
  hash(name: Buffer): Buffer {
    nameHash(this.volume.keys.nameKey, name, this.#hash, 0)
    this.#hash[0] = ((this.#hash[0] as number) & 0x3f) | 0x40
    return this.#hash
  }

  /** The entry of a name, null when there is none. @throws FsError ENAMETOOLONG */
  entry(parent: Ino, name: Buffer): Dirent | null {
    if (name.length > limits.nameBytesMax) throw new FsError('ENAMETOOLONG', 'lookup', { parent })
    return this.#place(parent, name).entry
  }

  #place(parent: Ino, name: Buffer): NamePlace {
    const id = placeId(parent, name)
    let place = this.#places.get(id)
    if (place) return place
    const key = keys.direntKey(parent, this.hash(name))
    place = placeIn(key, this.overlay.get(key), name)
    this.#places.set(id, place)
    return place
  }

  /**
   * One change of the volume: `make` checks and drafts under the lock; its record is appended before this returns.
   * @param request the kernel's request, so that it is never executed twice
   * @param answered inode that the reply is about, for the stored answer; 0 for none
   */
  change<T>(
    request: Request | null,
    make: (draft: Draft) => T,
    answered: (result: T) => Ino = () => 0 as Ino,
    urgent = false,
  ): T {
    const { shared } = this.volume
    if (!this.writes) throw new FsError('EROFS', 'change', { volume: this.volume.name })
    if (shared.state !== VOLUME_STATE.open) {
      if (shared.state === VOLUME_STATE.readOnly) throw new FsError('EROFS', 'change', {})
      throw this.volume.stoppedError()
    }
    for (;;) {
      this.overlay.throttle()
      const result = this.#tryChange(request, make, answered, urgent)
      if (result !== ENGINE_BEHIND) return result
      this.overlay.waitApplied(shared.engineSeq)
    }
  }

  /** @returns ENGINE_BEHIND when it may rest on what a record of the engine, not in the view yet, has changed */
  #tryChange<T>(
    request: Request | null,
    make: (draft: Draft) => T,
    answered: (result: T) => Ino,
    urgent: boolean,
  ): T | typeof ENGINE_BEHIND {
    const { shared } = this.volume
    shared.lock()
    this.overlay.underLock = true
    const behind = shared.engineBehind
    try {
      if (shared.foreignChanges !== this.#foreignSeen) this.#refresh()
      const draft = new Draft(this.overlay)
      const result = make(draft)
      if (result === ABANDONED) return result
      if (request) {
        const { uniqueLo, uniqueHi } = request
        const answer: Answer = { uniqueLo, uniqueHi, ino: answered(result) }
        draft.put(keys.answerKey(this.world.mount), encodeAnswer(answer))
      }
      const { changes, seq } = this.volume.append(draft, {
        urgent,
        requestId: request ? requestIdOf(request, this.world.mount) : null,
        apartFrom: behind ? shared.touchedByEngine : null,
      })
      this.overlay.add(changes, seq)
      for (const change of changes) this.extents.note(change)
      if (draft.covers !== null) {
        // Before the lock is let go: from then on the engine may claim what is staged.
        shared.committedNumber = draft.covers
        shared.committedBytes = shared.stagedBytes
      }
      return result
    } catch (error) {
      this.#inodes.clear()
      // Refused over a view that lacks something, be it for TOUCHED or for another reason: not to be believed.
      if (behind) return ENGINE_BEHIND
      throw error
    } finally {
      this.overlay.underLock = false
      shared.unlock()
      this.wakeEngine()
    }
  }

  /** The stored answer of a request that the kernel sends again; null when it was never executed. */
  answered(request: Request): Answer | null {
    const { uniqueLo, uniqueHi } = request
    const last = this.staged.lastOf(this.world.mount)
    if (last && last.uniqueLo === uniqueLo && last.uniqueHi === uniqueHi) {
      return { uniqueLo, uniqueHi, ino: last.ino }
    }
    const value = this.overlay.get(keys.answerKey(this.world.mount))
    if (!value) return null
    const answer = decodeAnswer(value)
    return answer.uniqueLo === uniqueLo && answer.uniqueHi === uniqueHi ? answer : null
  }

  putInode(draft: Draft, ino: Ino, inode: Inode): void {
    inode.version = this.volume.shared.seq + 1
    draft.putInode(ino, inode)
    this.#inodes.set(ino, inode)
  }

  dropInode(ino: Ino): void {
    this.#inodes.delete(ino)
    this.extents.forget(ino)
  }

  putEntry(draft: Draft, parent: Ino, entry: Dirent): void {
    const { key, others } = this.#takePlace(draft, parent, entry.name)
    draft.put(key, encodeDirents([...others, entry]))
  }

  removeEntry(draft: Draft, parent: Ino, name: Buffer): void {
    const { key, entry, others } = this.#takePlace(draft, parent, name)
    if (!entry) throw new CorruptError('directory entry vanished', { parent })
    if (others.length > 0) draft.put(key, encodeDirents(others))
    else draft.delete(key)
  }

  /** A name's place as the draft has it, about to be changed: it is looked up anew afterwards. */
  #takePlace(draft: Draft, parent: Ino, name: Buffer): NamePlace {
    const place = this.#place(parent, name)
    this.#places.delete(placeId(parent, name))
    return draft.touches(place.key) ? placeIn(place.key, draft.get(place.key), name) : place
  }

  /** Commit what is staged of one file, so that a change can rest on it. */
  flush(ino: Ino): void {
    const staged = this.staged.get(ino)
    // Times alone are taken along by whatever changes the inode (settledInode).
    if (!staged || staged.intervals.list.length === 0) return
    if (!commitStaged(this, ino)) this.flushThrough(staged.last.number)
  }

  /**
   * fsync of one file by this thread, where that is quicker than waking the engine: little of it is staged and the drive
   * is fast.
   * @returns false when the engine has to do it: always where other copies have a say; it then finds a record and needs only
   * to have it synced everywhere
   * @throws FsError EIO when the drive failed: the copy has left (rule 7)
   */
  syncHere(ino: Ino): boolean {
    const { shared } = this.volume
    if (!this.writes) return false
    if (shared.replicated) {
      if (this.staged.get(ino)) commitStaged(this, ino)
      return false
    }
    if (this.#syncs.slow()) return false
    if (this.staged.get(ino) && !commitStaged(this, ino)) return false
    shared.lock()
    const { head } = shared
    shared.unlock()
    if (shared.synced >= head.seq) return true
    this.#syncs.time(() => this.volume.journal.sync(head))
    shared.syncedThrough(head.seq)
    return true
  }

  /**
   * What has to be made durable for an fsync of one file; null for all that was accepted so far. `pastEngine`: on a volume of
   * several copies, where the engine has nothing to commit for it first, the owner can be asked at once.
   */
  syncPoint(ino: Ino | null): { stagedNumber: number; seq: RecordSeq; pastEngine: boolean } {
    const { shared } = this.volume
    // Who only reads does not know whose write is which.
    const all = ino === null || !this.writes
    const stagedNumber = all ? shared.stagedNumber : this.stagedThrough(ino)
    const pastEngine = shared.replicated && stagedNumber <= shared.committedNumber
    // Behind that look: before it, this would miss what the engine has just committed.
    return { stagedNumber, seq: shared.seq as RecordSeq, pastEngine }
  }

  /** Number of the last staged write of a file, 0 when none is staged. */
  stagedThrough(ino: Ino): number {
    return this.staged.get(ino)?.last.number ?? 0
  }

  /** Commit all that is staged up to a number, whosever it is. */
  flushThrough(number: number): void {
    const { shared } = this.volume
    if (shared.committedNumber < number) {
      if (number > shared.flushWanted) shared.flushWanted = number
      this.world.wakeEngine()
      shared.waitForProgress(() => shared.committedNumber >= number || shared.stopped)
      if (shared.committedNumber < number) throw this.volume.stoppedError()
    }
    this.#refresh()
  }

  /**
   * Plain bytes of a chunk into `out`.
   * @throws FsError EIO when the chunk is damaged or missing: that range alone is lost, unless another copy has it
   */
  readChunk(chunk: ChunkId, at: number, length: number, out: Buffer, outAt: number): void {
    let drive = this.#chunkDrives.get(chunk)
    if (drive === undefined) {
      const value = this.overlay.get(keys.chunkKey(chunk))
      if (!value) throw new FsError('EIO', 'read', { chunk, message: 'chunk is not in the view' })
      drive = decodeChunkInfo(value).drive
      if (this.#chunkDrives.size >= CHUNK_DRIVES_MAX) this.#chunkDrives.clear()
      this.#chunkDrives.set(chunk, drive)
    }
    try {
      this.#readBoth(chunk, drive, at, length, out, outAt)
    } catch (error) {
      if (!(error instanceof CorruptError || codeOf(error) === 'EIO')) throw error
      if (this.outdated) throw new FsError('EAGAIN', 'read', { chunk, cause: error })
      // What a drive of this node does not give is damage where another copy has it; else the drive's own state tells it.
      if (error instanceof CorruptError || this.volume.shared.replicated) {
        this.world.damaged(this.volume.id, chunk, messageOf(error))
      }
      throw new FsError('EIO', 'read', { chunk, cause: error })
    }
  }

  /** A large part is halved: the second reader takes the later pages. */
  #readBoth(
    chunk: ChunkId,
    drive: DriveId,
    at: number,
    length: number,
    out: Buffer,
    outAt: number,
  ): void {
    const { chunks, reader } = this.volume
    const { secondReader: second } = this.world
    if (!second || length < SECOND_READ_BYTES_MIN || !second.ready(out)) {
      chunks.readSync(chunk, drive, reader, at, length, out, outAt)
      return
    }
    const middle = at + length / 2
    const own = Math.floor(middle / limits.chunkPageBytes) * limits.chunkPageBytes - at
    const later = { plainAt: at + own, length: length - own, outAt: outAt + own }
    const key = reader.keyOf(chunks.keyEpochOf(chunk, drive))
    const where = chunks.driveOf(chunk, drive)
    second.begin({
      ...later,
      directory: where.dir,
      drive: where.id,
      volume: this.volume.id,
      chunk,
      key,
    })
    let read = false
    try {
      chunks.readSync(chunk, drive, reader, at, own, out, outAt)
    } finally {
      read = second.finish()
    }
    if (!read) chunks.readSync(chunk, drive, reader, at + own, length - own, out, outAt + own)
  }

  /**
   * Commit and apply all that this thread accepted: another is going to order the changes. Of a volume that another node has
   * taken nothing is committed any more, and it must be let go all the same.
   */
  giveUp(): void {
    const { shared } = this.volume
    if (shared.isLost) return
    try {
      this.flushThrough(shared.stagedNumber)
      this.overlay.settleAll()
    } catch (error) {
      if (!shared.isLost) throw error
    }
  }

  close(): void {
    this.#writer?.close()
    this.staging.close()
  }

  get root(): Ino {
    return ROOT_INO
  }
}
