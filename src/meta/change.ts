import { CorruptError } from '../base/index.ts'

/** One put or delete of a record. `value` null deletes. */
export interface Change {
  key: Buffer
  value: Buffer | null
}

const PUT = 1
const DELETE = 2

/**
 * Body of a journal record: the list of puts and deletes it makes, physical, so that replay needs no judgement.
 * Byte table: docs/format.md §2.
 */
export function encodeChanges(changes: readonly Change[]): Buffer {
  let bytes = 0
  for (const { key, value } of changes) bytes += 2 + key.length + (value ? 4 + value.length : 0)
  const out = Buffer.allocUnsafe(bytes)
  let at = 0
  for (const { key, value } of changes) {
    out[at] = value ? PUT : DELETE
    out[at + 1] = key.length
    key.copy(out, at + 2)
    at += 2 + key.length
    if (value) {
      out.writeUInt32LE(value.length, at)
      value.copy(out, at + 4)
      at += 4 + value.length
    }
  }
  return out
}

/** Views into `body`, not copies. @throws CorruptError */
export function decodeChanges(body: Buffer): Change[] {
  const changes: Change[] = []
  let at = 0
  while (at < body.length) {
    const op = body[at]
    const keyBytes = body[at + 1]
    if (keyBytes === undefined || (op !== PUT && op !== DELETE)) throw cut(at)
    const key = body.subarray(at + 2, at + 2 + keyBytes)
    at += 2 + keyBytes
    if (op === DELETE) {
      if (at > body.length) throw cut(at)
      changes.push({ key, value: null })
      continue
    }
    if (at + 4 > body.length) throw cut(at)
    const valueBytes = body.readUInt32LE(at)
    at += 4
    if (at + valueBytes > body.length) throw cut(at)
    changes.push({ key, value: body.subarray(at, at + valueBytes) })
    at += valueBytes
  }
  return changes
}

function cut(at: number): CorruptError {
  return new CorruptError('record body is not a list of changes', { at })
}
