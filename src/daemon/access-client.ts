import {
  background,
  type Clock,
  codeOf,
  errnoOf,
  FsError,
  type Ino,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type PeerKey,
  type Random,
  sleep,
  suspendProof,
  type VolumeNumber,
} from '../base/index.ts'
import {
  answer,
  type Change,
  changedBy,
  endLives,
  type Forgetting,
  GRANT_LATE_MS,
  Invalidations,
  inodesIn,
  isKilled,
  isOnce,
  OPCODES,
  opcodeName,
  type Reason,
  Reasons,
  syncedBy,
  Unsynced,
  wire,
} from '../fuse/index.ts'
import type { Net } from '../net/index.ts'
import { ACCESS_SERVICE, accessTermMs, FORGET_SERVICE, type OwnKernel } from './access-server.ts'
import {
  accessHeaderBytes,
  decodeNow,
  encodeAccessCall,
  forgetShape,
  type Stated,
} from './access-wire.ts'
import { parsed } from './call-bytes.ts'
import { FarHandles } from './far-handles.ts'
import type { FarSessions } from './far-sessions.ts'
import { hasAllOf, isOf, type OwnerLife } from './owner-life.ts'
import type { NodeVolume } from './volumes.ts'

export interface AccessClientWorld {
  volume(number: VolumeNumber): NodeVolume | undefined
  /** Ask the coordinator for a volume's record. */
  refresh(volume: NodeVolume): Promise<void>
  ownerOf(volume: NodeVolume): NodeId | null
  /** It is on its way to this node, or from it: its next owner is known. */
  isMoving(volume: NodeVolume): boolean
  /** Its owner does not answer: have it owned by a node that does, this one if it can. */
  takeOver(volume: NodeVolume): Promise<void>
  /** What this node has open itself, and shares. @returns null when the namespace mount answers for it */
  own(
    number: VolumeNumber,
    kernel: OwnKernel,
    frame: Uint8Array<ArrayBuffer>,
  ): Promise<Buffer | null>
  /** Give a request back to the namespace mount. */
  again(frame: Uint8Array, fd: number): Promise<void>
  /** The namespace mount's. */
  kernel(): OwnKernel
  /** A request was answered with an error out of the ordinary. */
  reason(reason: Reason): void
  /** Have it forget. */
  forget(number: VolumeNumber, forgetting: Forgetting): Promise<void>
  readonly sessions: FarSessions
  readonly call: Net['call']
  peerOf(node: NodeId): PeerKey | null
  readonly random: Random
  readonly clock: Clock
  readonly log: Log
}

export interface FarRequest {
  number: VolumeNumber
  frame: Uint8Array
  /** Where the kernel gets its answer. */
  fd: number
}

/** A caller waits so long for an owner that can be reached: a lease's end and a take-over are within it. */
const OWNER_MS_MAX = 30_000
/** An owner that says nothing for so long is looked for anew. */
const SILENT_MS = 3000
const ATTEMPT_MS = 10_000
const RETRY_MS = 100
/** Signs of life while something is open. */
const ALIVE_MS = 3000
/** Without anything open and without a request, a session ends after this. */
const IDLE_MS = 20_000
/** A lock that another has is asked for again after so long, and ever longer. */
const LOCK_MS_MIN = 5
const LOCK_MS_MAX = 200
const KILLED_LOOK_MS = 200
/** Requests and answers above this go beside the others. */
const SMALL_BYTES = 64 * 1024

