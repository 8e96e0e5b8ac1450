import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import {
  AssertionError,
  assert,
  background,
  codeOf,
  FsError,
  type Ino,
  type Log,
  limits,
  messageOf,
  openLog,
  systemClock,
  type VolumeNumber,
} from '../base/index.ts'
import { SecondReader } from '../chunks/index.ts'
import { LocalVolume } from '../store/index.ts'
import { forgetAll, VolumeFs } from '../vfs/index.ts'
import { answer, answerBare } from './answer.ts'
import { errnoOfThrown, isSurprise } from './errors.ts'
import { Locks } from './locks.ts'
import { Namespace, type RootRequests } from './namespace.ts'
import { isOnce, OPCODES, opcodeName } from './opcodes.ts'
import { RequestReader } from './request-reader.ts'
import { FuseSession } from './session.ts'
import * as wire from './wire/index.ts'
import {
  type AbsentVolume,
  type FromWorker,
  mailCell,
  type ServedVolume,
  type ToEngine,
  type ToWorker,
  type WorkerStart,
} from './worker-protocol.ts'

/** nice(2) value of a mount's thread. */
const NICE = -10

/**
 * The thread of one mount: blocks in read on /dev/fuse, acts, answers, reads again. Messages of the main thread are
 * looked at after a read returns and before its request is acted on, so that what was said first holds.
 */
class MountWorker {
  readonly #start: WorkerStart
  readonly #log: Log
  readonly #clock = systemClock()
  readonly #volumes = new Map<VolumeNumber, VolumeFs>()
  readonly #absent = new Map<VolumeNumber, AbsentVolume>()
  readonly #namespace: Namespace | null
  readonly #session: FuseSession
  readonly #reader: RequestReader
  readonly #secondReader: SecondReader
  readonly #mailbox: Int32Array
  readonly #metrics: Float64Array
  /** Requests that the kernel sent again after a restart; it sends each twice. */
  readonly #resent = new Set<string>()
  readonly #notice = Buffer.alloc(64)
  readonly #request = Buffer.allocUnsafeSlow(limits.fuseBufferBytes)

