import { parentPort, workerData } from 'node:worker_threads'
import {
  assert,
  codeOf,
  errnoOf,
  FsError,
  type Ino,
  type Log,
  messageOf,
  openLog,
  suspendProof,
  systemClock,
  type VolumeNumber,
} from '../base/index.ts'
import { SecondReader } from '../chunks/index.ts'
import type { SharedVolume } from '../store/index.ts'
import { forget, lookup, type VolumeFs, type VolumeFsWorld } from '../vfs/index.ts'
import {
  type AccessWorkerStart,
  type FromAccessWorker,
  OWN_SESSION,
  type ToAccessWorker,
} from './access-protocol.ts'
import { failed } from './errors.ts'
import { mayHaveMap } from './file-map.ts'
import { forgetGranted, keepGranted } from './granted-until.ts'
import { GRANT_MS, Grants, type Touched } from './grants.ts'
import { handleHolds } from './handles.ts'
import { Locks } from './locks.ts'
import { OPCODES, opcodeName } from './opcodes.ts'
import { Opens } from './opens.ts'
import { Reasons } from './reasons.ts'
import { ServedVolumes } from './served-volumes.ts'
import { FuseSession, VALID_MS } from './session.ts'
import { type Find, touchedBy } from './touched.ts'
import * as wire from './wire/index.ts'
import type { FromEngine, OpenFile, ToEngine, VolumeMessage } from './worker-protocol.ts'

const O_APPEND = 0o2000
const LEASE_LOOK_MS = 20
/** Files whose changes are counted; forgetting one costs its pages at the next open, nothing else. */
const COUNTED_MAX = 65_536
/** What the next life of the daemon is told of grants is written so seldom, and makes it wait so much longer. */
const KEEP_AHEAD_MS = 1000

/** One kernel's use of one volume. */
interface AccessSession {
  readonly opens: Opens
  /** Of a file this kernel may have pages of: the count of its changes that they include. */
  readonly seen: Map<Ino, number>
}

interface Shared {
  readonly sessions: Map<number, AccessSession>
  /** Changes of each file's bytes since this thread answers for the volume. */
  readonly changes: Map<Ino, number>
  /** What the kernels of the sessions keep. */
  grants: Grants
  /** Until when the next life of the daemon is known to reckon with grants; on the clock of leases. */
  grantedUntilMs: number
}

/**
 * The thread that answers for volumes which several kernels use: it orders all their changes, whichever node they come
 * from. A kernel keeps names and attributes under a grant, and pages of a file while nobody else changes it; so what one
 * close has written, the next open sees, on every node.
 */
class AccessWorker {
  readonly #start: AccessWorkerStart
  readonly #log: Log
  readonly #clock = systemClock()
  readonly #served: ServedVolumes
  readonly #volumes = new Map<VolumeNumber, Shared>()
  readonly #fuse: FuseSession
  readonly #locks: Locks
  readonly #secondReader: SecondReader
  readonly #reasons = new Reasons(this.#clock, (reason) => tell({ kind: 'reason', reason }))
  readonly #leaseClock = suspendProof(this.#clock)
  /** What waits for the lease of its volume to be renewed (design §6.1). */
  #waiting: { lease: SharedVolume; go: () => void }[] = []
  /** Requests whose answer the engine gives, by their token. */
  readonly #syncs = new Map<number, { uniqueLo: number; uniqueHi: number }>()
  /** Who asks what is in hand. */
  #session = OWN_SESSION
  #token = 0
  #mount: number | null = null
  #keepsNames = false

