import { createRequire } from 'node:module'
import type { FuseClass, Operations, Signal, Stat } from 'fuse-native'
import {
  AssertionError,
  background,
  type Clock,
  codeOf,
  errnoOf,
  FsError,
  type Ino,
  type Log,
  limits,
  messageOf,
  suspendProof,
  type VolumeNumber,
} from '../base/index.ts'
import { LocalVolume, type SharedVolume, stagedHeaderBytes } from '../store/index.ts'
import {
  type Attributes,
  create,
  forget,
  forgetAll,
  getxattr,
  link,
  listxattr,
  lookup,
  type Request,
  read,
  readdir,
  readlink,
  removexattr,
  rename,
  rmdir,
  setattr,
  setxattr,
  unlink,
  VolumeFs,
  write,
} from '../vfs/index.ts'
import { errnoOfThrown, isSurprise } from './errors.ts'
import { mountAt } from './mount-table.ts'
import { Namespace } from './namespace.ts'
import { runCommand } from './run-command.ts'
import type {
  AbsentVolume,
  OpenFile,
  ServedVolume,
  ToEngine,
  Told,
  VolumeMessage,
} from './worker-protocol.ts'

/**
 * The second driver, for a user who is not root: libfuse 2 by way of fuse-native, and fusermount to mount. A thin adapter
 * from paths to the same vfs, in the main thread of the daemon, because fuse-native runs in no other
 * (docs/adr/0010-fuse-native.md). Operations wait for the engine's thread where the vfs does, and never for this one.
 */

/** What is said at mount, and in docs/compat.md. */
export const NATIVE_LIMITS: readonly string[] = [
  'times have milliseconds, and a program that sets both times of a file sets both to its access time',
  'only the user who mounted may enter, and everything made here belongs to that user',
  'requests carry 128 KiB at most; no O_TMPFILE, fallocate, copy_file_range, holes told by lseek, or ACLs',
  'names that are not UTF-8 are refused and not listed; inode numbers have 32 bits',
  'when the daemon dies, open files give ENOTCONN; it mounts again when it has been started again',
]

/** libfuse's high-level reads and writes are this long at most (FUSE_MAX_PAGES_PER_REQ 32). */
const WRITE_BYTES_MAX = 128 * 1024
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000
const ID_UNCHANGED = 0xffff_ffff
/** Between two looks at a lease that has run out. */
const LEASE_LOOK_MS = 20
/** What a string holds where the name's bytes were no UTF-8. */
const REPLACED = '\ufffd'

export interface NativeWorld {
  readonly clock: Clock
  readonly log: Log
  /** Names the mount in stored answers; never given twice on a node. */
  readonly mount: number
  readonly readOnly: boolean
  tellEngine(message: ToEngine): void
  /** Everything accepted so far is on stable storage when it resolves. */
  sync(number: VolumeNumber): Promise<void>
  /** mkdir and rmdir at the root: a volume. */
  makeVolume(name: string, mode: number): Promise<void>
  removeVolume(name: string): Promise<void>
  damaged(volume: string, chunk: string, what: string): void
}

/** Thrown in place of an answer, and caught where it would be given. */
const NO_LEASE = Symbol('no lease')

interface Place {
  volume: VolumeFs
  ino: Ino
}

interface Handle {
  number: VolumeNumber
  ino: Ino
}

export class NativeMount {
  readonly target: string
  readonly #world: NativeWorld
  readonly #volumes = new Map<VolumeNumber, VolumeFs>()
  readonly #absent = new Map<VolumeNumber, AbsentVolume>()
  readonly #namespace: Namespace
  readonly #handles = new Map<number, Handle>()
  /** Milliseconds: the root above the volumes is as old as the mount. */
  readonly #since: number
  readonly #caller = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, pid: 0 }
  readonly #staged = Buffer.allocUnsafeSlow(stagedHeaderBytes + WRITE_BYTES_MAX)
  readonly #counts = new Map<string, { count: number; seconds: number }>()
  readonly #leaseClock: Clock
  /** On which the answer that is being made rests; null when it rests on none. */
  #lease: SharedVolume | null = null
  #needsLease = false
  #lastHandle = 0
  #lastRequest = 0
  #over = false

