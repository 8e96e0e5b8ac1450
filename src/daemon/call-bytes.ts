import type { z } from 'zod'
import { FsError, messageOf, ProtocolError } from '../base/index.ts'

/** What nodes say to each other, as bytes; what cannot be read is refused (EPROTO) in the name of the service. */

export function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** @throws FsError EPROTO for what is not of the shape */
export function parsed<T extends z.ZodType>(shape: T, body: Buffer, service: string): z.infer<T> {
  try {
    return shape.parse(JSON.parse(body.toString()))
  } catch (error) {
    throw new FsError('EPROTO', service, {
      cause: error,
      message: `${service}: not what was agreed: ${messageOf(error).slice(0, 200)}`,
    })
  }
}

/** @throws FsError EPROTO where `decode` throws a ProtocolError */
export function understood<T>(decode: () => T, service: string): T {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    throw notUnderstood(service, error.message)
  }
}

export function notUnderstood(service: string, why: string): FsError {
  return new FsError('EPROTO', service, { message: `${service}: ${why}` })
}
