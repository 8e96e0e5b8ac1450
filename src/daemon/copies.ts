import { createHash } from 'node:crypto'
import { join } from 'node:path'
import {
  type Clock,
  type CopyId,
  CorruptError,
  codeOf,
  type DriveId,
  type Epoch,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type Position,
  ProtocolError,
  suspendProof,
  type VolumeId,
} from '../base/index.ts'
import type { ChunkHeader, RawChunks } from '../chunks/index.ts'
import type { Disk } from '../disk/index.ts'
import { type Drive, takesData } from '../drives/index.ts'
import {
  type Addressed,
  type Answer,
  Copy,
  type DriveSet,
  type Request,
} from '../replication/index.ts'
import { VOLUMES_NAME } from './move-journals.ts'

export interface CopiesWorld {
  /** Of this node, asked at every use. */
  readonly drives: () => Iterable<Drive>
  readonly chunks: RawChunks
  readonly disk: Disk
  readonly clock: Clock
  /** Of the lease, milliseconds. */
  readonly termMs: number
  /** Is there a tombstone of the volume (room volumes, Tombstone)? */
  isBuried(volume: VolumeId): Promise<boolean>
  /** Has the volume's owner given this copy up, says the coordinator now? */
  isReleased(volume: VolumeId, copy: CopyId): Promise<boolean>
  /** Drives of this node that are not here now, and may come back. */
  away(): Iterable<DriveId>
  /** Delete, if `chunks`, every chunk of the volume by its header on the drives of this node, and then these directories. */
  destroy(
    volume: VolumeId,
    what: { readonly chunks: boolean; readonly directories: readonly string[] },
  ): Promise<void>
  readonly log: Log
}

export interface NewCopy {
  readonly volume: VolumeId
  readonly copy: CopyId
  readonly drive: DriveId
}

/** A copy as status shows it. */
export interface CopyStatus {
  readonly volume: VolumeId
  /** Null while its promise cannot be read. */
  readonly copy: CopyId | null
  readonly drive: DriveId
  /** The highest epoch it promised, and to whom. */
  readonly epoch: Epoch
  readonly owner: NodeId | null
  /** The end of its log. */
  readonly end: Position
  /** Of its journal; its chunks lie among those of all volumes. */
  readonly journalBytes: number
  /** Why it counts for nothing, in words; null when it does. */
  readonly damaged: string | null
}

interface Held {
  readonly volume: VolumeId
  readonly drive: Drive
  readonly directory: string
  /** Null while it cannot be opened; `damaged` says why. */
  readonly copy: Copy | null
  damaged: string | null
}

/** Failures that say nothing of what the copy has on its drive. */
const PASSING = new Set(['ENOSPC', 'EMFILE', 'ENFILE', 'ENOMEM'])
/** Chunks lie on any drive of the node, and the next one may take what this one could not. */
const CHUNK_OPS: ReadonlySet<Request['op']> = new Set<Request['op']>([
  'putChunk',
  'lacksChunks',
  'readChunk',
  'checkChunks',
  'deleteChunks',
  'listOld',
])
const PROMISE_NAME = 'promise'
const VOLUME_ID = /^[0-9a-f]{32}$/
/** Beside the journal of a copy until its making is done. Cut short itself it leaves a `.new` (Disk.replaceFile). */
const MAKING_NAME = 'making'

/**
 * The copies of volumes that this node holds, its own volumes' ones too: `DRIVE/volumes/<volume>/` with a promise in it. A
 * journal without one is a volume of a single node and is left alone. They answer whoever owns the volume, or wants to.
 *
 * A copy is made when it is asked for, and removed when a tombstone orders it, never for want of a record. A drive that
 * fails under a copy makes it damaged until the next start: it refuses what would change it, and says why.
 */
export class Copies {
  readonly #world: CopiesWorld
  readonly #clock: Clock
  readonly #held = new Set<Held>()
  readonly #seen = new Set<Drive>()
  /** Volumes whose chunks are being deleted: no copy of one is made meanwhile. */
  readonly #clearing = new Set<VolumeId>()
  #driveNames = ''
  #driveSetName: DriveSet = '0'.repeat(32)

  private constructor(world: CopiesWorld) {
    this.#world = world
    this.#clock = suspendProof(world.clock)
  }

  /** Find and open all there are. One that cannot be opened is listed as damaged, a drive that fails is marked. */
  static async open(world: CopiesWorld): Promise<Copies> {
    const copies = new Copies(world)
    await copies.lookAtDrives()
    return copies
  }

