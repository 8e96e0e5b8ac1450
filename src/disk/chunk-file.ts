import * as fs from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf } from '../base/index.ts'
import { diskError } from './disk.ts'
import { systemDisk } from './system.ts'

/**
 * Files that are written once, whole, and never changed: what room chunks keeps. The descriptors
 * are plain numbers, so that a reader's hot path is one `readSync` and no object.
 * Errors are FsError with the errno of the system call; what has none is EIO.
 */
export interface ChunkFiles {
  /**
   * Create `directory/name` from bytes[0, length) and make it durable: O_EXCL, write, fdatasync of
   * the file, fsync of the directory. After any failure the file is gone again.
   * `bytes` is borrowed until the promise settles.
   * @throws FsError EEXIST (nothing touched), ENOSPC, EDQUOT, EIO, …
   */
  write(directory: string, name: string, bytes: Buffer, length: number): Promise<void>
  writeSync(directory: string, name: string, bytes: Buffer, length: number): void
  /** Read-only descriptor. @throws FsError ENOENT, EMFILE, EIO, … */
  open(path: string): number
  /** Bytes read, less than `length` only at the end of the file. Hot. */
  read(fd: number, into: Buffer, intoAt: number, length: number, position: number): number
  /** As `read`, on the thread pool, for background work. */
  readAsync(
    fd: number,
    into: Buffer,
    intoAt: number,
    length: number,
    position: number,
  ): Promise<number>
  size(fd: number): number
  close(fd: number): void
  exists(path: string): boolean
  /** @returns false when there was no such file. Not synced: a file that comes back is swept again. */
  remove(path: string): Promise<boolean>
  removeSync(path: string): boolean
  /** Names in a directory, [] when it does not exist. */
  names(directory: string): string[]
  /** Make the named directories under `parent`, and durable. Those that exist already are kept. */
  makeDirectories(parent: string, names: readonly string[]): void
  /**
   * Move a file into another directory of the same filesystem, durably, never over another file:
   * a taken name gets a number behind it. @returns the new path @throws FsError ENOENT, EIO, …
   */
  moveAside(directory: string, name: string, toDirectory: string): string
}

const openAsync = promisify(fs.open)
const writeAsync = promisify(fs.write)
const readAsync = promisify(fs.read)
const fdatasyncAsync = promisify(fs.fdatasync)
const fsyncAsync = promisify(fs.fsync)
const closeAsync = promisify(fs.close)
const unlinkAsync = promisify(fs.unlink)

const CREATE = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL

export const systemChunkFiles: ChunkFiles = {
  async write(directory, name, bytes, length) {
    const path = join(directory, name)
    const fd = await openAsync(path, CREATE, 0o600).catch(raise('chunk-file.create', path))
    try {
      try {
        for (let at = 0; at < length; ) {
          at += (await writeAsync(fd, bytes, at, length - at, at)).bytesWritten
        }
        await fdatasyncAsync(fd)
      } finally {
        await closeAsync(fd)
      }
      const parent = await openAsync(directory, fs.constants.O_RDONLY)
      try {
        await fsyncAsync(parent)
      } finally {
        await closeAsync(parent)
      }
    } catch (error) {
      removeQuietly(path)
      throw diskError(error, 'chunk-file.write', { path })
    }
  },

  writeSync(directory, name, bytes, length) {
    const path = join(directory, name)
    const fd = call('chunk-file.create', path, () => fs.openSync(path, CREATE, 0o600))
    try {
      try {
        for (let at = 0; at < length; ) at += fs.writeSync(fd, bytes, at, length - at, at)
        fs.fdatasyncSync(fd)
      } finally {
        fs.closeSync(fd)
      }
      systemDisk.fsyncDirectory(directory)
    } catch (error) {
      removeQuietly(path)
      throw diskError(error, 'chunk-file.write', { path })
    }
  },

  open(path) {
    try {
      return fs.openSync(path, fs.constants.O_RDONLY)
    } catch (error) {
      throw diskError(error, 'chunk-file.open', { path })
    }
  },

  read(fd, into, intoAt, length, position) {
    try {
      let done = 0
      while (done < length) {
        const count = fs.readSync(fd, into, intoAt + done, length - done, position + done)
        if (count === 0) break
        done += count
      }
      return done
    } catch (error) {
      throw diskError(error, 'chunk-file.read', {})
    }
  },

  async readAsync(fd, into, intoAt, length, position) {
    try {
      let done = 0
      while (done < length) {
        const { bytesRead } = await readAsync(
          fd,
          into,
          intoAt + done,
          length - done,
          position + done,
        )
        if (bytesRead === 0) break
        done += bytesRead
      }
      return done
    } catch (error) {
      throw diskError(error, 'chunk-file.read', {})
    }
  },

  size: (fd) => call('chunk-file.size', '', () => fs.fstatSync(fd).size),

  close(fd) {
    fs.closeSync(fd)
  },

  exists(path) {
    return call(
      'chunk-file.exists',
      path,
      () => fs.statSync(path, { throwIfNoEntry: false }) !== undefined,
    )
  },

  async remove(path) {
    try {
      await unlinkAsync(path)
      return true
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw diskError(error, 'chunk-file.remove', { path })
    }
  },

  removeSync(path) {
    try {
      fs.unlinkSync(path)
      return true
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw diskError(error, 'chunk-file.remove', { path })
    }
  },

  names(directory) {
    try {
      return fs.readdirSync(directory)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return []
      throw diskError(error, 'chunk-file.names', { path: directory })
    }
  },

  makeDirectories(parent, names) {
    call('chunk-file.make-directories', parent, () => {
      for (const name of names) {
        try {
          fs.mkdirSync(join(parent, name), { mode: 0o700 })
        } catch (error) {
          if (codeOf(error) !== 'EEXIST') throw error
        }
      }
      // Also when nothing was new: another thread may have made them and not have synced yet.
      systemDisk.fsyncDirectory(parent)
    })
  },

  moveAside(directory, name, toDirectory) {
    const from = join(directory, name)
    return call('chunk-file.move-aside', from, () => {
      const to = linkUnderFreeName(from, join(toDirectory, name))
      // The new name is on the drive before the old one goes: a power cut leaves one or both.
      systemDisk.fsyncDirectory(toDirectory)
      fs.unlinkSync(from)
      systemDisk.fsyncDirectory(directory)
      return to
    })
  },
}

function linkUnderFreeName(from: string, wanted: string): string {
  for (let number = 0; ; number++) {
    const to = number === 0 ? wanted : `${wanted}.${number}`
    try {
      fs.linkSync(from, to)
      return to
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
  }
}

/** The first error is the one to report; a file that stays is unnamed and swept later. */
function removeQuietly(path: string): void {
  try {
    fs.unlinkSync(path)
  } catch {}
}

function call<T>(op: string, path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw diskError(error, op, { path })
  }
}

function raise(op: string, path: string): (error: unknown) => never {
  return (error) => {
    throw diskError(error, op, { path })
  }
}
