import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  type ChunkId,
  FsError,
  type Ino,
  type KeyEpoch,
  limits,
  type RecordSeq,
  type VolumeId,
  type VolumeNumber,
} from '../base/index.ts'
import { type ChunkReader, ChunkStore } from '../chunks/index.ts'
import { type ExportedKeys, openBlob, sealBlob, VolumeKeys } from '../crypto/index.ts'
import { chunkFilesOf, type Disk, systemDisk } from '../disk/index.ts'
import { type Drive, FollowedDrives, type LostDrive, takesData } from '../drives/index.ts'
import {
  Journal,
  type JournalHead,
  type RecordSealer,
  type RequestId,
  type ScannedRecord,
  scan,
} from '../journal/index.ts'
import { type Change, encodeChanges, encodeTotals, keys, type Totals, View } from '../meta/index.ts'
import type { ChunkEnd, Draft } from './draft.ts'
import { type Replicas, SET_CHANGED } from './replicas.ts'
import { SharedVolume, VOLUME_STATE } from './shared.ts'
import type { Touched } from './touched.ts'

/** Everything a thread needs to open a volume of this node; goes to worker threads by message. */
export interface VolumeOpening {
  id: VolumeId
  number: VolumeNumber
  name: string
  /** Directory of the LMDB view. */
  viewDirectory: string
  /** Directory of the journal, on the volume's journal drive. */
  journalDirectory: string
  /** Directory of the staged writes, on tmpfs. */
  stagingDirectory: string
  /** Buffer of ToldDrives. */
  drives: SharedArrayBuffer
  /** This boot of the machine, 32 hex digits: staged writes of another are void. */
  boot: string
  keys: ExportedKeys
  shared: SharedArrayBuffer
}

/** The keys a thread holds of a volume; replaced whole on rotation, wiped on lock. */
export class KeyHolder {
  #keys: VolumeKeys

  constructor(exported: ExportedKeys) {
    this.#keys = VolumeKeys.import(exported)
  }

  get newest(): KeyEpoch {
    return this.#keys.newest
  }
  get nameKey(): Buffer {
    return this.#keys.nameKey
  }
  get(epoch: KeyEpoch) {
    return this.#keys.get(epoch)
  }
  replace(exported: ExportedKeys): void {
    const old = this.#keys
    this.#keys = VolumeKeys.import(exported)
    old.wipe()
  }
  wipe(): void {
    this.#keys.wipe()
  }
}

export type AppendedChange = Change

/** A draft met what it has not seen: it is made again, from what is there then. No fault, so it has no stack. */
export const TOUCHED = new FsError('EAGAIN', 'append', { message: 'drafted over an older state' })

export interface AppendedRecord {
  ends: ChunkEnd[]
  seq: number
}

/** One thread's access to a volume: view, journal and chunks under the shared state and its lock. */
export class LocalVolume {
  readonly id: VolumeId
  readonly number: VolumeNumber
  readonly name: string
  readonly opening: VolumeOpening
  readonly shared: SharedVolume
  readonly keys: KeyHolder
  /** Where journal, checkpoints and chunks lie. The view and the staged writes are not on it. */
  readonly disk: Disk
  readonly #drives: FollowedDrives
  readonly view: View
  readonly journal: Journal
  readonly sealer: RecordSealer
  readonly chunks: ChunkStore
  /** Set in the engine's thread alone, where chunks are made. */
  replicas: Replicas | null = null
  /** Told when one of its drives begins to fail. */
  onDriveFail: ((drive: Drive, error: unknown) => void) | null = null
  /** Chunks that the copies of a set have and no record names yet, with the number of the set. */
  readonly #confirmed = new Map<ChunkId, number>()
  readonly #boot: Buffer

