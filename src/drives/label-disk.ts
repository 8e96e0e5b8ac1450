import { join, resolve } from 'node:path'
import { type DriveId, FsError, isoTime, type NodeId, systemClock } from '../base/index.ts'
import type { BlockDisk } from './block-disks.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { systemDriveFiles } from './drive-files.ts'
import { encodeLabel, LABEL_NAME, type LabelKeys, type ServiceClass, signLabel } from './label.ts'
import { type DriveWorld, type LabelDisk, openDrive, refuseUnlessEmpty } from './open-drive.ts'

export interface BlockLabelOptions {
  /** The id that formatDisk gave to the filesystem. */
  readonly id: DriveId
  readonly class: ServiceClass
  readonly nodeId: NodeId
  /** 32 hex digits, null when the node is in no cluster. */
  readonly cluster: string | null
  readonly keys: LabelKeys
}

/**
 * Label a freshly formatted disk that is mounted at `directory`: with that it is a drive of this node. Once more after a
 * crash changes nothing if the label was written.
 * @param disk what is mounted there; its identity goes into the label
 * @throws FsError ENOTEMPTY when the filesystem holds anything else; ESTALE, EKEYREJECTED as openDrive when it is labelled for
 *   somebody else; EACCES, EROFS, ENOSPC with the path
 */
export function labelDisk(
  directory: string,
  disk: Pick<BlockDisk, 'wwn' | 'serial' | 'sizeBytes'>,
  options: BlockLabelOptions,
  writer: LabelDisk,
  world: DriveWorld = {},
): Drive {
  const dir = resolve(directory)
  const { clock = systemClock(), files = systemDriveFiles } = world
  const { id, nodeId, cluster, keys } = options
  try {
    const names = files.list(dir)
    if (!names.includes(LABEL_NAME)) {
      refuseUnlessEmpty(dir, names)
      const label = signLabel(
        {
          version: 2,
          id,
          class: options.class,
          createdAt: isoTime(clock),
          cluster,
          node: nodeId,
          nodeKey: keys.nodeKey,
          kind: 'block',
          wwn: disk.wwn,
          serial: disk.serial,
          sizeBytes: disk.sizeBytes,
        },
        keys,
      )
      writer.replaceFile(join(dir, LABEL_NAME), encodeLabel(label))
    }
  } catch (error) {
    throw driveError('drive.label', dir, error)
  }
  return openDrive(dir, { id, nodeId, cluster, keys }, { ...world, clock })
}

/**
 * The node has made or joined a cluster: its drive's label names that from now on. A label that names it already, and a
 * directory's label, which names no cluster, stay as they are.
 * @returns the drive with the label as it is now; the object given is stale when that is another one
 * @throws FsError ESTALE when the drive is of another node or cluster; EKEYREJECTED; EACCES, EROFS, ENOSPC, EIO
 */
export function relabel(
  drive: Drive,
  cluster: string,
  keys: LabelKeys,
  writer: LabelDisk,
  world: DriveWorld = {},
): Drive {
  const { label } = drive
  if (label.kind === 'directory') return drive
  // Read anew: what stands there may be newer than the object.
  const found = openDrive(drive.dir, { id: drive.id, nodeId: label.node, cluster, keys }, world)
  if (found.label.kind !== 'block') {
    throw new FsError('ESTALE', 'drive.relabel', {
      dir: drive.dir,
      message: `${drive.dir} was a block drive and has a directory's label now: mount the right one there`,
    })
  }
  if (found.label.nodeKey !== keys.nodeKey) {
    throw new FsError('ESTALE', 'drive.relabel', {
      dir: drive.dir,
      message: `${drive.dir} is drive ${drive.id} of node ${found.label.node}: only that node labels it anew`,
    })
  }
  if (found.label.cluster === cluster) return found
  const { signature: _, ...unsigned } = found.label
  try {
    const signed = signLabel({ ...unsigned, cluster }, keys)
    writer.replaceFile(join(drive.dir, LABEL_NAME), encodeLabel(signed))
  } catch (error) {
    throw driveError('drive.relabel', drive.dir, error)
  }
  return openDrive(drive.dir, { id: drive.id, nodeId: label.node, cluster, keys }, world)
}
