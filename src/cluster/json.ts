import { z } from 'zod'
import { CorruptError, FsError, ProtocolError } from '../base/index.ts'

/** Version of every record, message and file of this room. */
export const FORMAT = 1

export const hexId = z.string().regex(/^[0-9a-f]{32}$/)
export const key32 = z.string().regex(/^[0-9a-f]{64}$/)
/** Ed25519 signature. */
export const signature = z.string().regex(/^[0-9a-f]{128}$/)
export const isoDate = z.iso.datetime().max(40)
export const count = z.int().min(1)
/** Milliseconds since 1970 that Date can show. */
export const wallTimeMs = z.int().min(0).max(8.64e15)

export function encodeJson(value: object): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/**
 * What this program or another of its kind stored.
 * @throws FsError ENOTSUP when a newer build wrote it; CorruptError for anything else that does not fit the shape
 */
export function decodeStored<T>(shape: z.ZodType<T>, bytes: Buffer, what: string): T {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch (error) {
    throw new CorruptError(`${what} that is not JSON`, { bytes: bytes.length }, error)
  }
  const version = versionOf(value)
  if (version > FORMAT) {
    throw new FsError('ENOTSUP', 'cluster.decode', {
      version,
      message: `${what}: written by a newer weft (version ${version}, this build reads ${FORMAT}): run that build`,
    })
  }
  const parsed = shape.safeParse(value)
  if (!parsed.success) throw new CorruptError(`${what} damaged at ${firstIssue(parsed.error)}`)
  return parsed.data
}

/**
 * What a peer sent.
 * @throws ProtocolError for anything that does not fit, a message of a newer build included
 */
export function decodeSent<T>(
  shape: z.ZodType<T>,
  bytes: Buffer,
  bytesMax: number,
  what: string,
): T {
  if (bytes.length > bytesMax) {
    throw new ProtocolError(`${what} of ${bytes.length} bytes, at most ${bytesMax} allowed`)
  }
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch (error) {
    throw new ProtocolError(`${what} that is not JSON`, error)
  }
  const version = versionOf(value)
  if (version > FORMAT)
    throw new ProtocolError(`${what} of version ${version}, this build reads ${FORMAT}`)
  const parsed = shape.safeParse(value)
  if (!parsed.success) throw new ProtocolError(`${what} wrong at ${firstIssue(parsed.error)}`)
  return parsed.data
}

function versionOf(value: unknown): number {
  const version =
    typeof value === 'object' && value !== null && 'version' in value ? value.version : 0
  return typeof version === 'number' ? version : 0
}

function firstIssue(error: z.ZodError): string {
  const [first] = error.issues
  return `${first?.path.join('.') || 'as a whole'}: ${first?.message ?? ''}`
}
