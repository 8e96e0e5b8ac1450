import { codeOf, type DriveId, FsError, hexId, messageOf, type NodeId } from '../base/index.ts'

/** Class of service: 1 low (HDD), 2 medium (SATA or SAS SSD), 3 high (NVMe). */
export type ServiceClass = 1 | 2 | 3

/** What stands in drive.json at the top of a drive. */
export interface DriveLabel {
  readonly version: 1
  readonly id: DriveId
  readonly class: ServiceClass
  /** ISO 8601, UTC. */
  readonly createdAt: string
  readonly node: NodeId
  readonly kind: DriveKind
}

/** A block device comes with provisioning (design §9). */
export type DriveKind = 'directory'

export const LABEL_NAME = 'drive.json'
const LABEL_VERSION = 1

export function encodeLabel(label: DriveLabel): Buffer {
  return Buffer.from(`${JSON.stringify(label, null, 2)}\n`)
}

/**
 * @param path where the text came from, for the message
 * @throws FsError EUCLEAN for a label that is not one, ENOTSUP for one of a newer weft
 */
export function decodeLabel(text: string, path: string): DriveLabel {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw damaged(path, `it is not JSON: ${messageOf(cause)}`)
  }
  if (typeof value !== 'object' || value === null) throw damaged(path, 'it is not an object')
  const fields = value as Readonly<Record<string, unknown>>
  const { version, id, class: cos, createdAt, node, kind } = fields
  if (typeof version !== 'number') throw damaged(path, 'it has no version')
  if (version > LABEL_VERSION) {
    throw new FsError('ENOTSUP', 'drive.open', {
      path,
      version,
      message: `${path} was written by a newer weft (drive label version ${version}, this build reads ${LABEL_VERSION}): run that build`,
    })
  }
  if (version !== LABEL_VERSION) throw damaged(path, `version ${version} does not exist`)
  if (!isServiceClass(cos)) throw damaged(path, 'its class is not 1, 2 or 3')
  if (typeof createdAt !== 'string') throw damaged(path, 'it has no createdAt')
  if (kind !== 'directory') throw damaged(path, 'its kind is not "directory"')
  return {
    version,
    id: idField<DriveId>(id, 'id', path),
    class: cos,
    createdAt,
    node: idField<NodeId>(node, 'node', path),
    kind,
  }
}

export function isServiceClass(value: unknown): value is ServiceClass {
  return value === 1 || value === 2 || value === 3
}

function idField<T extends string>(value: unknown, name: string, path: string): T {
  if (typeof value !== 'string') throw damaged(path, `its ${name} is missing`)
  try {
    return hexId<T>(value)
  } catch {
    throw damaged(path, `its ${name} is not 32 hex digits`)
  }
}

function damaged(path: string, why: string): FsError {
  return new FsError('EUCLEAN', 'drive.open', {
    path,
    message: `${path} is not a drive label of weft: ${why}. If this directory is a drive, restore the file from a backup; its chunks are untouched`,
  })
}

/** A system error of a drive's directory in a person's words. */
export function driveError(op: string, path: string, error: unknown): FsError {
  if (error instanceof FsError) return error
  const code = codeOf(error)
  if (code === 'EACCES' || code === 'EPERM') {
    return new FsError(code, op, {
      path,
      cause: error,
      message: `no right to use ${path}: ${code}`,
    })
  }
  if (code === 'EROFS') {
    return new FsError(code, op, { path, cause: error, message: `${path} is on a read-only disk` })
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new FsError('ENOSPC', op, { path, cause: error, message: `no space left at ${path}` })
  }
  if (code === 'ENOTDIR' || code === 'ENOENT' || code === 'ENAMETOOLONG' || code === 'ELOOP') {
    return new FsError(code, op, { path, cause: error, message: `${path}: ${messageOf(error)}` })
  }
  return new FsError('EIO', op, { path, cause: error, message: `${path}: ${messageOf(error)}` })
}