  private constructor(target: string, world: NativeWorld) {
    this.target = target
    this.#world = world
    this.#since = millisecondsOf(world.clock.now())
    this.#leaseClock = suspendProof(world.clock)
    // Volumes are made and removed by #mkdir and #rmdir; the namespace only shows them here.
    const requests = { look: () => false, mkdir() {}, rmdir() {} }
    this.#namespace = new Namespace(this.#volumes, this.#absent, requests, world.clock)
  }

  /**
   * Mount and serve.
   * @param target canonical path of a directory that nothing is mounted on
   * @throws FsError ENOENT (no library), EACCES, EIO: what fusermount said is in the daemon's log
   */
  static async start(
    target: string,
    volumes: readonly ServedVolume[],
    absent: readonly AbsentVolume[],
    world: NativeWorld,
  ): Promise<NativeMount> {
    const Driver = loadDriver()
    const mount = new NativeMount(target, world)
    try {
      for (const served of volumes) mount.#add(served)
      for (const volume of absent) mount.#absent.set(volume.number, volume)
      // libfuse has a node for each path, so what was changed by one hard link must be asked for anew by the other.
      const known = ['use_ino', 'big_writes', 'attr_timeout=0']
      const options = ['weft', ...known, ...(world.readOnly ? ['ro'] : [])]
      const fuse = new Driver(target, mount.#operations(), {
        // Its timers would answer twice: once by themselves, once when the work is done.
        timeout: false,
        // It knows no names for the options behind the first; libfuse takes them from the same list.
        fsname: options.join(','),
        subtype: 'weft',
        defaultPermissions: true,
      })
      fuse._op_getxattr = (signal, path, name, room) => mount.#getxattr(signal, path, name, room)
      fuse._op_listxattr = (signal, path, room) => mount.#listxattr(signal, path, room)
      await new Promise<void>((resolve, reject) => {
        fuse.mount((error) => (error ? reject(error) : resolve()))
      })
      return mount
    } catch (cause) {
      mount.#close()
      if (cause instanceof FsError) throw cause
      throw new FsError('EACCES', 'mount', {
        cause,
        message: `fusermount refused to mount on ${target}: ${messageOf(cause)}; its words are in the log`,
        next: `check that you own ${target} and may write it: ls -ld ${target}`,
      })
    }
  }

  /** Somebody may have used fusermount by hand: nothing tells us but the mount table. */
  get ended(): boolean {
    if (!this.#over && !isNativeMount(this.target)) this.#close()
    return this.#over
  }

  requests(): { op: string; count: number; seconds: number }[] {
    return [...this.#counts].map(([op, { count, seconds }]) => ({ op, count, seconds }))
  }

  /** As a mount's worker is told; done when it returns. */
  tell(message: Told<VolumeMessage>): Promise<readonly OpenFile[]> {
    try {
      this.#obey(message)
      return Promise.resolve([])
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** @param lazy also while files are open @throws FsError EBUSY, EIO */
  async unmount(lazy: boolean): Promise<void> {
    if (this.ended) return
    await fusermount(this.target, lazy)
    this.#close()
  }

  #obey(message: Told<VolumeMessage>): void {
    switch (message.kind) {
      case 'add':
        this.#add(message.served)
        return
      case 'absent':
        this.#drop(message.volume.number)
        this.#absent.set(message.volume.number, message.volume)
        return
      case 'remove':
        this.#drop(message.number)
        this.#absent.delete(message.number)
        return
      case 'role':
        this.#drop(message.number)
        this.#add({ opening: message.opening, writes: message.writes })
        return
      case 'keys':
        this.#volumes.get(message.number)?.volume.keys.replace(message.keys)
        return
    }
  }

  #add({ opening, writes }: ServedVolume): void {
    const { clock, log, mount, readOnly } = this.#world
    const world = {
      clock,
      log,
      mount,
      wakeEngine: () => this.#world.tellEngine(opening.number),
      purge: (inos: Ino[]) => this.#world.tellEngine({ number: opening.number, purge: inos }),
      damaged: (volume: string, chunk: string, what: string) =>
        this.#world.damaged(volume, chunk, what),
    }
    this.#absent.delete(opening.number)
    const volume = new VolumeFs(new LocalVolume(opening), world, writes && !readOnly)
    this.#volumes.set(opening.number, volume)
  }

  #drop(number: VolumeNumber): void {
    const volume = this.#volumes.get(number)
    if (!volume) return
    if (volume.writes && !volume.volume.shared.stopped) volume.giveUp()
    this.#volumes.delete(number)
    volume.close()
    volume.volume.close().catch(background(this.#world.log, 'drop'))
  }

  /** Nothing will be asked any more: what has no name goes, what was accepted is committed. */
  #close(): void {
    if (this.#over) return
    this.#over = true
    for (const [number, volume] of this.#volumes) {
      try {
        if (volume.writes) forgetAll(volume)
        this.#drop(number)
      } catch (error) {
        const { log } = this.#world
        log.error({ op: 'unmount', error: messageOf(error) }, 'volume did not settle')
      }
    }
  }

  // --- places

  /** @throws FsError ENOENT, ENOTDIR, ENAMETOOLONG, EILSEQ; the reason why a volume is absent */
  #place(path: string): Place | null {
    if (path.includes(REPLACED)) throw new FsError('EILSEQ', 'path')
    const [name = '', ...rest] = path.split('/').slice(1)
    if (name === '') return null
    const found = this.#namespace.find(Buffer.from(name))
    if (!found) throw new FsError('ENOENT', 'path')
    if ('code' in found) throw new FsError(found.code ?? 'ENODEV', 'path', { volume: found.name })
    this.#restOn(found)
    found.enter()
    let ino = found.root
    for (const part of rest) {
      const attributes = lookup(found, ino, Buffer.from(part))
      if (!attributes) throw new FsError('ENOENT', 'path')
      ino = attributes.ino
    }
    return { volume: found, ino }
  }

  /** A place below a volume. @throws FsError EPERM for the root, which holds volumes and nothing else */
  #inside(path: string): Place {
    const place = this.#place(path)
    if (!place) throw new FsError('EPERM', 'root')
    return place
  }

  /** Where a name is made, removed or moved. @throws FsError EPERM at the root */
  #named(path: string): { volume: VolumeFs; parent: Ino; name: Buffer } {
    if (path.includes(REPLACED)) throw new FsError('EILSEQ', 'path')
    const slash = path.lastIndexOf('/')
    const { volume, ino } = this.#inside(path.slice(0, slash) || '/')
    return { volume, parent: ino, name: Buffer.from(path.slice(slash + 1)) }
  }

  #handle(fd: number): Place {
    const handle = this.#handles.get(fd)
    const volume = handle && this.#volumes.get(handle.number)
    if (!handle || !volume) throw new FsError('ESTALE', 'handle')
    this.#restOn(volume)
    volume.enter()
    return { volume, ino: handle.ino }
  }

  #keep({ volume, ino }: Place): number {
    do this.#lastHandle = (this.#lastHandle % 0x7fff_ffff) + 1
    while (this.#handles.has(this.#lastHandle))
    this.#handles.set(this.#lastHandle, { number: volume.volume.number, ino })
    return this.#lastHandle
  }

  /** Requests of libfuse have no number that outlives us; none is ever sent twice. */
  #request(): Request {
    this.#lastRequest++
    return { uniqueLo: this.#lastRequest >>> 0, uniqueHi: Math.floor(this.#lastRequest / 2 ** 32) }
  }

  // --- operations

  /** @param leased false for what is answered from memory, whatever the lease of the volume */
  #run(
    op: string,
    done: (err: number) => void,
    work: () => number | undefined,
    leased = true,
  ): void {
    const began = this.#world.clock.monotonicMs()
    let result: number
    this.#lease = null
    this.#needsLease = leased
    try {
      result = work() ?? 0
    } catch (error) {
      if (error === NO_LEASE) {
        this.#world.clock.after(LEASE_LOOK_MS, () => this.#run(op, done, work))
        return
      }
      result = this.#errno(op, error)
    } finally {
      this.#needsLease = false
    }
    this.#count(op, began)
    this.#answerUnder(this.#lease, done, result)
  }

  /** The answer that is being made is about this volume. @throws NO_LEASE when it has none: nothing is done yet then */
  #restOn({ volume: { shared } }: VolumeFs): void {
    if (!this.#needsLease || !shared.replicated) return
    if (this.#isLapsed(shared) && !shared.stopped) throw NO_LEASE
    this.#lease = shared
  }

  #isLapsed(lease: SharedVolume): boolean {
    return this.#leaseClock.monotonicMs() >= lease.leaseUntilMs
  }

  #answerUnder(lease: SharedVolume | null, done: (err: number) => void, result: number): void {
    if (lease === null || !this.#isLapsed(lease)) done(result)
    else if (lease.stopped) done(result < 0 ? result : -errnoOf('EIO'))
    else {
      this.#world.clock.after(LEASE_LOOK_MS, () => this.#answerUnder(lease, done, result))
    }
  }

  #errno(op: string, error: unknown): number {
    if (error instanceof AssertionError) throw error
    const errno = errnoOfThrown(error)
    if (isSurprise(error)) {
      const stack = error instanceof Error ? error.stack : String(error)
      this.#world.log.error({ op, errno, stack }, 'request failed in a way nobody foresaw')
    }
    return errno
  }

  #count(op: string, began: number): void {
    const row = this.#counts.get(op) ?? { count: 0, seconds: 0 }
    row.count++
    row.seconds += (this.#world.clock.monotonicMs() - began) / 1000
    this.#counts.set(op, row)
  }

  /** For work that ends later. */
  #later(op: string, done: (err: number) => void, work: () => Promise<void>): void {
    const began = this.#world.clock.monotonicMs()
    const answer = (errno: number) => {
      this.#count(op, began)
      done(errno)
    }
    Promise.resolve()
      .then(work)
      .then(
        () => 0,
        (error: unknown) => this.#errno(op, error),
      )
      .then(answer)
      .catch(background(this.#world.log, op))
  }

  #operations(): Operations {
    return {
      getattr: (path, done) => {
        let stat: Stat | undefined
        this.#run(
          'getattr',
          (err) => done(err, stat),
          () => {
            stat = this.#stat(path)
            return 0
          },
          !isTop(path),
        )
      },
      readdir: (path, done) => {
        const names: string[] = []
        const stats: Stat[] = []
        this.#run(
          'readdir',
          (err) => done(err, names, stats),
          () => this.#list(path, names, stats),
        )
      },
      statfs: (path, done) => {
        let figures: Parameters<typeof done>[1]
        this.#run(
          'statfs',
          (err) => done(err, figures),
          () => {
            figures = statfs(this.#figures(path))
            return 0
          },
          false,
        )
      },
      readlink: (path, done) => {
        let target: string | undefined
        this.#run(
          'readlink',
          (err) => done(err, target),
          () => {
            const { volume, ino } = this.#inside(path)
            target = textOf(readlink(volume, ino))
            return 0
          },
        )
      },
      open: (path, flags, done) => {
        let fd: number | undefined
        this.#run(
          'open',
          (err) => done(err, fd),
          () => {
            const place = this.#inside(path)
            if ((flags & 3) !== 0 && !place.volume.writes) throw new FsError('EROFS', 'open')
            fd = this.#keep(place)
            return 0
          },
        )
      },
      create: (path, mode, done) => {
        let fd: number | undefined
        this.#run(
          'create',
          (err) => done(err, fd),
          () => {
            const { volume, ino } = this.#create(path, (mode & 0o7777) | S_IFREG)
            fd = this.#keep({ volume, ino })
            return 0
          },
        )
      },
      read: (_path, fd, buffer, length, offset, done) =>
        this.#run('read', done, () => {
          const { volume, ino } = this.#handle(fd)
          return read(volume, ino, offset, length, buffer, 0)
        }),
      write: (_path, fd, buffer, length, offset, done) =>
        this.#run('write', done, () => this.#write(fd, buffer, length, offset)),
      release: (_path, fd, done) =>
        this.#run('release', done, () => {
          this.#handles.delete(fd)
          return 0
        }),
      fsync: (_path, _dataOnly, fd, done) =>
        this.#later('fsync', done, () => this.#world.sync(this.#handle(fd).volume.volume.number)),
      fsyncdir: (path, _dataOnly, _fd, done) =>
        this.#later('fsyncdir', done, async () => {
          const place = this.#place(path)
          if (place) await this.#world.sync(place.volume.volume.number)
        }),
      truncate: (path, size, done) => this.#set('truncate', path, { size, killSetids: true }, done),
      utimens: (path, ms, _sameAgain, done) => {
        const time = { sec: Math.floor(ms / 1000), nsec: (ms % 1000) * 1_000_000 }
        this.#set('utimens', path, { atime: time, mtime: time }, done)
      },
      chown: (path, uid, gid, done) => {
        const change = {
          ...(uid === ID_UNCHANGED ? {} : { uid }),
          ...(gid === ID_UNCHANGED ? {} : { gid }),
        }
        this.#set('chown', path, change, done)
      },
      chmod: (path, mode, done) => this.#set('chmod', path, { mode }, done),
      mknod: (path, mode, rdev, done) =>
        this.#run('mknod', done, () => {
          this.#create(path, mode, { rdev })
          return 0
        }),
      symlink: (target, path, done) =>
        this.#run('symlink', done, () => {
          if (target.includes(REPLACED)) throw new FsError('EILSEQ', 'symlink')
          this.#create(path, S_IFLNK | 0o777, { target: Buffer.from(target) })
          return 0
        }),
      mkdir: (path, mode, done) => {
        if (isTop(path)) {
          this.#later('mkdir', done, () => this.#world.makeVolume(path.slice(1), mode & 0o7777))
          return
        }
        this.#run('mkdir', done, () => {
          this.#create(path, (mode & 0o7777) | S_IFDIR)
          return 0
        })
      },
      rmdir: (path, done) => {
        if (isTop(path)) {
          this.#later('rmdir', done, () => this.#world.removeVolume(path.slice(1)))
          return
        }
        this.#run('rmdir', done, () => {
          const { volume, parent, name } = this.#named(path)
          this.#forget(volume, rmdir(volume, this.#request(), parent, name))
          return 0
        })
      },
      unlink: (path, done) =>
        this.#run('unlink', done, () => {
          const { volume, parent, name } = this.#named(path)
          this.#forget(volume, unlink(volume, this.#request(), parent, name))
          return 0
        }),
      rename: (from, to, done) => this.#run('rename', done, () => this.#rename(from, to)),
      link: (from, to, done) =>
        this.#run('link', done, () => {
          const { volume, ino } = this.#inside(from)
          const at = this.#named(to)
          if (at.volume !== volume) throw new FsError('EXDEV', 'link')
          link(volume, this.#request(), ino, at.parent, at.name)
          return 0
        }),
      setxattr: (path, name, value, _position, flags, done) =>
        this.#run('setxattr', done, () => {
          refuseForeignXattr(name)
          const { volume, ino } = this.#inside(path)
          const bytes = Buffer.from(value)
          setxattr(volume, this.#request(), ino, Buffer.from(name), bytes, flags, false)
          return 0
        }),
      removexattr: (path, name, done) =>
        this.#run('removexattr', done, () => {
          refuseForeignXattr(name)
          const { volume, ino } = this.#inside(path)
          removexattr(volume, this.#request(), ino, Buffer.from(name))
          return 0
        }),
      // Named so that libfuse asks; answered by the handlers that take their place (start).
      getxattr: (_path, _name, _position, done) => done(-errnoOf('EIO')),
      listxattr: (_path, done) => done(-errnoOf('EIO')),
    }
  }

  #stat(path: string): Stat {
    const absent = this.#absentAt(path)
    if (absent) return directoryStat(inoOf(absent.number, 1), this.#caller, 2, this.#since)
    const place = this.#place(path)
    if (place) return statOf(place.volume, place.volume.attributes(place.ino))
    const links = 2 + this.#volumes.size + this.#absent.size
    return directoryStat(inoOf(0, 1), this.#caller, links, this.#since)
  }

  /** A locked volume's root is there to be seen. */
  #absentAt(path: string): AbsentVolume | null {
    const found = isTop(path) ? this.#namespace.find(Buffer.from(path.slice(1))) : undefined
    return found && 'code' in found ? found : null
  }

  #list(path: string, names: string[], stats: Stat[]): undefined {
    const place = this.#place(path)
    if (!place) {
      for (const { name, number } of this.#namespace.entries(0)) {
        names.push(name.toString())
        stats.push(directoryStat(inoOf(number, 1), this.#caller, 2, this.#since))
      }
      return
    }
    const { volume } = place
    readdir(volume, place.ino, 0, 0, ({ name, ino, type }) => {
      const text = name.toString()
      if (text.includes(REPLACED)) return true
      names.push(text)
      const mode = type << 12
      stats.push({ ...directoryStat(inoOf(volume.volume.number, ino), this.#caller, 1, 0), mode })
      return true
    })
  }

  #figures(path: string): Figures {
    const volume = this.#place(path)?.volume.volume
    if (!volume) return this.#namespace.figures()
    const { shared } = volume
    const staged = shared.stagedBytes - shared.committedBytes
    return {
      sizeBytes: shared.sizeBytes,
      usedBytes: shared.usedBytes + staged,
      freeBytes: Math.max(0, shared.freeBytes - staged),
      inodes: shared.inodes,
    }
  }

  #create(path: string, mode: number, more: { rdev?: number; target?: Buffer } = {}): Place {
    const { volume, parent, name } = this.#named(path)
    // The kernel has applied the umask: libfuse 2 does not ask it to leave that to us.
    const creation = { mode, umask: 0, ...more }
    const made = create(volume, this.#request(), this.#caller, parent, name, creation)
    return { volume, ino: made.ino }
  }

  #write(fd: number, buffer: Buffer, length: number, offset: number): number {
    const { volume, ino } = this.#handle(fd)
    let done = 0
    while (done < length) {
      const count = Math.min(length - done, WRITE_BYTES_MAX)
      buffer.copy(this.#staged, stagedHeaderBytes, done, done + count)
      write(volume, this.#request(), ino, offset + done, this.#staged, stagedHeaderBytes, count, {
        // One kernel alone writes through this mount, so the offset it computed is the end of the file.
        append: false,
        killSetids: true,
      })
      done += count
    }
    return length
  }

  #set(
    op: string,
    path: string,
    change: Parameters<typeof setattr>[3],
    done: (err: number) => void,
  ): void {
    this.#run(op, done, () => {
      const { volume, ino } = this.#inside(path)
      setattr(volume, this.#request(), ino, change)
      return 0
    })
  }

  #rename(from: string, to: string): undefined {
    // Not EXDEV: mv(1) would copy the volume file by file into a new one and delete it.
    if (isTop(from)) throw new FsError('EPERM', 'rename')
    const source = this.#named(from)
    const at = this.#named(to)
    if (source.volume !== at.volume) throw new FsError('EXDEV', 'rename')
    const { volume } = source
    const replaced = lookup(volume, at.parent, at.name)
    rename(volume, this.#request(), source, at, 0)
    if (replaced) this.#forget(volume, replaced.ino)
  }

  /** libfuse 2 renames an open file instead of removing it, so what lost its last name has no user. */
  #forget(volume: VolumeFs, ino: Ino): void {
    forget(volume, ino)
  }

  #getxattr(signal: Signal, path: string, name: string, room: Buffer): void {
    this.#run(
      'getxattr',
      (result) => signal(result, room.buffer),
      () => {
        refuseForeignXattr(name)
        const { volume, ino } = this.#inside(path)
        return intoRoom(getxattr(volume, ino, Buffer.from(name)), room)
      },
    )
  }

  #listxattr(signal: Signal, path: string, room: Buffer): void {
    this.#run(
      'listxattr',
      (result) => signal(result, room.buffer),
      () => {
        const place = this.#place(path)
        if (!place) return 0
        const list = listxattr(place.volume, place.ino, false).toString('latin1')
        const names = list.split('\0').filter((name) => name.startsWith('user.'))
        return intoRoom(Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1'), room)
      },
    )
  }
}

