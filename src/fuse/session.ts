import {
  codeOf,
  FsError,
  type Ino,
  limits,
  ROOT_INO,
  systemRandom,
  type VolumeNumber,
} from '../base/index.ts'
import type { SharedVolume } from '../store/index.ts'
import {
  type AttributeChange,
  type Attributes,
  type Caller,
  copyFileRange,
  create,
  fallocate,
  fileMap,
  forget,
  getxattr,
  link,
  listxattr,
  lookup,
  lseek,
  type Request,
  read,
  readdir,
  readlink,
  removexattr,
  rename,
  rmdir,
  setattr,
  setxattr,
  stageTimes,
  timesAlone,
  tmpfile,
  unlink,
  type VolumeFs,
  write,
} from '../vfs/index.ts'
import { encodeFileMap } from './file-map.ts'
import { Handles } from './handles.ts'
import type { Locks } from './locks.ts'
import type { Namespace } from './namespace.ts'
import { isOnce, OPCODE_COUNT, OPCODES, type OpcodeRow } from './opcodes.ts'
import { encodePostAttributes } from './post-attributes.ts'
import * as wire from './wire/index.ts'
import type { AbsentVolume } from './worker-protocol.ts'

/** Answers longer than the request's own thread can give are given later, by whoever finishes the work. */
export const LATER = -1

export interface SessionWorld {
  /** Volume by number; undefined when this mount does not serve it. */
  volume(number: VolumeNumber): VolumeFs | undefined
  /** A volume that is there and cannot be used. */
  absent(number: VolumeNumber): AbsentVolume | undefined
  /** The root above the volumes; null on an exclusive mount, whose root is a volume's. */
  readonly namespace: Namespace | null
  /** Volume of an exclusive mount. */
  readonly exclusive: VolumeNumber | null
  readonly locks: Locks | null
  /** A volume whose changes another thread or node orders: who serves it gets the whole request, and answers. */
  isFar(number: VolumeNumber): boolean
  /** The request in hand goes there. */
  forward(number: VolumeNumber, frame: Buffer): void
  /** The kernel would like an answer to a request that may have gone there. */
  interruptFar(uniqueLo: number, uniqueHi: number): void
  /** Whether the descriptor that a request is made through holds still; true of a request without one. */
  holds(volume: VolumeFs, request: Buffer, opcode: number): boolean
  /** What the kernel is told to keep, and of which files it may keep pages. */
  readonly caching: Caching
  /**
   * A lock was granted: who has it sees what the one before wrote, and this kernel's pages of the file may be older.
   * @returns false when they are to be dropped first, and whoever does that answers the kernel
   */
  locked(number: VolumeNumber, ino: Ino, uniqueLo: number, uniqueHi: number): boolean
  /** A descriptor was opened or closed, with these O_ flags. */
  opened(volume: VolumeFs, ino: Ino, flags: number, by: 1 | -1): void
  /**
   * fsync of one file or directory; null for all that was accepted so far.
   * @returns false when the engine does it, and answers the kernel
   */
  sync(volume: VolumeFs, ino: Ino | null, uniqueLo: number, uniqueHi: number): boolean
  /** Pages of the kernel's cache were refused: it must forget them, they are nowhere else. */
  refused(number: VolumeNumber, ino: Ino, from: number, length: number): void
  /** The kernel must ask for this inode's attributes again. Only while a caller holds the inode: then it never waits. */
  forgetAttributes(number: VolumeNumber, ino: Ino): void
}

export interface Caching {
  /** How long the kernel that asks may keep an inode's attributes, or the names that a directory has or has not, in ms. */
  validMs(volume: VolumeFs, what: 'attributes' | 'names', ino: Ino): number
  /** FOPEN_ flags about a file's pages. @param flags O_ flags of the open @param handle that it is answered with */
  pages(volume: VolumeFs, ino: Ino, flags: number, handle: number): number
  /** Bytes of a file were changed through this connection. */
  changed(volume: VolumeFs, ino: Ino): void
}

/** @returns end of the answer in `reply`, or LATER */
type Operation = (volume: VolumeFs, ino: Ino, buf: Buffer, at: number, end: number) => number

/** A term of the lease less a tenth. */
export const VALID_MS = 9_000
/** What the kernel checks permissions by, and ls -l asks of every entry. */
const STAT_XATTR = /^(system\.posix_acl_|security\.)/
const O_APPEND = 0o2000
const O_TRUNC = 0o1000
const O_RDWR = 2
const O_EXCL = 0o200
const DIRECTORY_DEFAULT_BYTES = 4096
/** Of one map; a file of 2 GiB that was written in order has no more. */
const MAP_EXTENTS_MAX = 512
/** FUSE_FSYNC_FDATASYNC. Source: include/uapi/linux/fuse.h. */
const FSYNC_DATA_ONLY = 1

/**
 * One FUSE connection's requests as operations of the vfs. `handle` decodes one request, acts, and leaves the answer in
 * `reply`; it keeps nothing of the request buffer. Node id 1 of an exclusive mount is the root of its volume.
 */
