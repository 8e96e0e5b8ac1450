/**
 * Every request the kernel may send, one row each, by its name without FUSE_.
 * Source: linux include/uapi/linux/fuse.h, enum fuse_opcode (7.45).
 */
export interface OpcodeRow {
  readonly code: number
  /** False: the kernel waits for no answer and would refuse one. */
  readonly answered: boolean
  /**
   * True: executing it twice is not the same as once, or leaves something behind (a handle, a lock), so a request
   * sent again must be answered from its record (design §6.12).
   */
  readonly once: boolean
}

export const OPCODES = {
  LOOKUP: { code: 1, answered: true, once: false },
  FORGET: { code: 2, answered: false, once: true },
  GETATTR: { code: 3, answered: true, once: false },
  SETATTR: { code: 4, answered: true, once: true },
  READLINK: { code: 5, answered: true, once: false },
  SYMLINK: { code: 6, answered: true, once: true },
  MKNOD: { code: 8, answered: true, once: true },
  MKDIR: { code: 9, answered: true, once: true },
  UNLINK: { code: 10, answered: true, once: true },
  RMDIR: { code: 11, answered: true, once: true },
  RENAME: { code: 12, answered: true, once: true },
  LINK: { code: 13, answered: true, once: true },
  OPEN: { code: 14, answered: true, once: true },
  READ: { code: 15, answered: true, once: false },
  WRITE: { code: 16, answered: true, once: true },
  STATFS: { code: 17, answered: true, once: false },
  RELEASE: { code: 18, answered: true, once: true },
  FSYNC: { code: 20, answered: true, once: false },
  SETXATTR: { code: 21, answered: true, once: true },
  GETXATTR: { code: 22, answered: true, once: false },
  LISTXATTR: { code: 23, answered: true, once: false },
  REMOVEXATTR: { code: 24, answered: true, once: true },
  FLUSH: { code: 25, answered: true, once: false },
  INIT: { code: 26, answered: true, once: true },
  OPENDIR: { code: 27, answered: true, once: true },
  READDIR: { code: 28, answered: true, once: false },
  RELEASEDIR: { code: 29, answered: true, once: true },
  FSYNCDIR: { code: 30, answered: true, once: false },
  GETLK: { code: 31, answered: true, once: false },
  SETLK: { code: 32, answered: true, once: true },
  SETLKW: { code: 33, answered: true, once: true },
  ACCESS: { code: 34, answered: true, once: false },
  CREATE: { code: 35, answered: true, once: true },
  INTERRUPT: { code: 36, answered: false, once: false },
  BMAP: { code: 37, answered: true, once: false },
  DESTROY: { code: 38, answered: true, once: true },
  IOCTL: { code: 39, answered: true, once: true },
  POLL: { code: 40, answered: true, once: false },
  NOTIFY_REPLY: { code: 41, answered: false, once: true },
  BATCH_FORGET: { code: 42, answered: false, once: true },
  FALLOCATE: { code: 43, answered: true, once: true },
  READDIRPLUS: { code: 44, answered: true, once: false },
  RENAME2: { code: 45, answered: true, once: true },
  LSEEK: { code: 46, answered: true, once: false },
  COPY_FILE_RANGE: { code: 47, answered: true, once: true },
  SETUPMAPPING: { code: 48, answered: true, once: true },
  REMOVEMAPPING: { code: 49, answered: true, once: true },
  SYNCFS: { code: 50, answered: true, once: false },
  TMPFILE: { code: 51, answered: true, once: true },
  STATX: { code: 52, answered: true, once: false },
  COPY_FILE_RANGE_64: { code: 53, answered: true, once: true },
} as const satisfies Record<string, OpcodeRow>

export type OpName = keyof typeof OPCODES

/** One more than the largest code: the length of an array counted by opcode. */
export const OPCODE_COUNT = 54

/** Name by code, '' for a code that is not assigned. */
export const OPCODE_NAMES: readonly string[] = byCode('', (name) => name)
const ANSWERED: readonly boolean[] = byCode(true, (_name, row) => row.answered)
const ONCE: readonly boolean[] = byCode(false, (_name, row) => row.once)

/** For logs and metrics. */
export function opcodeName(code: number): string {
  return OPCODE_NAMES[code] || 'unknown'
}

/** Hot. An unknown code is to be answered: with ENOSYS, which tells the kernel not to ask again. */
export function isAnswered(code: number): boolean {
  return ANSWERED[code] ?? true
}

/** Hot. @see OpcodeRow.once */
export function isOnce(code: number): boolean {
  return ONCE[code] ?? false
}

function byCode<T>(empty: T, value: (name: string, row: OpcodeRow) => T): T[] {
  const table = new Array<T>(OPCODE_COUNT).fill(empty)
  for (const [name, row] of Object.entries(OPCODES)) table[row.code] = value(name, row)
  return table
}