interface Figures {
  sizeBytes: number
  usedBytes: number
  freeBytes: number
  inodes: number
}

/** A mount of this driver at exactly this path, dead or alive. */
export function isNativeMount(target: string): boolean {
  return mountAt(target)?.fsType === 'fuse.weft'
}

/** @throws FsError EBUSY, EPERM, EIO, ENOENT when fusermount is not installed */
export async function fusermount(target: string, lazy: boolean): Promise<void> {
  const done = await runCommand('fusermount', [lazy ? '-uz' : '-u', '--', target])
  if (done.code === 0) return
  if (/busy/.test(done.stderr)) {
    throw new FsError('EBUSY', 'unmount', {
      message: `${target} is in use; see: fuser -vm ${target}`,
      retry: 'later',
    })
  }
  const code = /not permitted|denied/.test(done.stderr) ? 'EPERM' : 'EIO'
  throw new FsError(code, 'unmount', { message: `fusermount ${target}: ${done.stderr.trim()}` })
}

/** Loaded when it is wanted: it needs libfuse.so.2 on the machine. */
function loadDriver(): FuseClass {
  try {
    return createRequire(import.meta.url)('fuse-native') as FuseClass
  } catch (cause) {
    throw new FsError('ENOENT', 'mount', {
      cause,
      message: `fuse-native cannot be loaded (${codeOf(cause)}): ${messageOf(cause).split('\n')[0]}`,
      next: 'apt-get install fuse3 libfuse2, as root; or run the node as root without --driver',
    })
  }
}

