import { codeOf, FsError, messageOf } from '../base/index.ts'

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
  if (code === 'ENOTDIR' || code === 'ENOENT' || code === 'ENAMETOOLONG' || code === 'ELOOP') {
    return new FsError(code, op, { path, cause: error, message: `${path}: ${messageOf(error)}` })
  }
  return new FsError('EIO', op, { path, cause: error, message: `${path}: ${messageOf(error)}` })
}
