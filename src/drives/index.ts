/**
 * drives: what this node's bytes lie on. A drive is a labelled directory now and a formatted block
 * device later, behind the same `Drive`. Called by chunks (where does this chunk go), journal
 * placement, provision and the daemon. It promises: a label is written whole or not at all; a
 * directory with anything else in it, or of another node, is never taken; space is promised above
 * the headroom only, so that deletes and the journal still work on a full drive; a drive that
 * answered an error gets nothing new. Invariant: one `Drive` object per drive and thread.
 */
export { DRAINING_NAME, Drive, type DriveState } from './drive.ts'
export { type DriveFiles, systemDriveFiles } from './drive-files.ts'
export {
  type DriveKind,
  type DriveLabel,
  decodeLabel,
  encodeLabel,
  LABEL_NAME,
  type ServiceClass,
} from './label.ts'
export {
  type DriveWorld,
  type InitOptions,
  initDrive,
  type LabelDisk,
  openDrive,
} from './open-drive.ts'
export { capacityOf, type PickOptions, pickDrive } from './pick-drive.ts'