function isTop(path: string): boolean {
  return path.lastIndexOf('/') === 0 && path.length > 1
}

/** ACLs and capabilities would be kept and not obeyed. */
function refuseForeignXattr(name: string): void {
  if (!name.startsWith('user.')) throw new FsError('EOPNOTSUPP', 'xattr')
}

/** What getxattr and listxattr answer: the length, and the bytes where there is room. @throws FsError ERANGE */
function intoRoom(value: Buffer, room: Buffer): number {
  if (room.length === 0) return value.length
  if (value.length > room.length) throw new FsError('ERANGE', 'xattr')
  value.copy(room)
  return value.length
}

function textOf(bytes: Buffer): string {
  const text = bytes.toString()
  if (text.includes(REPLACED)) throw new FsError('EILSEQ', 'readlink')
  return text
}

/** 32 bits are all that fuse-native carries: volumes are spread by a large odd factor. */
function inoOf(volume: number, ino: number): number {
  return (Math.imul(volume, 0x9e37_79b1) + ino) >>> 0 || 1
}

/** @param ms all its times */
function directoryStat(
  ino: number,
  { uid, gid }: { uid: number; gid: number },
  nlink: number,
  ms: number,
): Stat {
  const size = 4096
  const times = { atime: ms, mtime: ms, ctime: ms }
  const mode = S_IFDIR | 0o755
  return { mode, uid, gid, size, nlink, ino, rdev: 0, blksize: size, blocks: 0, ...times }
}

