import { join, resolve } from 'node:path'
import {
  type Clock,
  type DriveId,
  FsError,
  type NodeId,
  newId,
  type Random,
  systemClock,
  systemRandom,
} from '../base/index.ts'
import { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { type DriveFiles, systemDriveFiles } from './drive-files.ts'
import {
  type DriveLabel,
  encodeLabel,
  LABEL_NAME,
  type LabelKeys,
  type ServiceClass,
  verifyLabel,
} from './label.ts'
import { readLabel } from './read-label.ts'

export interface InitOptions {
  readonly id?: DriveId
  readonly class: ServiceClass
  readonly nodeId: NodeId
}

/** What a label is written with: room disk's `Disk`, passed in because disk is a neighbour. */
export interface LabelDisk {
  /** Makes the directory and its missing parents, each durable. */
  mkdir(path: string): void
  /** Leaves the old bytes or the new ones, durably. */
  replaceFile(path: string, bytes: Uint8Array): void
}

/** The world a drive lives in; each part has a real default. */
export interface DriveWorld {
  readonly clock?: Clock
  readonly random?: Random
  readonly files?: DriveFiles
  /** Told once per step of a drive from ok to failing to gone, in the thread that met the error. */
  readonly onFail?: (drive: Drive, error: unknown) => void
}

/** mkfs leaves it at the top of an ext filesystem. */
const EMPTY_ENOUGH = new Set(['lost+found'])

/**
 * Make a directory a drive of this node: it is created when missing, and gets its label, durably
 * and at once. Doing it again with the same wish changes nothing.
 * @throws FsError EEXIST when it is a drive of another node, or already this node's in another way;
 *   ENOTEMPTY when it holds anything else; EACCES, EROFS, ENOSPC, ENOTDIR with the path
 */
export function initDrive(
  directory: string,
  options: InitOptions,
  disk: LabelDisk,
  world: DriveWorld = {},
): Drive {
  const dir = resolve(directory)
  const { clock = systemClock(), random = systemRandom, files = systemDriveFiles } = world
  try {
    disk.mkdir(dir)
    const names = files.list(dir)
    if (names.includes(LABEL_NAME)) refuseUnlessSame(dir, options, files)
    else {
      refuseUnlessEmpty(dir, names)
      const label: DriveLabel = {
        version: 1,
        id: options.id ?? newId<DriveId>(random),
        class: options.class,
        createdAt: new Date(clock.now().sec * 1000).toISOString(),
        node: options.nodeId,
        kind: 'directory',
      }
      disk.replaceFile(join(dir, LABEL_NAME), encodeLabel(label))
    }
  } catch (error) {
    throw driveError('drive.init', dir, error)
  }
  return openDrive(dir, {}, { ...world, clock })
}

/** What the opener knows of a drive; each part refuses a label that says otherwise. */
export interface Expected {
  readonly id?: DriveId
  readonly nodeId?: NodeId
  /**
   * The cluster of the node, null when it is in none. Block drives only. A label that names no cluster is older than the
   * node's membership: it passes here, and `relabel` writes it anew.
   */
  readonly cluster?: string | null
  /** Checks the signature of a block drive's label. */
  readonly keys?: LabelKeys
}

/**
 * Open a labelled directory, or the mount point of a block drive.
 * @param expect refuses another drive or node under this path: mounts come up in any order
 * @throws FsError ENOENT (no such directory), ENODEV (no label: not a drive, or not mounted),
 *   EUCLEAN (damaged label), ENOTSUP (newer weft), ESTALE (another drive, or another node's or cluster's),
 *   EKEYREJECTED (a label that its node has not signed)
 */
export function openDrive(directory: string, expect: Expected = {}, world: DriveWorld = {}): Drive {
  const dir = resolve(directory)
  const path = join(dir, LABEL_NAME)
  const { clock = systemClock(), files = systemDriveFiles, onFail = null } = world
  const label = readLabel(dir, files)
  if (expect.id !== undefined && expect.id !== label.id) {
    throw new FsError('ESTALE', 'drive.open', {
      path,
      message: `${dir} holds drive ${label.id}, expected was ${expect.id}: mount the right one there`,
    })
  }
  if (expect.nodeId !== undefined && expect.nodeId !== label.node) {
    throw new FsError('ESTALE', 'drive.open', {
      path,
      message: `${dir} is drive ${label.id} of node ${label.node}, not of this node ${expect.nodeId}`,
    })
  }
  if (label.kind === 'block') {
    if (
      expect.cluster !== undefined &&
      label.cluster !== null &&
      label.cluster !== expect.cluster
    ) {
      throw new FsError('ESTALE', 'drive.open', {
        path,
        message: `${dir} is drive ${label.id} of cluster ${label.cluster}, node ${label.node}; this node is in ${expect.cluster === null ? 'no cluster' : `cluster ${expect.cluster}`}`,
        next: 'join that cluster with the node named, or, if nothing on the drive is needed, format it with force',
      })
    }
    if (expect.keys !== undefined) verifyLabel(label, expect.keys, path)
  }
  try {
    return new Drive(dir, label, files, clock, onFail)
  } catch (error) {
    throw driveError('drive.open', dir, error)
  }
}

function refuseUnlessSame(dir: string, options: InitOptions, files: DriveFiles): void {
  const label = readLabel(dir, files)
  if (label.node !== options.nodeId) {
    throw new FsError('EEXIST', 'drive.init', {
      dir,
      message: `${dir} is already drive ${label.id} of node ${label.node}, made ${label.createdAt}: choose another directory, or remove its contents if nothing on it is needed`,
    })
  }
  const sameId = options.id === undefined || options.id === label.id
  if (sameId && options.class === label.class) return
  throw new FsError('EEXIST', 'drive.init', {
    dir,
    message: `${dir} is already drive ${label.id} of this node, with class ${label.class}`,
  })
}

/** @throws FsError ENOTEMPTY when there is more than an interrupted labelling or mkfs leaves */
export function refuseUnlessEmpty(dir: string, names: readonly string[]): void {
  // A power cut in the middle of labelling leaves only a temporary of the label itself.
  const foreign = names.filter(
    (name) => !EMPTY_ENOUGH.has(name) && !name.startsWith(`${LABEL_NAME}.`),
  )
  if (foreign.length === 0) return
  const shown = foreign.slice(0, 3).join(', ')
  throw new FsError('ENOTEMPTY', 'drive.init', {
    dir,
    message: `${dir} is not empty (${shown}${foreign.length > 3 ? ', …' : ''}): a drive needs a directory of its own`,
    next: `name an empty directory, as in: weft drive add ${join(dir, 'weft')} --create`,
  })
}
