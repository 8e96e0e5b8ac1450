import {
  background,
  type Clock,
  FsError,
  type Log,
  type NodeId,
  type PeerKey,
  type VolumeNumber,
} from '../base/index.ts'
import { type Forgetting, isOnce, lostLocks, OPCODES, OWN_SESSION, wire } from '../fuse/index.ts'
import type { Net } from '../net/index.ts'
import type { AccessHost } from './access-host.ts'
import { decodeAccessCall, decodeStated, type Stated } from './access-wire.ts'
import { jsonBytes, understood } from './call-bytes.ts'
import { hasAllOf, type OwnerNow } from './owner-life.ts'
import type { NodeVolume } from './volumes.ts'

/** Small requests and answers; and those with bytes of files, which never hold the others up. */
export const ACCESS_SERVICE = { control: 'volume.access', bulk: 'volume.access.bytes' } as const

/** Asked of the nodes that use a volume, by its owner. */
export const FORGET_SERVICE = 'volume.forget'
/** Longer than any grant lasts. */
const FORGET_MS = 5000
/** A session whose node is not heard of for a term is over (design §6.11). */
export const accessTermMs = 10_000
const EXPIRE_MS = 1000
/** Nobody else has used a volume for so long: its own node's mount orders its changes again. */
const UNSHARE_MS = 30_000
/** Answers kept for a node that asks once more because it did not get them. */
const ANSWERS_MAX = 8192
/**
 * The last ones are kept whatever the node says that it has: after a death of its daemon the kernel asks again in no order, and
 * the next daemon does not know what is still to come. A kernel has fewer requests under way.
 */
const ANSWERS_KEPT = 1024

export interface AccessServerWorld {
  readonly access: AccessHost
  volume(number: VolumeNumber): NodeVolume | undefined
  /** It is on its way to this node, or from it. */
  isMoving(volume: NodeVolume): boolean
  /** Directory of its staged writes. */
  stagingOf(volume: NodeVolume): string
  share(volume: NodeVolume): Promise<void>
  unshare(volume: NodeVolume): Promise<void>
  nameOf(node: NodeId): string
  peerOf(node: NodeId): PeerKey | null
  readonly call: Net['call']
  /** A kernel has asked for something. */
  asked(number: VolumeNumber, node: NodeId): void
  readonly node: NodeId
  /** Of the machine. */
  readonly boot: string
  readonly clock: Clock
  readonly log: Log
}

/** This node's own kernel, by its namespace mount. */
export interface OwnKernel {
  /** What INIT agreed. */
  readonly flags: number
  /** Names the mount in stored answers. */
  readonly mount: number
  /** It can be made to forget names. */
  readonly keepsNames: boolean
}

interface Session {
  readonly id: number
  readonly number: VolumeNumber
  readonly node: NodeId
  heardMs: number
  /** Of requests that are not to be executed twice, by their unique (rule 12). */
  readonly answers: Map<bigint, Promise<Buffer | null>>
}

interface SharedVolumeUse {
  /** Of the owner, which this node was without a pause since the first of the sessions. */
  readonly epoch: number
  readonly sessions: Map<string, Session>
  usedMs: number
  /** Opening and closing of the access thread for this volume, one after the other. */
  turn: Promise<unknown>
}

/**
 * The owner's side of volumes that other nodes use: sessions, and what is asked under them. A request whose answer was
 * lost with its connection is answered from memory when it comes again, never executed twice.
 */
export class AccessServer {
  readonly #world: AccessServerWorld
  readonly #uses = new Map<VolumeNumber, SharedVolumeUse>()
  #cancel: (() => void) | null = null
  #isClosed = false

  constructor(world: AccessServerWorld) {
    this.#world = world
  }

