/**
 * drives: what this node's bytes lie on: a labelled directory, or a whole disk that weft formats (XFS), labels and mounts,
 * behind the same `Drive`. Called by chunks (where does this chunk go), journal placement, provision and the daemon. The only
 * room that runs lsblk, wipefs, mkfs, mount and umount.
 *
 * It promises: a label is written whole or not at all; a directory with anything else in it, or of another node, is never taken;
 * a disk that anything uses is never formatted, and one with anything on it only with force; space is promised above the headroom
 * only, so that deletes and the journal still work on a full drive; a drive that answered an error gets nothing new.
 * Invariants: one `Drive` object per drive and thread, as the main thread tells them (ToldDrives); a block drive's id is the UUID
 * of its filesystem, so it is found again under any /dev name.
 *
 * A disk becomes a drive in five steps: blockDisks, formatDisk, mountDisk, measureDrive and classify, labelDisk. A crash between
 * two of them leaves a disk that is begun again with force. After a boot: mountDrive, then openDrive with what is expected.
 * It is given back by the mark DRAINING_NAME, moving its chunks away, closing them, unmountDisk.
 */
export { type BlockDisk, blockDiskAt, blockDisks, findDisk } from './block-disks.ts'
export { checkDrives } from './check-drives.ts'
export { classify } from './classify.ts'
export type { Signature } from './disk-reports.ts'
export { diskSequence } from './disk-sequence.ts'
export type { DiskWorld } from './disk-world.ts'
export { DRAINING_NAME, Drive, type DriveState } from './drive.ts'
export { type DriveFiles, systemDriveFiles } from './drive-files.ts'
export { eraseDisk, type FormatOptions, formatDisk } from './format-disk.ts'
export { DRIVE_BYTES_MIN, type Standing, type Us } from './judge-disk.ts'
export {
  type BlockLabel,
  type DirectoryLabel,
  type DriveKind,
  type DriveLabel,
  decodeLabel,
  encodeLabel,
  LABEL_NAME,
  type LabelKeys,
  type ServiceClass,
} from './label.ts'
export { type BlockLabelOptions, labelDisk, relabel } from './label-disk.ts'
export { locateDisk } from './locate.ts'
export { type Measured, measureDrive } from './measure.ts'
export { mountAt, mountDisk, mountDrive, tryDrive, unmountDisk } from './mount-disk.ts'
export { isReadOnly, type MountLine } from './mountinfo.ts'
export {
  type DriveWorld,
  type Expected,
  type InitOptions,
  initDrive,
  type LabelDisk,
  openDrive,
} from './open-drive.ts'
export { type LostDrive, openEach } from './open-each.ts'
export { capacityOf, type PickOptions, pickDrive, roomOn, takesData } from './pick-drive.ts'
export type { RunTool, Tool, ToolOptions, ToolResult } from './run-tool.ts'
export { FollowedDrives, ToldDrives } from './told-drives.ts'