/** This node's use of a volume that another node owns. */
interface FarVolume {
  readonly number: VolumeNumber
  session: number
  owner: NodeId | null
  /** The owner has answered under this session, and has not begun a new life since. */
  known: boolean
  /** The owner's, that the session was with last. */
  life: OwnerLife | null
  /** The session is being stated to the owner. */
  stating: Promise<void> | null
  /** When the last message that was answered was sent. */
  answeredMs: number
  usedMs: number
  readonly handles: FarHandles
  /** Whom that was asked of which is not synced; null for nobody, or this node itself. */
  line: OwnerLife | null
  /** What this kernel's programs changed and did not sync. */
  readonly unsynced: Unsynced
  /** When whoever answered last owned the volume, on the clock of leases. */
  ownedMs: number
  /** Byte ranges may be locked under this session: what closes a file has to say so. */
  mayLock: boolean
  readonly underWay: Map<bigint, Pending>
  /** How often this kernel was asked to forget. */
  forgotten: number
  cancelAlive: (() => void) | null
}

interface Pending {
  readonly opcode: number
  /** Where the kernel gets its answer, and to what. */
  readonly fd: number
  readonly uniqueLo: number
  readonly uniqueHi: number
  /** Thread that asks. */
  readonly pid: number
  readonly abort: AbortController
  readonly askedMs: number
  /** Of its volume, when it was asked: an answer of before may be older than what was forgotten since. */
  readonly forgotten: number
  /** A daemon before this one may have asked the owner for it. */
  readonly isResent: boolean
  /** It may have been executed: the owner was asked, and who asked got no answer. */
  isDoubtful: boolean
  /** The kernel has its answer: the caller was killed. */
  isGiven: boolean
  /** Called when the kernel has its answer. */
  answered: () => void
}

/**
 * Requests of this node's kernel on volumes that it does not order itself: they go to the owner, and come back as the
 * kernel's answer. While the connection breaks and returns, callers wait and nothing is lost; when the session is lost,
 * descriptors of it answer EIO until the file is opened anew, for what was written through them may be gone.
 */
export class AccessClient {
  readonly #world: AccessClientWorld
  readonly #volumes = new Map<VolumeNumber, FarVolume>()
  readonly #invalidations = new Invalidations()
  readonly #reasons: Reasons
  readonly #leaseClock: Clock
  /** The last of this kernel's changes that this node executes itself has been answered. */
  #lastOwn: Promise<void> = Promise.resolve()

  constructor(world: AccessClientWorld) {
    this.#world = world
    this.#reasons = new Reasons(world.clock, (reason) => world.reason(reason))
    this.#leaseClock = suspendProof(world.clock)
  }

  request({ number, frame, fd }: FarRequest): void {
    const request = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
    this.#serve(number, request, fd).catch(background(this.#world.log, 'access.request'))
  }

  /**
   * The kernel would have an answer now: a signal came. A lock is given up; anything else may be done already, so only a
   * caller that is being killed is let go (design §6.10).
   */
  interrupt(uniqueLo: number, uniqueHi: number): void {
    const unique = uniqueOf(uniqueLo, uniqueHi)
    for (const { underWay } of this.#volumes.values()) {
      const pending = underWay.get(unique)
      if (!pending) continue
      if (pending.opcode === OPCODES.SETLKW.code) pending.abort.abort()
      else this.#letGoIfKilled(underWay, unique, pending)
    }
  }

  #letGoIfKilled(underWay: Map<bigint, Pending>, unique: bigint, pending: Pending): void {
    if (underWay.get(unique) !== pending || pending.isGiven) return
    if (isKilled(pending.pid)) {
      const reply = bareReply(-errnoOf('EINTR'))
      answer(pending.fd, reply, reply.length, -errnoOf('EINTR'), pending.uniqueLo, pending.uniqueHi)
      pending.isGiven = true
      return
    }
    const { clock } = this.#world
    clock.after(KILLED_LOOK_MS, () => this.#letGoIfKilled(underWay, unique, pending))
  }

