import {
  type ChunkId,
  type CopyId,
  codeOf,
  type DriveId,
  type Epoch,
  FsError,
  type KeyEpoch,
  type RecordSeq,
  silentLog,
} from '../../src/base/index.ts'
import type { Disk } from '../../src/disk/index.ts'
import type { Checkpoint, LogPlace } from '../../src/journal/index.ts'
import {
  type Answer,
  type AskCopy,
  adopt,
  type Claim,
  Copy,
  type CopyPlace,
  claim,
  establish,
  InSyncSet,
  Owner,
  type OwnerWorld,
  type RecordedSet,
  type Request,
  type SetStore,
  type Times,
} from '../../src/replication/index.ts'
import { JournalLog } from '../replication/journal-log.ts'
import { type Seeded, seeded } from '../support/seeded.ts'
import { Checks, PromiseBroken } from './checks.ts'
import { SimCoordinator, SimSetStore } from './coordinator.ts'
import {
  AHEAD_BYTES,
  copyId,
  DIRECTORY,
  type Dump,
  dumpText,
  FILE_BYTES_MAX,
  Machine,
  MachineChunks,
  type Manifest,
  newChunk,
  nodeId,
  readDump,
  readLog,
  VOLUME,
} from './machine.ts'
import { type Host, Network } from './network.ts'
import { type NodeClock, Timeline } from './timeline.ts'

interface Question {
  readonly copy: CopyId
  readonly request: Request
}

/** Where a planted bug goes in: each replaces one piece by one that breaks a rule. */
export interface Plants {
  /** Between the network and a copy. */
  readonly copy?: (
    copy: Copy,
    request: Request,
    sleep: (ms: number) => Promise<void>,
  ) => Promise<Answer>
  /** Between an owner and the network. @param ofCheckpoints chunks of those that its log names */
  readonly ask?: (request: Request, ofCheckpoints: ReadonlySet<ChunkId>) => Request
  readonly disk?: (disk: Disk) => Disk
  readonly set?: new (...args: ConstructorParameters<typeof InSyncSet>) => InSyncSet
  readonly store?: (store: SetStore) => SetStore
  readonly owner?: new (...args: ConstructorParameters<typeof Owner>) => Owner
  /** How an owner takes a checkpoint: without having its chunks on the set, or before the record that names it is committed. */
  readonly checkpoint?: 'unconfirmed' | 'uncommitted'
  readonly keepsEpoch?: boolean
  readonly keepsCopyId?: boolean
}

export interface SimOptions {
  readonly nodes: number
  /** Copies that begin as members, of `nodes`. */
  readonly repl: number
  readonly minimum: number
  readonly steps: number
  /** Without, copies grant nothing, as if clocks could not be trusted: reads may be old then, nothing else. */
  readonly leases: boolean
  /** Drives with chunks alone are lost too. */
  readonly drives?: boolean
  readonly plants: Plants
}

/**
 * Shorter than design §6 says, so that more happens in a run; their relations are the same, but that an owner that is cut
 * off gives up so late that it can be overtaken before: then its lease alone keeps it from answering.
 */
const times: Times = {
  termMs: 400,
  dropMs: 120,
  dropToOneMs: 400,
  steadyMs: 20,
  giveUpMs: 1000,
  promiseMs: 80,
  askMs: 40,
  graceMs: 15,
  answerMs: 120,
  chunkMs: 200,
}

interface Life {
  readonly clock: NodeClock
  readonly disk: Disk
  readonly chunks: MachineChunks
  readonly store: SetStore
}

interface Leads {
  readonly owner: Owner
  readonly log: JournalLog
  /** What the engine of a volume knows of its checkpoints. */
  readonly checkpoints: Pins
}

/** The newest checkpoint that the log names, and who wants it to stay that. */
class Pins {
  named: Manifest | null
  taking = false
  spreading: Promise<unknown> = Promise.resolve()
  readonly #pins = new Set<symbol>()
  #waiting: (() => void)[] = []

  constructor(named: Manifest | null) {
    this.named = named
  }