  /** @param nodeOf the member with this key; null when it is none any more */
  serve(net: Pick<Net, 'serve'>, nodeOf: (peer: PeerKey) => NodeId | null): void {
    for (const lane of ['control', 'bulk'] as const) {
      const service = ACCESS_SERVICE[lane]
      net.serve(
        service,
        async ({ peer, body }) => {
          const node = nodeOf(peer)
          if (node === null) throw new FsError('EACCES', service, { message: 'not a member' })
          return await this.#answer(
            node,
            understood(() => decodeAccessCall(body), 'access'),
          )
        },
        { lane },
      )
    }
    this.#expireLater()
  }

  /**
   * A request of this node's own kernel on a volume that is shared.
   * @returns the whole answer, empty when none is due; null when the namespace mount answers for the volume again
   */
  async own(
    number: VolumeNumber,
    asker: OwnKernel,
    frame: Uint8Array<ArrayBuffer>,
  ): Promise<Buffer | null> {
    // While it becomes shared, or ceases to be.
    await this.#uses.get(number)?.turn
    const volume = this.#world.volume(number)
    if (!volume?.isShared) return null
    this.#world.asked(number, this.#world.node)
    return await this.#world.access.request({
      session: OWN_SESSION,
      ...asker,
      postAttributes: false,
      fileMap: false,
      frame,
    })
  }

  /** Have the node of a session forget what its kernel keeps. @throws FsError when it does not say that it has */
  async forget(number: VolumeNumber, session: number, forgetting: Forgetting): Promise<void> {
    const sessions = this.#uses.get(number)?.sessions.values() ?? []
    const node = [...sessions].find(({ id }) => id === session)?.node
    const peer = node === undefined ? null : this.#world.peerOf(node)
    if (!peer)
      throw new FsError('EHOSTUNREACH', FORGET_SERVICE, { message: 'its node is not known' })
    const body = jsonBytes({ number, ...forgetting })
    await this.#world.call(peer, FORGET_SERVICE, body, { deadlineMs: FORGET_MS })
  }

  /** Other nodes look for another owner. */
  close(): void {
    this.#isClosed = true
    this.#cancel?.()
  }

  async #answer(node: NodeId, call: ReturnType<typeof decodeAccessCall>): Promise<Buffer> {
    const { number, op } = call
    const volume = this.#world.volume(number)
    if (this.#isClosed) throw notHere(number)
    if (!volume?.shared || volume.shared.isLeaving) throw this.#notOpen(number, volume)
    const use = this.#use(number, volume.shared.epoch)
    const key = `${node}/${call.session}`
    const known = use.sessions.get(key)
    if (op === 'end') {
      if (known) this.#end(use, key, known)
      return Buffer.alloc(0)
    }
    if (!known && op !== 'state') throw sessionOver(volume)
    const { clock } = this.#world
    const stated = op === 'state' ? understood(() => decodeStated(call.frame), 'access') : null
    if (stated && !known) this.#mustGoOn(volume, call.session, stated)
    const session = known ?? {
      id: call.session,
      number,
      node,
      heardMs: 0,
      answers: new Map<bigint, Promise<Buffer | null>>(),
    }
    session.heardMs = clock.monotonicMs()
    use.usedMs = session.heardMs
    use.sessions.set(key, session)
    if (op === 'alive') return Buffer.alloc(0)
    use.turn = use.turn.catch(() => {}).then(() => this.#world.share(volume))
    await use.turn
    const isOver = () => this.#uses.get(number)?.sessions.get(key) !== session
    if (isOver()) throw sessionOver(volume)
    if (stated) return this.#state(volume, session, stated)
    this.#world.asked(number, node)
    const answer = await this.#once(session, call)
    session.heardMs = clock.monotonicMs()
    if (answer !== null) return answer
    throw isOver() ? sessionOver(volume) : this.#notOpen(number, volume)
  }

  /** Of a volume that is locked, about to be opened or on its way, nobody else is to be asked. */
  #notOpen(number: VolumeNumber, volume: NodeVolume | undefined): FsError {
    if (!volume) return notHere(number)
    const { name } = volume.stored.record
    const { closed } = volume
    if (closed?.state === 'locked' || closed?.state === 'waiting') {
      return new FsError(closed.state === 'locked' ? 'ENOKEY' : 'EAGAIN', 'access', {
        volume: name,
        message: `volume ${name} is ${closed.state} on its owner: ${closed.why}`,
      })
    }
    if (!this.#world.isMoving(volume)) return notHere(number)
    return new FsError('EAGAIN', 'access', { volume: name, message: `volume ${name} moves` })
  }

  #now({ shared, before }: NodeVolume): OwnerNow {
    const { node, boot } = this.#world
    return { node, boot, epoch: shared?.epoch ?? 0, first: shared?.lineFirst ?? 0, before }
  }

  /**
   * A session that is not known goes on when nothing can be lost that it was answered: when it was with a life before this
   * one in the same boot, whose journal and staged writes this one has, or with an owner that let go of the volume for the next.
   * One of this very life has run out, and so has one whose locks were given away. @throws FsError ESTALE
   */
  #mustGoOn(volume: NodeVolume, session: number, { life }: Stated): void {
    if (life === null) return
    const now = this.#now(volume)
    if (!hasAllOf(now, life) || life.epoch === now.epoch) throw sessionOver(volume)
    if (lostLocks(this.#world.stagingOf(volume), session)) throw sessionOver(volume)
  }

  #state(volume: NodeVolume, { id, number }: Session, { opens }: Stated): Buffer {
    this.#world.access.opens(number, id, opens)
    return Buffer.from(JSON.stringify(this.#now(volume)))
  }

  /** Executes a request, or gives the answer it got the first time. */
  #once(session: Session, call: ReturnType<typeof decodeAccessCall>): Promise<Buffer | null> {
    const { flags, keepsNames, postAttributes, fileMap, frame, oldest } = call
    const asker = { session: session.id, flags, mount: null, keepsNames, postAttributes, fileMap }
    const execute = () => this.#world.access.request({ ...asker, frame })
    const { answers } = session
    for (const unique of answers.keys()) {
      if (unique >= oldest || answers.size <= ANSWERS_KEPT) break
      answers.delete(unique)
    }
    const header = Buffer.from(frame.buffer)
    const opcode = header.length < wire.IN_HEADER_BYTES ? 0 : header.readUInt32LE(4)
    // A lock that its owner has already is granted again; one that was refused is asked for by the same request.
    const isLock = opcode === OPCODES.SETLK.code
    if (isLock || opcode === OPCODES.FORGET.code || !isOnce(opcode)) return execute()
    const unique = header.readBigUInt64LE(8)
    const before = answers.get(unique)
    if (before) return before
    if (answers.size >= ANSWERS_MAX) {
      throw new FsError('EAGAIN', 'access', {
        retry: 'later',
        message: `${answers.size} requests are under way from that node`,
      })
    }
    const answer = execute().then((bytes) => {
      // Not executed: when it comes again the volume may be here again.
      if (bytes === null) answers.delete(unique)
      return bytes
    })
    answers.set(unique, answer)
    return answer
  }

  /** What was known of sessions before the volume left, if only for a moment, went with it: they are stated anew. */
  #use(number: VolumeNumber, epoch: number): SharedVolumeUse {
    const before = this.#uses.get(number)
    if (before?.epoch === epoch) return before
    const turn = before?.turn ?? Promise.resolve()
    const use = { epoch, sessions: new Map(), usedMs: 0, turn }
    this.#uses.set(number, use)
    return use
  }

  #end(use: SharedVolumeUse, key: string, { number, id }: Session): void {
    use.sessions.delete(key)
    this.#world.access.endSession(number, id)
  }

  #expireLater(): void {
    this.#cancel?.()
    this.#cancel = this.#world.clock.after(EXPIRE_MS, () => {
      this.#expire()
      this.#expireLater()
    })
  }

  #expire(): void {
    const { clock, log, nameOf } = this.#world
    const now = clock.monotonicMs()
    for (const [number, use] of this.#uses) {
      const { shared } = this.#world.volume(number) ?? { shared: null }
      // The volume went to another node, if only for a moment, and its sessions with it: here they have not run out.
      if (shared?.epoch !== use.epoch) use.sessions.clear()
      for (const [key, session] of use.sessions) {
        if (now - session.heardMs < accessTermMs) continue
        const node = nameOf(session.node)
        log.warn({ op: 'access.expire', number, node }, 'a session of another node has run out')
        this.#end(use, key, session)
      }
      if (use.sessions.size > 0 || now - use.usedMs < UNSHARE_MS) continue
      const volume = this.#world.volume(number)
      if (volume?.isShared) this.#stopSharing(volume, use)
      else this.#uses.delete(number)
    }
  }

  #stopSharing(volume: NodeVolume, use: SharedVolumeUse): void {
    use.turn = use.turn
      .catch(() => {})
      .then(async () => {
        if (use.sessions.size === 0) await this.#world.unshare(volume)
      })
    use.turn.catch(background(this.#world.log, 'access.unshare'))
  }
}

function notHere(number: VolumeNumber): FsError {
  return new FsError('ENODEV', 'access', {
    retry: 'later',
    message: `volume number ${number} is not open on this node`,
  })
}

function sessionOver({ stored: { record } }: NodeVolume): FsError {
  return new FsError('ESTALE', 'access', {
    message: `volume ${record.name}: the session is over`,
  })
}