  /** @param nodeOf the member with this key; null when it is none any more */
  serve(net: Pick<Net, 'serve'>, nodeOf: (peer: PeerKey) => NodeId | null): void {
    net.serve(
      FORGET_SERVICE,
      async ({ peer, body }) => {
        if (nodeOf(peer) === null) {
          throw new FsError('EACCES', FORGET_SERVICE, { message: 'not a member' })
        }
        const { number, ...forgetting } = parsed(forgetShape, body, FORGET_SERVICE)
        await this.forget(number, forgetting)
        return Buffer.alloc(0)
      },
      { lane: 'control' },
    )
  }

  /**
   * This node's kernel forgets what it keeps of a volume under a grant, also what is on its way to it. Whoever asks is about
   * to change it.
   */
  async forget(number: VolumeNumber, forgetting: Forgetting): Promise<void> {
    this.#far(number).forgotten++
    await this.#world.forget(number, forgetting)
  }

  /** This node owns a volume from now on, and nobody asks it for anything yet. */
  owned({ stored: { record }, shared, before }: NodeVolume): void {
    const far = this.#far(record.number)
    if (far.life !== null) this.#lose(far)
    if (far.line !== null && !(before && isOf(before, far.line))) far.unsynced.lose()
    far.line = null
    if (!shared) return
    if (shared.lineFirst < shared.epoch) far.unsynced.uncounted(this.#leaseClock.monotonicMs())
    shared.owes = far.unsynced.owes
  }

  /** Another node owns, or may own, a volume that was this one's. @param before only in a life of the daemon before this one */
  lost({ stored: { record }, shared }: NodeVolume, before: boolean): void {
    if (!shared && !before) return
    const far = this.#far(record.number)
    if (before) far.unsynced.uncounted(this.#leaseClock.monotonicMs())
    if (shared) far.ownedMs = Math.max(far.ownedMs, shared.leaseUntilMs)
    far.unsynced.lose()
  }

  /**
   * What the namespace mount executed itself, of a volume that it hands on from now on.
   * @param ownedMs when the volume was this node's for certain, on the clock of leases
   */
  unsynced(number: VolumeNumber, changes: readonly Change[], ownedMs: number): void {
    const far = this.#far(number)
    const { unsynced } = far
    far.ownedMs = Math.max(far.ownedMs, ownedMs)
    for (const change of changes) unsynced.changed(change)
    const shared = this.#world.volume(number)?.shared
    if (!shared || shared.isLost) unsynced.lose()
  }

  close(): void {
    for (const { cancelAlive } of this.#volumes.values()) cancelAlive?.()
  }

  async #serve(number: VolumeNumber, request: Buffer, fd: number): Promise<void> {
    const far = this.#far(number)
    const opcode = request.readUInt32LE(4)
    const uniqueLo = request.readUInt32LE(8)
    const uniqueHi = request.readUInt32LE(12)
    const unique = uniqueOf(uniqueLo, uniqueHi)
    const pending: Pending = {
      opcode,
      fd,
      uniqueLo,
      uniqueHi,
      pid: request.readUInt32LE(32),
      abort: new AbortController(),
      askedMs: this.#leaseClock.monotonicMs(),
      forgotten: far.forgotten,
      isResent: wire.isResend(uniqueHi) && isOnce(opcode),
      isDoubtful: false,
      isGiven: false,
      answered: () => {},
    }
    far.underWay.set(unique, pending)
    let reply: Buffer | null
    try {
      reply = await this.#ask(far, request, pending)
    } catch (error) {
      if (isBug(error)) throw error
      const op = opcodeName(opcode)
      this.#reasons.note(error, { number, ino: inoOf(request), op })
      this.#world.log.warn({ op: `access.${op}`, number, error: messageOf(error) }, 'not answered')
      reply = bareReply(error instanceof FsError ? error.errno : -errnoOf('EIO'))
    } finally {
      far.underWay.delete(unique)
    }
    try {
      if (!pending.isGiven) await this.#give(far, request, pending, reply)
    } finally {
      pending.answered()
    }
  }

  async #give(
    far: FarVolume,
    request: Buffer,
    pending: Pending,
    reply: Buffer | null,
  ): Promise<void> {
    const { number } = far
    const { fd, opcode, uniqueLo, uniqueHi } = pending
    // Who has got a lock sees what the one before wrote: this kernel's pages of the file may be older.
    if (reply && isLockTaken(request, opcode, reply)) {
      const ino = inoOf(request)
      await this.#invalidations.forget(fd, number, ino, 0, 0)
    }
    if (reply === null) {
      request.writeUInt32LE(opcode, 4)
      await this.#world.again(request, fd)
    } else if (reply.length > 0) {
      const isGood = reply.readInt32LE(4) === 0
      const isLate = () => this.#leaseClock.monotonicMs() - pending.askedMs > GRANT_LATE_MS
      const wasLate = pending.isResent || pending.forgotten !== far.forgotten || isLate()
      if (isGood && wasLate) endLives(opcode, reply)
      answer(fd, reply, reply.length, reply.readInt32LE(4), uniqueLo, uniqueHi)
      // This process stood still in between: the owner reckons with less.
      if (isGood && !wasLate && isLate()) {
        const ino = inoOf(request)
        const attributes = inodesIn(opcode, ino, reply)
        await this.#world.forget(number, { attributes, names: attributes.length > 0 })
      }
    }
  }

  /** @returns null when the namespace mount answers for the volume itself */
  async #ask(far: FarVolume, request: Buffer, pending: Pending): Promise<Buffer | null> {
    const { number, handles } = far
    const { opcode } = pending
    const wait = opcode === OPCODES.SETLKW.code
    if (wait) request.writeUInt32LE(OPCODES.SETLK.code, 4)
    if (wait || opcode === OPCODES.SETLK.code) far.mayLock = true
    const { clock } = this.#world
    for (let waitMs = LOCK_MS_MIN; ; waitMs = Math.min(LOCK_MS_MAX, waitMs * 2)) {
      const reply = await this.#attempts(far, request, pending)
      if (reply === null || reply.length === 0) return reply
      const errno = reply.readInt32LE(4)
      if (wait && errno === -errnoOf('EAGAIN')) {
        if (pending.abort.signal.aborted) throw new FsError('EINTR', 'lock', { number })
        await sleep(clock, waitMs)
        continue
      }
      if (errno === 0 && !this.#world.volume(number)?.shared)
        handles.answered(request, opcode, reply)
      return reply
    }
  }

  /** Until somebody has answered: the owner may change, and the way to it may break and be mended. */
  async #attempts(far: FarVolume, request: Buffer, pending: Pending): Promise<Buffer | null> {
    const { clock } = this.#world
    const begunMs = clock.monotonicMs()
    let lastError: unknown = null
    for (;;) {
      const volume = this.#world.volume(far.number)
      if (!volume) throw new FsError('ESTALE', 'access', { number: far.number })
      const interrupted = pending.abort.signal.aborted
      if (interrupted || clock.monotonicMs() - begunMs > OWNER_MS_MAX) {
        throw this.#unanswered(far, volume, pending, lastError)
      }
      const why = whyNotYet(volume)
      if (why !== null) {
        lastError = new FsError('EAGAIN', 'access', { message: why })
        await sleep(clock, RETRY_MS)
        continue
      }
      if (volume.shared) {
        if (pending.isDoubtful) throw this.#unanswered(far, volume, pending, lastError)
        if (far.life !== null) this.#lose(far)
        this.#mayFail(far, volume, request, pending)
        await this.#ownTurn(pending)
        return await this.#own(far, volume, request, pending)
      }
      if (volume.closed?.state === 'locked') {
        throw new FsError('ENOKEY', 'access', { volume: volume.stored.record.name })
      }
      // All that FLUSH does is to let go of locks.
      if (pending.opcode === OPCODES.FLUSH.code && !far.mayLock) return bareReply(0)
      try {
        return await this.#call(far, volume, request, pending)
      } catch (error) {
        if (!(error instanceof FsError) || isBug(error)) throw error
        if (error instanceof Refused || error.code === 'ENOKEY') throw error
        lastError = error
        await this.#afterFailure(far, volume, pending, error)
      }
    }
  }

