import { type DriveId, FsError, type NodeId } from '../base/index.ts'
import type { DiskFacts } from './disk-facts.ts'
import { describeSignatures, type Signature } from './disk-reports.ts'
import { type DriveLabel, type LabelKeys, verifyLabel } from './label.ts'

/** What may be done with a disk. */
export type Standing =
  | { readonly kind: 'free' }
  /** A drive of this node; `mountedAt` null when it is not mounted. */
  | { readonly kind: 'drive'; readonly drive: DriveId; readonly mountedAt: string | null }
  /** A drive of another node or cluster, or one whose label its node has not signed. */
  | {
      readonly kind: 'foreign-drive'
      readonly drive: DriveId
      readonly mountedAt: string | null
      readonly why: string
    }
  | {
      readonly kind: 'unusable'
      /** EBUSY in use, EROFS, ENOSPC too small, EIO failing, EACCES for want of root; EEXIST when something stands on it. */
      readonly code: UnusableCode
      readonly why: string
      /** Formatting with force can help: it is only what stands on the disk, and nothing uses it. */
      readonly isForceable: boolean
      readonly signatures: readonly Signature[]
    }

type UnusableCode = 'EBUSY' | 'EROFS' | 'ENOSPC' | 'EIO' | 'EACCES' | 'EEXIST'

/** Who asks. */
export interface Us {
  readonly nodeId: NodeId
  /** null as long as the node is in no cluster. */
  readonly cluster: string | null
  /** Checks labels' signatures. */
  readonly keys: LabelKeys
  /** Block drives that the node knows as its own: their labels need not be read to be told. */
  readonly drives: ReadonlySet<DriveId>
}

/** mkfs.xfs of xfsprogs 5.19 and later makes no filesystem below. */
export const DRIVE_BYTES_MIN = 300 * 1024 * 1024
/** Label of the filesystem of each drive. XFS has room for 12 characters. */
export const FILESYSTEM_LABEL = 'weft'

/** The drive that a disk's filesystem says it is, by label and UUID; null when it is not weft's. */
export function driveOn(signatures: readonly Signature[]): DriveId | null {
  const [only, ...more] = signatures
  if (only?.type !== 'xfs' || only.label !== FILESYSTEM_LABEL || more.length > 0) return null
  const id = only.uuid.replaceAll('-', '').toLowerCase()
  return /^[0-9a-f]{32}$/.test(id) ? (id as DriveId) : null
}

/** The drive's id as a filesystem's UUID is written. */
export function uuidOf(drive: DriveId): string {
  return drive.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/**
 * Judge a disk by what the machine says, up to what only its label can tell.
 * @returns a drive's id when the label has the word
 */
export function judgeDisk(facts: DiskFacts, us: Us): Standing | { readonly ask: DriveId } {
  const { row, signatures, partitions, uses, trouble } = facts
  const unusable = (code: UnusableCode, why: string): Standing => {
    return { kind: 'unusable', code, why, isForceable: code === 'EEXIST', signatures }
  }
  if (trouble?.code === 'EIO') return unusable(trouble.code, trouble.why)
  const drive = driveOn(signatures)
  if (drive !== null && (uses.length === 0 || facts.mountedAt.length > 0)) {
    if (!us.drives.has(drive)) return { ask: drive }
    return { kind: 'drive', drive, mountedAt: facts.mountedAt.at(-1) ?? null }
  }
  if (uses.length > 0) return unusable('EBUSY', `in use: ${uses.join(', ')}`)
  if (trouble !== null) return unusable(trouble.code, trouble.why)
  if (row.isReadOnly) return unusable('EROFS', 'read-only')
  if (row.sizeBytes < DRIVE_BYTES_MIN) {
    const why = `too small: ${row.sizeBytes} bytes, a drive needs ${DRIVE_BYTES_MIN}`
    return unusable('ENOSPC', why)
  }
  const found = describeSignatures(signatures)
  if (partitions.length > 0) {
    const beside = found === '' ? '' : `; found: ${found}`
    return unusable('EEXIST', `has partitions: ${partitions.join(', ')}${beside}`)
  }
  if (found !== '') return unusable('EEXIST', `signature found: ${found}`)
  return { kind: 'free' }
}

/** The rest of the judgement, of a disk whose filesystem is a drive's: whose one its label says. */
export function judgeLabel(facts: DiskFacts, drive: DriveId, label: DriveLabel, us: Us): Standing {
  const mountedAt = facts.mountedAt.at(-1) ?? null
  const mine: Standing = { kind: 'drive', drive, mountedAt }
  const foreign = (why: string): Standing => ({ kind: 'foreign-drive', drive, mountedAt, why })
  if (label.id !== drive) {
    return foreign(
      `its label names drive ${label.id}, its filesystem ${drive}: it is a copy by hand`,
    )
  }
  if (label.kind === 'directory') {
    return label.node === us.nodeId ? mine : foreign(`a drive of node ${label.node}`)
  }
  const of = label.cluster === null ? 'in no cluster' : `in cluster ${label.cluster}`
  if (label.node !== us.nodeId) return foreign(`a drive of node ${label.node}, ${of}`)
  if (label.cluster !== null && label.cluster !== us.cluster) {
    return foreign(`a drive of this node when it was ${of}`)
  }
  try {
    verifyLabel(label, us.keys, `the label of ${facts.row.path}`)
  } catch (error) {
    if (error instanceof FsError && error.code === 'EKEYREJECTED') return foreign(error.message)
    throw error
  }
  return mine
}

/** As judgeLabel, when the label cannot be read: mkfs was done and labelling was not, or the filesystem is damaged. */
export function judgeNoLabel(facts: DiskFacts, drive: DriveId, why: string): Standing {
  const code = facts.mountedAt.length > 0 ? 'EBUSY' : 'EEXIST'
  return {
    kind: 'unusable',
    code,
    why: `formatted as drive ${drive}, but ${why}`,
    isForceable: code === 'EEXIST',
    signatures: facts.signatures,
  }
}