  /** Open the copies on drives that have come since. */
  async lookAtDrives(): Promise<void> {
    await this.#world.chunks.settle()
    for (const drive of this.#world.drives()) {
      // What one that fails still gives may be the only log there is: it takes no new copy, and keeps what it has.
      if (this.#seen.has(drive) || drive.state === 'gone') continue
      this.#seen.add(drive)
      try {
        this.#openOn(drive)
      } catch (error) {
        if (!(error instanceof FsError)) throw error
        drive.fail(error)
        this.#world.log.error(
          { op: 'copies.open', drive: drive.id, error: error.message },
          'cannot look for copies on a drive',
        )
      }
    }
  }

  /**
   * Make a copy, empty and durable when this returns. No error when this very copy is here. One on a drive that answers no more
   * is in nobody's way.
   * @throws FsError EEXIST when this node has another copy of the volume, or a journal that is none; ENODEV when the drive
   * is not usable; ENOSPC, EIO: nothing of it is left then
   */
  create({ volume, copy: id, drive: driveId }: NewCopy): void {
    for (const held of this.#ofVolume(volume)) {
      if (held.copy?.identity.id === id) return
      if (!isUsable(held.drive)) continue
      if (held.copy?.isUnused) {
        // Made for a volume that never heard of it: whoever asked for it has gone since.
        this.#held.delete(held)
        held.copy.close()
        this.#clear(held.directory)
      } else {
        const which = held.copy ? `copy ${held.copy.identity.id}` : 'a copy that cannot be read'
        throw exists(volume, `this node has ${which} of it, on drive ${held.drive.id}`)
      }
    }
    if (this.#clearing.has(volume))
      throw exists(volume, 'an older copy of it is being deleted here')
    const drive = [...this.#world.drives()].find((one) => one.id === driveId)
    if (!drive || !takesData(drive) || !drive.present()) {
      throw new FsError('ENODEV', 'copy.create', {
        volume,
        drive: driveId,
        message: `volume ${volume}: drive ${driveId} of this node cannot take a copy: it is ${drive ? 'failing, gone or being emptied' : 'not here'}; choose another`,
      })
    }
    const directory = directoryOn(drive, volume)
    this.#clearHalfMade(directory)
    if (this.#namesIn(directory).some((name) => name !== `${MAKING_NAME}.new`)) {
      throw exists(volume, `${directory} holds a volume that has no copies`)
    }
    const copy = this.#make({ volume, id, directory })
    this.#held.add({ volume, drive, directory, copy, damaged: null })
    this.#world.log.info({ op: 'copy.create', volume, copy: id, drive: driveId }, 'copy made')
  }

  /**
   * Remove whatever this node has of a volume that is gone. Begun again after a crash it goes on.
   * @throws FsError EBUSY without a tombstone; what `destroy` throws
   */
  async remove(volume: VolumeId): Promise<void> {
    const { isBuried, destroy, drives, log } = this.#world
    if (!(await isBuried(volume))) {
      throw new FsError('EBUSY', 'copy.remove', {
        volume,
        message: `volume ${volume}: there is no tombstone of it, and nothing else orders a copy to be deleted`,
      })
    }
    for (const held of [...this.#held].filter((one) => one.volume === volume)) {
      this.#held.delete(held)
      // Behind what it is working on.
      await held.copy?.handle({ op: 'lacksChunks', chunks: [] })
      held.copy?.close()
    }
    const directories = [...drives()].map((drive) => directoryOn(drive, volume))
    await destroy(volume, { chunks: true, directories })
    log.info({ op: 'copy.remove', volume }, 'copy removed')
  }

  /**
   * Delete a copy that the volume's owner gave up; the volume lives on elsewhere. No error when it is not here, or its drive was
   * taken out for good. With another copy of the volume on this node the chunks stay: they are that one's too. Begun again after
   * a crash it goes on.
   * @throws FsError EBUSY unless the record orders it, or while this node owns the volume; ENODEV while its drive is not here
   */
  async release({ volume, copy: id, drive: driveId }: NewCopy): Promise<void> {
    const { isReleased, away, destroy, drives, log } = this.#world
    const here = this.#ofVolume(volume)
    const held = here.find((one) => (one.copy?.identity.id ?? id) === id)
    const drive = held?.drive ?? [...drives()].find((one) => one.id === driveId)
    if (drive ? !isUsable(drive) : [...away()].includes(driveId)) {
      throw new FsError('ENODEV', 'copy.release', { volume, drive: driveId, retry: 'later' })
    }
    if (!(await isReleased(volume, id)) || held?.copy?.isLed) {
      throw new FsError('EBUSY', 'copy.release', {
        volume,
        retry: 'later',
        message: `volume ${volume}: copy ${id} is not given up`,
      })
    }
    // Its directory goes last.
    if (!held && drive) return
    const chunks = here.every((one) => one === held)
    if (chunks) this.#clearing.add(volume)
    try {
      if (held) {
        held.damaged = 'is being deleted'
        // Behind what it is working on.
        await held.copy?.handle({ op: 'lacksChunks', chunks: [] })
        held.copy?.close()
      }
      await destroy(volume, { chunks, directories: held ? [held.directory] : [] })
      // Not before: what could not be deleted is deleted when it is asked for again.
      if (held) this.#held.delete(held)
    } finally {
      this.#clearing.delete(volume)
    }
    log.info({ op: 'copy.release', volume, copy: id }, 'copy given up')
  }

  /**
   * What the copy that is meant answers; a refusal when it is not here.
   * @throws FsError EPROTO for records or chunks that are none; ENOSPC; EIO of a drive, after which a copy whose journal is
   * on it is damaged
   */
  async answer({ volume, copy: id, message }: Addressed<Request>): Promise<Answer> {
    const held = this.#ofCopy(volume, id)
    const isAway = held ? held.drive.state === 'gone' : [...this.#world.away()].length > 0
    if (isAway) return refusal('away', 0 as Epoch, `copy ${id}: its drive is not here now`)
    if (!held?.copy) {
      const words = held?.damaged ?? `this node has no copy ${id} of volume ${volume}`
      return refusal(held ? 'damaged' : 'otherCopy', 0 as Epoch, words)
    }
    const { copy, damaged } = held
    if (damaged !== null && 'epoch' in message) {
      return refusal('damaged', copy.promised.epoch, damaged)
    }
    try {
      const answer = await copy.handle(message)
      return damaged !== null && answer.kind === 'state' ? { ...answer, damaged } : answer
    } catch (error) {
      throw this.#failed(held, message.op, error)
    }
  }

  /** For the take-over of a volume by this node, which leads its own copy. Null when it is not here, or damaged. */
  find(volume: VolumeId, id: CopyId): Copy | null {
    const held = this.#ofCopy(volume, id)
    return held && this.#damageOf(held) === null ? held.copy : null
  }

  /** In the logs of all copies together: it grows with whatever is written to them. */
  get records(): number {
    let records = 0
    for (const { copy } of this.#held) records += copy?.head.seq ?? 0
    return records
  }

  list(): CopyStatus[] {
    return [...this.#held].map((held) => {
      const { volume, drive, copy } = held
      const nothing: Position = { epoch: 0 as Epoch, seq: 0 as Position['seq'] }
      const { epoch, seq } = copy?.head ?? nothing
      return {
        volume,
        copy: copy?.identity.id ?? null,
        drive: drive.id,
        epoch: copy?.promised.epoch ?? (0 as Epoch),
        owner: copy?.promised.owner ?? null,
        end: { epoch, seq },
        journalBytes: this.#bytesIn(held),
        damaged: this.#damageOf(held),
      }
    })
  }

  close(): void {
    for (const { copy } of this.#held) copy?.close()
    this.#held.clear()
  }

  #damageOf({ copy, damaged, drive }: Held): string | null {
    return damaged ?? copy?.damaged ?? (drive.state === 'gone' ? 'its drive is gone' : null)
  }

  #ofVolume(volume: VolumeId): Held[] {
    return [...this.#held].filter((held) => held.volume === volume)
  }

  /** One whose promise cannot be read may be any copy. */
  #ofCopy(volume: VolumeId, id: CopyId): Held | null {
    let unreadable: Held | null = null
    for (const held of this.#held) {
      if (held.volume !== volume) continue
      if (held.copy?.identity.id === id) return held
      if (held.copy === null) unreadable = held
    }
    return unreadable
  }

  #openOn(drive: Drive): void {
    for (const name of this.#namesIn(join(drive.dir, VOLUMES_NAME))) {
      if (!VOLUME_ID.test(name)) continue
      const volume = name as VolumeId
      const directory = directoryOn(drive, volume)
      try {
        this.#clearHalfMade(directory)
        const copy = Copy.open({ volume, directory }, this.#copyWorld(volume))
        this.#held.add({ volume, drive, directory, copy, damaged: null })
        if (copy.damaged !== null) this.#report(volume, drive, copy.damaged)
      } catch (error) {
        // No promise: not a copy.
        if (codeOf(error) === 'ENOENT') continue
        if (isBug(error)) throw error
        const damaged = `cannot be opened: ${messageOf(error)}`
        this.#held.add({ volume, drive, directory, copy: null, damaged })
        this.#report(volume, drive, damaged)
      }
    }
  }

  /** The mark stands from before the journal until behind the promise: without a promise nobody was told of the copy. */
  #make(identity: { volume: VolumeId; id: CopyId; directory: string }): Copy {
    const { disk } = this.#world
    const { volume, id, directory } = identity
    const mark = join(directory, MAKING_NAME)
    try {
      disk.mkdir(directory)
      disk.replaceFile(mark, Buffer.from(id))
      const copy = Copy.create(identity, this.#copyWorld(volume))
      disk.unlink(mark)
      disk.fsyncDirectory(directory)
      return copy
    } catch (error) {
      try {
        this.#clear(directory)
      } catch (second) {
        // The first failure is the one to tell; the mark has the rest cleared at the next start.
        this.#world.log.warn(
          { op: 'copy.create', volume, error: messageOf(second) },
          'a copy that was not made is not cleared',
        )
      }
      throw error
    }
  }

  #clearHalfMade(directory: string): void {
    const { disk } = this.#world
    const mark = join(directory, MAKING_NAME)
    if (!disk.exists(mark)) return
    if (this.#namesIn(directory).includes(PROMISE_NAME)) {
      disk.unlink(mark)
      disk.fsyncDirectory(directory)
    } else this.#clear(directory)
  }

  /** The mark goes last. */
  #clear(directory: string): void {
    const { disk } = this.#world
    for (const name of this.#namesIn(directory)) {
      if (name !== MAKING_NAME) disk.unlink(join(directory, name))
    }
    disk.fsyncDirectory(directory)
    if (disk.exists(join(directory, MAKING_NAME))) disk.unlink(join(directory, MAKING_NAME))
    disk.rmdir(directory)
  }

