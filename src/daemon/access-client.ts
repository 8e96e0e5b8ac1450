import {
  background,
  codeOf,
  errnoOf,
  FsError,
  type Ino,
  isBug,
  messageOf,
  type NodeId,
  type PeerKey,
  ROOT_INO,
  sleep,
  type VolumeNumber,
} from '../base/index.ts'
import {
  answer,
  answerAlone,
  type Change,
  changedBy,
  endLives,
  type FarNews,
  type Forgetting,
  GRANT_LATE_MS,
  handleOf,
  Invalidations,
  inodesIn,
  isKilled,
  isOnce,
  mapAlone,
  mayHaveMap,
  OPCODES,
  type OpenFile,
  opcodeName,
  type Reason,
  Reasons,
  wire,
} from '../fuse/index.ts'
import type { Net } from '../net/index.ts'
import { ACCESS_SERVICE, FORGET_SERVICE, type OwnKernel } from './access-server.ts'
import { accessHeaderBytes, encodeAccessCall, forgetShape } from './access-wire.ts'
import { parsed } from './call-bytes.ts'
import type { CarriedHandles } from './far-handles.ts'
import { FarVolume, type FarVolumeWorld, type Pending } from './far-volume.ts'
import type { OwnerLine } from './owner-life.ts'
import type { NodeVolume } from './volumes.ts'

export interface AccessClientWorld extends FarVolumeWorld {
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
  /** A request was answered with an error out of the ordinary. */
  reason(reason: Reason): void
  /** Tell the namespace mount of what it has handed on. */
  heard(news: FarNews): void
  /** Have it forget. */
  forget(number: VolumeNumber, forgetting: Forgetting): Promise<void>
}

export interface FarRequest {
  number: VolumeNumber
  frame: Uint8Array
  /** Where the kernel gets its answer. */
  fd: number
  /** The namespace mount wants to know the answer. */
  isLookedAt: boolean
}

/** A page of a directory's listing: the request for it, and what `listed` is to say of when it was asked for. */
export interface ListRequest {
  number: VolumeNumber
  page: Uint8Array
  asked: number
  askedMs: number
}

