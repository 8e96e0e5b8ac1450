import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import {
  assert,
  codeOf,
  errnoOf,
  type Ino,
  type Log,
  limits,
  messageOf,
  openLog,
  suspendProof,
  systemClock,
  type VolumeNumber,
} from '../base/index.ts'
import { SecondReader } from '../chunks/index.ts'
import type { SharedVolume } from '../store/index.ts'
import { forgetAll, type VolumeFs, type VolumeFsWorld } from '../vfs/index.ts'
import { answer, answerBare } from './answer.ts'
import { failed } from './errors.ts'
import { FarRequests } from './far-requests.ts'
import { handleHolds, handleOf } from './handles.ts'
import { LeaseWaits } from './lease-waits.ts'
import { type Later, Locks } from './locks.ts'
import { Namespace, type RootRequests } from './namespace.ts'
import { OPCODES, opcodeName } from './opcodes.ts'
import { Opens } from './opens.ts'
import { PageDrops } from './page-drops.ts'
import { Reasons } from './reasons.ts'
import { NOTHING, RequestReader } from './request-reader.ts'
import { ServedVolumes } from './served-volumes.ts'
import { FuseSession, VALID_MS } from './session.ts'
import { changedBy, Unsynced } from './unsynced.ts'
import * as wire from './wire/index.ts'
import {
  type FromWorker,
  mailCell,
  type OpenFile,
  type ToEngine,
  type ToWorker,
  type VolumeMessage,
  type WorkerStart,
} from './worker-protocol.ts'