  async pin(): Promise<() => void> {
    const pin = Symbol('pin')
    this.#pins.add(pin)
    await this.spreading
    return () => {
      this.#pins.delete(pin)
      if (this.#pins.size === 0) for (const go of this.#waiting.splice(0)) go()
    }
  }

  async untilUnpinned(): Promise<void> {
    while (this.#pins.size > 0) await new Promise<void>((go) => this.#waiting.push(go))
  }
}

function placeOf({ at }: Dump): LogPlace {
  const { epoch, seq, chain } = at
  return { epoch: epoch as Epoch, seq: seq as RecordSeq, chain: Buffer.from(chain, 'hex') }
}

function checkpointOf(manifest: Manifest): Checkpoint {
  const { newest, previous } = manifest
  return {
    newest: placeOf(newest),
    oldest: placeOf(previous ?? newest),
    chunks: [...newest.chunks, ...(previous?.chunks ?? [])],
    manifest: Buffer.from(JSON.stringify(manifest)),
  }
}

/** One node: a machine, a copy on its drive, and while it lives perhaps the owner of the volume. */
class SimNode implements Host<Question, Answer> {
  readonly name: string
  readonly index: number
  readonly machine: Machine
  readonly #cluster: SimCluster
  copyLife = 0
  copy: Copy | null = null
  #now: Life | null = null
  #leads: Leads | null = null
  #serves = false
  #claiming = false
  /** The epoch of an owner whose node went down serving. */
  #lastEpoch: Claim | null = null

  constructor(cluster: SimCluster, index: number) {
    this.#cluster = cluster
    this.index = index
    this.name = `n${index}`
    this.machine = new Machine(cluster.timeline, cluster.dice)
  }

  get id() {
    return nodeId(this.index)
  }

  get place(): CopyPlace {
    return { id: copyId(this.index, this.copyLife), node: this.id }
  }

  get up(): boolean {
    return this.#now !== null
  }

  get serving(): Leads | null {
    return this.#serves && this.#leads?.owner.end === null ? this.#leads : null
  }

  get life() {
    const now = this.#now
    return now && { clock: now.clock, answer: (question: Question) => this.#answer(question) }
  }

  start(): void {
    const { plants, network, coordinator } = this.#cluster
    const { clock, disk: bare } = this.machine.boot()
    const disk = plants.disk?.(bare) ?? bare
    const chunks = new MachineChunks(disk, () => this.machine.drives)
    const direct = new SimSetStore(network, { name: this.name, clock }, coordinator)
    this.#now = { clock, disk, chunks, store: plants.store?.(direct) ?? direct }
    const termMs = this.#cluster.leases ? times.termMs : 0
    const files = { aheadBytes: AHEAD_BYTES, fileBytesMax: FILE_BYTES_MAX }
    const world = { disk, clock, chunks, termMs, ...files }
    const identity = { volume: VOLUME, directory: DIRECTORY }
    const made = disk.exists(`${DIRECTORY}/promise`)
    this.copy = made
      ? Copy.open(identity, world)
      : Copy.create({ ...identity, id: this.place.id }, world)
    if (this.copy.damaged) throw new PromiseBroken(`${this.name} is damaged: ${this.copy.damaged}`)
  }

  stop(how: 'kill' | 'powerCut' | 'wipe'): void {
    this.#lastEpoch = this.#serves ? this.#lastEpoch : null
    this.#now = null
    this.#leads = null
    this.#serves = false
    this.#claiming = false
    this.copy = null
    this.machine[how]()
    if (how === 'wipe') this.#cluster.replaceCopy(this)
  }

  pause(): void {
    this.#now?.clock.pause()
  }

  resume(): void {
    this.#now?.clock.resume()
  }

  async #answer({ copy: wanted, request }: Question): Promise<Answer> {
    const { copy } = this
    if (!copy) throw new FsError('ECONNRESET', 'ask', {})
    if (wanted !== copy.identity.id) {
      const words = `copy ${wanted} is gone`
      return { kind: 'refused', why: 'otherCopy', promised: copy.promised.epoch, waitMs: 0, words }
    }
    const { plants, timeline } = this.#cluster
    const planted = plants.copy?.(copy, request, (ms) => timeline.sleep(ms))
    const answer = await (planted ?? copy.handle(request))
    if (request.op === 'begin' && answer.kind === 'done') this.#cluster.begun++
    return answer
  }

  /** Become the owner, if that can be. */
  takeOver(): void {
    const now = this.#now
    if (!now || now.clock.paused || this.#claiming || this.#leads?.owner.end === null) return
    this.#leads = null
    this.#serves = false
    this.#claiming = true
    this.#tryToLead(now)
      .catch((error: unknown) => this.#cluster.mayFail(error))
      .finally(() => {
        if (this.#now === now) this.#claiming = false
      })
  }

  async #tryToLead({ clock, disk, chunks, store }: Life): Promise<void> {
    const { network, plants, checks, nodes } = this.#cluster
    const { copy } = this
    if (!copy) return
    const ask: AskCopy = async (to, asked, { deadlineMs }) => {
      const named = this.#leads?.checkpoints.named
      const chunks = new Set(named ? checkpointOf(named).chunks : [])
      const request = plants.ask?.(asked, chunks) ?? asked
      const host = nodes.find((node) => node.id === to.node)
      if (!host) throw new FsError('EHOSTUNREACH', 'ask', {})
      if (host === this && to.id === copy.identity.id) return await copy.handle(request)
      const question = { copy: to.id, request }
      return await network.ask({ name: this.name, clock }, host, question, deadlineMs)
    }
    const world = { node: this.id, ask, store, clock, times }
    const old = plants.keepsEpoch ? await this.#epochKept(store, copy) : null
    const claimed = old ?? (await claim(world))
    if ('why' in claimed) return
    const { epoch, recorded } = claimed
    const end = old ? copy.head : await adopt(world, claimed, copy)
    if (!this.#canOpen(copy, chunks)) throw new FsError('EIO', 'open', {})
    const { seq: baseSeq, chunks: baseChunks } = readDump(disk) ?? { seq: 0, chunks: new Set() }
    const place = {
      disk,
      volume: VOLUME,
      directory: DIRECTORY,
      aheadBytes: AHEAD_BYTES,
      fileBytesMax: FILE_BYTES_MAX,
      base: { seq: baseSeq, chunks: baseChunks },
    }
    const { named } = readLog(disk)
    const checkpoints = new Pins(named)
    const log = new JournalLog(place, epoch, end)
    const first = old
      ? end
      : log.append(Buffer.from(`first of ${epoch}`), { begins: [], ends: [] }, 0 as RecordSeq)
    const SetClass = plants.set ?? InSyncSet
    const OwnerClass = plants.owner ?? Owner
    const set = new SetClass(store, { node: this.id, epoch }, recorded)
    const owner: Owner = new OwnerClass(
      {
        volume: VOLUME,
        node: this.id,
        epoch,
        own: copy.identity.id,
        ask,
        log,
        chunksInUse: async (committed) => log.chunksInUse(committed),
        readChunk: (chunk) => chunks.read(chunk),
        checkpoint: named && checkpointOf(named),
        unnamed: async (chunks) => {
          const used = log.chunksInUse(log.head.seq)
          return { chunks: chunks.filter((chunk) => !used.has(chunk)), seq: log.head.seq }
        },
        pinCheckpoint: () => checkpoints.pin(),
        clock,
        times,
        report: silentLog,
        lost: () => {
          if (copy.promised.epoch === epoch) copy.unlead()
        },
      } satisfies OwnerWorld,
      set,
    )
    copy.lead(log, () => owner.stop('fenced'))
    this.#leads = { owner, log, checkpoints }
    this.#lastEpoch = claimed
    if (old) {
      owner.start()
      owner.serve()
    } else if (await establish(owner, first, claimed.promised, { clock, times })) {
      owner.stop('not established')
      return
    }
    if (owner.end !== null) return
    checks.serve(this.name, epoch, first.seq, readLog(disk))
    this.#serves = true
  }

  /** Of the life before, if nobody has taken another since. */
  async #epochKept(store: SetStore, copy: Copy): Promise<Claim | null> {
    const recorded = await store.read()
    const last = this.#lastEpoch
    const still = recorded.epoch === last?.epoch && copy.promised.epoch === last.epoch
    return last && still ? { ...last, recorded } : null
  }

  /** Let go of the volume, whatever is under way. */
  resign(): void {
    const { serving } = this
    if (!serving || this.#now?.clock.paused) return
    serving.owner.resign('asked to').catch((error: unknown) => this.#cluster.mayFail(error))
  }

  /** A chunk of the checkpoint that nobody who answered has keeps this node from opening the volume, for now. */
  #canOpen(copy: Copy, chunks: MachineChunks): boolean {
    if (!this.#cluster.losesDrives) return true
    return (copy.checkpoint?.chunks ?? []).every((chunk) => chunks.has(chunk))
  }

  /** A caller at the owner: a change, perhaps with a chunk, and fsync behind it, or a read. */
  work(): void {
    const serving = this.serving
    const now = this.#now
    if (!serving || !now || now.clock.paused) return
    const { dice } = this.#cluster
    const what = dice.below(10)
    const doing =
      what < 3
        ? this.#read(serving, now)
        : what < 8
          ? this.#write(serving, now, what < 5)
          : this.#drop(serving, now)
    doing.catch((error: unknown) => this.#cluster.mayFail(error))
  }

  async #read({ owner, log }: Leads, now: Life): Promise<void> {
    // One moment: the look at the lease, and the answer.
    if (!this.#cluster.leases || owner.leaseUntilMs <= now.clock.monotonicMs()) return
    this.#cluster.checks.read(this.name, log.epoch, readLog(now.disk))
  }

  async #write({ owner, log }: Leads, now: Life, withChunk: boolean): Promise<void> {
    const { dice, checks } = this.#cluster
    const begins: ChunkId[] = []
    if (withChunk) {
      const chunk = newChunk(dice, log.epoch)
      const bytes = dice.bytes(8)
      await now.chunks.put(chunk, bytes)
      do {
        await owner.putChunk(chunk, bytes)
        if (dice.below(3) === 0) await this.#cluster.timeline.sleep(dice.below(300))
      } while (!owner.mayName([chunk]))
      begins.push(chunk)
    }
    const { seq } = log.append(
      Buffer.from(`${this.#cluster.nextBody()}`),
      { begins, ends: [] },
      owner.committed,
    )
    owner.appended()
    if (dice.below(3) === 0) return
    await owner.sync(seq)
    checks.acknowledge(this.name, seq, readLog(now.disk).tags)
  }

  sweep(): void {
    const { serving } = this
    if (!serving || this.#now?.clock.paused) return
    serving.owner.sweep({ keyEpoch: 0 as KeyEpoch, restMs: 0 }, 1).then(
      ({ deleted }) => {
        this.#cluster.swept += deleted
      },
      (error: unknown) => this.#cluster.mayFail(error),
    )
  }

  /** As store/checkpoint.ts does: dump, wait for the set, name, wait for the set, give it to all. */
  checkpoint(): void {
    const serving = this.serving
    const now = this.#now
    if (!serving || !now || now.clock.paused || serving.checkpoints.taking) return
    const { checkpoints } = serving
    checkpoints.taking = true
    this.#takeCheckpoint(serving, now)
      .catch((error: unknown) => this.#cluster.mayFail(error))
      .finally(() => {
        checkpoints.taking = false
      })
  }

  async #takeCheckpoint({ owner, log, checkpoints }: Leads, now: Life): Promise<void> {
    const { dice, plants } = this.#cluster
    const { epoch, seq, chain } = log.head
    const { epoch: epochOfOwner } = log
    const text = dumpText(readLog(now.disk))
    const half = text.length >> 1
    const parts = new Map<ChunkId, Buffer>()
    for (const part of [text.subarray(0, half), text.subarray(half)]) {
      const chunk = newChunk(dice, epochOfOwner)
      parts.set(chunk, part)
      await now.chunks.put(chunk, part)
    }
    const begins = [...parts.keys()]
    const confirm = async () => {
      for (const [chunk, part] of parts) await owner.putChunk(chunk, part)
    }
    if (plants.checkpoint !== 'unconfirmed') await confirm()
    await owner.sync(seq)
    await checkpoints.untilUnpinned()
    while (plants.checkpoint !== 'unconfirmed' && !owner.mayName(begins)) await confirm()
    const before = checkpoints.named
    const newest = { at: { epoch, seq, chain: chain.toString('hex') }, chunks: begins }
    // Now and then one alone, as when keys are changed.
    const alone = dice.below(4) === 0
    const manifest: Manifest = { newest, previous: alone ? null : (before?.newest ?? null) }
    const ends = [
      ...(before?.previous?.chunks ?? []),
      ...(alone ? (before?.newest.chunks ?? []) : []),
    ]
    const named = log.append(
      Buffer.from(JSON.stringify(manifest)),
      { begins, ends },
      owner.committed,
    )
    checkpoints.named = manifest
    const spreading = (async () => {
      owner.appended()
      if (plants.checkpoint !== 'uncommitted') await owner.sync(named.seq)
      await owner.checkpoint(checkpointOf(manifest))
    })()
    checkpoints.spreading = spreading.catch(() => {})
    await spreading
    this.#cluster.cuts++
  }

  async #drop({ owner, log, checkpoints: { named } }: Leads, now: Life): Promise<void> {
    const ofCheckpoints = new Set(named ? checkpointOf(named).chunks : [])
    const [chunk] = [...log.chunksInUse(log.head.seq)].filter((one) => !ofCheckpoints.has(one))
    if (!chunk) return
    const { seq } = log.append(Buffer.from('drop'), { begins: [], ends: [chunk] }, owner.committed)
    await owner.sync(seq)
    this.#cluster.checks.acknowledge(this.name, seq, readLog(now.disk).tags)
    await owner.deleteChunks([chunk], seq)
  }
}

/** What may happen, and how often at most; each run draws its own shares, so that some see much of one thing and little of others. */
const HAPPENINGS = {
  work: 1000,
  takeOver: 200,
  pause: 30,
  resume: 40,
  start: 60,
  kill: 15,
  powerCut: 15,
  wipe: 4,
  resign: 15,
  giveUp: 15,
  checkpoint: 60,
  sweep: 20,
  cut: 60,
  heal: 60,
  network: 20,
  loseDrive: 30,
} as const

type Happening = keyof typeof HAPPENINGS

/** A volume on a few machines, callers at its owner, and everything that may go wrong, by one seed. */
export class SimCluster {
  readonly timeline = new Timeline()
  readonly dice: Seeded
  readonly plants: Plants
  readonly leases: boolean
  readonly losesDrives: boolean
  readonly checks: Checks
  readonly network: Network
  readonly nodes: SimNode[] = []
  readonly coordinator: SimCoordinator
  readonly #options: SimOptions
  readonly #weights: (readonly [Happening, number])[]
  #broken: PromiseBroken | null = null
  /** Checkpoints that every member got. */
  cuts = 0
  /** Copies that another node had begin at a checkpoint. */
  begun = 0
  /** Chunks that no record named. */
  swept = 0
  lostDrives = 0
  #body = 0

  constructor(seed: number, options: SimOptions) {
    this.dice = seeded(seed)
    const may = Object.entries(HAPPENINGS).filter(
      ([what]) => options.drives || what !== 'loseDrive',
    )
    this.#weights = may.map(([what, most]) => {
      const share = what === 'takeOver' && !options.leases ? most / 5 : most
      return [what as Happening, 1 + this.dice.below(share)] as const
    })
    this.plants = options.plants
    this.leases = options.leases
    this.losesDrives = options.drives ?? false
    this.#options = options
    this.checks = new Checks(options.minimum)
    this.network = new Network(this.timeline, this.dice)
    for (let i = 1; i <= options.nodes; i++) this.nodes.push(new SimNode(this, i))
    const copies = this.nodes.map((node) => node.place)
    const set: RecordedSet = {
      epoch: 0 as Epoch,
      owner: null,
      copies,
      inSync: copies.slice(0, options.repl).map((copy) => copy.id),
      minimum: options.minimum,
    }
    this.coordinator = new SimCoordinator(this.timeline, set, (now) =>
      this.#check(() => this.checks.recorded(now)),
    )
  }

  nextBody(): number {
    return ++this.#body
  }

  /** What callers are told when things fail; anything else is a bug of ours, or a broken promise. */
  mayFail(error: unknown): void {
    if (error instanceof PromiseBroken) this.#broken ??= error
    else if (!(error instanceof FsError)) {
      this.#broken ??= new PromiseBroken(
        `unexpected: ${codeOf(error)} ${error instanceof Error ? error.stack : error}`,
      )
    }
  }

  /**
   * An empty copy on a node that lost its own, or gave it up: entered by the owner that serves, or by a person behind
   * its back, in which case it looks.
   */
  replaceCopy(node: SimNode): void {
    if (this.plants.keepsCopyId) return
    node.copyLife++
    const owner = this.nodes.find((one) => one.serving)?.serving?.owner
    const isListed = this.coordinator.recorded.copies.some((copy) => copy.node === node.id)
    if (owner && !isListed) {
      const copy = { ...node.place, drive: '00'.repeat(16) as DriveId }
      owner.addCopy(copy).catch((error: unknown) => this.mayFail(error))
      return
    }
    this.coordinator.addCopy(node.place)
    owner?.look()
  }

  /** The owner gives another node's copy up; that node deletes it once the record says so, and gets a new one. */
  #giveUp(node: SimNode): void {
    const { serving } = this.nodes.find((one) => one.serving) ?? {}
    if (!serving || node.serving) return
    // Nobody gives a copy up while another lacks something.
    if (!serving.owner.standing().every(({ isMember, isWhole }) => isWhole || !isMember)) return
    const { copies, inSync, minimum } = serving.owner.recorded
    if (inSync.length > minimum && copies.some(({ id }) => id === node.place.id)) {
      serving.owner.release(node.place.id)
    }
  }

  #obey(): void {
    const { copies } = this.coordinator.recorded
    for (const node of this.nodes) {
      const isListed = copies.some(({ id }) => id === node.place.id)
      if (node.up && !isListed && !this.plants.keepsCopyId) node.stop('wipe')
    }
  }

  #check(look: () => void): void {
    try {
      look()
    } catch (error) {
      this.mayFail(error)
    }
  }