  constructor(opening: VolumeOpening, disk: Disk = systemDisk) {
    this.opening = opening
    this.disk = disk
    this.id = opening.id
    this.number = opening.number
    this.name = opening.name
    this.#boot = Buffer.from(opening.boot, 'hex')
    this.shared = new SharedVolume(opening.shared)
    this.keys = new KeyHolder(opening.keys)
    this.#drives = new FollowedDrives(opening.drives, {
      files: disk,
      onFail: (drive, error) => this.onDriveFail?.(drive, error),
    })
    this.view = new View(opening.viewDirectory, this.keys)
    this.sealer = {
      seal: (epoch, plain, ad) => sealBlob(this.keys.get(epoch).journal, plain, ad),
      open: (epoch, sealed, ad) => openBlob(this.keys.get(epoch).journal, sealed, ad),
    }
    this.journal = new Journal({
      disk,
      directory: opening.journalDirectory,
      volumeId: opening.id,
      sealer: this.sealer,
      poison: this.shared.poison,
      written: this.shared.journalWritten,
    })
    this.chunks = new ChunkStore(this.drives, {
      files: chunkFilesOf(disk),
      look: () => this.#drives.look(),
    })
    this.reader = { volume: opening.id, keyOf: (epoch) => this.chunkKey(epoch) }
  }

  readonly reader: ChunkReader

  get drives(): readonly Drive[] {
    return this.#drives.drives
  }

  /** What could not be opened: chunks that are there alone answer EIO. */
  get lostDrives(): readonly LostDrive[] {
    return this.#drives.lost
  }

  chunkKey(epoch: KeyEpoch): Buffer {
    return this.keys.get(epoch).chunk
  }

  /**
   * Have a chunk on every other copy that counts, so that a record may name it once it is durable here too.
   * @param file of it, in shared memory, lent until this settles; null to take it from the drive · @throws as Replicas
   */
  async confirm(chunk: ChunkId, file: Buffer | null): Promise<void> {
    if (!this.replicas) return
    this.#confirmed.set(chunk, await this.replicas.putChunk(chunk, file))
  }

  /** As `confirm`, unless the set is still the one that has it. */
  async confirmAnew(chunk: ChunkId): Promise<void> {
    if (this.#confirmed.get(chunk) !== this.shared.setNumber) await this.confirm(chunk, null)
  }

  /** Totals as the shared state has them; a record that covers staged writes moves stagedNumber. */
  totals(): Totals {
    const { shared } = this
    return {
      bytes: shared.usedBytes,
      inodes: shared.inodes,
      inlineBytes: shared.inlineBytes,
      inoReserved: shared.inoReserved,
      stagedNumber: shared.coveredNumber,
      stagedGiven: shared.stagedNumber,
      boot: this.#boot,
    }
  }

  /** Ask the drives what they still take, headroom subtracted. */
  measureSpace(): void {
    let free = 0
    for (const drive of this.drives) {
      if (takesData(drive)) free += Math.max(0, drive.freeBytes() - limits.driveHeadroomBytes)
    }
    this.shared.freeBytes = free
  }

  /** A no comes from drives that were asked this moment: the engine looks at them only while it works. Hot when yes. */
  hasRoom(bytes: number): boolean {
    if (bytes <= this.shared.freeBytes) return true
    this.chunks.lookAtDrives()
    for (const drive of this.drives) drive.forgetSpace()
    this.measureSpace()
    return bytes <= this.shared.freeBytes
  }

  /**
   * Append a draft as one record and move the head. Only under the lock, over a view with every record applied or an
   * overlay that says the same, but for what `apartFrom` names. Nothing has changed when it throws.
   * @throws TOUCHED; SET_CHANGED; FsError ENOSPC when the drive is full (urgent records may use the headroom), EIO when the copy failed
   */
  append(
    draft: Draft,
    more: {
      requestId?: RequestId | null
      urgent?: boolean
      /** What the record must have nothing to do with: the draft may not have seen it. */
      apartFrom?: Touched | null
    } = {},
  ): AppendedRecord & { changes: AppendedChange[] } {
    const { shared } = this
    if (shared.stopped) throw this.stoppedError()
    if (!more.urgent && !this.hasRoom(1)) throw new FsError('ENOSPC', 'append', {})
    const { changes, begins: used, ends } = draft.finish()
    const begins = [...used, ...draft.besides.begins]
    if (more.apartFrom?.meets(changes)) throw TOUCHED
    if (this.replicas) {
      if (begins.some((id) => this.#confirmed.get(id) !== shared.setNumber)) throw SET_CHANGED
      for (const id of begins) this.#confirmed.delete(id)
    }
    const totals = this.totals()
    totals.bytes += draft.bytesDelta
    totals.inodes += draft.inodesDelta
    totals.inlineBytes += draft.inlineDelta
    if (draft.covers !== null) totals.stagedNumber = draft.covers
    changes.push({ key: keys.totalsKey(), value: encodeTotals(totals) })
    const before = shared.head
    const head = this.journal.append(
      before,
      {
        epoch: shared.epoch,
        keyEpoch: this.keys.newest,
        confirmed: {
          epoch: shared.epoch,
          seq: Math.min(shared.synced, shared.committed) as typeof before.seq,
        },
        begins,
        ends: [...ends.map((end): ChunkId => end.id), ...draft.besides.ends],
        requestId: more.requestId,
      },
      encodeChanges(changes),
    )
    shared.setHead(head)
    shared.usedBytes = totals.bytes
    shared.inodes = totals.inodes
    shared.inlineBytes = totals.inlineBytes
    if (draft.covers !== null) shared.coveredNumber = draft.covers
    shared.touchedByOthers.add(changes)
    return { changes, ends, seq: head.seq }
  }

  /** A number never given before. Only under the lock, for a record that is appended before it is given back. */
  newIno(): Ino {
    const { shared } = this
    const ino = shared.inoNext
    shared.inoNext = ino + 1
    if (ino >= shared.inoReserved) shared.inoReserved = ino + limits.inoBlock
    return ino as Ino
  }

  /** Records behind `head` up to `seq`, whose bodies may be used until the next one. */
  records(head: JournalHead, seq: RecordSeq): Generator<ScannedRecord> {
    const { journalDirectory, id } = this.opening
    return scan(this.disk, journalDirectory, id, head, this.sealer, { upTo: seq })
  }

  /** Why nothing can be done with the volume now. */
  stoppedError(): FsError {
    const { name } = this
    const { state } = this.shared
    if (state === VOLUME_STATE.locked) {
      return new FsError('ENOKEY', 'open', {
        message: `volume ${name} is locked; weft key unlock ${name}`,
      })
    }
    if (state === VOLUME_STATE.deleting) {
      return new FsError('ENOENT', 'open', { message: `volume ${name} is being deleted` })
    }
    if (state === VOLUME_STATE.fenced) {
      return new FsError('EIO', 'open', {
        message: `volume ${name} is owned by another node now; weft volume inspect ${name} shows by which`,
      })
    }
    return new FsError('EIO', 'open', {
      message: `volume ${name} stopped after a failed write or sync; see weft status`,
    })
  }

  /** All but the wait for writes of the view is done before this returns: a mount's worker never sees a promise end. */
  async close(): Promise<void> {
    this.chunks.close()
    this.journal.close()
    const closing = this.view.close()
    this.keys.wipe()
    await closing
  }

  static hasView(viewDirectory: string): boolean {
    return existsSync(join(viewDirectory, 'data.mdb'))
  }
}
