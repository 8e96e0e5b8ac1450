import fs from 'node:fs'
import { dirname } from 'node:path'
import { codeOf, FsError } from '../base/index.ts'
import {
  type Disk,
  type DiskHandle,
  type DiskStat,
  diskError,
  type OpenMode,
  readFileBytesMax,
} from './disk.ts'

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL } = fs.constants
const openFlags = {
  read: O_RDONLY,
  write: O_RDWR,
  create: O_RDWR | O_CREAT,
  createNew: O_RDWR | O_CREAT | O_EXCL,
} as const satisfies Record<OpenMode, number>

/** The machine's files. Holds no state; a handle is a file descriptor (close-on-exec, as libuv opens all). */
export const systemDisk: Disk = {
  open(path, mode) {
    try {
      return fs.openSync(path, openFlags[mode], 0o600) as DiskHandle
    } catch (error) {
      throw diskError(error, 'open', { path })
    }
  },

  close(handle) {
    try {
      fs.closeSync(handle)
    } catch (error) {
      throw diskError(error, 'close', { handle })
    }
  },

  read(handle, into, intoAt, len, pos) {
    let done = 0
    try {
      while (done < len) {
        const got = fs.readSync(handle, into, intoAt + done, len - done, pos + done)
        if (got === 0) break
        done += got
      }
    } catch (error) {
      throw diskError(error, 'read', { handle, pos, len })
    }
    return done
  },

  write(handle, from, fromAt, len, pos) {
    try {
      let done = 0
      while (done < len) {
        done += fs.writeSync(handle, from, fromAt + done, len - done, pos + done)
      }
    } catch (error) {
      throw diskError(error, 'write', { handle, pos, len })
    }
  },

  fdatasync(handle) {
    try {
      fs.fdatasyncSync(handle)
    } catch (error) {
      throw diskError(error, 'fdatasync', { handle })
    }
  },

  fdatasyncAsync(handle) {
    return new Promise((resolve, reject) => {
      fs.fdatasync(handle, (error) => {
        if (error) reject(diskError(error, 'fdatasync', { handle }))
        else resolve()
      })
    })
  },

  truncate(handle, bytes) {
    try {
      fs.ftruncateSync(handle, bytes)
    } catch (error) {
      throw diskError(error, 'truncate', { handle, bytes })
    }
  },

  size(handle) {
    try {
      return fs.fstatSync(handle).size
    } catch (error) {
      throw diskError(error, 'size', { handle })
    }
  },

  stat(path) {
    try {
      const stat = fs.statSync(path, { throwIfNoEntry: false })
      return stat === undefined ? null : describe(stat)
    } catch (error) {
      if (codeOf(error) === 'ENOTDIR') return null
      throw diskError(error, 'stat', { path })
    }
  },

  exists(path) {
    return systemDisk.stat(path) !== null
  },

  list(path) {
    try {
      return fs.readdirSync(path).sort()
    } catch (error) {
      throw diskError(error, 'list', { path })
    }
  },

  readFile(path, bytesMax = readFileBytesMax) {
    const handle = systemDisk.open(path, 'read')
    try {
      const bytes = systemDisk.size(handle)
      if (bytes > bytesMax) throw new FsError('EFBIG', 'readFile', { path, bytes, bytesMax })
      const buffer = Buffer.allocUnsafe(bytes)
      return buffer.subarray(0, systemDisk.read(handle, buffer, 0, bytes, 0))
    } finally {
      systemDisk.close(handle)
    }
  },

  replaceFile(path, bytes) {
    const fresh = `${path}.new`
    const handle = systemDisk.open(fresh, 'create')
    try {
      systemDisk.truncate(handle, 0)
      systemDisk.write(handle, bytes, 0, bytes.length, 0)
      systemDisk.fdatasync(handle)
    } catch (error) {
      systemDisk.close(handle)
      discard(fresh)
      throw error
    }
    systemDisk.close(handle)
    systemDisk.rename(fresh, path)
    systemDisk.fsyncDirectory(dirname(path))
  },

  mkdir(path) {
    const missing: string[] = []
    let at = path
    while (!systemDisk.exists(at)) {
      missing.push(at)
      at = dirname(at)
    }
    for (const directory of missing.reverse()) {
      try {
        fs.mkdirSync(directory, { mode: 0o700 })
      } catch (error) {
        // Another thread made it between the look and now.
        if (codeOf(error) !== 'EEXIST') throw diskError(error, 'mkdir', { path: directory })
      }
      systemDisk.fsyncDirectory(dirname(directory))
    }
    if (systemDisk.stat(path)?.kind !== 'directory') throw new FsError('ENOTDIR', 'mkdir', { path })
  },

  rename(from, to) {
    try {
      fs.renameSync(from, to)
    } catch (error) {
      throw diskError(error, 'rename', { from, to })
    }
  },

  unlink(path) {
    try {
      fs.unlinkSync(path)
    } catch (error) {
      throw diskError(error, 'unlink', { path })
    }
  },

  rmdir(path) {
    try {
      fs.rmdirSync(path)
    } catch (error) {
      throw diskError(error, 'rmdir', { path })
    }
  },

  fsyncDirectory(path) {
    try {
      const handle = fs.openSync(path, O_RDONLY | fs.constants.O_DIRECTORY)
      try {
        fs.fsyncSync(handle)
      } finally {
        fs.closeSync(handle)
      }
    } catch (error) {
      throw diskError(error, 'fsyncDirectory', { path })
    }
  },

  freeBytes(path) {
    const { bavail, bsize } = statfs(path)
    return bavail * bsize
  },

  totalBytes(path) {
    const { blocks, bsize } = statfs(path)
    return blocks * bsize
  },

  device(path) {
    try {
      return fs.statSync(path).dev
    } catch (error) {
      throw diskError(error, 'device', { path })
    }
  },
}

function describe(stat: fs.Stats): DiskStat {
  const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : 'other'
  return { kind, bytes: stat.size, modifiedMs: stat.mtimeMs }
}

function statfs(path: string): fs.StatsFs {
  try {
    return fs.statfsSync(path)
  } catch (error) {
    throw diskError(error, 'statfs', { path })
  }
}

/** Gives back the space of a half-written file. Best effort: the failure that led here is the one to report. */
function discard(path: string): void {
  try {
    fs.unlinkSync(path)
  } catch {
    // The next replaceFile of this path overwrites it.
  }
}
