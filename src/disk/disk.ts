import { codeOf, type ErrnoCode, FsError, type Subject } from '../base/index.ts'

/** An open file of one Disk. */
export type DiskHandle = number & { readonly __brand: 'DiskHandle' }

/**
 * read: an existing file, read only. write: an existing file, read and write. create: read and write, made when absent.
 * createNew: read and write, EEXIST when it is there. Files are made with mode 0600.
 */
export type OpenMode = 'read' | 'write' | 'create' | 'createNew'

export interface DiskStat {
  readonly kind: 'file' | 'directory' | 'other'
  readonly bytes: number
  /** Milliseconds since 1970 of the last change of content. */
  readonly modifiedMs: number
}

/** Paths are absolute. Buffers are only borrowed during the call. Every method throws FsError. */
export interface Disk {
  open(path: string, mode: OpenMode): DiskHandle
  /** @throws EIO also where a network filesystem reports a late write error */
  close(handle: DiskHandle): void
  /** Reads up to `len` bytes at file offset `pos` into `into` at `intoAt`; fewer only at the end of the file. */
  read(handle: DiskHandle, into: Uint8Array, intoAt: number, len: number, pos: number): number
  /** Writes all `len` bytes at file offset `pos`, or throws; what was written before the failure stays written. */
  write(handle: DiskHandle, from: Uint8Array, fromAt: number, len: number, pos: number): void
  fdatasync(handle: DiskHandle): void
  /**
   * The same on the thread pool, for what was written before the call. The handle must stay open until it settles.
   */
  fdatasyncAsync(handle: DiskHandle): Promise<void>
  truncate(handle: DiskHandle, bytes: number): void
  /** Bytes in the file as it is now, whoever wrote them. */
  size(handle: DiskHandle): number

  /** Null when there is nothing at the path. */
  stat(path: string): DiskStat | null
  exists(path: string): boolean
  /** Names in a directory, sorted, without . and .. */
  list(path: string): string[]
  /** The whole file. @throws EFBIG when it is larger than `bytesMax` (16 MiB when not given) */
  readFile(path: string, bytesMax?: number): Buffer
  /**
   * Puts `bytes` at the path in one step that survives a power cut: `<path>.new`, fdatasync, rename, fsync of the parent.
   * One writer at a time for a path; a `.new` file left by a crash is overwritten by the next call.
   */
  replaceFile(path: string, bytes: Uint8Array): void

  /** Makes the directory and its missing parents, each durable. No error when it is there. */
  mkdir(path: string): void
  /** Durable only after fsyncDirectory of both parents; so with unlink and the creation of files. */
  rename(from: string, to: string): void
  unlink(path: string): void
  /** Removes an empty directory. */
  rmdir(path: string): void
  fsyncDirectory(path: string): void

  /** Bytes an unprivileged writer may still take on the filesystem of the path. */
  freeBytes(path: string): number
  totalBytes(path: string): number
  /** The same number for two paths on one filesystem (st_dev). */
  device(path: string): number
}

/** Largest file readFile takes by default: settings and labels, not data. */
export const readFileBytesMax = 16 * 1024 * 1024

/** Codes that tell a caller something; all others become EIO. */
const passed: ReadonlySet<string> = new Set<ErrnoCode>([
  'EACCES',
  'EBUSY',
  'EDQUOT',
  'EEXIST',
  'EFBIG',
  'EIO',
  'EISDIR',
  'ELOOP',
  'EMFILE',
  'ENAMETOOLONG',
  'ENFILE',
  'ENODEV',
  'ENOENT',
  'ENOMEM',
  'ENOSPC',
  'ENOTDIR',
  'ENOTEMPTY',
  'ENXIO',
  'EPERM',
  'EROFS',
  'ESTALE',
  'ETXTBSY',
  'EXDEV',
])

/** What node:fs threw, as the FsError that leaves this room. EDQUOT is a full disk to everyone above. */
export function diskError(error: unknown, op: string, subject: Subject): FsError {
  if (error instanceof FsError) return error
  const code = codeOf(error)
  if (code === 'EDQUOT') return new FsError('ENOSPC', op, { ...subject, cause: error })
  if (passed.has(code)) return new FsError(code as ErrnoCode, op, { ...subject, cause: error })
  return new FsError('EIO', op, { ...subject, cause: error })
}
