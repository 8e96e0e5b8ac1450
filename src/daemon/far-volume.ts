import {
  background,
  type Clock,
  codeOf,
  FsError,
  type Ino,
  isBug,
  type Log,
  type NodeId,
  type PeerKey,
  type Random,
  sleep,
  type VolumeNumber,
} from '../base/index.ts'
import {
  type Change,
  changedBy,
  type NearOpening,
  type OpenFile,
  PageDrops,
  syncedBy,
  Unsynced,
} from '../fuse/index.ts'
import type { Net } from '../net/index.ts'
import { ACCESS_SERVICE, accessTermMs, type OwnKernel } from './access-server.ts'
import { type AccessCall, decodeNow, encodeAccessCall, type Stated } from './access-wire.ts'
import { type CarriedHandles, FarHandles } from './far-handles.ts'
import type { FarSessions } from './far-sessions.ts'
import { hasAllOf, isOf, type OwnerLife, type OwnerLine } from './owner-life.ts'
import type { NodeVolume } from './volumes.ts'

export interface FarVolumeWorld {
  /** The namespace mount's. */
  kernel(): OwnKernel
  readonly sessions: FarSessions
  /** This node's copy of a volume, for the namespace mount to read from; null when there is none it can open. */
  near(number: VolumeNumber): Promise<NearOpening | null>
  /** @param near null: it forgets the keys it has */
  tellNear(number: VolumeNumber, near: NearOpening | null): Promise<void>
  readonly call: Net['call']
  peerOf(node: NodeId): PeerKey | null
  /** The node that owns a volume by what the coordinator says now; null when that is not known, or this node. */
  ownerNow(number: VolumeNumber): Promise<NodeId | null>
  readonly random: Random
  readonly clock: Clock
  /** Counts while the machine is suspended: other nodes' time goes on. */
  readonly leaseClock: Clock
  readonly log: Log
}

/** A request of this node's kernel that has no answer yet. */
export interface Pending {
  readonly opcode: number
  readonly ino: Ino
  /** Place among all requests. */
  readonly nth: number
  /** Where the kernel gets its answer, and to what. */
  readonly fd: number
  readonly uniqueLo: number
  readonly uniqueHi: number
  /** Thread that asks. */
  readonly pid: number
  readonly abort: AbortController
  /** On the clock of leases. */
  readonly askedMs: number
  /** Unsynced.asked */
  readonly asked: number
  /** Of its volume, when it was asked: an answer of before may be older than what was forgotten since. */
  readonly forgotten: number
  /** The namespace mount wants to know the answer. */
  readonly isLookedAt: boolean
  /** It had nothing to unlock. */
  noLocks: boolean
  /** The answer of another node, with what is behind it; null while there is none. */
  whole: Buffer | null
  /** A daemon before this one may have asked the owner for it. */
  readonly isResent: boolean
  /**
   * It may be executed twice: an open that changes nothing, a close, and what is done with locks. Who owns the volume next is
   * told what is open: not what is being opened, but what is being closed.
   */
  readonly mayRepeat: boolean
  /** It may have been executed: the owner was asked, and who asked got no answer. */
  isDoubtful: boolean
  /** FarVolume.at, where it was asked for last; null when it was not. */
  askedAt: string | null
  /** A signal came for who asks. */
  isInterrupted: boolean
  /** The kernel has its answer: the caller was killed. */
  isGiven: boolean
  /** Called when the kernel has its answer. */
  answered: () => void
}

const STATE_MS = 10_000
/** The owner may be another node by now. */
const CONNECT_MS = 1000
/** A session of a daemon before is stated again and again, so often, until it has been answered for no term. */
const RESUME_MS = 200
/** Signs of life while something is open. */
const ALIVE_MS = 3000
/** Without anything open and without a request, a session ends after this. */
const IDLE_MS = 20_000
/** A mount that asks still may lack a key that is new. */
const NEAR_AGAIN_MS = 5000