/** Between two looks at what waits for a lease. */
const LOOK_MS = 5
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
  readonly #leaseClock = suspendProof(this.#clock)
  readonly #waits = new LeaseWaits(this.#leaseClock)
  /** Volumes of several copies among those served: without any, no request is looked at for a lease. */
  #leased = 0
  readonly #served: ServedVolumes
  readonly #opens = new Map<VolumeNumber, Opens>()
  /** Since this thread orders a volume's changes. */
  readonly #drops = new Map<VolumeNumber, PageDrops>()
  /** Files whose pages the main thread has the kernel drop, by token; that may be told to another when it is done. */
  readonly #dropping = new Map<number, { drops: PageDrops; ino: Ino }>()
  #lastToken = 0
  /** Of volumes that other nodes may take over. */
  readonly #unsynced = new Map<VolumeNumber, Unsynced>()
  readonly #locks: Locks | null
  readonly #namespace: Namespace | null
  readonly #session: FuseSession
  readonly #reasons: Reasons
  readonly #reader: RequestReader
  readonly #far: FarRequests
  /** Where the request that is served was read, and its answer goes. */
  #fd: number
  readonly #secondReader: SecondReader
  readonly #mailbox: Int32Array
  readonly #metrics: Float64Array
  /** Requests that the kernel sent again after a restart; it sends each twice. */
  readonly #resent = new Set<string>()
  /** What the request in hand met, of a volume that has other copies. */
  #toMend: Extract<FromWorker, { kind: 'damaged' }> | null = null
  /** The request in hand was forwarded, or waited for a chunk to be mended, and is this thread's again. */
  #comesBack = false
  readonly #notice = Buffer.alloc(64)
  readonly #request = Buffer.allocUnsafeSlow(limits.fuseBufferBytes)

  constructor(start: WorkerStart, log: Log) {
    this.#start = start
    this.#log = log
    this.#fd = start.fd
    this.#reasons = new Reasons(this.#clock, (reason) => this.#tell({ kind: 'reason', reason }))
    this.#mailbox = new Int32Array(start.mailbox)
    this.#metrics = new Float64Array(start.metrics)
    this.#reader = new RequestReader({
      fd: start.fd,
      polledFd: start.polledFd,
      polled: () => Atomics.load(this.#mailbox, mailCell.polled) === 1,
      clock: this.#clock,
      sleep: (ms) => this.#sleep(ms),
    })
    this.#far = new FarRequests({
      mailbox: this.#mailbox,
      reply: () => this.#session.reply,
      damaged: (volume, chunk, what) => this.#tell({ kind: 'damaged', volume, chunk, what }),
      now: () => this.#leaseClock.monotonicMs(),
      late: (number, attributes) => this.#tell({ kind: 'late', number, attributes }),
      list: (number, page, asked, askedMs) =>
        this.#tell({ kind: 'list', number, page: new Uint8Array(page), asked, askedMs }),
    })
    // An exclusive mount's kernel sees every user of its files, and keeps their locks itself.
    const ownLocks = start.ownLocks && start.exclusive === null
    this.#locks = ownLocks
      ? new Locks({ clock: this.#clock, later: () => this.#later(), isAlive: () => false })
      : null
    this.#served = new ServedVolumes({
      log,
      fs: ({ opening }) => this.#fsWorld(opening.number),
      readOnly: start.readOnly,
      opens: (number) => this.#opens.get(number)?.list() ?? [],
      locks: (volume) => this.#locks?.held(volume) ?? 0,
    })
    const { open, absent } = this.#served
    for (const volume of start.absent) absent.set(volume.number, volume)
    const requests: RootRequests = {
      look: (name, frame) => {
        if (this.#comesBack) return false
        const { uniqueLo, uniqueHi } = this.#session.header
        const bytes = new Uint8Array(frame)
        this.#tell({ kind: 'look', name, frame: bytes, fd: this.#fd, uniqueLo, uniqueHi })
        return true
      },
      mkdir: (name, mode, { uid, gid }, uniqueLo, uniqueHi) =>
        this.#tell({ kind: 'mkdir', name, mode, uid, gid, fd: this.#fd, uniqueLo, uniqueHi }),
      rmdir: (name, uniqueLo, uniqueHi) =>
        this.#tell({ kind: 'rmdir', name, fd: this.#fd, uniqueLo, uniqueHi }),
    }
    this.#namespace =
      start.exclusive === null ? new Namespace(open, absent, requests, this.#clock) : null
    this.#session = new FuseSession({
      volume: (number) => open.get(number),
      absent: (number) => absent.get(number),
      namespace: this.#namespace,
      exclusive: start.exclusive,
      locks: this.#locks,
      isFar: (number) =>
        absent.get(number)?.code === null || this.#isElsewhere(number) || this.#mayOwe(number),
      forward: (number, frame) => {
        const { uniqueLo, uniqueHi } = this.#session.header
        // Behind what comes back there may be mail of what is to be forgotten.
        const isAnswered =
          !this.#comesBack &&
          this.#far.answer(number, frame, (reply, end, errno) =>
            answer(this.#fd, reply, end, errno, uniqueLo, uniqueHi),
          )
        if (!isAnswered) this.#forward(number, frame)
      },
      interruptFar: (uniqueLo, uniqueHi) => {
        const far = [...absent.values()].some(({ code }) => code === null)
        if (far) this.#tell({ kind: 'interrupt', uniqueLo, uniqueHi })
      },
      // No-open: an exclusive mount ends with its volume.
      holds: ({ volume: { shared } }, request, opcode) =>
        start.exclusive !== null || handleHolds(shared, request, opcode),
      locked: (number, ino, uniqueLo, uniqueHi) => {
        if (this.#hasNoOldPages(number, ino)) return true
        this.#dropForLock(number, ino, this.#fd, uniqueLo, uniqueHi)
        return false
      },
      caching: {
        // A volume that another mount writes may change at any moment: the kernel keeps nothing of it.
        validMs: (volume) => this.#validMs(volume),
        // Pages of before this mount ordered the volume's changes are dropped at the first open: another may have written.
        pages: (volume, ino, _, handle) => {
          if (!volume.writes) return wire.FOPEN_DIRECT_IO
          const drops = this.#dropsOf(volume.volume.number)
          if (drops.isSure(ino)) return wire.FOPEN_KEEP_CACHE
          drops.dropping(ino, handle)
          return 0
        },
        changed: () => {},
      },
      opened: ({ volume: { number } }, ino, flags, by) => {
        const opens = this.#opens.get(number) ?? new Opens()
        opens.count(ino, flags, by)
        this.#opens.set(number, opens)
      },
      sync: (volume, ino, uniqueLo, uniqueHi) => {
        if (ino !== null && volume.syncHere(ino)) return true
        const caller = { fd: this.#fd, uniqueLo, uniqueHi }
        const { number } = volume.volume
        const { seq, stagedNumber, pastEngine } = volume.syncPoint(ino)
        if (pastEngine) this.#tell({ kind: 'sync', number, seq, ...caller })
        else this.#tellEngine({ number, stagedNumber, seq, caller })
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
    for (const served of start.volumes) this.#served.add(served)
    this.#leased = this.#countLeased()
    if (start.negotiated) this.#session.agreed(start.negotiated.flags)
    // INIT itself among them, when nothing was agreed yet. A mount that is still being made says EPERM, and INIT follows.
    if (start.resumed) this.#askAgain()
  }

  /** Serves until the connection ends. */
  run(): void {
    const { header } = this.#session
    for (;;) {
      const n = this.#waits.any ? this.#nextWhileWaiting() : this.#reader.next(this.#request)
      if (n === 0) break
      const began = this.#clock.monotonicMs()
      if (Atomics.load(this.#mailbox, mailCell.posted) > 0) this.#readMail()
      this.#fd = this.#reader.fd
      wire.decodeHeader(this.#request, n, header)
      this.#serve(this.#request, n)
      const cell = header.opcode * 2
      if (cell < this.#metrics.length) {
        this.#metrics[cell] = (this.#metrics[cell] as number) + 1
        const spent = this.#clock.monotonicMs() - began
        this.#metrics[cell + 1] = (this.#metrics[cell + 1] as number) + spent / 1000
      }
    }
    this.#end()
  }

  /** While requests wait for a lease: the next one, what waits no more being served before it. */
  #nextWhileWaiting(): number {
    const { header } = this.#session
    while (this.#waits.any) {
      if (Atomics.load(this.#mailbox, mailCell.posted) > 0) this.#readMail()
      for (const { fd, bytes } of this.#waits.ready()) {
        this.#fd = fd
        wire.decodeHeader(bytes, bytes.length, header)
        this.#serve(bytes, bytes.length)
      }
      if (this.#reader.canAsk && !this.#waits.full) {
        const n = this.#reader.ask(this.#request)
        if (n !== NOTHING) return n
      }
      if (this.#waits.any) this.#sleep(LOOK_MS)
    }
    return this.#reader.next(this.#request)
  }

  #sleep(ms: number): void {
    Atomics.wait(this.#mailbox, mailCell.never, 0, ms)
  }

  #serve(request: Buffer, length: number): void {
    const session = this.#session
    const { header } = session
    const lease = this.#leased === 0 ? null : session.lease(request)
    if (lease && !lease.stopped && this.#waits.lapsed(lease)) {
      this.#waits.add(lease, header, this.#fd, request.subarray(0, length), null)
      return
    }
    if (lease && this.#start.exclusive === null) this.#changing(lease, request)
    const drops = this.#drops.get(wire.nodeVolume(header.nodeHi) as VolumeNumber)
    if (drops) {
      const handle = handleOf(request, header.opcode)
      if (handle >= 0) drops.used(handle)
    }
    let end = wire.OUT_HEADER_BYTES
    let errno = 0
    try {
      if (header.opcode === OPCODES.INIT.code) end = this.#init(request)
      else if (wire.isResend(header.uniqueHi)) end = this.#again(request)
      else end = session.handle(request)
    } catch (error) {
      if (this.#toMend && codeOf(error) === 'EIO') {
        const waits = { frame: Uint8Array.from(request.subarray(0, length)), fd: this.#fd }
        this.#tell({ ...this.#toMend, waits })
        this.#toMend = null
        return
      }
      const op = opcodeName(header.opcode)
      errno = failed(error, op, this.#log)
      const number = wire.nodeVolume(header.nodeHi) || (this.#start.exclusive ?? 0)
      const ino = wire.nodeIno(header.nodeLo, header.nodeHi)
      this.#reasons.note(error, { number: number as VolumeNumber, ino, op })
    }
    if (this.#toMend) this.#tell(this.#toMend)
    this.#toMend = null
    if (end <= 0) return
    const { uniqueLo, uniqueHi } = header
    // Once more: since the look above this thread may have stood still.
    if (lease && this.#waits.lapsed(lease)) {
      const bytes = errno === 0 ? session.reply.subarray(0, end) : Buffer.alloc(end)
      this.#waits.add(lease, header, this.#fd, bytes, errno)
    } else if (errno === 0) answer(this.#fd, session.reply, end, 0, uniqueLo, uniqueHi)
    else answerBare(this.#fd, errno, uniqueLo, uniqueHi)
  }

  /** A request of the daemon's life before: answered from its record if it was executed, executed if not. */
  #again(request: Buffer): number {
    const session = this.#session
    const { uniqueLo, uniqueHi } = session.header
    const key = `${uniqueHi}:${uniqueLo}`
    if (this.#resent.has(key) && !this.#comesBack) return 0
    this.#resent.add(key)
    return session.handleAgain(request)
  }

  #init(frame: Buffer): number {
    const { bodyEnd } = this.#session.header
    const request = wire.decodeInit(frame, wire.IN_HEADER_BYTES, bodyEnd)
    const exclusive = this.#start.exclusive !== null
    const wanted = wantedFlags(exclusive, this.#start.ownLocks)
    const flags = (request.flags & wanted.flags) >>> 0
    const flags2 = (request.flags2 & wanted.flags2) >>> 0
    // The kernel of a mount that begins knows no inode. An attached volume may have been in the namespace before.
    if (!exclusive) for (const volume of this.#served.open.values()) volume.inherited.clear()
    this.#unlockAll()
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
      if (!('id' in message)) {
        if (message.kind === 'dropped') this.#dropped(message.token)
        else this.#far.heard(message)
        continue
      }
      if (message.kind === 'near' || message.kind === 'drives') {
        if (message.kind === 'near') this.#far.near(message.number, message.near)
        else this.#letGoOfDrives()
        this.#tell({ kind: 'done', id: message.id, error: null, opens: [] })
        continue
      }
      let error: { code: string; message: string } | null = null
      let opens: readonly OpenFile[] = []
      // Volumes at the root change: names and attributes the kernel keeps are to be asked for again.
      this.#notify((buf) => wire.encodeNotifyIncEpoch(buf), wire.FUSE_NOTIFY_INC_EPOCH)
      this.#notify(
        (buf) => wire.encodeNotifyInvalInode(buf, 0, 1, -1, 0),
        wire.FUSE_NOTIFY_INVAL_INODE,
      )
      const inherited = message.kind === 'absent' ? this.#inherited(message.volume.number) : []
      try {
        opens = this.#obey(message)
      } catch (thrown) {
        error = { code: codeOf(thrown) || 'EIO', message: messageOf(thrown) }
      }
      this.#tell({ kind: 'done', id: message.id, error, opens, inherited })
    }
  }

  #letGoOfDrives(): void {
    this.#served.lookAtDrives()
    this.#far.lookAtDrives()
    this.#secondReader.letGo()
  }

  #obey(message: VolumeMessage | Extract<ToWorker, { kind: 'again' }>): readonly OpenFile[] {
    if (message.kind === 'again') {
      this.#serveAgain(message)
      return []
    }
    if ((message.kind === 'role' || message.kind === 'add') && message.opens) {
      this.#opens.set(numberOf(message), new Opens(message.opens))
    }
    this.#far.clear(numberOf(message))
    if (message.kind !== 'keys') this.#drops.delete(numberOf(message))
    const opens = this.#served.obey(message)
    this.#leased = this.#countLeased()
    if (message.kind === 'absent' || message.kind === 'remove') this.#gone(message)
    if (message.kind !== 'keys') this.#namespace?.changed()
    return opens
  }

  /**
   * Nameless inodes that this kernel may know though they are not counted as open: a directory that somebody stands in. Of a
   * mount that a life of the daemon before served, all: what was opened then is not counted.
   */
  #inherited(number: VolumeNumber): Ino[] {
    const orphans = [...(this.#served.open.get(number)?.orphans ?? [])]
    const opens = this.#opens.get(number)
    return this.#start.resumed ? orphans : orphans.filter((ino) => !opens?.has(ino))
  }

  /** Who answers for the volume now gets what waits here. */
  #gone(message: Extract<ToWorker, { kind: 'absent' | 'remove' }>): void {
    const number = numberOf(message)
    const isFar = message.kind === 'absent' && message.volume.code === null
    this.#opens.delete(number)
    this.#handOver(number)
    for (const { frame, fd, answer } of this.#locks?.leave(number) ?? []) {
      if (isFar) this.#forward(number, frame, fd)
      else answer(-errnoOf('EIO'))
    }
  }

  /** A request that was forwarded, and is this thread's to answer again. */
  #serveAgain({ frame, fd }: Extract<ToWorker, { kind: 'again' }>): void {
    const request = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
    this.#fd = fd
    this.#comesBack = true
    wire.decodeHeader(request, request.length, this.#session.header)
    this.#serve(request, request.length)
    this.#comesBack = false
  }

  #dropsOf(number: VolumeNumber): PageDrops {
    let drops = this.#drops.get(number)
    if (!drops) {
      drops = new PageDrops()
      this.#drops.set(number, drops)
    }
    return drops
  }

  /** A term of the lease less a tenth, but not beyond its end. A volume that another mount writes may change at any moment. */
  #validMs({ writes, volume: { shared } }: VolumeFs): number {
    if (!writes) return 0
    if (!shared.replicated) return VALID_MS
    const leftMs = Math.floor(shared.leaseUntilMs - this.#leaseClock.monotonicMs())
    return Math.min(VALID_MS, Math.max(0, leftMs))
  }

  /** Hot. What is about to be changed is noted until its volume is not this thread's any more. */
  #changing(lease: SharedVolume, request: Buffer): void {
    const { opcode, nodeHi, pid } = this.#session.header
    const inos = changedBy(request, opcode)
    if (inos.length === 0 || lease.isElsewhere) return
    const number = wire.nodeVolume(nodeHi) as VolumeNumber
    let unsynced = this.#unsynced.get(number)
    if (!unsynced) {
      unsynced = new Unsynced(() => lease.leaseUntilMs)
      this.#unsynced.set(number, unsynced)
    }
    const atMs = this.#leaseClock.monotonicMs()
    for (const ino of inos) unsynced.changed({ ino, thread: pid, atMs })
  }

  /** Who answers for a volume now hears of it before the first request that this thread hands on. */
  #handOver(number: VolumeNumber): void {
    const unsynced = this.#unsynced.get(number)
    if (!unsynced) return
    this.#unsynced.delete(number)
    const { ownedMs } = unsynced
    this.#tell({ kind: 'unsynced', number, changes: unsynced.list(), ownedMs })
  }

  /** An fsync that may have to fail is the main thread's to answer, or comes back from there. */
  #mayOwe(number: VolumeNumber): boolean {
    if (this.#leased === 0 || this.#start.exclusive !== null || this.#comesBack) return false
    const { opcode } = this.#session.header
    const isAll = opcode === OPCODES.SYNCFS.code
    if (!isAll && opcode !== OPCODES.FSYNC.code && opcode !== OPCODES.FSYNCDIR.code) return false
    const shared = this.#served.open.get(number)?.volume.shared
    return Boolean(shared?.replicated && (isAll || shared.owes))
  }

  /** @param fd where it was read; other than of the request in hand for one that has waited */
  #forward(number: VolumeNumber, request: Buffer, fd = this.#fd): void {
    this.#handOver(number)
    const isLookedAt = this.#far.handedOn(number, request)
    const frame = new Uint8Array(request)
    const message: FromWorker = { kind: 'far', number, frame, fd, isLookedAt }
    parentPort?.postMessage(message, [frame.buffer])
  }

  /** How the request in hand, for a lock, is answered when that is later. */
  #later(): Later {
    const fd = this.#fd
    const { uniqueLo, uniqueHi, nodeLo, nodeHi } = this.#session.header
    const number = wire.nodeVolume(nodeHi) as VolumeNumber
    const ino = wire.nodeIno(nodeLo, nodeHi)
    const answer = (errno: number) => {
      const isGranted = errno === 0 && !this.#hasNoOldPages(number, ino)
      if (isGranted) this.#dropForLock(number, ino, fd, uniqueLo, uniqueHi)
      else answerBare(fd, errno, uniqueLo, uniqueHi)
    }
    return { fd, answer }
  }

  /** No page of a file in this kernel is of before this thread ordered the volume's changes. */
  #hasNoOldPages(number: VolumeNumber, ino: Ino): boolean {
    return Boolean(this.#served.open.get(number)?.writes) && this.#dropsOf(number).isSure(ino)
  }

  /** Who has got a lock is answered behind that, by the main thread: the kernel may wait there for what this one is to read. */
  #dropForLock(number: VolumeNumber, ino: Ino, fd: number, uniqueLo: number, uniqueHi: number) {
    const token = ++this.#lastToken
    this.#dropping.set(token, { drops: this.#dropsOf(number), ino })
    this.#tell({ kind: 'locked', number, ino, token, fd, uniqueLo, uniqueHi })
  }

  /** Of a volume that was another's in between it is noted where nobody looks any more. */
  #dropped(token: number): void {
    const dropping = this.#dropping.get(token)
    this.#dropping.delete(token)
    dropping?.drops.dropped(dropping.ino)
  }

  #fsWorld(number: VolumeNumber): VolumeFsWorld {
    return {
      clock: this.#clock,
      log: this.#log,
      mount: this.#start.mount,
      wakeEngine: () => this.#tellEngine(number),
      purge: (purge) => this.#tellEngine({ number, purge }),
      secondReader: this.#secondReader,
      damaged: (volume, chunk, what) => {
        const message = { kind: 'damaged', volume, chunk, what } as const
        const { opcode } = this.#session.header
        const isMended = this.#served.open.get(number)?.volume.shared.replicated ?? false
        if (isMended && opcode === OPCODES.READ.code && !this.#comesBack) this.#toMend = message
        else this.#tell(message)
      },
    }
  }

  /** A volume of the namespace that another node has or is about to have, as this thread will be told. */
  #isElsewhere(number: VolumeNumber): boolean {
    if (this.#leased === 0 || this.#start.exclusive !== null) return false
    return this.#served.open.get(number)?.volume.shared.isElsewhere ?? false
  }

  #countLeased(): number {
    return [...this.#served.open.values()].filter(({ volume }) => volume.shared.replicated).length
  }

  #forgetAll(): void {
    for (const volume of this.#served.open.values()) if (volume.writes) forgetAll(volume)
  }

  /** Of a mount that ends by an abort nothing is closed. */
  #unlockAll(): void {
    for (const volume of this.#served.open.values()) this.#locks?.endOwn(volume)
  }

  #end(): void {
    this.#unlockAll()
    this.#forgetAll()
    for (const volume of this.#served.open.values()) {
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

function numberOf(message: VolumeMessage): VolumeNumber {
  if (message.kind === 'absent') return message.volume.number
  return message.kind === 'add' ? message.served.opening.number : message.number
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