  constructor(start: AccessWorkerStart, log: Log) {
    this.#start = start
    this.#log = log
    this.#locks = new Locks({
      clock: this.#clock,
      // Nobody waits here: who wants a lock asks again.
      later: () => {
        throw new FsError('EAGAIN', 'lock')
      },
      isAlive: (number, session) => this.#shared(number).sessions.has(session),
    })
    this.#served = new ServedVolumes({
      log,
      fs: ({ opening }) => this.#fsWorld(opening.number),
      readOnly: false,
      opens: (number) => this.#allOpens(number),
      locks: (volume) => this.#locks.held(volume),
    })
    const { open } = this.#served
    this.#fuse = new FuseSession({
      volume: (number) => open.get(number),
      absent: () => undefined,
      namespace: null,
      exclusive: null,
      locks: this.#locks,
      isFar: () => false,
      forward: () => {},
      interruptFar: () => {},
      // Another node looks itself whether its descriptors are of this session.
      holds: ({ volume: { shared } }, request, opcode) =>
        this.#session !== OWN_SESSION || handleHolds(shared, request, opcode),
      // Whoever gives the kernel its answer drops the pages first.
      locked: () => true,
      caching: {
        validMs: (volume, what, ino) => this.#validMs(volume, what, ino),
        pages: (volume, ino, flags) => this.#pages(volume, ino, flags),
        changed: (volume, ino) => this.#changed(volume, ino),
      },
      opened: (volume, ino, flags, by) => {
        this.#sessionOf(volume.volume.number).opens.count(ino, flags, by)
        if (by < 0) this.#giveBack(volume, [ino])
      },
      sync: (volume, ino, uniqueLo, uniqueHi) => {
        if (ino !== null && volume.syncHere(ino)) return true
        const token = this.#token
        const { number } = volume.volume
        const { seq, stagedNumber, pastEngine } = volume.syncPoint(ino)
        if (pastEngine) tell({ kind: 'sync', number, seq, token, uniqueLo, uniqueHi })
        else {
          this.#syncs.set(token, { uniqueLo, uniqueHi })
          this.#tellEngine({ number, stagedNumber, seq, caller: { token } })
        }
        return false
      },
      // Neither happens without a writeback cache.
      refused: () => {},
      forgetAttributes: () => {},
    })
    this.#secondReader = new SecondReader(this.#fuse.reply.buffer as SharedArrayBuffer)
    start.enginePort.on('message', ({ token, errno }: FromEngine) => {
      const unique = this.#syncs.get(token)
      this.#syncs.delete(token)
      if (unique) this.#answerBare(token, errno, unique.uniqueLo, unique.uniqueHi)
    })
  }

  obey(message: ToAccessWorker): void {
    switch (message.kind) {
      case 'request':
        this.#request(message)
        return
      case 'endSession':
        this.#endSession(message.number, message.session)
        return
      case 'forgot':
        this.#volumes.get(message.number)?.grants.forgot(message.asking)
        return
      case 'opens': {
        const { number, session, opens } = message
        const { sessions } = this.#shared(number)
        // It lives, and so do its locks, whatever it has open.
        if (opens || !sessions.has(session)) {
          sessions.set(session, { opens: new Opens(opens ?? []), seen: new Map() })
        }
        return
      }
      case 'drives':
        this.#served.lookAtDrives()
        this.#secondReader.letGo()
        tell({ kind: 'done', id: message.id, error: null, opens: [] })
        return
      case 'add':
      case 'absent':
      case 'remove':
      case 'role':
      case 'keys':
        this.#obeyVolume(message)
    }
  }

  #obeyVolume(message: VolumeMessage): void {
    const { id } = message
    if (message.kind === 'role' || message.kind === 'remove') {
      const isClear = this.#nothingKept(message.number, () => this.#obeyVolume(message))
      if (!isClear) return
    }
    try {
      const { opens } = this.#change(message)
      tell({ kind: 'done', id, error: null, opens })
    } catch (thrown) {
      const error = { code: codeOf(thrown) || 'EIO', message: messageOf(thrown) }
      tell({ kind: 'done', id, error, opens: [] })
    }
    if (message.kind === 'role') this.#grantAnew(message.number)
  }

  /**
   * Not before its part has changed: what waited is executed now, and gets grants again. What changed the bytes of files
   * meanwhile, an exclusive mount or a repair, was not counted here: no kernel is told to keep pages of before.
   */
  #grantAnew(number: VolumeNumber): void {
    const shared = this.#shared(number)
    for (const { seen } of shared.sessions.values()) seen.clear()
    const { grants: before } = shared
    shared.grants = this.#newGrants(number)
    before.goOn()
  }

  /** Before anybody else orders a volume's changes. @param again called when it is to be tried again */
  #nothingKept(number: VolumeNumber, again: () => void): boolean {
    const shared = this.#volumes.get(number)
    const volume = this.#served.open.get(number)?.volume
    // A volume is lost at the end of its lease, and with that all grants have ended.
    if (!shared || !volume || volume.shared.isLost) return true
    if (!shared.grants.clearAll(again)) return false
    forgetGranted(volume.opening.stagingDirectory)
    shared.grantedUntilMs = 0
    return true
  }

  /** A volume comes, goes, or is from now on read only here. */
  #change(message: VolumeMessage): { opens: readonly OpenFile[] } {
    if (message.kind !== 'remove') {
      this.#served.obey(message)
      // From this moment on this node's own kernel is told nothing by the thread before.
      if (message.kind === 'add') {
        const { number } = message.served.opening
        this.#shared(number)
        const inherited = this.#served.open.get(number)?.inherited
        if (inherited && message.inherited) {
          inherited.clear()
          for (const ino of message.inherited) inherited.add(ino)
        }
      }
      return { opens: [] }
    }
    const { number } = message
    const volume = this.#served.open.get(number)
    const own = this.#volumes.get(number)?.sessions.get(OWN_SESSION)?.opens.list() ?? []
    if (volume?.writes) volume.giveUp()
    this.#served.obey(message)
    const shared = this.#volumes.get(number)
    this.#volumes.delete(number)
    // What waits there finds the volume gone.
    shared?.grants.goOn()
    this.#locks.leave(number)
    return { opens: own }
  }

  #request(message: Extract<ToAccessWorker, { kind: 'request' }>): void {
    const { token, session, flags, mount, keepsNames, postAttributes, fileMap, frame } = message
    const request = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
    const fuse = this.#fuse
    const { header } = fuse
    this.#session = session
    this.#token = token
    this.#mount = mount
    this.#keepsNames = keepsNames
    this.#locks.session = session
    let end: number
    let touched: Touched | null
    try {
      wire.decodeHeader(request, request.length, header)
      const number = wire.nodeVolume(header.nodeHi)
      const served = this.#served.open.get(number)
      if (!served || served.volume.shared.isElsewhere || this.#isOver(number, session)) {
        tell({ kind: 'answer', token, bytes: null })
        return
      }
      const lease = fuse.lease(request)
      if (lease && this.#lapsed(lease)) {
        this.#wait(lease, () => this.#request(message))
        return
      }
      const { grants } = this.#shared(number)
      const isMine = served.writes && (grants.any || postAttributes)
      touched = isMine ? touchedBy(findIn(served), header, request) : null
      if (touched && grants.any && !grants.clear(session, touched, () => this.#request(message)))
        return
      fuse.agreed(flags)
      this.#sessionOf(number)
      end = wire.isResend(header.uniqueHi) ? fuse.handleAgain(request) : fuse.handle(request)
      const volume = this.#served.open.get(number)
      if (volume && volume.orphans.size > 0) this.#giveBack(volume, [...volume.orphans])
    } catch (error) {
      const op = opcodeName(header.opcode)
      const errno = failed(error, op, this.#log)
      const number = wire.nodeVolume(header.nodeHi)
      this.#reasons.note(error, { number, ino: wire.nodeIno(header.nodeLo, header.nodeHi), op })
      this.#answerBare(token, errno, header.uniqueLo, header.uniqueHi)
      return
    }
    if (end === 0) tell({ kind: 'answer', token, bytes: new Uint8Array(0) })
    else if (end > 0) {
      let behind = end
      if (postAttributes && touched) behind = this.#putTouched(touched, end)
      else if (fileMap && mayHaveMap(header.opcode)) behind = this.#fuse.putFileMap(end)
      this.#answer(token, end, behind, this.#fuse.lease(request))
    }
  }

  /** It ended while a request of it waited: begun anew by that, it would never end. */
  #isOver(number: VolumeNumber, session: number): boolean {
    return session !== OWN_SESSION && !this.#shared(number).sessions.has(session)
  }

  /** What a change of names has touched, behind its answer, so that the node which asked need not ask for it. */
  #putTouched({ attributes, names }: Touched, end: number): number {
    const { header, reply } = this.#fuse
    if (names.length === 0) return end
    const number = wire.nodeVolume(header.nodeHi)
    let behind = end
    for (const ino of attributes) {
      behind = this.#fuse.putPostAttributes(number, ino, names.includes(ino), behind)
    }
    if (header.opcode !== OPCODES.MKDIR.code) return behind
    const made = wire.nodeInoAt(reply, wire.OUT_HEADER_BYTES)
    return this.#fuse.putPostAttributes(number, made, true, behind)
  }

  #lapsed(lease: SharedVolume): boolean {
    return !lease.stopped && this.#leaseClock.monotonicMs() >= lease.leaseUntilMs
  }

  #wait(lease: SharedVolume, go: () => void): void {
    this.#waiting.push({ lease, go })
    if (this.#waiting.length === 1) this.#lookLater()
  }

  #lookLater(): void {
    this.#clock.after(LEASE_LOOK_MS, () => {
      const waiting = this.#waiting
      this.#waiting = []
      for (const one of waiting) {
        if (this.#lapsed(one.lease)) this.#waiting.push(one)
        else one.go()
      }
      if (this.#waiting.length > 0) this.#lookLater()
    })
  }

  /**
   * @param behind end of what goes to the asking node behind the kernel's answer
   * @param lease that the answer rests on: since it was last looked at this thread may have stood still
   */
  #answer(token: number, end: number, behind: number, lease: SharedVolume | null): void {
    const { header, reply } = this.#fuse
    const { uniqueLo, uniqueHi } = header
    wire.encodeReplyHeader(reply, end, 0, uniqueLo, uniqueHi)
    const bytes = new Uint8Array(behind)
    bytes.set(reply.subarray(0, behind))
    const send = () => {
      // An answer of before the volume was lost: another owner may have given others since.
      if (lease?.stopped) this.#answerBare(token, -errnoOf('EIO'), uniqueLo, uniqueHi)
      else tell({ kind: 'answer', token, bytes }, [bytes.buffer])
    }
    if (lease && this.#lapsed(lease)) this.#wait(lease, send)
    else send()
  }

  #answerBare(token: number, errno: number, uniqueLo: number, uniqueHi: number): void {
    const bytes = Buffer.alloc(wire.OUT_HEADER_BYTES)
    wire.encodeReplyHeader(bytes, bytes.length, errno, uniqueLo, uniqueHi)
    tell({ kind: 'answer', token, bytes })
  }

  #shared(number: VolumeNumber): Shared {
    let shared = this.#volumes.get(number)
    if (!shared) {
      const grants = this.#newGrants(number)
      shared = { sessions: new Map(), changes: new Map(), grants, grantedUntilMs: 0 }
      this.#volumes.set(number, shared)
    }
    return shared
  }

  #newGrants(number: VolumeNumber): Grants {
    const grants = new Grants({
      clock: this.#clock,
      ask: (asking, session, forgetting) =>
        tell({ kind: 'forget', number, session, asking, forgetting }),
      granting: () => this.#granting(number),
    })
    // This node's own kernel may keep what the thread before this one told it to.
    grants.keepsAny(OWN_SESSION, VALID_MS)
    return grants
  }

  /** The next life of the daemon does not know what this one grants: it waits until then. */
  #granting(number: VolumeNumber): void {
    const shared = this.#shared(number)
    const now = this.#leaseClock.monotonicMs()
    if (shared.grantedUntilMs >= now + GRANT_MS) return
    shared.grantedUntilMs = now + GRANT_MS + KEEP_AHEAD_MS
    const directory = this.#served.open.get(number)?.volume.opening.stagingDirectory
    if (directory !== undefined) keepGranted(directory, shared.grantedUntilMs)
  }

  #validMs({ writes, volume }: VolumeFs, what: 'attributes' | 'names', ino: Ino): number {
    if (!writes || (what === 'names' && !this.#keepsNames)) return 0
    const { number, shared } = volume
    const leaseMs = shared.replicated
      ? shared.leaseUntilMs - this.#leaseClock.monotonicMs()
      : Number.POSITIVE_INFINITY
    return this.#shared(number).grants[what](this.#session, ino, leaseMs)
  }

  #sessionOf(number: VolumeNumber): AccessSession {
    const { sessions } = this.#shared(number)
    let session = sessions.get(this.#session)
    if (!session) {
      session = { opens: new Opens(), seen: new Map() }
      sessions.set(this.#session, session)
    }
    return session
  }

  #allOpens(number: VolumeNumber): readonly OpenFile[] {
    const { sessions } = this.#shared(number)
    return [...sessions.values()].flatMap(({ opens }) => opens.list())
  }

  /** Nameless files that nobody has open go, but for those of a life before this: who has them open is not known. */
  #giveBack(volume: VolumeFs, inos: readonly Ino[]): void {
    const { sessions } = this.#shared(volume.volume.number)
    for (const ino of inos) {
      if (!volume.orphans.has(ino) || volume.inherited.has(ino)) continue
      if ([...sessions.values()].some(({ opens }) => opens.has(ino))) continue
      forget(volume, ino)
    }
  }

  #endSession(number: VolumeNumber, id: number): void {
    const shared = this.#shared(number)
    const session = shared.sessions.get(id)
    shared.sessions.delete(id)
    const volume = this.#served.open.get(number)
    if (!volume) return
    this.#locks.endSession(volume, id)
    if (session)
      this.#giveBack(
        volume,
        session.opens.list().map(({ ino }) => ino),
      )
  }

  /** Pages are kept while only the kernel that has them changes the file; two who write it, or append to it, share none. */
  #pages(volume: VolumeFs, ino: Ino, flags: number): number {
    if (!volume.writes) return wire.FOPEN_DIRECT_IO
    const { sessions, changes } = this.#shared(volume.volume.number)
    const own = this.#sessionOf(volume.volume.number)
    const writesElsewhere = [...sessions.values()].some(
      (other) => other !== own && other.opens.writers(ino) > 0,
    )
    const count = changes.get(ino) ?? 0
    const known = own.seen.get(ino) === count
    if (writesElsewhere || (flags & O_APPEND) !== 0) {
      own.seen.delete(ino)
      return wire.FOPEN_DIRECT_IO
    }
    if (own.seen.size >= COUNTED_MAX) own.seen.clear()
    own.seen.set(ino, count)
    return known ? wire.FOPEN_KEEP_CACHE : 0
  }

  #changed(volume: VolumeFs, ino: Ino): void {
    const { number } = volume.volume
    const { changes, sessions } = this.#shared(number)
    if (changes.size >= COUNTED_MAX) {
      changes.clear()
      for (const { seen } of sessions.values()) seen.clear()
    }
    const before = changes.get(ino) ?? 0
    changes.set(ino, before + 1)
    const { seen } = this.#sessionOf(number)
    if (seen.get(ino) === before) seen.set(ino, before + 1)
  }

  #fsWorld(number: VolumeNumber): VolumeFsWorld {
    const mount = () => this.#mount ?? this.#start.mount
    return {
      clock: this.#clock,
      log: this.#log,
      get mount() {
        return mount()
      },
      wakeEngine: () => this.#tellEngine(number),
      purge: (purge) => this.#tellEngine({ number, purge }),
      secondReader: this.#secondReader,
      damaged: (volume, chunk, what) => tell({ kind: 'damaged', volume, chunk, what }),
    }
  }

  #tellEngine(message: ToEngine): void {
    this.#start.enginePort.postMessage(message)
  }
}

function findIn(volume: VolumeFs): Find {
  return (directory, name) => {
    volume.enter()
    return lookup(volume, directory, name)?.ino ?? null
  }
}

assert(parentPort !== null, 'the access worker has a parent')
const parent = parentPort

function tell(message: FromAccessWorker, transfer: ArrayBuffer[] = []): void {
  parent.postMessage(message, transfer)
}

const worker = new AccessWorker(workerData as AccessWorkerStart, openLog(2).child({ room: 'fuse' }))
parent.on('message', (message: ToAccessWorker) => worker.obey(message))