/**
 * This node's use of a volume that another node owns: the session with its owner, the descriptors opened under it, and what
 * programs changed and did not sync. A session begins with `state`, and is kept by signs of life. When the owner lets go of the
 * volume for another, the session goes on with that one; when it dies and another takes over, the session is lost.
 */
export class FarVolume {
  readonly number: VolumeNumber
  readonly underWay = new Map<bigint, Pending>()
  readonly handles: FarHandles
  readonly drops = new PageDrops()
  /** How often this kernel was asked to forget. */
  forgotten = 0
  /** Byte ranges may be locked under this session: what closes a file has to say so. */
  mayLock: boolean
  /** `at`, of the daemon before this one. */
  readonly atBefore: string
  /** That one used the volume through another owner to the end. */
  readonly wasFar: boolean
  readonly #world: FarVolumeWorld
  readonly #unsynced = new Unsynced(() => this.#ownedMs)
  #session: number
  #owner: NodeId | null = null
  /** The owner has answered under this session, and has not begun a new life since. */
  #isKnown = false
  /** The owner's, that the session was with last. */
  #life: OwnerLife | null
  /** Whom that was asked of which is not synced; null for nobody, or this node itself. */
  #line: OwnerLife | null
  /** While this node owns the volume: this life of the daemon has seen everything opened that its kernel has open. */
  #isCounted = true
  /** When whoever answered last owned the volume, on the clock of leases. */
  #ownedMs = Number.NEGATIVE_INFINITY
  /** The session is being stated to the owner. */
  #stating: Promise<void> | null = null
  /** When the last message that was answered was sent; on the clock of leases, as all times here. */
  #answeredMs: number
  #usedMs: number
  #cancelAlive: (() => void) | null = null
  #isClosed = false
  /** When the namespace mount was last told of this node's copy. */
  #nearMs = Number.NEGATIVE_INFINITY
  #near: Promise<void> = Promise.resolve()

  constructor(number: VolumeNumber, world: FarVolumeWorld) {
    const { random, sessions } = world
    const kept = sessions.get(number)
    this.number = number
    this.#world = world
    this.#session = kept?.session ?? newSession(random)
    this.#life = kept?.life ?? null
    this.#line = this.#life
    this.atBefore = this.at
    this.wasFar = this.#life !== null
    this.handles = new FarHandles(random, kept, Boolean(kept?.life))
    this.mayLock = Boolean(kept?.life)
    this.#answeredMs = this.#now()
    this.#usedMs = this.#answeredMs
    if (kept?.life) this.#unsynced.uncounted(this.#now())
  }