  constructor(start: WorkerStart, log: Log) {
    this.#start = start
    this.#log = log
    this.#mailbox = new Int32Array(start.mailbox)
    this.#metrics = new Float64Array(start.metrics)
    this.#reader = new RequestReader({
      fd: start.fd,
      polledFd: start.polledFd,
      polled: () => Atomics.load(this.#mailbox, mailCell.polled) === 1,
      clock: this.#clock,
      // Nobody counts this cell down again: the wait ends by its time, or sees that INIT is long done.
      sleep: (ms) => Atomics.wait(this.#mailbox, mailCell.initKept, 0, ms),
    })
    const reader = this.#reader
    for (const volume of start.absent) this.#absent.set(volume.number, volume)
    const requests: RootRequests = {
      mkdir: (name, mode, { uid, gid }, uniqueLo, uniqueHi) =>
        this.#tell({ kind: 'mkdir', name, mode, uid, gid, fd: reader.fd, uniqueLo, uniqueHi }),
      rmdir: (name, uniqueLo, uniqueHi) =>
        this.#tell({ kind: 'rmdir', name, fd: reader.fd, uniqueLo, uniqueHi }),
    }
    this.#namespace =
      start.exclusive === null
        ? new Namespace(this.#volumes, this.#absent, requests, this.#clock)
        : null
    this.#session = new FuseSession({
      volume: (number) => this.#volumes.get(number),
      absent: (number) => this.#absent.get(number),
      namespace: this.#namespace,
      exclusive: start.exclusive,
      locks: start.ownLocks ? new Locks(() => reader.fd) : null,
      sync: (volume, ino, uniqueLo, uniqueHi) => {
        if (ino !== null && volume.syncHere(ino)) return true
        const { number, shared } = volume.volume
        const { seq } = shared
        const all = ino === null || !volume.writes
        const stagedNumber = all ? shared.stagedNumber : volume.stagedThrough(ino)
        this.#tellEngine({ number, stagedNumber, seq, fd: reader.fd, uniqueLo, uniqueHi })
        return false
      },
      refused: (number, ino, from, length) =>
        this.#tell({ kind: 'refused', number, ino, from, length }),
      forgetAttributes: (number, ino) => {
        const end = wire.encodeNotifyInvalInode(this.#notice, number, ino, -1, 0)
        answer(start.fd, this.#notice, end, wire.FUSE_NOTIFY_INVAL_INODE, 0, 0)
      },
    })
    this.#secondReader = new SecondReader(this.#session.reply.buffer as SharedArrayBuffer)
    for (const served of start.volumes) this.#add(served)
    if (start.negotiated) this.#session.agreed(start.negotiated.flags)
    // INIT itself among them, when nothing was agreed yet. A mount that is still being made says EPERM, and INIT follows.
    if (start.resumed) this.#askAgain()
  }

  /** Serves until the connection ends. */
  run(): void {
    const { header } = this.#session
    for (;;) {
      const n = this.#reader.next(this.#request)
      if (n === 0) break
      const began = this.#clock.monotonicMs()
      if (Atomics.load(this.#mailbox, mailCell.posted) > 0) this.#readMail()
      wire.decodeHeader(this.#request, n, header)
      this.#serve()
      const cell = header.opcode * 2
      if (cell < this.#metrics.length) {
        this.#metrics[cell] = (this.#metrics[cell] as number) + 1
        const spent = this.#clock.monotonicMs() - began
        this.#metrics[cell + 1] = (this.#metrics[cell + 1] as number) + spent / 1000
      }
    }
    this.#end()
  }

  #serve(): void {
    const session = this.#session
    const { header } = session
    const { fd } = this.#reader
    const { uniqueLo, uniqueHi } = header
    let end: number
    try {
      if (header.opcode === OPCODES.INIT.code) end = this.#init()
      else if (wire.isResend(uniqueHi)) end = this.#again()
      else end = session.handle(this.#request)
    } catch (error) {
      if (error instanceof AssertionError) throw error
      const opcode = opcodeName(header.opcode)
      if (codeOf(error) === 'ENOSYS') {
        answerBare(fd, -38, uniqueLo, uniqueHi)
        return
      }
      const errno = errnoOfThrown(error)
      if (isSurprise(error)) {
        const stack = error instanceof Error ? error.stack : String(error)
        this.#log.error({ op: opcode, errno, stack }, 'request failed in a way nobody foresaw')
      } else if (errno === -5) {
        this.#log.warn({ op: opcode, error: messageOf(error) }, 'request answered EIO')
      }
      answerBare(fd, errno, uniqueLo, uniqueHi)
      return
    }
    if (end > 0) answer(fd, session.reply, end, 0, uniqueLo, uniqueHi)
  }

  /** A request of the daemon's life before: answered from its record if it was executed, executed if not. */
  #again(): number {
    const session = this.#session
    const { uniqueLo, uniqueHi, opcode } = session.header
    const key = `${uniqueHi}:${uniqueLo}`
    if (this.#resent.has(key)) return 0
    this.#resent.add(key)
    if (isOnce(opcode)) {
      const end = session.repeat(this.#request)
      if (end !== -2) return end
    }
    return session.handle(this.#request)
  }

  #init(): number {
    const request = wire.decodeInit(
      this.#request,
      wire.IN_HEADER_BYTES,
      this.#session.header.bodyEnd,
    )
    const exclusive = this.#start.exclusive !== null
    const wanted = wantedFlags(exclusive, this.#start.ownLocks)
    const flags = (request.flags & wanted.flags) >>> 0
    const flags2 = (request.flags2 & wanted.flags2) >>> 0
    // The kernel of a mount that begins knows no inode. An attached volume may have been in the namespace before.
    if (!exclusive) for (const volume of this.#volumes.values()) volume.inherited.clear()
    this.#forgetAll()
    const minor = Math.min(request.minor, wire.FUSE_KERNEL_MINOR_VERSION)
    this.#session.agreed(flags)
    this.#tell({ kind: 'negotiated', negotiated: { minor, flags, flags2 } })
    // INIT is never asked again: whoever serves this mount after our death must know what was agreed.
    Atomics.wait(this.#mailbox, mailCell.initKept, 0)
    return wire.encodeInitOut(this.#session.reply, wire.OUT_HEADER_BYTES, {
      major: wire.FUSE_KERNEL_VERSION,
      minor,
      max_readahead: limits.fuseRequestBytesMax,
      flags,
      flags2,
      max_background: 64,
      congestion_threshold: 48,
      max_write: limits.fuseRequestBytesMax,
      time_gran: 1,
      max_pages: limits.fuseRequestBytesMax / 4096,
      max_stack_depth: 0,
      request_timeout: 0,
    })
  }

  /** After a restart: the kernel sends what was read and not answered once more. */
  #askAgain(): void {
    this.#notify((buf) => wire.encodeNotifyResend(buf), wire.FUSE_NOTIFY_RESEND)
  }

  /** A kernel that does not know the notification answers EINVAL: it is one from before it, and asks more often anyway. */
  #notify(encode: (buf: Buffer) => number, code: number): void {
    const buf = Buffer.alloc(64)
    const end = encode(buf)
    try {
      answer(this.#start.fd, buf, end, code, 0, 0)
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error
    }
  }

  #readMail(): void {
    assert(parentPort !== null, 'a mount worker has a parent')
    Atomics.store(this.#mailbox, mailCell.posted, 0)
    for (;;) {
      const mail = receiveMessageOnPort(parentPort)
      if (!mail) return
      const message = mail.message as ToWorker
      let error: { code: string; message: string } | null = null
      // Volumes at the root change: names and attributes the kernel keeps are to be asked for again.
      this.#notify((buf) => wire.encodeNotifyIncEpoch(buf), wire.FUSE_NOTIFY_INC_EPOCH)
      this.#notify(
        (buf) => wire.encodeNotifyInvalInode(buf, 0, 1, -1, 0),
        wire.FUSE_NOTIFY_INVAL_INODE,
      )
      try {
        this.#obey(message)
      } catch (thrown) {
        error = { code: codeOf(thrown) || 'EIO', message: messageOf(thrown) }
      }
      this.#tell({ kind: 'done', id: message.id, error })
    }
  }

  #obey(message: ToWorker): void {
    switch (message.kind) {
      case 'add':
        this.#add(message.served)
        this.#namespace?.changed()
        return
      case 'absent': {
        const { number } = message.volume
        const volume = this.#volumes.get(number)
        if (volume?.writes) volume.giveUp()
        this.#drop(number)
        this.#absent.set(number, message.volume)
        this.#namespace?.changed()
        return
      }
      case 'remove':
        this.#drop(message.number)
        this.#absent.delete(message.number)
        this.#namespace?.changed()
        return
      case 'role': {
        const volume = this.#volumes.get(message.number)
        if (volume?.writes) {
          if (!message.writes && !message.force) refuseOpenFiles(volume)
          volume.giveUp()
        }
        this.#drop(message.number)
        this.#add({ opening: message.opening, writes: message.writes })
        return
      }
      case 'keys': {
        const volume = this.#volumes.get(message.number)
        assert(volume !== undefined, 'keys come for a volume that is served')
        volume.volume.keys.replace(message.keys)
        return
      }
    }
  }

  #add({ opening, writes }: ServedVolume): void {
    const volume = new LocalVolume(opening)
    const world = {
      clock: this.#clock,
      log: this.#log,
      mount: this.#start.mount,
      wakeEngine: () => this.#tellEngine(opening.number),
      purge: (purge: Ino[]) => this.#tellEngine({ number: opening.number, purge }),
      secondReader: this.#secondReader,
      damaged: (volume: string, chunk: string, what: string) =>
        this.#tell({ kind: 'damaged', volume, chunk, what }),
    }
    this.#absent.delete(opening.number)
    this.#volumes.set(opening.number, new VolumeFs(volume, world, writes && !this.#start.readOnly))
  }

  #drop(number: VolumeNumber): void {
    const volume = this.#volumes.get(number)
    this.#volumes.delete(number)
    if (!volume) return
    volume.close()
    // Its keys are wiped and the view's reader slot is free when this call returns.
    volume.volume.close().catch(background(this.#log, 'drop'))
  }

  #forgetAll(): void {
    for (const volume of this.#volumes.values()) if (volume.writes) forgetAll(volume)
  }

  #end(): void {
    this.#forgetAll()
    for (const volume of this.#volumes.values()) {
      try {
        if (volume.writes) volume.giveUp()
      } catch (error) {
        this.#log.error({ op: 'unmount', error: messageOf(error) }, 'volume did not settle')
      }
      volume.close()
    }
    this.#tell({ kind: 'ended' })
  }

  #tell(message: FromWorker): void {
    parentPort?.postMessage(message)
  }

  #tellEngine(message: ToEngine): void {
    this.#start.enginePort.postMessage(message)
  }
}

/** A volume with files open for writing changes hands only by force: their descriptors get EROFS then. */
function refuseOpenFiles(volume: VolumeFs): void {
  const open = volume.openForWriting
  if (open === 0) return
  const { name } = volume.volume
  throw new FsError('EBUSY', 'attach', {
    message: `volume ${name} is open for writing through the namespace mount (descriptors: ${open}); close them, or attach with --force: they can then only be read`,
  })
}

/** Features asked for; the kernel's answer is the common part. Reasons: docs/architecture.md, "What the kernel is told". */
function wantedFlags(exclusive: boolean, ownLocks: boolean): { flags: number; flags2: number } {
  const f = wire.INIT_FLAGS
  const f2 = wire.INIT_FLAGS2
  let flags =
    f.FUSE_ASYNC_READ |
    f.FUSE_BIG_WRITES |
    f.FUSE_DONT_MASK |
    f.FUSE_DO_READDIRPLUS |
    f.FUSE_READDIRPLUS_AUTO |
    f.FUSE_ASYNC_DIO |
    f.FUSE_PARALLEL_DIROPS |
    f.FUSE_POSIX_ACL |
    f.FUSE_ABORT_ERROR |
    f.FUSE_MAX_PAGES |
    f.FUSE_CACHE_SYMLINKS |
    f.FUSE_EXPLICIT_INVAL_DATA |
    f.FUSE_NO_OPENDIR_SUPPORT |
    f.FUSE_HANDLE_KILLPRIV_V2 |
    f.FUSE_SETXATTR_EXT
  if (exclusive) flags |= f.FUSE_WRITEBACK_CACHE | f.FUSE_NO_OPEN_SUPPORT
  else flags |= f.FUSE_ATOMIC_O_TRUNC | f.FUSE_EXPORT_SUPPORT
  if (ownLocks && !exclusive) flags |= f.FUSE_POSIX_LOCKS | f.FUSE_FLOCK_LOCKS
  const flags2 = f2.FUSE_HAS_EXPIRE_ONLY | f2.FUSE_HAS_RESEND | f2.FUSE_DIRECT_IO_ALLOW_MMAP
  return { flags: flags >>> 0, flags2: flags2 >>> 0 }
}

/**
 * Before the engine's thread and other programs when both cores are busy: every caller waits for this one. Where we are
 * not root, it is one among others.
 */
function takePrecedence(): void {
  const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
  try {
    setPriority(thread, NICE)
  } catch (error) {
    const { code = '' } = (error as { info?: { code?: string } }).info ?? {}
    if (code !== 'EACCES' && code !== 'EPERM') throw error
  }
}

takePrecedence()
new MountWorker(workerData as WorkerStart, openLog(2).child({ room: 'fuse' })).run()
