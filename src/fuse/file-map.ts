import { CorruptError } from '../base/index.ts'
import { decodeExtent, type Extent, encodeExtent } from '../meta/index.ts'
import type { FileMap } from '../vfs/index.ts'
import { OPCODES } from './opcodes.ts'
import { getU32, putU32 } from './wire/bytes.ts'
import * as wire from './wire/index.ts'

/**
 * Where a file's bytes are, as its owner tells a node that has a copy: behind the kernel's answer to an OPEN or a READ, whose
 * header says where that ends. Little endian:
 *
 *     u32 ms that it may be kept · u32 extents · f64 size of the file · f64 from · f64 to, the range that is mapped
 *     each extent: f64 offset · u32 bytes · so many (meta/values.ts)
 */
const HEAD_BYTES = 32
const EXTENT_HEAD_BYTES = 12

/** Whether answers to this kind of request may have a map behind them. */
export function mayHaveMap(opcode: number): boolean {
  return opcode === OPCODES.READ.code || opcode === OPCODES.OPEN.code
}

/** @param limit end of what may be written. @returns the new end; `at` when there is no room for a map */
export function encodeFileMap(
  buf: Buffer,
  at: number,
  limit: number,
  map: FileMap,
  validMs: number,
): number {
  let end = at + HEAD_BYTES
  if (end > limit) return at
  let count = 0
  for (const { offset, extent } of map.extents) {
    const bytes = encodeExtent(extent)
    if (end + EXTENT_HEAD_BYTES + bytes.length > limit) break
    buf.writeDoubleLE(offset, end)
    putU32(buf, end + 8, bytes.length)
    end += EXTENT_HEAD_BYTES + bytes.copy(buf, end + EXTENT_HEAD_BYTES)
    count++
  }
  const next = map.extents[count]
  putU32(buf, at, validMs)
  putU32(buf, at + 4, count)
  buf.writeDoubleLE(map.size, at + 8)
  buf.writeDoubleLE(map.from, at + 16)
  buf.writeDoubleLE(next ? Math.max(map.from, next.offset) : map.to, at + 24)
  return end
}

/** @param reply an answer, with what is behind it. @returns null when there is no map, or none that can be read */
export function decodeFileMap(reply: Buffer): { map: FileMap; validMs: number } | null {
  const at = getU32(reply, 0)
  if (at + HEAD_BYTES > reply.length) return null
  const extents: FileMap['extents'][number][] = []
  let here = at + HEAD_BYTES
  for (let left = getU32(reply, at + 4); left > 0; left--) {
    if (here + EXTENT_HEAD_BYTES > reply.length) return null
    const extentAt = here + EXTENT_HEAD_BYTES
    const end = extentAt + getU32(reply, here + 8)
    const extent = extentIn(reply.subarray(extentAt, end))
    if (extent === null) return null
    extents.push({ offset: reply.readDoubleLE(here), extent })
    here = end
  }
  const size = reply.readDoubleLE(at + 8)
  const map = { size, from: reply.readDoubleLE(at + 16), to: reply.readDoubleLE(at + 24), extents }
  return { map, validMs: getU32(reply, at) }
}

function extentIn(bytes: Buffer): Extent | null {
  try {
    return decodeExtent(Buffer.from(bytes))
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    return null
  }
}

/** An answer without its body: its header, and the map that is behind it. */
export function mapAlone(reply: Buffer): Buffer {
  const head = Buffer.from(reply.subarray(0, wire.OUT_HEADER_BYTES))
  putU32(head, 0, head.length)
  return Buffer.concat([head, reply.subarray(getU32(reply, 0))])
}