  #now(): number {
    return this.#world.leaseClock.monotonicMs()
  }

  /** Unsynced.asked, of what is asked for now. */
  asked(): number {
    return this.#unsynced.asked()
  }

  get session(): number {
    return this.#session
  }

  /** Of the session; null while none has begun. */
  get owner(): NodeId | null {
    return this.#owner
  }

  get isKnown(): boolean {
    return this.#isKnown
  }

  get life(): OwnerLife | null {
    return this.#life
  }

  /** Names this session with this life of the owner: there, a change that comes again is answered and not executed again. */
  get at(): string {
    return `${this.#session}/${this.#life?.epoch}`
  }

  /** Since a message was sent that was answered. */
  get silentMs(): number {
    return this.#now() - Math.max(this.#answeredMs, this.#usedMs)
  }

  /** What every message to the owner begins with: which session asks, and what its kernel can. */
  asker(): Omit<AccessCall, 'op' | 'oldest' | 'frame'> {
    const { flags, keepsNames } = this.#world.kernel()
    return {
      number: this.number,
      session: this.#session,
      flags,
      keepsNames,
      postAttributes: true,
      fileMap: false,
    }
  }

  /**
   * A session that was not answered for a term is over. One with an owner of before is stated to the owner of now, who knows
   * whether that one let go of the volume for it. @param owner who is asked now
   */
  keepSession(owner: NodeId): void {
    this.#endWithTerm()
    if (this.#owner !== null && this.#owner !== owner) {
      this.endNear()
      this.#isKnown = false
    }
    this.#owner = owner
  }

  /** Who was asked says that the volume moves: meanwhile nobody is given what its sessions hold, however long that takes. */
  moves(): void {
    this.#endWithTerm()
    if (this.#life !== null) this.#answeredMs = this.#now()
  }

  #endWithTerm(): void {
    const silentMs = this.#now() - this.#answeredMs
    if (this.#life !== null && silentMs > accessTermMs) this.lose()
  }

  /** A session that a daemon before this one had is kept by a sign of life, before any program asks for anything. */
  async resume(): Promise<void> {
    const { clock, peerOf, ownerNow } = this.#world
    const life = this.#life
    while (life !== null && this.#life === life && !this.#isKnown && !this.#isClosed) {
      const owner = await ownerNow(this.number)
      const peer = owner === null ? null : peerOf(owner)
      // Nobody has taken it yet, or who has cannot be asked for.
      if (owner === null) this.moves()
      else this.keepSession(owner)
      if (peer !== null && this.#life === life) {
        try {
          await this.state(peer)
          this.#aliveLater()
          return
        } catch (error) {
          if (isBug(error) || !(error instanceof FsError)) throw error
          if (error.code === 'EAGAIN') this.moves()
        }
      }
      await sleep(clock, RESUME_MS)
    }
  }

  /**
   * Says to the owner what this node has open there: at the beginning, and to each new life of the owner.
   * @throws FsError ESTALE when that one does not go on with the session, which is lost then
   */
  state(peer: PeerKey): Promise<void> {
    this.#stating ??= this.#state(peer).finally(() => {
      this.#stating = null
    })
    return this.#stating
  }

  async #state(peer: PeerKey): Promise<void> {
    const { call } = this.#world
    const session = this.#session
    const said: Stated = { life: this.#life, opens: this.handles.list() }
    const frame = Buffer.from(JSON.stringify(said))
    const sentMs = this.#now()
    const body = encodeAccessCall({ op: 'state', ...this.asker(), oldest: 0n, frame })
    const stating = call(peer, ACCESS_SERVICE.control, body, {
      deadlineMs: STATE_MS,
      connectMs: CONNECT_MS,
    })
    const answer = await stating.catch((error: unknown) => {
      if (codeOf(error) === 'ESTALE' && this.#session === session) this.lose()
      throw error
    })
    if (this.#session !== session) return
    const now = decodeNow(answer)
    if (this.#line !== null && !hasAllOf(now, this.#line)) this.#unsynced.lose()
    const { node, boot, epoch } = now
    this.#life = { node, boot, epoch }
    this.#line = this.#life
    this.#isKnown = true
    this.#keep()
    this.#answeredMs = Math.max(this.#answeredMs, sentMs)
  }

  /** Nothing is open under the session any more, whatever was: the owner need not wait for a term to hear of it. */
  leave(): void {
    if (this.#life === null) return
    const { call, peerOf, log } = this.#world
    const peer = this.#owner === null ? null : peerOf(this.#owner)
    const frame = new Uint8Array(0)
    const body = encodeAccessCall({ op: 'end', ...this.asker(), oldest: 0n, frame })
    this.lose()
    if (peer === null) return
    call(peer, ACCESS_SERVICE.control, body, {
      deadlineMs: ALIVE_MS,
      connectMs: CONNECT_MS,
    }).catch(background(log, 'access.end'))
  }

  /** What this node held under the session is gone: it begins anew, and its descriptors answer EIO. */
  lose(): void {
    const { log } = this.#world
    const { number } = this
    const open = this.handles.list()?.length ?? 1
    if (open > 0) {
      log.warn({ op: 'access.lost', number, open }, 'open files answer EIO from now on')
    }
    for (const pending of this.underWay.values()) {
      if (pending.isDoubtful && !pending.mayRepeat) pending.abort.abort()
    }
    this.handles.lose()
    this.endNear()
    this.#beginAnew()
  }

  #beginAnew(): void {
    // A lock may be among what is asked for.
    this.mayLock = this.underWay.size > 0
    this.#session = newSession(this.#world.random)
    this.#isKnown = false
    this.#life = null
    this.#owner = null
    this.#keep()
  }

  /** Programs read: from now on the namespace mount does so from this node's copy, where it has one. */
  offerNear(): void {
    const now = this.#now()
    if (now - this.#nearMs < NEAR_AGAIN_MS) return
    this.#nearMs = now
    this.#inTurn(() => this.#offerNear())
  }

  #inTurn(step: () => Promise<void>): void {
    this.#near = this.#near.catch(() => {}).then(step)
    this.#near.catch(background(this.#world.log, 'access.near'))
  }

  async #offerNear(): Promise<void> {
    const session = this.#session
    const opening = await this.#world.near(this.number)
    if (!opening) return
    if (this.#session === session) await this.#world.tellNear(this.number, opening)
    else new Uint8Array(opening.keys.bytes).fill(0)
  }

  /** Nothing is read from this node's copy any more: the session is over, or the owner has locked the volume. */
  endNear(): void {
    if (this.#nearMs === Number.NEGATIVE_INFINITY) return
    this.#nearMs = Number.NEGATIVE_INFINITY
    this.#inTurn(() => this.#world.tellNear(this.number, null))
  }

  /** The owner does not know the session: it has begun a new life, to which the session is stated. */
  unknown(): void {
    this.#isKnown = false
  }

  #keep(): void {
    const { generation, carried } = this.handles
    const kept = { session: this.#session, generation, carried, life: this.#life }
    this.#world.sessions.set(this.number, kept)
  }

  /** A request was answered under the session. @param sentMs and `askedMs`: on the clock of leases */
  heard(sentMs: number, askedMs: number): void {
    this.#answered(sentMs, askedMs)
    this.#usedMs = sentMs
    this.#aliveLater()
  }

  #answered(sentMs: number, askedMs: number): void {
    this.#answeredMs = Math.max(this.#answeredMs, sentMs)
    this.#ownedMs = Math.max(this.#ownedMs, askedMs)
  }

  /**
   * This node owns the volume from now on, and nobody asks it for anything yet.
   * @returns what its own kernel goes on with; null when it begins anew
   */
  owned({ shared, before }: NodeVolume): CarriedHandles | null {
    const line = this.#line
    const life = this.#life
    let carried: CarriedHandles | null = null
    if (life !== null) {
      this.#endWithTerm()
      if (this.#life === life && before.some((one) => isOf(one, life))) {
        this.endNear()
        carried = this.handles.carryOn()
        this.#beginAnew()
      } else this.lose()
    }
    if (line !== null && !before.some((one) => isOf(one, line))) this.#unsynced.lose()
    this.#line = null
    if (!shared) return carried
    const goesOn = shared.lineFirst < shared.epoch
    this.#isCounted = !goesOn && (carried === null || carried.opens !== null)
    if (goesOn) this.#unsynced.uncounted(this.#now())
    shared.owes = this.#unsynced.owes
    return carried
  }

  /**
   * This node has let go of the volume for another, and is about to use it through that one: its kernel's descriptors go over.
   * @param opens of its kernel, as this life of the daemon has seen them opened
   */
  left({ node, boot, epoch, first }: OwnerLine, opens: readonly OpenFile[]): void {
    this.#life = { node, boot, epoch }
    this.#line = this.#life
    this.#isKnown = false
    this.#owner = null
    this.#answeredMs = this.#now()
    this.handles.carry({ first, last: epoch }, this.#isCounted ? opens : null)
    this.#keep()
    if (this.handles.any) this.resume().catch(background(this.#world.log, 'access.left'))
  }

  /** Another node owns the volume, which was this one's. @param before only in a life of the daemon before this one */
  lost({ shared }: NodeVolume, before: boolean): void {
    if (!shared && !before) return
    this.handles.lose(true)
    this.#keep()
    if (before) this.#unsynced.uncounted(this.#now())
    if (shared) this.#ownedMs = Math.max(this.#ownedMs, shared.leaseUntilMs)
    this.#unsynced.lose()
  }

  /**
   * What the namespace mount executed itself, while the volume was this node's.
   * @param ownedMs when it was for certain, on the clock of leases
   */
  changed(changes: readonly Change[], ownedMs: number, isLost: boolean): void {
    this.#ownedMs = Math.max(this.#ownedMs, ownedMs)
    for (const change of changes) this.#unsynced.changed(change)
    if (isLost) this.#unsynced.lose()
  }

  /** This node has executed a request itself, for it owns the volume. @param isLost it does no more */
  doneHere(request: Buffer, pending: Pending, reply: Buffer, isLost: boolean): void {
    if (!isLost) this.#ownedMs = this.#now()
    this.done(request, pending, reply, isLost)
  }

  /** Notes what a request has changed, or made durable. @param isLost who executed it is the owner no more */
  done(request: Buffer, { opcode, pid, asked }: Pending, reply: Buffer, isLost: boolean): void {
    if (reply.length === 0 || reply.readInt32LE(4) !== 0) return
    const synced = syncedBy(request, opcode)
    if (synced !== undefined) this.#unsynced.synced(synced, asked)
    for (const ino of changedBy(request, opcode)) {
      if (isLost) this.#unsynced.lost(ino, pid)
      else this.#unsynced.changed({ ino, thread: pid, atMs: this.#now() })
    }
  }

  /** Whether a request is an fsync that fails for what the owner of now may not have; told once. */
  failsOnce(request: Buffer, { opcode, pid }: Pending, { shared }: NodeVolume): boolean {
    const synced = syncedBy(request, opcode)
    if (synced === undefined || !this.#unsynced.take(synced, pid)) return false
    if (shared) shared.owes = this.#unsynced.owes
    return true
  }

  close(): void {
    this.#isClosed = true
    this.#cancelAlive?.()
  }

  #aliveLater(): void {
    this.#cancelAlive ??= this.#world.clock.after(ALIVE_MS, () => {
      this.#cancelAlive = null
      this.#alive().catch(background(this.#world.log, 'access.alive'))
    })
  }

  async #alive(): Promise<void> {
    const { peerOf, call } = this.#world
    const owner = this.#owner
    const session = this.#session
    const peer = owner === null ? null : peerOf(owner)
    if (this.#life === null || peer === null) return
    const sentMs = this.#now()
    const isIdle = !this.handles.any && sentMs - this.#usedMs > IDLE_MS
    const op = isIdle ? 'end' : 'alive'
    const body = encodeAccessCall({ op, ...this.asker(), oldest: 0n, frame: new Uint8Array(0) })
    try {
      await call(peer, ACCESS_SERVICE.control, body, {
        deadlineMs: ALIVE_MS,
        connectMs: CONNECT_MS,
      })
      if (this.#session !== session) return
      this.#answered(sentMs, sentMs)
    } catch (error) {
      if (isBug(error) || !(error instanceof FsError)) throw error
      if (this.#session !== session) return
      if (codeOf(error) === 'ENOKEY') this.endNear()
      if (codeOf(error) === 'ESTALE') this.unknown()
      if (codeOf(error) === 'EAGAIN') this.moves()
      await this.#goOn()
    }
    if (isIdle) {
      if (!this.handles.any && this.underWay.size === 0) this.lose()
    } else this.#aliveLater()
  }

  /** A sign of life was not taken: the owner has begun a new life, or is another node by now. */
  async #goOn(): Promise<void> {
    const session = this.#session
    const owner = await this.#world.ownerNow(this.number)
    // Meanwhile a request may have begun another, which is none of this one's.
    if (this.#session !== session) return
    if (owner === null) this.#endWithTerm()
    else this.keepSession(owner)
    const peer = owner === null ? null : this.#world.peerOf(owner)
    if (this.#isKnown || !this.handles.any || peer === null) return
    await this.state(peer).catch((failed: unknown) => {
      if (isBug(failed)) throw failed
      if (this.#session === session && codeOf(failed) === 'EAGAIN') this.moves()
    })
  }
}

function newSession(random: Random): number {
  return random.bytes(6).readUIntLE(0, 6) || 1
}