  /**
   * Of this kernel's changes that this node executes itself one is under way at a time: the last one's answer is stored, for
   * the daemon that comes after a death before it was given.
   */
  async #ownTurn(pending: Pending): Promise<void> {
    const { opcode } = pending
    const isLock = opcode === OPCODES.SETLK.code || opcode === OPCODES.SETLKW.code
    if (!isOnce(opcode) || isLock) return
    const before = this.#lastOwn
    this.#lastOwn = new Promise((resolve) => {
      pending.answered = resolve
    })
    await before
  }

  async #own(
    far: FarVolume,
    volume: NodeVolume,
    request: Buffer,
    pending: Pending,
  ): Promise<Buffer | null> {
    const { number } = far
    const reply = await this.#world.own(number, this.#world.kernel(), new Uint8Array(request))
    if (reply === null) return null
    const isLost = !volume.shared || volume.shared.isLost
    if (!isLost) far.ownedMs = this.#leaseClock.monotonicMs()
    this.#done(far, request, pending, reply, isLost)
    return reply
  }

  /** Notes what a request has changed, or made durable. @param isLost its owner is the owner no more */
  #done(
    { unsynced }: FarVolume,
    request: Buffer,
    { opcode, pid, askedMs }: Pending,
    reply: Buffer,
    isLost: boolean,
  ): void {
    if (reply.length === 0 || reply.readInt32LE(4) !== 0) return
    const synced = syncedBy(request, opcode)
    if (synced !== undefined) unsynced.synced(synced, askedMs)
    for (const ino of changedBy(request, opcode)) {
      if (isLost) unsynced.lost(ino, pid)
      else unsynced.changed({ ino, thread: pid, atMs: this.#leaseClock.monotonicMs() })
    }
  }

  /** An fsync fails for what another owner has not got. @throws FsError EIO once for each caller */
  #mayFail(
    { unsynced }: FarVolume,
    { shared, stored }: NodeVolume,
    request: Buffer,
    { opcode, pid }: Pending,
  ): void {
    const synced = syncedBy(request, opcode)
    if (synced === undefined || !unsynced.take(synced, pid)) return
    if (shared) shared.owes = unsynced.owes
    const { name } = stored.record
    throw new Refused('EIO', 'access', {
      volume: name,
      message: `what was changed before volume ${name} went to another owner, and was not synced, may be gone: look at it, and sync again`,
    })
  }

  #lostHandle(far: FarVolume, request: Buffer, { opcode, pid }: Pending): Buffer {
    if (opcode === OPCODES.RELEASE.code) return bareReply(0)
    // Whoever is told so here is not told again.
    const synced = syncedBy(request, opcode)
    if (synced !== undefined) far.unsynced.take(synced, pid)
    throw new Refused('EIO', 'access', {
      message:
        'the file was opened before its volume changed hands, and what was written may be gone: open it anew',
    })
  }

  async #call(
    far: FarVolume,
    volume: NodeVolume,
    request: Buffer,
    pending: Pending,
  ): Promise<Buffer> {
    const { clock, ownerOf, peerOf, call } = this.#world
    const owner = ownerOf(volume)
    const peer = owner === null ? null : peerOf(owner)
    const { name } = volume.stored.record
    if (owner === null || peer === null) {
      throw new FsError('EHOSTUNREACH', 'access', { message: `volume ${name} has no owner` })
    }
    this.#keepSession(far, owner, pending)
    const holds = () => far.handles.holds(request, pending.opcode)
    if (!holds()) return this.#lostHandle(far, request, pending)
    if (!far.known) {
      far.stating ??= this.#state(far, peer).finally(() => {
        far.stating = null
      })
      const before = far.life
      await far.stating
      // What a life before may have done, the one after must not do again.
      if (mayBeDone(pending) && far.life?.epoch !== before?.epoch) throw doubtful()
      // Meanwhile the session may have been lost.
      if (!holds()) return this.#lostHandle(far, request, pending)
    }
    this.#mayFail(far, volume, request, pending)
    const body = encodeAccessCall({
      op: 'request',
      ...this.#asker(far),
      oldest: oldestOf(far.underWay),
      frame: request,
    })
    // The bit says that it comes again: to the owner it comes by its session.
    body.writeUInt32LE(wire.withoutResend(request.readUInt32LE(12)), accessHeaderBytes + 12)
    const lane = isLarge(request, pending.opcode) ? 'bulk' : 'control'
    const sentMs = clock.monotonicMs()
    const { session } = far
    const reply = await call(peer, ACCESS_SERVICE[lane], body, {
      lane,
      deadlineMs: ATTEMPT_MS,
      signal: pending.abort.signal,
    })
    const isLost = far.session !== session
    if (isLost && isOnce(pending.opcode)) {
      // The owner of now may not have it. A descriptor of the session before is nothing: it is asked for again.
      if (changedBy(request, pending.opcode).length > 0) throw doubtful()
      throw new FsError('EAGAIN', 'access', { message: 'the volume went to another owner' })
    }
    this.#done(far, request, pending, reply, isLost)
    if (isLost) return reply
    far.answeredMs = Math.max(far.answeredMs, sentMs)
    far.ownedMs = Math.max(far.ownedMs, pending.askedMs)
    far.usedMs = sentMs
    this.#aliveLater(far)
    return reply
  }

  /** What every message to the owner begins with: which session asks, and what its kernel can. */
  #asker({ number, session }: FarVolume) {
    const { flags, keepsNames } = this.#world.kernel()
    return { number, session, flags, keepsNames }
  }

  /** Says to the owner what this node has open there: at the beginning, and to each new life of the owner. */
  async #state(far: FarVolume, peer: PeerKey): Promise<void> {
    const { clock, call } = this.#world
    const { session, life, handles } = far
    const said: Stated = { life, opens: handles.list() }
    const frame = Buffer.from(JSON.stringify(said))
    const header = { op: 'state', ...this.#asker(far), oldest: 0n } as const
    const sentMs = clock.monotonicMs()
    const body = encodeAccessCall({ ...header, frame })
    const answer = await call(peer, ACCESS_SERVICE.control, body, { deadlineMs: ATTEMPT_MS })
    if (far.session !== session) return
    const now = decodeNow(answer)
    if (far.line !== null && !hasAllOf(now, far.line)) far.unsynced.lose()
    const { node, boot, epoch } = now
    far.life = { node, boot, epoch }
    far.line = far.life
    far.known = true
    this.#keep(far)
    far.answeredMs = Math.max(far.answeredMs, sentMs)
  }

  /** A session that was not answered for a term is over, and so is one with an owner of before. */
  #keepSession(far: FarVolume, owner: NodeId, pending: Pending): void {
    const { clock } = this.#world
    const isOver = far.life !== null && clock.monotonicMs() - far.answeredMs > accessTermMs
    if (isOver || (far.owner !== null && far.owner !== owner)) this.#lose(far)
    if (mayBeDone(pending) && far.life === null) throw doubtful()
    far.owner = owner
  }

  /** What this node held under the session is gone: it begins anew, and its descriptors answer EIO. */
  #lose(far: FarVolume): void {
    const { log, random } = this.#world
    const open = far.handles.list()?.length ?? 1
    if (open > 0) {
      const { number } = far
      log.warn({ op: 'access.lost', number, open }, 'open files answer EIO from now on')
    }
    for (const pending of far.underWay.values()) {
      if (pending.isDoubtful) pending.abort.abort()
    }
    far.handles.lose(random)
    // A lock may be among what is asked for.
    far.mayLock = far.underWay.size > 0
    far.session = newSession(random)
    far.known = false
    far.life = null
    far.owner = null
    this.#keep(far)
  }

  #keep({ number, session, life, handles: { generation } }: FarVolume): void {
    this.#world.sessions.set(number, { session, generation, life })
  }

  /** The owner does not know the session: it has begun a new life, to which the session is stated, or the session is over. */
  #unknown(far: FarVolume): void {
    if (far.known) far.known = false
    else this.#lose(far)
  }

  async #afterFailure(
    far: FarVolume,
    volume: NodeVolume,
    pending: Pending,
    error: FsError,
  ): Promise<void> {
    const { clock, refresh, takeOver, isMoving, log } = this.#world
    const isUnknown = ['ETIMEDOUT', 'ECONNRESET', 'ECANCELED'].includes(error.code)
    if (isUnknown && isOnce(pending.opcode)) pending.isDoubtful = true
    if (error.code === 'ESTALE') this.#unknown(far)
    if (pending.abort.signal.aborted) return
    const silentMs = clock.monotonicMs() - Math.max(far.answeredMs, far.usedMs)
    await sleep(clock, RETRY_MS)
    try {
      await refresh(volume)
      const sameOwner = this.#world.ownerOf(volume) === far.owner || far.owner === null
      // Who answers that it has not got it open was asked to let go of it, or has just begun.
      const letGo = error.code === 'ENODEV'
      const isThere = error.code === 'ESTALE' || error.code === 'EAGAIN'
      const isGone = letGo || silentMs > SILENT_MS
      if (!isThere && sameOwner && isGone && !isMoving(volume)) await takeOver(volume)
    } catch (failed) {
      if (isBug(failed)) throw failed
      log.info({ op: 'access.owner', error: messageOf(failed) }, 'no owner yet')
    }
  }

  #unanswered(far: FarVolume, volume: NodeVolume, pending: Pending, cause: unknown): FsError {
    const { name } = volume.stored.record
    // It may be done or not, and must never be done later: the owner refuses the session from now on.
    if (pending.isDoubtful && far.life !== null) this.#lose(far)
    if (pending.opcode === OPCODES.SETLKW.code && pending.abort.signal.aborted) {
      return new FsError('EINTR', 'access', { volume: name, cause })
    }
    const why = cause === null ? 'it has none' : messageOf(cause)
    return new FsError(codeOf(cause) === 'EAGAIN' ? 'EAGAIN' : 'EIO', 'access', {
      volume: name,
      message: `volume ${name}: its owner did not answer: ${why}`,
      cause,
    })
  }

  #far(number: VolumeNumber): FarVolume {
    let far = this.#volumes.get(number)
    if (!far) {
      const { random, clock, sessions } = this.#world
      const kept = sessions.get(number)
      far = {
        number,
        session: kept?.session ?? newSession(random),
        owner: null,
        known: false,
        life: kept?.life ?? null,
        line: kept?.life ?? null,
        unsynced: new Unsynced(() => far?.ownedMs ?? 0),
        ownedMs: Number.NEGATIVE_INFINITY,
        stating: null,
        answeredMs: clock.monotonicMs(),
        usedMs: clock.monotonicMs(),
        handles: new FarHandles(random, kept?.life ? kept.generation : null),
        mayLock: Boolean(kept?.life),
        underWay: new Map(),
        forgotten: 0,
        cancelAlive: null,
      }
      this.#volumes.set(number, far)
      if (kept?.life) far.unsynced.uncounted(this.#leaseClock.monotonicMs())
    }
    return far
  }

  #aliveLater(far: FarVolume): void {
    far.cancelAlive ??= this.#world.clock.after(ALIVE_MS, () => {
      far.cancelAlive = null
      this.#alive(far).catch(background(this.#world.log, 'access.alive'))
    })
  }

  async #alive(far: FarVolume): Promise<void> {
    const { clock, peerOf, call } = this.#world
    const { owner, session } = far
    const peer = owner === null ? null : peerOf(owner)
    if (far.life === null || peer === null) return
    const sentMs = clock.monotonicMs()
    const askedMs = this.#leaseClock.monotonicMs()
    const isIdle = !far.handles.any && sentMs - far.usedMs > IDLE_MS
    const op = isIdle ? 'end' : 'alive'
    const header = { op, ...this.#asker(far), oldest: 0n } as const
    const body = encodeAccessCall({ ...header, frame: new Uint8Array(0) })
    try {
      await call(peer, ACCESS_SERVICE.control, body, { deadlineMs: ALIVE_MS })
      if (far.session !== session) return
      far.answeredMs = Math.max(far.answeredMs, sentMs)
      far.ownedMs = Math.max(far.ownedMs, askedMs)
    } catch (error) {
      if (isBug(error) || !(error instanceof FsError)) throw error
      if (far.session !== session) return
      if (codeOf(error) === 'ESTALE') this.#unknown(far)
      else if (sentMs - far.answeredMs > accessTermMs) this.#lose(far)
      if (!far.known && far.handles.any) {
        await this.#state(far, peer).catch((failed: unknown) => {
          if (codeOf(failed) === 'ESTALE') this.#lose(far)
        })
      }
    }
    if (isIdle) {
      if (!far.handles.any && far.underWay.size === 0) this.#lose(far)
    } else this.#aliveLater(far)
  }
}