function statOf(volume: VolumeFs, { ino, inode }: Attributes): Stat {
  const { mode, uid, gid, nlink, rdev } = inode
  return {
    mode,
    uid,
    gid,
    nlink,
    rdev,
    size: (mode & 0o170000) === S_IFDIR ? 4096 : inode.size,
    ino: inoOf(volume.volume.number, ino),
    blksize: 4096,
    blocks: Math.ceil(inode.bytes / 512),
    atime: millisecondsOf(inode.atime),
    mtime: millisecondsOf(inode.mtime),
    ctime: millisecondsOf(inode.ctime),
  }
}

/** Its u64 knows no time before 1970. */
function millisecondsOf({ sec, nsec }: { sec: number; nsec: number }): number {
  return Math.max(0, sec * 1000 + Math.floor(nsec / 1_000_000))
}

const INODES_FREE = 1_000_000_000

/** Counts have 32 bits: a large volume is counted in larger blocks. */
function statfs({ sizeBytes, usedBytes, freeBytes, inodes }: Figures) {
  const bsize = sizeBytes > 4096 * 2 ** 31 ? 4 * 1024 * 1024 : 4096
  const blocks = Math.floor(sizeBytes / bsize)
  const bfree = Math.max(0, blocks - Math.ceil(usedBytes / bsize))
  const bavail = Math.min(bfree, Math.floor(freeBytes / bsize))
  const namemax = limits.nameBytesMax
  const files = inodes + INODES_FREE
  const rest = { files, ffree: INODES_FREE, favail: INODES_FREE, namemax }
  return { bsize, frsize: bsize, blocks, bfree, bavail, ...rest }
}
