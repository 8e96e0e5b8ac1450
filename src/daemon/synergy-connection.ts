import { join } from 'node:path'
import { z } from 'zod'
import { codeOf, FsError } from '../base/index.ts'
import { type KeyPair, openSecret, sealSecret } from '../crypto/index.ts'
import type { Disk } from '../disk/index.ts'

/** How this node reaches the appliance of its frame, without the password. */
export interface SynergyConnection {
  readonly url: string
  readonly user: string
  /** Directory to log in at; null for the appliance's default. */
  readonly domain: string | null
  /** PEM; null: by the pin, or by the authorities that Node knows. */
  readonly ca: string | null
  /** `sha256:` and 64 hex digits of its certificate. */
  readonly pin: string | null
  /**
   * With what the tags of this node's drives begin, 32 hex digits: the cluster's id; in no cluster the node's own, which is
   * then a cluster of one. Kept here, so that a node which joins a cluster later still knows the drives that it has.
   */
  readonly cluster: string
}

export interface StoredConnection extends SynergyConnection {
  /** Base64; only this node's key opens it. */
  readonly sealedPassword: string
}

const FORMAT = 1
const FILE_BYTES_MAX = 256 * 1024

const shape = z.strictObject({
  version: z.literal(FORMAT),
  url: z.string(),
  user: z.string(),
  domain: z.string().nullable(),
  ca: z.string().nullable(),
  pin: z.string().nullable(),
  cluster: z.string().regex(/^[0-9a-f]{32}$/),
  sealedPassword: z.base64(),
})

/** `<directory>/connection.json`. Null when no frame is connected. @throws FsError EUCLEAN, damaged; ENOTSUP, of a newer build */
export function readConnection(directory: string, disk: Disk): StoredConnection | null {
  const path = pathIn(directory)
  if (!disk.exists(path)) return null
  const text = disk.readFile(path, FILE_BYTES_MAX).toString()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (codeOf(error)) throw error
    throw damaged(path)
  }
  const { version } = (value ?? {}) as { version?: unknown }
  if (typeof version === 'number' && version > FORMAT) {
    throw new FsError('ENOTSUP', 'synergy.connection', {
      message: `${path}: written by a newer weft (version ${version}, this build reads ${FORMAT})`,
      next: 'run that build, or connect anew with `weft synergy connect`',
    })
  }
  const parsed = shape.safeParse(value)
  if (!parsed.success) throw damaged(path)
  const { version: _, ...stored } = parsed.data
  return stored
}

/** Durable when it returns. @param password only borrowed */
export function storeConnection(
  directory: string,
  disk: Disk,
  connection: SynergyConnection,
  password: Buffer,
  boxPublicKey: Buffer,
): void {
  const { url, user, domain, ca, pin, cluster } = connection
  const sealed = sealSecret(password, boundTo(connection), boxPublicKey)
  const record = {
    ...{ version: FORMAT, url, user, domain, ca, pin, cluster },
    sealedPassword: sealed.toString('base64'),
  }
  disk.mkdir(directory)
  // Disk makes every file with mode 0600.
  disk.replaceFile(pathIn(directory), Buffer.from(`${JSON.stringify(record, null, 2)}\n`))
}

/** In secure memory. @throws FsError ENOKEY when it was sealed for another node, or url, user or trust were changed since */
export function passwordOf(stored: StoredConnection, pair: KeyPair): Buffer {
  try {
    return openSecret(Buffer.from(stored.sealedPassword, 'base64'), boundTo(stored), pair)
  } catch (cause) {
    throw new FsError('ENOKEY', 'synergy.connection', {
      cause,
      message: `the password for ${stored.url} does not open with this node's key: it was sealed by another node, or url, user, CA or pin were changed in the file`,
      next: `weft synergy connect ${stored.url} --user ${stored.user} seals it anew`,
    })
  }
}

/** Gone for good when it returns. */
export function forgetConnection(directory: string, disk: Disk): void {
  if (!disk.exists(pathIn(directory))) return
  disk.unlink(pathIn(directory))
  disk.fsyncDirectory(directory)
}

/** The password is shown to this appliance, known by this certificate, and to nobody else. */
function boundTo({ url, user, domain, ca, pin }: SynergyConnection): string {
  return JSON.stringify(['oneview password', url, user, domain, ca, pin])
}

function pathIn(directory: string): string {
  return join(directory, 'connection.json')
}

function damaged(path: string): FsError {
  return new FsError('EUCLEAN', 'synergy.connection', {
    message: `${path}: damaged`,
    next: 'connect anew with `weft synergy connect`; drives of the frame stay in use meanwhile',
  })
}
