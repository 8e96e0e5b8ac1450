/**
 * fuse-native 2.2.6: only what src/fuse/driver-fuse-native.ts calls. Read from its index.js and fuse-native.c.
 * Operations are called with paths and a callback; `err` is 0 or a negative errno, except for read and write, whose
 * first argument is also the count of bytes. `fd` is an int32 that is not 0.
 */
declare module 'fuse-native' {
  export type Done = (err: number) => void

  export interface Stat {
    mode: number
    uid: number
    gid: number
    size: number
    nlink: number
    ino: number
    rdev: number
    blksize: number
    blocks: number
    /** Milliseconds since 1970, not negative. */
    atime: number
    mtime: number
    ctime: number
  }

  export interface Statfs {
    bsize: number
    frsize: number
    blocks: number
    bfree: number
    bavail: number
    files: number
    ffree: number
    favail: number
    namemax: number
  }

  export interface Operations {
    init?(done: Done): void
    getattr(path: string, done: (err: number, stat?: Stat) => void): void
    readdir(path: string, done: (err: number, names?: string[], stats?: Stat[]) => void): void
    statfs(path: string, done: (err: number, statfs?: Statfs) => void): void
    readlink(path: string, done: (err: number, target?: string) => void): void
    open(path: string, flags: number, done: (err: number, fd?: number) => void): void
    create(path: string, mode: number, done: (err: number, fd?: number) => void): void
    /** `buffer` is memory of libfuse, gone once `done` was called. */
    read(path: string, fd: number, buffer: Buffer, length: number, offset: number, done: Done): void
    write(
      path: string,
      fd: number,
      buffer: Buffer,
      length: number,
      offset: number,
      done: Done,
    ): void
    release(path: string, fd: number, done: Done): void
    fsync(path: string, dataOnly: boolean, fd: number, done: Done): void
    fsyncdir(path: string, dataOnly: boolean, fd: number, done: Done): void
    truncate(path: string, size: number, done: Done): void
    /** Milliseconds; `mtime` is the atime again (fuse-native.c, utimens). */
    utimens(path: string, atime: number, mtime: number, done: Done): void
    chown(path: string, uid: number, gid: number, done: Done): void
    chmod(path: string, mode: number, done: Done): void
    mknod(path: string, mode: number, rdev: number, done: Done): void
    mkdir(path: string, mode: number, done: Done): void
    rmdir(path: string, done: Done): void
    unlink(path: string, done: Done): void
    rename(from: string, to: string, done: Done): void
    link(from: string, to: string, done: Done): void
    symlink(target: string, path: string, done: Done): void
    setxattr(
      path: string,
      name: string,
      value: Buffer,
      position: number,
      flags: number,
      done: Done,
    ): void
    getxattr(path: string, name: string, position: number, done: Done): void
    listxattr(path: string, done: Done): void
    removexattr(path: string, name: string, done: Done): void
  }

  export interface Options {
    timeout: false
    fsname?: string
    subtype?: string
    defaultPermissions?: boolean
  }

  export type Signal = (result: number, memory: ArrayBufferLike) => void

  export interface FuseMount {
    mount(done: (error: Error | null) => void): void
    /** Handlers by name, called on the instance: two of them have faults and are replaced (driver-fuse-native.ts). */
    _op_getxattr(signal: Signal, path: string, name: string, room: Buffer, position: number): void
    _op_listxattr(signal: Signal, path: string, room: Buffer): void
  }

  /** module.exports itself, for require(). */
  export type FuseClass = new (
    mountPoint: string,
    operations: Operations,
    options: Options,
  ) => FuseMount
}