/** The caller's answer: not a reason to ask again. */
class Refused extends FsError {}

/** Why nobody can be asked for a moment, in words; null when somebody can. */
function whyNotYet({ shared, closed }: NodeVolume): string | null {
  if (shared) return shared.isElsewhere ? 'it goes to another node' : null
  // This node's own: its daemon has just begun, or the coordinator is away.
  return closed?.state === 'waiting' ? closed.why : null
}

function uniqueOf(lo: number, hi: number): bigint {
  return (BigInt(wire.withoutResend(hi)) << 32n) | BigInt(lo)
}

/** Inode that a request is about: fuse_in_header.nodeid. */
function inoOf(request: Buffer): Ino {
  return wire.nodeInoAt(request, 16)
}

function mayBeDone({ isResent, isDoubtful }: Pending): boolean {
  return isResent || isDoubtful
}

function doubtful(): Refused {
  return new Refused('EIO', 'access', {
    message: 'whether it was done is not known: the owner ended in the middle of it',
  })
}

function newSession(random: Random): number {
  return random.bytes(6).readUIntLE(0, 6) || 1
}

function oldestOf(underWay: ReadonlyMap<bigint, Pending>): bigint {
  let oldest: bigint | null = null
  for (const unique of underWay.keys()) if (oldest === null || unique < oldest) oldest = unique
  return oldest ?? 0n
}

function isLarge(request: Buffer, opcode: number): boolean {
  if (request.length > SMALL_BYTES) return true
  if (opcode !== OPCODES.READ.code) return false
  // fuse_read_in: fh, offset, size.
  return request.readUInt32LE(wire.IN_HEADER_BYTES + 16) > SMALL_BYTES
}

function isLockTaken(request: Buffer, opcode: number, reply: Buffer): boolean {
  if (opcode !== OPCODES.SETLK.code && opcode !== OPCODES.SETLKW.code) return false
  const isTaken = request.readUInt32LE(wire.IN_HEADER_BYTES + 32) !== wire.F_UNLCK
  return isTaken && reply.readInt32LE(4) === 0
}

function bareReply(errno: number): Buffer {
  const reply = Buffer.alloc(wire.OUT_HEADER_BYTES)
  wire.encodeReplyHeader(reply, reply.length, errno, 0, 0)
  return reply
}
