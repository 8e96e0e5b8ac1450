import type { DriveId, NodeId } from '../base/index.ts'
import type { ServiceClass } from '../drives/index.ts'
import type { Step } from './provisioner.ts'

/**
 * The drives of this node as this room needs them; the daemon implements it. Every verb may be asked again after a crash, at
 * any time, and then finds what it has done: this room has no memory of its own but the intents. A verb ends early, with
 * whatever error, when `step.signal` is aborted; what it began is gone on with when it is asked again.
 */
export interface HostDrives {
  /** What is there now. It waits for nothing and asks no peer: it is looked at between any two steps. */
  facts(signal: AbortSignal): Promise<PoolFacts>

  /**
   * Wait until the host shows the disk, found by its serial first, and by its wwid where the host knows no serial. Changes
   * nothing on it.
   * @throws FsError ETIMEDOUT when it is not there within `deadlineMs` · EEXIST when two disks fit · EUCLEAN when it is a
   * wrong one: of another size class, in use, with a signature or a label that is not ours, or a filesystem of weft that is
   * not the one of `disk.drive`
   */
  waitForDisk(disk: DiskToTake, deadlineMs: number, step: Step): Promise<HostDisk>

  /**
   * Format, label, mount, take into the pool, under this tag and this id. When the disk of this serial is a drive of this tag
   * already, that is the answer; one that bears a label of this node is taken with the id that it has. The tag is kept on the
   * drive, so `facts` shows it from the moment on at which the drive is in the pool. What stands on the disk is erased only
   * when it is the filesystem of this very id: an earlier try that was cut short.
   * @throws FsError EIO when the disk is failing · EUCLEAN as waitForDisk
   */
  makeDrive(disk: HostDisk, as: NewDrive, step: Step): Promise<DriveId>

  /**
   * Give the drive nothing new from now on, for good, and move what is on it; returns when `facts` says `drained`. That it
   * drains survives a restart.
   * @throws FsError ENOSPC when the rest has no room for it · EBUSY when it is not here, so that nothing can be moved off it
   */
  drain(drive: DriveId, step: Step): Promise<void>

  /**
   * Make sure, by looking and not by remembering, that nothing needs this disk: every chunk and journal that was on it is
   * durable elsewhere, as often as its volume asks for, and no volume names it. `drive` is null when it was not made a drive
   * as far as is known: then by serial, and a label of ours found on it is looked into. Also asked for a drive that was
   * taken out already. A disk that this host does not show has not been looked at: it is needed unless `mayBeHidden`.
   * @throws FsError EBUSY with what is still needed
   */
  verify(what: DiskToGive, step: Step): Promise<void>

  /**
   * Unmount it and forget it: it is found no more, not at the next start either. Asked after verify, and looks once more itself.
   * @throws FsError EBUSY when something has come onto it since
   */
  takeOut(drive: DriveId, step: Step): Promise<void>

  /** Make the kernel let go of the disk (SCSI device delete, all of its paths). Done when it is not there. */
  deleteDevice(disk: DiskIdentity, step: Step): Promise<void>
}

/** By what a disk is known. */
export interface DiskIdentity {
  readonly serial: string
  /** Lower-case hex, without 0x; the host's may differ in its last digit. '' when not known. */
  readonly wwid: string
  /** About, as its maker says. */
  readonly sizeBytes: number
}

export interface DiskToTake extends DiskIdentity {
  /** The id under which it may have been begun to be formatted; null when that was not begun. */
  readonly drive: DriveId | null
}

/** A disk that the host shows. */
export interface HostDisk extends DiskIdentity {
  /** Where: /dev/disk/by-id/wwn-0x…; only good for now. */
  readonly path: string
}

export interface NewDrive {
  readonly tag: string
  /** Known before anything is written, so that what a crash leaves is told from a disk of somebody else. */
  readonly id: DriveId
  readonly class: ServiceClass
}

export interface DiskToGive extends DiskIdentity {
  readonly tag: string
  readonly drive: DriveId | null
  /** The kernel was made to let go of it after it had been looked at, or nothing of weft was ever on it. */
  readonly mayBeHidden: boolean
  /** A person has said that what is on it is lost or not needed: it is not looked into. Of a drive in the pool that says nothing. */
  readonly isLost: boolean
}

export interface PoolFacts {
  /** This node's drives, those of no frame too. */
  readonly drives: readonly PoolDrive[]
  /** What the other nodes last said. */
  readonly others: readonly NodeRoom[]
  /** Names of other nodes that have said nothing for a while: what they have now is not known. */
  readonly silent: readonly string[]
}

/** `draining`: gets nothing new, is being emptied; `drained`: nothing has to go elsewhere any more. */
export type PoolDriveState = 'ok' | 'draining' | 'drained' | 'failing' | 'gone'

export interface PoolDrive {
  readonly id: DriveId
  /** Under which it was taken from a provisioner; null when a person added it. */
  readonly tag: string | null
  readonly serial: string
  /** Null of one that is gone, and of which only its label would tell. */
  readonly class: ServiceClass | null
  readonly state: PoolDriveState
  /** usedBytes and freeBytes together are not more than this. */
  readonly sizeBytes: number
  readonly usedBytes: number
  readonly freeBytes: number
  /** What would have to be moved before it can go. */
  readonly moveBytes: number
}

/** What another node has of one class. */
export interface NodeRoom {
  readonly node: NodeId
  /** Names what fails together with it: 'rack r1', or the node's id where nothing larger was said. */
  readonly domain: string
  readonly class: ServiceClass
  readonly sizeBytes: number
  readonly usedBytes: number
}
