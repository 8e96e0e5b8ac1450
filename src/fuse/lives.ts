import type { Ino } from '../base/index.ts'
import { OPCODES } from './opcodes.ts'
import { getU32, putValid } from './wire/bytes.ts'
import { ENTRY_BYTES, nodeInoAt, OUT_HEADER_BYTES, validMsAt } from './wire/index.ts'

/** Lives in answers: how long the kernel may keep names and attributes. Source: struct fuse_entry_out, fuse_attr_out. */

const WITH_ATTRIBUTES: ReadonlySet<number> = new Set(
  [OPCODES.GETATTR, OPCODES.SETATTR, OPCODES.STATX].map(({ code }) => code),
)
/** Whose answer begins with a fuse_entry_out. */
export const WITH_ENTRY: ReadonlySet<number> = new Set(
  [
    OPCODES.LOOKUP,
    OPCODES.MKNOD,
    OPCODES.MKDIR,
    OPCODES.SYMLINK,
    OPCODES.LINK,
    OPCODES.CREATE,
    OPCODES.TMPFILE,
  ].map(({ code }) => code),
)

/** Hot. Take the lives out of an answer: the kernel asks again at its next use. @param reply whole, without an error */
export function endLives(opcode: number, reply: Buffer): void {
  if (WITH_ENTRY.has(opcode)) endEntry(reply, OUT_HEADER_BYTES)
  else if (opcode === OPCODES.READDIRPLUS.code) {
    for (const at of entriesOf(reply)) endEntry(reply, at)
  } else if (WITH_ATTRIBUTES.has(opcode)) {
    putValid(reply, OUT_HEADER_BYTES, OUT_HEADER_BYTES + 8, 0)
  }
}

/** Inodes whose attributes an answer carries. @param ino that was asked about */
export function inodesIn(opcode: number, ino: Ino, reply: Buffer): Ino[] {
  if (WITH_ATTRIBUTES.has(opcode)) return [ino]
  let entries: number[] = []
  if (WITH_ENTRY.has(opcode)) entries = [OUT_HEADER_BYTES]
  else if (opcode === OPCODES.READDIRPLUS.code) entries = entriesOf(reply)
  // Node id 0: there is no such name, or "." and "..".
  return entries.map((at) => nodeInoAt(reply, at)).filter((one) => one !== 0)
}

/** How long the name of a fuse_entry_out may be kept, in ms. */
export function nameMsAt(reply: Buffer, at: number): number {
  return validMsAt(reply, at + 16, at + 32)
}

/** How long its attributes may be. */
export function attrMsAt(reply: Buffer, at: number): number {
  return validMsAt(reply, at + 24, at + 36)
}

function endEntry(reply: Buffer, at: number): void {
  putValid(reply, at + 16, at + 32, 0)
  putValid(reply, at + 24, at + 36, 0)
}

/** Offsets of the entries of a READDIRPLUS: each a fuse_entry_out, a dirent's head of 24 bytes, a name, padding to 8. */
export function entriesOf(reply: Buffer): number[] {
  const offsets: number[] = []
  for (let at = OUT_HEADER_BYTES; at + ENTRY_BYTES + 24 <= reply.length; ) {
    offsets.push(at)
    const nameBytes = getU32(reply, at + ENTRY_BYTES + 16)
    at += ENTRY_BYTES + ((24 + nameBytes + 7) & ~7)
  }
  return offsets
}