export class FuseSession {
  /** Shared, so that a second thread can read into it. */
  readonly reply = Buffer.from(new SharedArrayBuffer(limits.fuseRequestBytesMax + 4096))
  readonly header = wire.newRequestHeader()
  readonly #world: SessionWorld
  readonly #handles = new Handles(systemRandom)
  readonly #lookup = wire.newLookupIn()
  readonly #read = wire.newReadIn()
  readonly #write = wire.newWriteIn()
  readonly #readdir = wire.newReaddirIn()
  readonly #attr: wire.Attr = newAttr()
  readonly #entry: wire.Entry = {
    attr: this.#attr,
    generation: 0,
    entryValidMs: VALID_MS,
    attrValidMs: VALID_MS,
  }
  readonly #operations: readonly (Operation | undefined)[]
  #extendedXattr = false
  #noOpen = false

  constructor(world: SessionWorld) {
    this.#world = world
    this.#operations = this.#table()
  }

  /** What INIT agreed, also of an earlier life of the daemon. */
  agreed(flags: number): void {
    this.#extendedXattr = (flags & wire.INIT_FLAGS.FUSE_SETXATTR_EXT) !== 0
    this.#noOpen = this.#world.exclusive !== null
  }

  /**
   * @param buf the request, with at least its first stagedHeaderBytes free to be overwritten once it is decoded
   * @returns end of the answer in `reply` (header not yet written), 0 when none is due, LATER when another thread gives it
   * @throws whatever the operation throws; the caller turns it into an errno
   */
  handle(buf: Buffer): number {
    const { header } = this
    const at = wire.IN_HEADER_BYTES
    const end = header.bodyEnd
    const out = wire.OUT_HEADER_BYTES
    switch (header.opcode) {
      case OPCODES.FORGET.code:
        this.#forget(header.nodeLo, header.nodeHi)
        return 0
      case OPCODES.BATCH_FORGET.code:
        wire.decodeBatchForget(buf, at, end, (lo, hi) => this.#forget(lo, hi))
        return 0
      case OPCODES.INTERRUPT.code: {
        const { uniqueLo, uniqueHi } = wire.decodeInterrupt(buf, at, end)
        this.#world.locks?.interrupt(wire.requestKey(uniqueLo, uniqueHi))
        this.#world.interruptFar(uniqueLo, uniqueHi)
        return 0
      }
      case OPCODES.OPENDIR.code:
      case OPCODES.RELEASEDIR.code:
      case OPCODES.ACCESS.code:
        throw new FsError('ENOSYS', 'open')
      case OPCODES.STATFS.code:
        if (this.#world.isFar(wire.nodeVolume(header.nodeHi))) break
        return this.#statfs()
      default:
    }
    const number = wire.nodeVolume(header.nodeHi)
    if (number !== 0 && this.#world.isFar(number)) {
      this.#world.forward(number, buf.subarray(0, header.len))
      return LATER
    }
    const volume = this.#volume()
    if (!volume) return this.#namespace(buf, at, end, out)
    volume.enter()
    if (!this.#world.holds(volume, buf, header.opcode)) return this.#lostHandle(out)
    const ino = this.#ino(header.nodeLo, header.nodeHi)
    const operation = this.#operations[header.opcode]
    if (!operation) throw new FsError('ENOSYS', 'request', { opcode: header.opcode })
    return operation(volume, ino, buf, at, end)
  }

  /** What was written through the descriptor, or read, may be of a version that is gone (rules 2 and 11). */
  #lostHandle(out: number): number {
    if (this.header.opcode === OPCODES.RELEASE.code) return out
    throw new FsError('EIO', 'request', {
      message: 'the file was opened before its volume changed hands: open it anew',
    })
  }

  /**
   * The volume whose lease the answer to this request rests on; null when it rests on none: the volume has one copy, or the
   * answer is what stat(2) and statfs(2) say of its root (§6.10), or nothing that anybody reads.
   */
  lease(buf: Buffer): SharedVolume | null {
    const { header } = this
    const number = wire.nodeVolume(header.nodeHi) || this.#world.exclusive
    const shared = number === null ? undefined : this.#world.volume(number)?.volume.shared
    if (!shared?.replicated) return null
    switch (header.opcode) {
      case OPCODES.GETATTR.code:
      case OPCODES.STATX.code:
        return wire.nodeIno(header.nodeLo, header.nodeHi) === ROOT_INO ? null : shared
      case OPCODES.GETXATTR.code: {
        if (wire.nodeIno(header.nodeLo, header.nodeHi) !== ROOT_INO) return shared
        // Not decoded: what is no request is the operation's to refuse.
        const name = buf.toString('latin1', wire.IN_HEADER_BYTES + 8, header.bodyEnd)
        return STAT_XATTR.test(name) ? null : shared
      }
      case OPCODES.INIT.code:
      case OPCODES.DESTROY.code:
      case OPCODES.OPENDIR.code:
      case OPCODES.RELEASEDIR.code:
      case OPCODES.ACCESS.code:
      case OPCODES.STATFS.code:
      case OPCODES.FORGET.code:
      case OPCODES.BATCH_FORGET.code:
      case OPCODES.INTERRUPT.code:
      case OPCODES.RELEASE.code:
        return null
      default:
        return shared
    }
  }

  /** As `handle`, of a request that comes again after a death: if it was executed then, it is answered from its record. */
  handleAgain(buf: Buffer): number {
    const end = isOnce(this.header.opcode) ? this.#repeat(buf) : null
    return end ?? this.handle(buf)
  }

  /** What a repeated request answered the first time; null when it was never executed. */
  #repeat(buf: Buffer): number | null {
    const { header } = this
    const volume = this.#volume()
    const answer = volume?.answered(this.#request())
    if (!volume || !answer) return null
    volume.enter()
    const out = wire.OUT_HEADER_BYTES
    switch (header.opcode) {
      case OPCODES.MKNOD.code:
      case OPCODES.MKDIR.code:
      case OPCODES.SYMLINK.code:
      case OPCODES.LINK.code:
        return this.#putEntry(volume, volume.attributes(answer.ino), out)
      case OPCODES.CREATE.code:
      case OPCODES.TMPFILE.code:
        return this.#putCreated(volume, volume.attributes(answer.ino), O_RDWR, out)
      case OPCODES.SETATTR.code: {
        const ino = this.#ino(header.nodeLo, header.nodeHi)
        return this.#putAttr(volume, volume.attributes(ino), out)
      }
      case OPCODES.WRITE.code: {
        // Staged once more, where it was staged: death in mid-write may have left it half written (tmpfs stops a write
        // at a page when its process is killed), and an append must not move to the new end.
        wire.decodeWrite(buf, wire.IN_HEADER_BYTES, header.bodyEnd, this.#write)
        const { size, dataAt, write_flags } = this.#write
        const at = volume.staged.lastOf(volume.world.mount)?.offset ?? this.#write.offset
        const ino = this.#ino(header.nodeLo, header.nodeHi)
        const killSetids = (write_flags & wire.FUSE_WRITE_KILL_SUIDGID) !== 0
        write(volume, this.#request(), ino, at, buf, dataAt, size, { append: false, killSetids })
        return wire.encodeWriteOut(this.reply, out, size)
      }
      case OPCODES.COPY_FILE_RANGE.code:
        return wire.encodeWriteOut(this.reply, out, answer.ino)
      case OPCODES.COPY_FILE_RANGE_64.code:
        return wire.encodeCopyFileRange64Out(this.reply, out, answer.ino)
      default:
        return out
    }
  }

  /** What is done for each request on an inode of a volume, by opcode. */
  #table(): readonly (Operation | undefined)[] {
    const table: (Operation | undefined)[] = new Array(OPCODE_COUNT)
    const on = ({ code }: OpcodeRow, operation: Operation) => {
      table[code] = operation
    }
    const out = wire.OUT_HEADER_BYTES
    const { header, reply } = this
    on(OPCODES.LOOKUP, (volume, ino, buf, at, end) => {
      wire.decodeLookup(buf, at, end, this.#lookup)
      const name = buf.subarray(this.#lookup.nameAt, this.#lookup.nameEnd)
      const found = lookup(volume, ino, name)
      if (found) return this.#putEntry(volume, found, out)
      return wire.encodeNegativeEntry(reply, out, this.#validMs(volume, 'names', ino))
    })
    on(OPCODES.GETATTR, (volume, ino) => this.#putAttr(volume, volume.attributes(ino), out))
    on(OPCODES.STATX, (volume, ino) => {
      this.#fill(volume, volume.attributes(ino))
      return wire.encodeStatx(reply, out, this.#attr, this.#validMs(volume, 'attributes', ino))
    })
    on(OPCODES.SETATTR, (volume, ino, buf, at, end) => {
      const change = attributeChange(wire.decodeSetattr(buf, at, end))
      const times = this.#noOpen ? timesAlone(change) : null
      if (times) return this.#putAttr(volume, stageTimes(volume, this.#request(), ino, times), out)
      const changed = setattr(volume, this.#request(), ino, change)
      if (change.size !== undefined) this.#world.caching.changed(volume, ino)
      return this.#putAttr(volume, changed, out)
    })
    on(OPCODES.READLINK, (volume, ino) => {
      const target = readlink(volume, ino)
      return out + target.copy(reply, out)
    })
    on(OPCODES.MKNOD, (volume, ino, buf, at, end) => {
      const { name, mode, rdev, umask } = wire.decodeMknod(buf, at, end)
      const creation = { mode, rdev, umask }
      return this.#create(volume, ino, name, creation, out)
    })
    on(OPCODES.MKDIR, (volume, ino, buf, at, end) => {
      const { name, mode, umask } = wire.decodeMkdir(buf, at, end)
      return this.#create(volume, ino, name, { mode: mode | 0o040000, umask }, out)
    })
    on(OPCODES.SYMLINK, (volume, ino, buf, at, end) => {
      const { name, target } = wire.decodeSymlink(buf, at, end)
      return this.#create(volume, ino, name, { mode: 0o120777, umask: 0, target }, out)
    })
    on(OPCODES.CREATE, (volume, ino, buf, at, end) => {
      const { name, mode, umask, flags } = wire.decodeCreate(buf, at, end)
      const caller = this.#caller()
      const creation = { mode: (mode & 0o7777) | 0o100000, umask }
      const made = this.#createFile(volume, caller, ino, name, creation, flags)
      this.#world.opened(volume, made.ino, flags, 1)
      return this.#putCreated(volume, made, flags, out)
    })
    on(OPCODES.TMPFILE, (volume, ino, buf, at, end) => {
      const { mode, umask, flags } = wire.decodeCreate(buf, at, end)
      const creation = { mode: (mode & 0o7777) | 0o100000, umask }
      const made = tmpfile(volume, this.#request(), this.#caller(), ino, creation)
      this.#world.opened(volume, made.ino, flags, 1)
      return this.#putCreated(volume, made, flags, out)
    })
    on(OPCODES.LINK, (volume, ino, buf, at, end) => {
      const { oldVolume, oldIno, name } = wire.decodeLink(buf, at, end)
      if (!this.#same(volume, oldVolume, oldIno)) throw new FsError('EXDEV', 'link')
      return this.#putEntry(volume, link(volume, this.#request(), oldIno, ino, name), out)
    })
    on(OPCODES.UNLINK, (volume, ino, buf, at, end) => {
      unlink(volume, this.#request(), ino, wire.decodeName(buf, at, end))
      return out
    })
    on(OPCODES.RMDIR, (volume, ino, buf, at, end) => {
      rmdir(volume, this.#request(), ino, wire.decodeName(buf, at, end))
      return out
    })
    on(OPCODES.RENAME, (volume, ino, buf, at, end) =>
      this.#rename(volume, ino, wire.decodeRename(buf, at, end), out),
    )
    on(OPCODES.RENAME2, (volume, ino, buf, at, end) =>
      this.#rename(volume, ino, wire.decodeRename2(buf, at, end), out),
    )
    on(OPCODES.OPEN, (volume, ino, buf, at, end) => this.#open(volume, ino, buf, at, end, out))
    on(OPCODES.READ, (volume, ino, buf, at, end) => {
      wire.decodeRead(buf, at, end, this.#read)
      const { offset, size } = this.#read
      return out + read(volume, ino, offset, Math.min(size, reply.length - out), reply, out)
    })
    on(OPCODES.WRITE, (volume, ino, buf, at, end) =>
      this.#writeData(volume, ino, buf, at, end, out),
    )
    on(OPCODES.FLUSH, (volume, ino, buf, at, end) => {
      if (!this.#world.locks) throw new FsError('ENOSYS', 'flush')
      const { lock_owner } = wire.decodeFlush(buf, at, end)
      this.#world.locks.closed(volume, ino, lock_owner, false)
      return out
    })
    on(OPCODES.RELEASE, (volume, ino, buf, at, end) => {
      const { fh, flags, release_flags, lock_owner } = wire.decodeRelease(buf, at, end)
      this.#world.opened(volume, ino, flags, -1)
      this.#world.locks?.released(volume, ino, fh)
      if (release_flags & wire.FUSE_RELEASE_FLOCK_UNLOCK) {
        this.#world.locks?.closed(volume, ino, lock_owner, true)
      }
      return out
    })
    on(OPCODES.FSYNC, (volume, ino, buf, at, end) => {
      // With writeback cache the kernel does not ask for st_blocks anew when its writes have arrived.
      if (this.#noOpen && (wire.decodeFsync(buf, at, end).fsync_flags & FSYNC_DATA_ONLY) === 0) {
        this.#world.forgetAttributes(volume.volume.number, ino)
      }
      return this.#world.sync(volume, ino, header.uniqueLo, header.uniqueHi) ? out : LATER
    })
    on(OPCODES.FSYNCDIR, (volume, ino) =>
      this.#world.sync(volume, ino, header.uniqueLo, header.uniqueHi) ? out : LATER,
    )
    on(OPCODES.SYNCFS, (volume) =>
      this.#world.sync(volume, null, header.uniqueLo, header.uniqueHi) ? out : LATER,
    )
    for (const row of [OPCODES.READDIR, OPCODES.READDIRPLUS])
      on(row, (volume, ino, buf, at, end) => this.#list(volume, ino, buf, at, end, out))
    on(OPCODES.SETXATTR, (volume, ino, buf, at, end) => {
      const { name, value, flags, setxattr_flags } = wire.decodeSetxattr(
        buf,
        at,
        end,
        this.#extendedXattr,
      )
      const killSetgid = (setxattr_flags & wire.FUSE_SETXATTR_ACL_KILL_SGID) !== 0
      setxattr(volume, this.#request(), ino, name, value, flags, killSetgid)
      return out
    })
    on(OPCODES.GETXATTR, (volume, ino, buf, at, end) => {
      const { name, size } = wire.decodeGetxattr(buf, at, end)
      return this.#putSized(getxattr(volume, ino, name), size, out)
    })
    on(OPCODES.LISTXATTR, (volume, ino, buf, at, end) => {
      return this.#putSized(
        listxattr(volume, ino, header.uid === 0),
        wire.decodeListxattr(buf, at, end),
        out,
      )
    })
    on(OPCODES.REMOVEXATTR, (volume, ino, buf, at, end) => {
      removexattr(volume, this.#request(), ino, wire.decodeName(buf, at, end))
      return out
    })
    for (const row of [OPCODES.GETLK, OPCODES.SETLK, OPCODES.SETLKW])
      on(row, (volume, ino, buf, at, end) => this.#lock(volume, ino, buf, at, end, out))
    on(OPCODES.FALLOCATE, (volume, ino, buf, at, end) => {
      const { offset, length, mode } = wire.decodeFallocate(buf, at, end)
      fallocate(volume, ino, mode, offset, length)
      this.#world.caching.changed(volume, ino)
      return out
    })
    on(OPCODES.LSEEK, (volume, ino, buf, at, end) => {
      // With writeback the newest data is in the kernel, which looks for holes itself when we have no answer.
      if (this.#world.exclusive !== null) throw new FsError('ENOSYS', 'lseek')
      const { offset, whence } = wire.decodeLseek(buf, at, end)
      return wire.encodeLseek(reply, out, lseek(volume, ino, offset, whence))
    })
    for (const row of [OPCODES.COPY_FILE_RANGE, OPCODES.COPY_FILE_RANGE_64])
      on(row, (volume, ino, buf, at, end) => this.#copy(volume, ino, buf, at, end, out))
    return table
  }

  /** Requests on the namespace root: it lists volumes, makes one by mkdir, and holds nothing else. */
  #namespace(buf: Buffer, at: number, end: number, out: number): number {
    const { header, reply } = this
    const absent = this.#world.absent(wire.nodeVolume(header.nodeHi))
    if (absent?.code) return this.#below(absent, absent.code, out)
    const root = this.#world.namespace
    if (!root || wire.nodeIno(header.nodeLo, header.nodeHi) !== 1) {
      throw new FsError('ESTALE', 'request', { volume: wire.nodeVolume(header.nodeHi) })
    }
    switch (header.opcode) {
      case OPCODES.LOOKUP.code: {
        wire.decodeLookup(buf, at, end, this.#lookup)
        const name = buf.subarray(this.#lookup.nameAt, this.#lookup.nameEnd)
        const volume = root.find(name)
        if (volume) return this.#putVolumeRoot(volume, out)
        if (root.look(name, buf.subarray(0, end))) return LATER
        return wire.encodeNegativeEntry(reply, out, VALID_MS)
      }
      case OPCODES.GETATTR.code:
      case OPCODES.STATX.code:
        root.fill(this.#attr)
        return header.opcode === OPCODES.STATX.code
          ? wire.encodeStatx(reply, out, this.#attr, VALID_MS)
          : wire.encodeAttrOut(reply, out, this.#attr, VALID_MS)
      case OPCODES.READDIR.code:
      case OPCODES.READDIRPLUS.code:
        return this.#listVolumes(root, buf, at, end, out)
      case OPCODES.MKDIR.code: {
        const { name, mode, umask } = wire.decodeMkdir(buf, at, end)
        root.mkdir(name, mode & ~umask & 0o7777, this.#caller(), header.uniqueLo, header.uniqueHi)
        return LATER
      }
      case OPCODES.RMDIR.code:
        root.rmdir(wire.decodeName(buf, at, end), header.uniqueLo, header.uniqueHi)
        return LATER
      case OPCODES.FSYNCDIR.code:
      case OPCODES.SYNCFS.code:
        return out
      case OPCODES.GETXATTR.code:
        throw new FsError('ENODATA', 'getxattr')
      case OPCODES.LISTXATTR.code:
        return this.#putSized(Buffer.alloc(0), wire.decodeListxattr(buf, at, end), out)
      case OPCODES.RENAME.code:
      case OPCODES.RENAME2.code:
      case OPCODES.LINK.code:
        // Not EXDEV: mv(1) would copy the volume file by file into a new one and delete it.
        throw new FsError('EPERM', 'rename')
      default:
        throw new FsError('EPERM', 'root', { opcode: header.opcode })
    }
  }

  #volume(): VolumeFs | undefined {
    const { exclusive } = this.#world
    const number = wire.nodeVolume(this.header.nodeHi)
    if (number === 0) return exclusive === null ? undefined : this.#world.volume(exclusive)
    const volume = this.#world.volume(number)
    if (volume) return volume
    if (this.#world.absent(number)) return undefined
    throw new FsError('ESTALE', 'request', { volume: number })
  }

  /** Below the root of a volume that cannot be used: its root can be seen, all else answers why not. */
  #below(absent: AbsentVolume, code: NonNullable<AbsentVolume['code']>, out: number): number {
    const { header, reply } = this
    const isRoot = wire.nodeIno(header.nodeLo, header.nodeHi) === 1
    const isStatx = header.opcode === OPCODES.STATX.code
    if (!isRoot || !(isStatx || header.opcode === OPCODES.GETATTR.code)) {
      throw new FsError(code, 'request', { volume: absent.name })
    }
    this.#world.namespace?.fillAbsent(absent.number, this.#attr)
    return isStatx
      ? wire.encodeStatx(reply, out, this.#attr, 0)
      : wire.encodeAttrOut(reply, out, this.#attr, 0)
  }

  #ino(lo: number, hi: number): Ino {
    return wire.nodeIno(lo, hi)
  }

  /** On an exclusive mount node id 1 has no volume number. */
  #same(volume: VolumeFs, number: VolumeNumber, ino: Ino): boolean {
    return number === volume.volume.number || (number === 0 && ino === 1 && !this.#world.namespace)
  }

  #request(): Request {
    const { uniqueLo, uniqueHi } = this.header
    return { uniqueLo, uniqueHi: wire.withoutResend(uniqueHi) }
  }

  #caller(): Caller {
    const { uid, gid, pid } = this.header
    return { uid, gid, pid }
  }

  #validMs(volume: VolumeFs, what: 'attributes' | 'names', ino: Ino): number {
    return this.#world.caching.validMs(volume, what, ino)
  }

  #create(
    volume: VolumeFs,
    parent: Ino,
    name: Buffer,
    creation: Parameters<typeof create>[5],
    out: number,
  ): number {
    const made = create(volume, this.#request(), this.#caller(), parent, name, creation)
    return this.#putEntry(volume, made, out)
  }

  /**
   * open(2) with O_CREAT of a name that the kernel does not know. Another node's kernel may have made it: at ESTALE this one
   * looks anew, and opens the file with its own rights.
   */
  #createFile(
    volume: VolumeFs,
    caller: Caller,
    parent: Ino,
    name: Buffer,
    creation: Parameters<typeof create>[5],
    flags: number,
  ): Attributes {
    try {
      return create(volume, this.#request(), caller, parent, name, creation)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' || (flags & O_EXCL) !== 0) throw error
      throw new FsError('ESTALE', 'create', { cause: error })
    }
  }

  #rename(volume: VolumeFs, ino: Ino, request: wire.RenameIn, out: number): number {
    const { newdirVolume, newdirIno, flags, oldname, newname } = request
    if (!this.#same(volume, newdirVolume, newdirIno)) throw new FsError('EXDEV', 'rename')
    const from = { parent: ino, name: oldname }
    rename(volume, this.#request(), from, { parent: newdirIno, name: newname }, flags)
    return out
  }

  #open(volume: VolumeFs, ino: Ino, buf: Buffer, at: number, end: number, out: number): number {
    if (this.#noOpen) throw new FsError('ENOSYS', 'open')
    const { flags, open_flags } = wire.decodeOpen(buf, at, end)
    volume.inode(ino)
    if ((flags & 3) !== 0 && !volume.writes) {
      throw new FsError('EROFS', 'open', { volume: volume.volume.name })
    }
    if (flags & O_TRUNC) {
      const killSetids = (open_flags & wire.FUSE_OPEN_KILL_SUIDGID) !== 0
      setattr(volume, this.#request(), ino, { size: 0, killSetids })
      this.#world.caching.changed(volume, ino)
    }
    this.#world.opened(volume, ino, flags, 1)
    const handle = this.#handles.own(volume.volume.shared)
    const openFlags = this.#openFlags(volume, ino, flags, handle)
    return wire.encodeOpenOut(this.reply, out, handle, openFlags)
  }

  #openFlags(volume: VolumeFs, ino: Ino, flags: number, handle: number): number {
    const noFlush = this.#world.locks ? 0 : wire.FOPEN_NOFLUSH
    return this.#world.caching.pages(volume, ino, flags, handle) | noFlush
  }

  #writeData(
    volume: VolumeFs,
    ino: Ino,
    buf: Buffer,
    at: number,
    end: number,
    out: number,
  ): number {
    const request = this.#write
    wire.decodeWrite(buf, at, end, request)
    const { offset, size, dataAt, flags, write_flags } = request
    const cached = (write_flags & wire.FUSE_WRITE_CACHE) !== 0
    try {
      write(volume, this.#request(), ino, offset, buf, dataAt, size, {
        append: (flags & O_APPEND) !== 0 && !cached,
        killSetids: (write_flags & wire.FUSE_WRITE_KILL_SUIDGID) !== 0,
      })
    } catch (error) {
      if (cached) this.#world.refused(volume.volume.number, ino, offset, size)
      throw error
    }
    this.#world.caching.changed(volume, ino)
    return wire.encodeWriteOut(this.reply, out, size)
  }

  #list(volume: VolumeFs, ino: Ino, buf: Buffer, at: number, end: number, out: number): number {
    const plus = this.header.opcode === OPCODES.READDIRPLUS.code
    const request = this.#readdir
    wire.decodeReaddir(buf, at, end, request)
    const { number } = volume.volume
    const limit = out + Math.min(request.size, this.reply.length - out)
    let here = out
    readdir(volume, ino, request.cookieHi, request.cookieLo, (entry) => {
      const { cookieLo, cookieHi, type, name } = entry
      let next: number
      if (!plus) {
        next = wire.encodeDirent(
          this.reply,
          here,
          limit,
          number,
          entry.ino,
          cookieLo,
          cookieHi,
          type,
          name,
        )
      } else {
        const dots = cookieHi === 0 && cookieLo <= 2
        const node = dots ? null : this.#entryOf(volume, entry.ino)
        next = wire.encodeDirentPlus(
          this.reply,
          here,
          limit,
          node,
          number,
          entry.ino,
          cookieLo,
          cookieHi,
          type,
          name,
        )
      }
      if (next < 0) return false
      here = next
      return true
    })
    return here
  }

  #listVolumes(root: Namespace, buf: Buffer, at: number, end: number, out: number): number {
    const plus = this.header.opcode === OPCODES.READDIRPLUS.code
    wire.decodeReaddir(buf, at, end, this.#readdir)
    const limit = out + Math.min(this.#readdir.size, this.reply.length - out)
    let here = out
    for (const { cookie, number, name } of root.entries(this.#readdir.cookieLo)) {
      const next = plus
        ? wire.encodeDirentPlus(this.reply, here, limit, null, number, 1, cookie, 0, 4, name)
        : wire.encodeDirent(this.reply, here, limit, number, 1, cookie, 0, 4, name)
      if (next < 0) break
      here = next
    }
    return here
  }

  #copy(volume: VolumeFs, ino: Ino, buf: Buffer, at: number, end: number, out: number): number {
    const request = wire.decodeCopyFileRange(buf, at, end)
    if (!this.#same(volume, request.outVolume, request.outIno)) {
      throw new FsError('EXDEV', 'copy_file_range')
    }
    const wide = this.header.opcode === OPCODES.COPY_FILE_RANGE_64.code
    const length = wide ? request.len : Math.min(request.len, 0x7fff_f000)
    const from = { ino, offset: request.off_in }
    const to = { ino: request.outIno, offset: request.off_out }
    const count = copyFileRange(volume, this.#request(), from, to, length)
    this.#world.caching.changed(volume, request.outIno)
    return wide
      ? wire.encodeCopyFileRange64Out(this.reply, out, count)
      : wire.encodeWriteOut(this.reply, out, count)
  }

  #lock(volume: VolumeFs, ino: Ino, buf: Buffer, at: number, end: number, out: number): number {
    const { locks } = this.#world
    if (!locks) throw new FsError('ENOSYS', 'lock')
    const { opcode, uniqueLo, uniqueHi } = this.header
    const request = wire.decodeLk(buf, at, end)
    if (opcode === OPCODES.GETLK.code) {
      return wire.encodeLk(this.reply, out, locks.test(volume, ino, request))
    }
    const wait = opcode === OPCODES.SETLKW.code
    const frame = buf.subarray(0, this.header.len)
    const key = wire.requestKey(uniqueLo, uniqueHi)
    if (!locks.set(volume, ino, request, wait, frame, key)) return LATER
    if (request.type === wire.F_UNLCK) return out
    return this.#world.locked(volume.volume.number, ino, uniqueLo, uniqueHi) ? out : LATER
  }

  #statfs(): number {
    const volume = this.#volume()
    const figures = volume ? volumeFigures(volume) : this.#world.namespace?.figures()
    const { sizeBytes, usedBytes, freeBytes, inodes } = figures ?? NO_FIGURES
    const bsize = 4096
    const blocks = Math.floor(sizeBytes / bsize)
    const bfree = Math.max(0, blocks - Math.ceil(usedBytes / bsize))
    return wire.encodeStatfs(this.reply, wire.OUT_HEADER_BYTES, {
      blocks,
      bfree,
      bavail: Math.min(bfree, Math.floor(freeBytes / bsize)),
      files: inodes + INODES_FREE,
      ffree: INODES_FREE,
      bsize,
      namelen: limits.nameBytesMax,
      frsize: bsize,
    })
  }

  #forget(nodeLo: number, nodeHi: number): void {
    const number = wire.nodeVolume(nodeHi)
    if (number === 0) return
    const volume = this.#world.volume(number)
    if (volume?.writes) forget(volume, this.#ino(nodeLo, nodeHi))
  }

  #putSized(value: Buffer, room: number, out: number): number {
    if (room === 0) return wire.encodeGetxattrSize(this.reply, out, value.length)
    if (value.length > room) throw new FsError('ERANGE', 'xattr')
    return out + value.copy(this.reply, out)
  }

  /**
   * Behind the answer to a change: an inode that it has touched.
   * @param hasNames names in it were changed, or it is new
   * @returns the new end of the answer
   */
  putPostAttributes(number: VolumeNumber, ino: Ino, hasNames: boolean, at: number): number {
    const volume = this.#world.volume(number)
    if (!volume?.find(ino)) return at
    this.#fill(volume, volume.attributes(ino))
    const attrMs = this.#validMs(volume, 'attributes', ino)
    const namesMs = hasNames ? this.#validMs(volume, 'names', ino) : 0
    return encodePostAttributes(this.reply, at, this.#attr, attrMs, namesMs)
  }

  /**
   * Behind the answer to the READ or OPEN in hand: where the file's bytes are from there on, for a node that has a copy.
   * @returns the new end of the answer; the same when there is nothing to tell
   */
  putFileMap(at: number): number {
    const { opcode, nodeLo, nodeHi } = this.header
    const volume = this.#world.volume(wire.nodeVolume(nodeHi))
    const ino = this.#ino(nodeLo, nodeHi)
    const from = opcode === OPCODES.READ.code ? this.#read.offset : 0
    const map = volume && fileMap(volume, ino, from, MAP_EXTENTS_MAX)
    if (!map) return at
    const validMs = this.#validMs(volume, 'attributes', ino)
    return encodeFileMap(this.reply, at, this.reply.length, map, validMs)
  }

  #putAttr(volume: VolumeFs, attributes: Attributes, out: number): number {
    this.#fill(volume, attributes)
    const validMs = this.#validMs(volume, 'attributes', attributes.ino)
    return wire.encodeAttrOut(this.reply, out, this.#attr, validMs)
  }

  #putEntry(volume: VolumeFs, attributes: Attributes, out: number): number {
    return wire.encodeEntry(this.reply, out, this.#fillEntry(volume, attributes))
  }

  #putCreated(volume: VolumeFs, attributes: Attributes, flags: number, out: number): number {
    const entry = this.#fillEntry(volume, attributes)
    const handle = this.#handles.own(volume.volume.shared)
    const openFlags = this.#openFlags(volume, attributes.ino, flags, handle)
    return wire.encodeCreateOut(this.reply, out, entry, handle, openFlags)
  }

  #putVolumeRoot(volume: VolumeFs | AbsentVolume, out: number): number {
    if ('code' in volume) {
      this.#world.namespace?.fillAbsent(volume.number, this.#attr)
    } else {
      volume.enter()
      this.#fill(volume, volume.attributes(volume.root))
    }
    // A volume that comes, goes or changes hands ends the life of all entries (FUSE_NOTIFY_INC_EPOCH).
    this.#entry.generation = 0
    this.#entry.entryValidMs = VALID_MS
    const isAbsent = 'code' in volume
    this.#entry.attrValidMs = isAbsent ? 0 : this.#validMs(volume, 'attributes', volume.root)
    return wire.encodeEntry(this.reply, out, this.#entry)
  }

  #entryOf(volume: VolumeFs, ino: Ino): wire.Entry | null {
    return volume.find(ino) ? this.#fillEntry(volume, volume.attributes(ino)) : null
  }

  /** Of the directory that the request in hand is about. */
  #fillEntry(volume: VolumeFs, attributes: Attributes): wire.Entry {
    this.#fill(volume, attributes)
    const entry = this.#entry
    const { nodeLo, nodeHi } = this.header
    entry.generation = attributes.inode.generation
    entry.entryValidMs = this.#validMs(volume, 'names', this.#ino(nodeLo, nodeHi))
    entry.attrValidMs = this.#validMs(volume, 'attributes', attributes.ino)
    return entry
  }

  #fill(volume: VolumeFs, { ino, inode }: Attributes): void {
    const attr = this.#attr
    const directory = (inode.mode & 0o170000) === 0o040000
    attr.volume = volume.volume.number
    attr.ino = ino
    attr.size = directory ? DIRECTORY_DEFAULT_BYTES : inode.size
    attr.blocks = Math.ceil(inode.bytes / 512)
    attr.atime = inode.atime.sec
    attr.atimensec = inode.atime.nsec
    attr.mtime = inode.mtime.sec
    attr.mtimensec = inode.mtime.nsec
    attr.ctime = inode.ctime.sec
    attr.ctimensec = inode.ctime.nsec
    attr.btime = inode.btime.sec
    attr.btimensec = inode.btime.nsec
    attr.mode = inode.mode
    attr.nlink = inode.nlink
    attr.uid = inode.uid
    attr.gid = inode.gid
    attr.rdev = inode.rdev
    attr.blksize = 4096
  }
}

/** Inodes are made as needed; statfs wants a number that nobody runs out of. */
const INODES_FREE = 1_000_000_000

const NO_FIGURES = { sizeBytes: 0, usedBytes: 0, freeBytes: 0, inodes: 0 }

/** df shows a volume's size and what its files take, exactly; what is available may be less: the drives' room. */
function volumeFigures(volume: VolumeFs): typeof NO_FIGURES {
  const { shared } = volume.volume
  const staged = shared.stagedBytes - shared.committedBytes
  return {
    sizeBytes: shared.sizeBytes,
    usedBytes: shared.usedBytes + staged,
    freeBytes: Math.max(0, shared.freeBytes - staged),
    inodes: shared.inodes,
  }
}

export function newAttr(): wire.Attr {
  return {
    volume: 0,
    ino: 0,
    size: 0,
    blocks: 0,
    atime: 0,
    atimensec: 0,
    mtime: 0,
    mtimensec: 0,
    ctime: 0,
    ctimensec: 0,
    btime: 0,
    btimensec: 0,
    mode: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: 4096,
  }
}

function attributeChange(request: wire.SetattrIn): AttributeChange {
  const { valid } = request
  const change: AttributeChange = {}
  if (valid & wire.FATTR_MODE) change.mode = request.mode
  if (valid & wire.FATTR_UID) change.uid = request.uid
  if (valid & wire.FATTR_GID) change.gid = request.gid
  if (valid & wire.FATTR_SIZE) change.size = request.size
  if (valid & wire.FATTR_ATIME_NOW) change.atime = 'now'
  else if (valid & wire.FATTR_ATIME) {
    change.atime = { sec: request.atime, nsec: request.atimensec }
  }
  if (valid & wire.FATTR_MTIME_NOW) change.mtime = 'now'
  else if (valid & wire.FATTR_MTIME) {
    change.mtime = { sec: request.mtime, nsec: request.mtimensec }
  }
  if (valid & wire.FATTR_CTIME) change.ctime = { sec: request.ctime, nsec: request.ctimensec }
  if (valid & wire.FATTR_KILL_SUIDGID) change.killSetids = true
  return change
}