  #copyWorld(volume: VolumeId): Parameters<typeof Copy.open>[1] {
    const { disk, chunks, termMs } = this.#world
    return {
      disk,
      clock: this.#clock,
      termMs,
      chunks: {
        put: (chunk, bytes) => chunks.put(chunk, volume, bytes),
        has: (chunk) => chunks.has(chunk),
        drives: () => this.#driveSet(),
        read: (chunk) => chunks.read(chunk, volume),
        delete: (chunk) => chunks.delete(chunk, volume),
        check: (chunk) => chunks.check(chunk, volume),
        old: (part, { epoch, keyEpoch, restMs }, countMax) => {
          const beforeMs = this.#clock.now().sec * 1000 - restMs
          const isOld = (header: ChunkHeader, writtenMs: number) =>
            header.keyEpoch < keyEpoch || (header.epoch < epoch && writtenMs <= beforeMs)
          return chunks.list(part, volume, isOld, countMax)
        },
      },
    }
  }

  /** Chunks of any copy lie on any drive. */
  #driveSet(): DriveSet {
    const ids = [...this.#world.drives()].filter(({ state }) => state === 'ok').map(({ id }) => id)
    const names = ids.sort().join()
    if (names !== this.#driveNames) {
      this.#driveNames = names
      this.#driveSetName = createHash('sha256').update(names).digest('hex').slice(0, 32)
    }
    return this.#driveSetName
  }

  /** What the asker is told; the copy is damaged where its own drive failed, or its journal is not what it was. */
  #failed(held: Held, op: Request['op'], error: unknown): unknown {
    if (error instanceof ProtocolError) {
      const { message } = error
      return new FsError('EPROTO', `copy.${op}`, { volume: held.volume, message, cause: error })
    }
    const known = error instanceof FsError || error instanceof CorruptError
    if (!known || CHUNK_OPS.has(op) || PASSING.has(codeOf(error))) return error
    if (held.damaged === null) {
      held.damaged = `failed at ${op}: ${error.message}`
      this.#report(held.volume, held.drive, held.damaged)
    }
    if (error instanceof FsError) held.drive.fail(error)
    return new FsError('EIO', `copy.${op}`, {
      volume: held.volume,
      message: `volume ${held.volume}: this copy ${held.damaged}`,
      cause: error,
    })
  }

  #report(volume: VolumeId, { id: drive }: Drive, why: string): void {
    this.#world.log.error({ op: 'copy', volume, drive, why }, 'a copy is damaged')
  }

  #bytesIn({ directory }: Held): number {
    const { disk } = this.#world
    try {
      return this.#namesIn(directory).reduce(
        (sum, name) => sum + (disk.stat(join(directory, name))?.bytes ?? 0),
        0,
      )
    } catch (error) {
      // The drive does not answer: what it has is not known, and no reason to show nothing of the others.
      if (!(error instanceof FsError)) throw error
      return 0
    }
  }

  #namesIn(directory: string): string[] {
    try {
      return this.#world.disk.list(directory)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return []
      throw error
    }
  }
}

/** It answers, and what is on it can be read and deleted. */
function isUsable(drive: Drive | undefined): drive is Drive {
  return drive?.state === 'ok' && drive.present()
}

function directoryOn(drive: Drive, volume: VolumeId): string {
  return join(drive.dir, VOLUMES_NAME, volume)
}

function exists(volume: VolumeId, why: string): FsError {
  return new FsError('EEXIST', 'copy.create', {
    volume,
    message: `volume ${volume}: ${why}; take another node for the copy`,
  })
}

function refusal(why: 'damaged' | 'otherCopy' | 'away', promised: Epoch, words: string): Answer {
  return { kind: 'refused', why, promised, waitMs: 0, words }
}