/** A caller waits so long for an owner that can be reached: a lease's end and a take-over are within it. */
const OWNER_MS_MAX = 30_000
/** An owner that says nothing for so long is looked for anew. */
const SILENT_MS = 3000
const ATTEMPT_MS = 10_000
/** A connection that broke is back within this; else whoever owns the volume now may be another node. */
const CONNECT_MS = 300
const RETRY_MS = 100
const TAKE_OVER_LOOK_MS = 500
/** A lock that another has is asked for again after so long, and ever longer. */
const LOCK_MS_MIN = 5
const LOCK_MS_MAX = 200
const KILLED_LOOK_MS = 200
const LIST_MS = 2000
/** Longer than a take-over: who waits so long is told that there is no answer meanwhile. */
const PROBE_MS_MAX = 60_000
const PROBE_XATTR = 'user.weft.probe'
/** Requests and answers above this go beside the others. */
const SMALL_BYTES = 64 * 1024

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
  /** The last of this kernel's changes that this node executes itself has been answered. */
  #lastOwn: Promise<void> = Promise.resolve()
  #requests = 0

  constructor(world: AccessClientWorld) {
    this.#world = world
    this.#reasons = new Reasons(world.clock, (reason) => world.reason(reason))
  }

  request({ number, frame, fd, isLookedAt }: FarRequest): void {
    const request = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
    this.#serve(number, request, fd, isLookedAt).catch(
      background(this.#world.log, 'access.request'),
    )
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
      pending.isInterrupted = true
      this.#letGoIfKilled(underWay, unique, pending)
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

  /** Go on with the sessions of the daemon before this one: what its node holds under them must not end for want of a request. */
  resume(): void {
    const { sessions, log } = this.#world
    for (const number of sessions.begun()) {
      this.#far(number).resume().catch(background(log, 'access.resume'))
    }
  }

  /** As FarVolume.owned. */
  owned(volume: NodeVolume): CarriedHandles | null {
    return this.#far(volume.stored.record.number).owned(volume)
  }

  /** As FarVolume.left. */
  left(volume: NodeVolume, line: OwnerLine, opens: readonly OpenFile[]): void {
    this.#far(volume.stored.record.number).left(line, opens)
  }

  /** As FarVolume.lost. */
  lost(volume: NodeVolume, before: boolean): void {
    this.#far(volume.stored.record.number).lost(volume, before)
  }

  /** As FarVolume.changed, of a volume that the namespace mount hands on from now on. */
  unsynced(number: VolumeNumber, changes: readonly Change[], ownedMs: number): void {
    const shared = this.#world.volume(number)?.shared
    this.#far(number).changed(changes, ownedMs, !shared || shared.isLost)
  }

  /** Who owns a volume that this node uses through it, and under which session; null for one that it does not use now. */
  inUse(number: VolumeNumber): {
    readonly owner: NodeId
    readonly session: number
    /** Since a message was sent to it that was answered. */
    readonly silentMs: number
  } | null {
    const far = this.#volumes.get(number)
    if (!far?.isKnown || far.life === null || far.owner === null) return null
    const { owner, session, silentMs } = far
    return { owner, session, silentMs }
  }

  /**
   * Ask the owner what a program would ask, under the session that there is: for an attribute of the root that nobody set.
   * Unlike stat(2) of the root, that rests on the owner's lease, and unlike a lookup it grants this node's kernel nothing. It
   * is no use of the volume: a session that nobody uses ends as it would have.
   * @throws FsError as the call, and what the owner answers
   */
  async probe(number: VolumeNumber): Promise<void> {
    const { clock } = this.#world
    const far = this.#far(number)
    const { session } = far
    const untilMs = clock.monotonicMs() + PROBE_MS_MAX
    for (;;) {
      try {
        await this.#probeOnce(far)
        return
      } catch (error) {
        const isOver = far.session !== session || clock.monotonicMs() > untilMs
        // On its way to another owner, or to be told of the session again: by programs' calls and signs of life, not from here.
        if (isOver || !['EAGAIN', 'ENODEV', 'ESTALE'].includes(codeOf(error))) throw error
      }
      await sleep(clock, RETRY_MS)
    }
  }

  async #probeOnce(far: FarVolume): Promise<void> {
    const { call, peerOf } = this.#world
    const peer = far.owner === null ? null : peerOf(far.owner)
    if (peer === null) throw new FsError('EHOSTUNREACH', 'probe', { message: 'it has no owner' })
    const frame = wire.encodeGetxattr(far.number, ROOT_INO, PROBE_XATTR)
    const body = encodeAccessCall({ op: 'request', ...far.asker(), oldest: 0n, frame })
    const reply = await call(peer, ACCESS_SERVICE.control, body, { deadlineMs: PROBE_MS_MAX })
    const errno = reply.length < wire.OUT_HEADER_BYTES ? -errnoOf('EIO') : reply.readInt32LE(4)
    if (errno === 0 || errno === -errnoOf('ENODATA')) return
    throw new FsError('EIO', 'probe', { message: `its owner answered with errno ${-errno}` })
  }

  /** The namespace mount has ended, if by an abort without closing anything. */
  kernelEnded(): void {
    for (const far of this.#volumes.values()) far.leave()
  }

  close(): void {
    for (const far of this.#volumes.values()) far.close()
  }

  async #serve(
    number: VolumeNumber,
    request: Buffer,
    fd: number,
    isLookedAt: boolean,
  ): Promise<void> {
    const far = this.#far(number)
    const opcode = request.readUInt32LE(4)
    const uniqueLo = request.readUInt32LE(8)
    const uniqueHi = request.readUInt32LE(12)
    const unique = uniqueOf(uniqueLo, uniqueHi)
    const isResent = wire.isResend(uniqueHi) && isOnce(opcode)
    const handle = handleOf(request, opcode)
    if (handle >= 0) far.drops.used(handle)
    const pending: Pending = {
      opcode,
      ino: inoOf(request),
      nth: ++this.#requests,
      fd,
      uniqueLo,
      uniqueHi,
      pid: request.readUInt32LE(32),
      abort: new AbortController(),
      askedMs: this.#world.leaseClock.monotonicMs(),
      asked: far.asked(),
      forgotten: far.forgotten,
      isLookedAt,
      whole: null,
      noLocks: false,
      isResent,
      mayRepeat: mayRepeat(request, opcode),
      isDoubtful: false,
      isInterrupted: false,
      askedAt: isResent ? far.atBefore : null,
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
      // Executed or not: the owner may reckon that pages of before are dropped with its answer.
      if (opcode === OPCODES.OPEN.code) far.drops.unsure(pending.ino)
    } finally {
      far.underWay.delete(unique)
    }
    if (isLookedAt) this.#tell(far, pending)
    try {
      if (!pending.isGiven) await this.#give(far, request, pending, reply)
      // The kernel did not take the answer, with which the owner reckons that pages of before are dropped.
      else if (opcode === OPCODES.OPEN.code) far.drops.unsure(pending.ino)
    } finally {
      pending.answered()
    }
  }

  /** The namespace mount's thread learns from an answer before its kernel has it, and asks for what follows. */
  #tell(far: FarVolume, pending: Pending): void {
    const { uniqueLo, uniqueHi, opcode, whole, noLocks } = pending
    this.#world.heard({
      kind: 'answered',
      number: far.number,
      uniqueLo,
      uniqueHi,
      reply: whole && new Uint8Array(mayHaveMap(opcode) ? mapAlone(whole) : whole),
      isFresh: this.#isFresh(far, pending),
      noLocks,
    })
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
      const wasFresh = this.#isFresh(far, pending)
      if (isGood && !wasFresh) endLives(opcode, reply)
      if (isGood) heedPages(far, pending, reply)
      answer(fd, reply, reply.length, reply.readInt32LE(4), uniqueLo, uniqueHi)
      // This process stood still in between: the owner reckons with less.
      if (isGood && wasFresh && !this.#isFresh(far, pending)) {
        const ino = inoOf(request)
        const attributes = inodesIn(opcode, ino, reply)
        await this.#world.forget(number, { attributes, names: attributes.length > 0 })
      }
    }
  }

  /** What an answer carries may be kept: it is in time, and nothing was revoked since it was asked for. */
  #isFresh(far: FarVolume, { isResent, forgotten, askedMs }: Pending): boolean {
    if (isResent || forgotten !== far.forgotten) return false
    return this.#world.leaseClock.monotonicMs() - askedMs <= GRANT_LATE_MS
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
        if (pending.isInterrupted) throw new FsError('EINTR', 'lock', { number })
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
      const isLock = pending.opcode === OPCODES.SETLKW.code
      const interrupted = pending.abort.signal.aborted || (isLock && pending.isInterrupted)
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
        const maybe = mayBeDone(pending)
        if (maybe && pending.isDoubtful) throw this.#unanswered(far, volume, pending, lastError)
        // It may have been done by the owner that a daemon before this one asked.
        if (maybe && far.wasFar) throw doubtful()
        if (far.life !== null) far.lose()
        mayFail(far, volume, request, pending)
        await this.#ownTurn(pending)
        return await this.#own(far, volume, request, pending)
      }
      if (volume.closed?.state === 'locked') {
        throw new FsError('ENOKEY', 'access', { volume: volume.stored.record.name })
      }
      // All that FLUSH does is to let go of locks.
      if (pending.opcode === OPCODES.FLUSH.code && !far.mayLock) {
        pending.noLocks = true
        return bareReply(0)
      }
      try {
        return await this.#call(far, volume, request, pending)
      } catch (error) {
        if (!(error instanceof FsError) || isBug(error)) throw error
        if (error.code === 'ENOKEY') far.endNear()
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
    far.doneHere(request, pending, reply, !volume.shared || volume.shared.isLost)
    return reply
  }

  async #call(
    far: FarVolume,
    volume: NodeVolume,
    request: Buffer,
    pending: Pending,
  ): Promise<Buffer> {
    const { ownerOf, peerOf, call } = this.#world
    const owner = ownerOf(volume)
    const peer = owner === null ? null : peerOf(owner)
    const { name } = volume.stored.record
    if (owner === null || peer === null) {
      throw new FsError('EHOSTUNREACH', 'access', { message: `volume ${name} has no owner` })
    }
    far.keepSession(owner)
    const isOver = () => {
      // What a life before may have done, the one after must not do again.
      if (mayBeDone(pending) && pending.askedAt !== far.at) throw doubtful()
      return !far.handles.holds(request, pending.opcode)
    }
    if (isOver()) return lostHandle(far, volume, request, pending)
    if (!far.isKnown) {
      await far.state(peer)
      if (isOver()) return lostHandle(far, volume, request, pending)
    }
    mayFail(far, volume, request, pending)
    if (pending.opcode === OPCODES.READ.code && !pending.isLookedAt) far.offerNear()
    const body = encodeAccessCall({
      op: 'request',
      ...far.asker(),
      fileMap: mayHaveMap(pending.opcode) && pending.isLookedAt,
      oldest: oldestOf(far.underWay),
      frame: request,
    })
    // The bit says that it comes again: to the owner it comes by its session.
    body.writeUInt32LE(wire.withoutResend(request.readUInt32LE(12)), accessHeaderBytes + 12)
    const lane = isLarge(request, pending.opcode) ? 'bulk' : 'control'
    const sentMs = this.#world.leaseClock.monotonicMs()
    const { session } = far
    pending.askedAt = far.at
    const whole = await call(peer, ACCESS_SERVICE[lane], body, {
      lane,
      deadlineMs: ATTEMPT_MS,
      connectMs: CONNECT_MS,
      signal: pending.abort.signal,
    })
    const reply = answerAlone(whole)
    const isLost = far.session !== session
    // What was asked before this and not answered is no longer in doubt: the owner has it under one number.
    if (!isLost) pending.isDoubtful = false
    if (isLost && isOnce(pending.opcode)) {
      // The owner of now may not have it. A descriptor of the session before is nothing: it is asked for again.
      if (changedBy(request, pending.opcode).length > 0) throw doubtful()
      throw new FsError('EAGAIN', 'access', { message: 'the volume went to another owner' })
    }
    far.done(request, pending, reply, isLost)
    if (!isLost) {
      far.heard(sentMs, pending.askedMs)
      pending.whole = whole
    }
    return reply
  }

  /** Ask for a page of a directory's listing, for the namespace mount; no program waits for it. */
  list(request: ListRequest): void {
    this.#list(request).catch(background(this.#world.log, 'access.list'))
  }

  async #list({ number, page, asked, askedMs }: ListRequest): Promise<void> {
    const far = this.#far(number)
    const { session, forgotten } = far
    const sentMs = this.#world.leaseClock.monotonicMs()
    const peer = far.owner === null ? null : this.#world.peerOf(far.owner)
    let reply: Uint8Array<ArrayBuffer> | null = null
    if (peer !== null) {
      const body = encodeAccessCall({ op: 'request', ...far.asker(), oldest: 0n, frame: page })
      try {
        const { call } = this.#world
        reply = new Uint8Array(
          await call(peer, ACCESS_SERVICE.control, body, { deadlineMs: LIST_MS }),
        )
      } catch (error) {
        // Whoever asks for a name finds out what is wrong.
        if (isBug(error) || !(error instanceof FsError)) throw error
      }
    }
    const isInTime = this.#world.leaseClock.monotonicMs() - sentMs <= GRANT_LATE_MS
    const isFresh = far.session === session && far.forgotten === forgotten && isInTime
    this.#world.heard({ kind: 'listed', number, page, asked, askedMs, reply, isFresh })
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
    if (error.code === 'ESTALE') far.unknown()
    if (error.code === 'EAGAIN') far.moves()
    if (pending.abort.signal.aborted) return
    // Before this was asked, the owner may have had nothing to answer.
    const askedForMs = this.#world.leaseClock.monotonicMs() - pending.askedMs
    const silentMs = Math.min(far.silentMs, askedForMs)
    await sleep(clock, RETRY_MS)
    try {
      await refresh(volume)
      const sameOwner = this.#world.ownerOf(volume) === far.owner || far.owner === null
      // Who answers that it has not got it open was asked to let go of it, or has just begun.
      const letGo = error.code === 'ENODEV'
      const isThere = error.code === 'ESTALE' || error.code === 'EAGAIN'
      const isGone = letGo || silentMs > SILENT_MS
      if (isThere || !sameOwner || !isGone || isMoving(volume)) return
      // Meanwhile the owner may be back: it is asked again.
      await Promise.race([takeOver(volume), sleep(clock, TAKE_OVER_LOOK_MS)])
    } catch (failed) {
      if (isBug(failed)) throw failed
      log.info({ op: 'access.owner', error: messageOf(failed) }, 'no owner yet')
    }
  }

  #unanswered(far: FarVolume, volume: NodeVolume, pending: Pending, cause: unknown): FsError {
    const { name } = volume.stored.record
    // It may be done or not, and must never be done later: the owner refuses the session from now on.
    if (pending.isDoubtful && far.life !== null) far.lose()
    if (pending.opcode === OPCODES.SETLKW.code && pending.isInterrupted) {
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
      far = new FarVolume(number, this.#world)
      this.#volumes.set(number, far)
    }
    return far
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

/**
 * As Pending.mayRepeat: an open that changes nothing, a close, and what is done with locks. The same life of the owner knows a
 * close by its number, and the next one is told that the file is open still: there it counts once.
 */
function mayRepeat(request: Buffer, opcode: number): boolean {
  switch (opcode) {
    case OPCODES.OPEN.code:
      return changedBy(request, opcode).length === 0
    case OPCODES.RELEASE.code:
    case OPCODES.SETLK.code:
    case OPCODES.SETLKW.code:
      return true
    default:
      return false
  }
}

/** Whether a request may have been executed, and must not be once more. */
function mayBeDone({ isResent, isDoubtful, mayRepeat }: Pending): boolean {
  return (isResent || isDoubtful) && !mayRepeat
}

/** @throws FsError EIO, once for each caller, for an fsync of what another owner has not got */
function mayFail(far: FarVolume, volume: NodeVolume, request: Buffer, pending: Pending): void {
  if (!far.failsOnce(request, pending, volume)) return
  const { name } = volume.stored.record
  throw new Refused('EIO', 'access', {
    volume: name,
    message: `what was changed before volume ${name} went to another owner, and was not synced, may be gone: look at it, and sync again`,
  })
}

function lostHandle(far: FarVolume, volume: NodeVolume, request: Buffer, pending: Pending): Buffer {
  if (pending.opcode === OPCODES.RELEASE.code) return bareReply(0)
  // Whoever is told so here is not told again.
  far.failsOnce(request, pending, volume)
  throw new Refused('EIO', 'access', {
    message:
      'the file was opened before its volume changed hands, and what was written may be gone: open it anew',
  })
}

function doubtful(): Refused {
  return new Refused('EIO', 'access', {
    message: 'whether it was done is not known: the owner ended in the middle of it',
  })
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

/**
 * Nobody is told to keep a file's pages while another open is still to drop them, nor those of before this daemon's life.
 * Source of the offsets: include/uapi/linux/fuse.h, struct fuse_open_out
 */
function heedPages(far: FarVolume, pending: Pending, reply: Buffer): void {
  const { opcode } = pending
  const isOpen = opcode === OPCODES.OPEN.code
  if (!isOpen && opcode !== OPCODES.CREATE.code && opcode !== OPCODES.TMPFILE.code) return
  const entry = wire.OUT_HEADER_BYTES
  const at = isOpen ? entry : entry + wire.ENTRY_BYTES
  const flags = reply.readUInt32LE(at + 8)
  if ((flags & wire.FOPEN_DIRECT_IO) !== 0) return
  const ino = isOpen ? pending.ino : wire.nodeInoAt(reply, entry)
  const keeps = (flags & wire.FOPEN_KEEP_CACHE) !== 0
  if (keeps && far.drops.isSure(ino) && !isOpenedBefore(far, pending)) return
  reply.writeUInt32LE(flags & ~wire.FOPEN_KEEP_CACHE, at + 8)
  far.drops.dropping(ino, Number(reply.readBigUInt64LE(at)))
}

/** The file is being opened by another request, which was asked for before: the owner may have told that one to drop the pages. */
function isOpenedBefore({ underWay }: FarVolume, { ino, nth }: Pending): boolean {
  for (const other of underWay.values()) {
    if (other.nth < nth && other.ino === ino && other.opcode === OPCODES.OPEN.code) return true
  }
  return false
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