  /** @throws PromiseBroken */
  async run(): Promise<void> {
    for (const node of this.nodes) node.start()
    // In a slow run faults last longer than a lease, in a fast one they come in crowds.
    const paceMs = 5 + this.dice.below(60)
    for (let step = 0; step < this.#options.steps; step++) {
      await this.timeline.run(this.timeline.nowMs + 1 + this.dice.below(paceMs))
      if (this.#broken) throw this.#broken
      this.#step()
    }
    await this.#calm()
    await this.#darkness()
  }

  #step(): void {
    const { dice } = this
    const node = this.nodes[dice.below(this.nodes.length)] as SimNode
    if (dice.below(20) === 0) this.#obey()
    switch (this.#draw()) {
      case 'work':
        for (const one of this.nodes) one.work()
        break
      case 'takeOver':
        node.takeOver()
        break
      case 'pause':
        node.pause()
        break
      case 'resume':
        for (const one of this.nodes) {
          one.resume()
          // Before any timer of it: a thread that answers callers may be the first to go on.
          one.work()
        }
        break
      case 'start':
        for (const one of this.nodes) if (!one.up) one.start()
        break
      case 'kill':
      case 'powerCut':
        if (node.up) node.stop(dice.below(2) === 0 ? 'kill' : 'powerCut')
        break
      case 'wipe':
        if (node.up && this.#mayWipe(node)) node.stop('wipe')
        break
      case 'resign':
        node.resign()
        break
      case 'giveUp':
        this.#giveUp(node)
        break
      case 'checkpoint':
        for (const one of this.nodes) one.checkpoint()
        break
      case 'sweep':
        for (const one of this.nodes) one.sweep()
        break
      case 'loseDrive':
        this.#loseDrive(node)
        break
      case 'cut':
        this.#cutSome(node)
        break
      case 'heal':
        this.network.heal()
        break
      case 'network':
        this.network.faults = {
          lost: dice.below(100),
          doubled: dice.below(100),
          late: dice.below(200),
        }
        break
    }
  }

  #draw(): Happening {
    let at = this.dice.below(this.#weights.reduce((sum, [, weight]) => sum + weight, 0))
    for (const [what, weight] of this.#weights) {
      if (at < weight) return what
      at -= weight
    }
    return 'work'
  }

  #cutSome(node: SimNode): void {
    for (const name of [...this.nodes.map((one) => one.name), 'coordinator']) {
      if (name !== node.name && this.dice.below(2) === 0) this.network.cut(node.name, name)
    }
  }

