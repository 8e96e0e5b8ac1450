import { FsError, type Ino, ProtocolError } from '../base/index.ts'
import type { Touched } from './grants.ts'
import { OPCODES } from './opcodes.ts'
import * as wire from './wire/index.ts'

const O_TRUNC = 0o1000

/** Inode that a name of a directory stands for, as far as it is known. */
export type Find = (directory: Ino, name: Buffer) => Ino | null

/**
 * What a request is about to change of what kernels may have kept. A request that cannot be read, or will be refused,
 * may touch nothing. Times of reading are not kept by weft, so reading touches nothing.
 * @returns null for nothing
 */
export function touchedBy(find: Find, header: wire.RequestHeader, buf: Buffer): Touched | null {
  try {
    return touched(find, header, buf)
  } catch (error) {
    if (error instanceof FsError || error instanceof ProtocolError) return null
    throw error
  }
}

function touched(
  find: Find,
  { opcode, nodeLo, nodeHi, bodyEnd: end }: wire.RequestHeader,
  buf: Buffer,
): Touched | null {
  const ino = wire.nodeIno(nodeLo, nodeHi)
  const at = wire.IN_HEADER_BYTES
  const named = (directory: Ino, name: Buffer) => {
    const found = find(directory, name)
    return found === null ? [] : [found]
  }
  switch (opcode) {
    case OPCODES.SETATTR.code:
    case OPCODES.WRITE.code:
    case OPCODES.SETXATTR.code:
    case OPCODES.REMOVEXATTR.code:
    case OPCODES.FALLOCATE.code:
      return { attributes: [ino], names: [] }
    case OPCODES.OPEN.code: {
      const { flags } = wire.decodeOpen(buf, at, end)
      return (flags & O_TRUNC) === 0 ? null : { attributes: [ino], names: [] }
    }
    case OPCODES.COPY_FILE_RANGE.code:
    case OPCODES.COPY_FILE_RANGE_64.code:
      return { attributes: [wire.decodeCopyFileRange(buf, at, end).outIno], names: [] }
    case OPCODES.MKNOD.code:
    case OPCODES.MKDIR.code:
    case OPCODES.SYMLINK.code:
    case OPCODES.CREATE.code:
      return { attributes: [ino], names: [ino] }
    case OPCODES.LINK.code:
      return { attributes: [ino, wire.decodeLink(buf, at, end).oldIno], names: [ino] }
    case OPCODES.UNLINK.code:
    case OPCODES.RMDIR.code:
      return { attributes: [ino, ...named(ino, wire.decodeName(buf, at, end))], names: [ino] }
    case OPCODES.RENAME.code:
    case OPCODES.RENAME2.code: {
      const decode = opcode === OPCODES.RENAME.code ? wire.decodeRename : wire.decodeRename2
      const { newdirIno, oldname, newname } = decode(buf, at, end)
      const moved = [...named(ino, oldname), ...named(newdirIno, newname)]
      const directories = ino === newdirIno ? [ino] : [ino, newdirIno]
      return { attributes: [...new Set([...directories, ...moved])], names: directories }
    }
    default:
      return null
  }
}
