import {
  type DriveId,
  FsError,
  hexId,
  messageOf,
  type NodeId,
  type PeerKey,
} from '../base/index.ts'

/** Class of service: 1 low (HDD), 2 medium (SATA SSD), 3 high (SAS SSD, NVMe). */
export type ServiceClass = 1 | 2 | 3

/** What stands in drive.json at the top of a drive. */
export type DriveLabel = DirectoryLabel | BlockLabel

/** Version 1. A directory moves between disks and machines as files do, so it is neither signed nor bound to a device. */
export interface DirectoryLabel {
  readonly version: 1
  readonly id: DriveId
  readonly class: ServiceClass
  /** ISO 8601, UTC. */
  readonly createdAt: string
  readonly node: NodeId
  readonly kind: 'directory'
}

/** Version 2. A block device of its own: the label says which one, and whose, under the node's signature. */
export interface BlockLabel {
  readonly version: 2
  /** Also the UUID of the filesystem that the label stands on. */
  readonly id: DriveId
  readonly class: ServiceClass
  /** ISO 8601, UTC. */
  readonly createdAt: string
  /** 32 hex digits; null as long as the node is in no cluster. */
  readonly cluster: string | null
  readonly node: NodeId
  /** By which the signature is checked; the id of a node follows from it (room crypto, nodeIdOf). */
  readonly nodeKey: PeerKey
  readonly kind: 'block'
  /** Lower-case hex without 0x; '' when the disk has none. So is `serial`. */
  readonly wwn: string
  readonly serial: string
  /** Of the device, not of the filesystem. */
  readonly sizeBytes: number
  /** Over labelBytes, 128 hex digits. */
  readonly signature: string
}

export type DriveKind = DriveLabel['kind']

/** A node's signing key and the check of others', passed in because crypto is a neighbour. */
export interface LabelKeys {
  readonly nodeKey: PeerKey
  sign(bytes: Uint8Array): Uint8Array
  /** Is the signature by this key, and the key that of this node? */
  verify(node: NodeId, nodeKey: PeerKey, bytes: Uint8Array, signature: Uint8Array): boolean
}

export const LABEL_NAME = 'drive.json'
const DIRECTORY_VERSION = 1
const BLOCK_VERSION = 2
/** Keeps a signature of a label from being one of anything else. Stored bytes depend on it. */
const SIGNED_DOMAIN = 'weft drive label v2\0'

export function encodeLabel(label: DriveLabel): Buffer {
  return Buffer.from(`${JSON.stringify(label, null, 2)}\n`)
}

/** What the signature of a block drive's label covers: the domain's name, and each field in this order as a JSON list. */
export function labelBytes(label: Omit<BlockLabel, 'signature'>): Buffer {
  const { version, kind, id, cluster, node, nodeKey, wwn, serial, sizeBytes, createdAt } = label
  const fields = [version, kind, id, cluster, node, nodeKey, wwn, serial, sizeBytes, label.class]
  return Buffer.from(`${SIGNED_DOMAIN}${JSON.stringify([...fields, createdAt])}`)
}

export function signLabel(label: Omit<BlockLabel, 'signature'>, keys: LabelKeys): BlockLabel {
  const signature = Buffer.from(keys.sign(labelBytes(label))).toString('hex')
  return { ...label, signature }
}

/** @throws FsError EKEYREJECTED when somebody else than the node named has written the label */
export function verifyLabel(label: BlockLabel, keys: LabelKeys, path: string): void {
  const signature = Buffer.from(label.signature, 'hex')
  if (keys.verify(label.node, label.nodeKey, labelBytes(label), signature)) return
  throw new FsError('EKEYREJECTED', 'drive.open', {
    path,
    message: `${path} names node ${label.node}, but that node has not signed it: it was changed or copied by hand`,
    next: 'restore the file from a backup; its chunks are untouched',
  })
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
  const fields = value as Fields
  const { version, kind } = fields
  if (typeof version !== 'number') throw damaged(path, 'it has no version')
  if (version > BLOCK_VERSION) {
    throw new FsError('ENOTSUP', 'drive.open', {
      path,
      version,
      message: `${path} was written by a newer weft (drive label version ${version}, this build reads ${BLOCK_VERSION}): run that build`,
    })
  }
  if (version === DIRECTORY_VERSION) {
    if (kind !== 'directory') throw damaged(path, 'its kind is not "directory"')
    return { version, ...commonFields(fields, path), kind }
  }
  if (version === BLOCK_VERSION) {
    if (kind !== 'block') throw damaged(path, 'its kind is not "block"')
    return { version, ...commonFields(fields, path), kind, ...blockFields(fields, path) }
  }
  throw damaged(path, `version ${version} does not exist`)
}

export function isServiceClass(value: unknown): value is ServiceClass {
  return value === 1 || value === 2 || value === 3
}

type Fields = Readonly<Record<string, unknown>>

function commonFields(fields: Fields, path: string) {
  const { id, class: cos, createdAt, node } = fields
  if (!isServiceClass(cos)) throw damaged(path, 'its class is not 1, 2 or 3')
  if (typeof createdAt !== 'string') throw damaged(path, 'it has no createdAt')
  return {
    id: idField<DriveId>(id, 'id', path),
    class: cos,
    createdAt,
    node: idField<NodeId>(node, 'node', path),
  }
}

function blockFields(fields: Fields, path: string) {
  const { cluster, nodeKey, wwn, serial, sizeBytes, signature } = fields
  if (typeof wwn !== 'string') throw damaged(path, 'it has no wwn')
  if (typeof serial !== 'string') throw damaged(path, 'it has no serial')
  if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes) || sizeBytes <= 0) {
    throw damaged(path, 'its sizeBytes is not a size')
  }
  return {
    cluster: cluster === null ? null : idField(cluster, 'cluster', path),
    nodeKey: hexField(nodeKey, 64, 'nodeKey', path) as PeerKey,
    wwn,
    serial,
    sizeBytes,
    signature: hexField(signature, 128, 'signature', path),
  }
}

function idField<T extends string>(value: unknown, name: string, path: string): T {
  if (typeof value !== 'string') throw damaged(path, `its ${name} is missing`)
  try {
    return hexId<T>(value)
  } catch {
    throw damaged(path, `its ${name} is not 32 hex digits`)
  }
}

function hexField(value: unknown, digits: number, name: string, path: string): string {
  if (typeof value === 'string' && value.length === digits && /^[0-9a-f]*$/.test(value))
    return value
  throw damaged(path, `its ${name} is not ${digits} hex digits`)
}

function damaged(path: string, why: string): FsError {
  return new FsError('EUCLEAN', 'drive.open', {
    path,
    message: `${path} is not a drive label of weft: ${why}. If this directory is a drive, restore the file from a backup; its chunks are untouched`,
  })
}
