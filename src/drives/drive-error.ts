import { codeOf, FsError, messageOf } from '../base/index.ts'

/** They keep their names: the first four say what is wrong with the path, the others that this process is short of something. */
const AS_THEY_ARE = [
  'ENOTDIR',
  'ENOENT',
  'ENAMETOOLONG',
  'ELOOP',
  'EMFILE',
  'ENFILE',
  'ENOMEM',
] as const

/** A system error of a drive's directory or device in a person's words. */
export function driveError(op: string, path: string, error: unknown): FsError {
  if (error instanceof FsError) return error
  const code = codeOf(error)
  if (code === 'EACCES' || code === 'EPERM') {
    return new FsError(code, op, {
      path,
      cause: error,
      message: `no right to use ${path}: ${code}`,
    })
  }
  if (code === 'EROFS') {
    return new FsError(code, op, { path, cause: error, message: `${path} is on a read-only disk` })
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new FsError('ENOSPC', op, { path, cause: error, message: `no space left at ${path}` })
  }
  const kept = AS_THEY_ARE.find((one) => one === code) ?? 'EIO'
  return new FsError(kept, op, { path, cause: error, message: `${path}: ${messageOf(error)}` })
}