  /** One drive at a time: with more of them lost than the set can bear, what was acknowledged is gone by right. */
  #mayWipe(node: SimNode): boolean {
    const { inSync } = this.coordinator.recorded
    const members = this.nodes.filter(({ place }) => inSync.includes(place.id))
    const isEnough =
      members.filter((one) => one !== node).length >= Math.max(1, this.#options.minimum - 1)
    if (!isEnough || !this.#options.drives) return isEnough
    return node.machine.chunks().every((chunk) => this.#isElsewhere(chunk, node))
  }

  /** What another member has too: with more lost than that, it is gone by right. */
  #loseDrive(node: SimNode): void {
    // An owner of the simulation reads its log anew, checkpoint included, for every answer.
    const read = new Set(node.copy?.isLed ? node.copy.checkpoint?.chunks : [])
    const lost = node.machine
      .chunks()
      .filter((chunk) => !read.has(chunk) && this.#isElsewhere(chunk, node))
    node.machine.loseChunks(lost.filter(() => this.dice.below(2) === 0))
    this.lostDrives++
  }

  #isElsewhere(chunk: ChunkId, node: SimNode): boolean {
    const { inSync } = this.coordinator.recorded
    return this.nodes.some(
      (one) =>
        one !== node && inSync.includes(one.place.id) && one.machine.chunks().includes(chunk),
    )
  }

  /** Every fault mended: the volume must come back to work by itself. */
  async #calm(): Promise<void> {
    this.network.heal()
    this.network.faults = { lost: 0, doubled: 0, late: 0 }
    for (const node of this.nodes) {
      node.resume()
      if (!node.up) node.start()
    }
    const before = this.checks.acknowledgements
    // Without one that was given up a moment ago, and is no copy any more.
    const allInSync = () => {
      const { copies, inSync } = this.coordinator.recorded
      const listed = this.nodes.filter(({ place }) => copies.some(({ id }) => id === place.id))
      const { owner } = this.nodes.find((node) => node.serving)?.serving ?? {}
      const areWhole = owner?.standing().every((copy) => copy.isWhole || !copy.isMember) ?? false
      return areWhole && listed.every(({ place }) => inSync.includes(place.id))
    }
    const calm = () => this.checks.acknowledgements > before && allInSync()
    for (let round = 0; round < 500 && !calm(); round++) {
      await this.timeline.run(this.timeline.nowMs + 10)
      if (this.#broken) throw this.#broken
      // One candidate for a while: without leases two of them would only void each other's epochs.
      const candidate = this.nodes[Math.floor(round / 50) % this.nodes.length]
      if (!this.nodes.some((node) => node.serving)) candidate?.takeOver()
      for (const node of this.nodes) node.work()
      // What was entered into the record without its owner's doing, the next one follows.
      if (round === 200) for (const node of this.nodes) node.resign()
    }
    if (this.checks.acknowledgements === before) {
      const { epoch, owner, inSync } = this.coordinator.recorded
      throw new PromiseBroken(
        `5 s after every fault was mended nothing is acknowledged: epoch ${epoch}, owner ${owner}, set ${inSync}`,
      )
    }
    if (!allInSync()) {
      const { epoch, inSync } = this.coordinator.recorded
      throw new PromiseBroken(
        `5 s after every fault was mended not every copy is in sync and whole: epoch ${epoch}, set ${inSync}`,
      )
    }
  }

  /** All machines lose their power at once: what was acknowledged is on every member. */
  async #darkness(): Promise<void> {
    for (const node of this.nodes) node.stop('powerCut')
    const { inSync } = this.coordinator.recorded
    for (const node of this.nodes) {
      node.start()
      if (!inSync.includes(node.place.id)) continue
      const { disk } = node.machine
      this.checks.member(node.name, readLog(disk), (chunk) => disk.exists(`/drive/chunks/${chunk}`))
    }
  }
}
