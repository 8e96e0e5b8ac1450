import {
  background,
  type Clock,
  type CopyId,
  type DriveId,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  newId,
  type Random,
  type VolumeId,
} from '../base/index.ts'
import {
  type Candidate,
  type CopyStanding,
  type CopyView,
  chooseSpare,
  nextStep,
  type Owner,
  type PlacedCopy,
  type RepairStep,
  type Standing,
} from '../replication/index.ts'
import type { VolumeRecord } from '../volumes/index.ts'
import type { CopyStandingInfo, VolumeStandingInfo } from './repair-standing.ts'
import type { RepairWishes } from './repair-wishes.ts'
import type { ScrubState } from './scrub.ts'
import { sparePlace } from './spare-place.ts'
import { withSilent } from './with-silent.ts'

/** A volume of several copies that this node owns. */
export interface OwnedVolume {
  readonly owner: Owner
  /** As the last change of it by this owner left it. */
  readonly record: VolumeRecord
}

export interface RepairsWorld {
  readonly node: NodeId
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly wishes: RepairWishes
  owned(): Iterable<OwnedVolume>
  /** Where that node stands. */
  domainOf(node: NodeId): Standing['domain']
  nameOf(node: NodeId): string
  candidates(): Promise<{ found: readonly Candidate[]; silent: readonly string[] }>
  /** An empty copy, durable on its node, which can open the volume from then on. */
  makeCopy(record: VolumeRecord, copy: PlacedCopy): Promise<void>
  /** Have that node own the volume. @throws FsError EBUSY when it is in use here */
  handOver(record: VolumeRecord, to: NodeId): Promise<void>
  /** The wish to move it is fulfilled. */
  arrived(volume: VolumeId): Promise<void>
  scrubOf(volume: VolumeId): ScrubState
  /** Bytes that one copy of it takes. */
  bytesOf(record: VolumeRecord): Promise<number>
}

interface Repair {
  /** A step that is under way. */
  busy: boolean
  step: RepairStep
  trouble: { readonly words: string; readonly next: string } | null
  /** Not tried again before. */
  againMs: number
  copyBytes: number
  bytesAtMs: number
  /** When each copy that is being brought up was first seen so. */
  readonly fillSince: Map<CopyId, number>
}

const LOOK_MS = 1000
const AGAIN_MS = 5000
/** What a volume takes is counted anew so often. */
const BYTES_MS = 10_000
const BYTES_FRESH_MS = 500
const SILENT_MS = 3000

/**
 * Mends the volumes that this node owns: looks at each once a second, and does the one step that replication's nextStep says.
 * What people ask for (more copies, another owner, an empty node) stands in the record and the coordinator, so a step
 * that fails, or an owner that dies, loses nothing: whoever looks next goes on.
 */
export class Repairs {
  readonly #world: RepairsWorld
  readonly #repairs = new Map<VolumeId, Repair>()
  #cancel: (() => void) | null = null
  #closed = false
  /** Copies made since the start. */
  madeCopies = 0

  constructor(world: RepairsWorld) {
    this.#world = world
  }

  start(): void {
    this.#cancel = this.#world.clock.after(LOOK_MS, () => {
      this.#lookAtAll()
        .catch(background(this.#world.log, 'repair'))
        .finally(() => this.#closed || this.start())
    })
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  /** How a volume of this node stands; null when it does not own it. */
  standing(volume: VolumeId): VolumeStandingInfo | null {
    for (const owned of this.#world.owned()) {
      if (owned.record.id === volume) return this.#standing(owned)
    }
    return null
  }

  /** The same with its bytes counted now: for whoever plans with them. */
  async standingNow(volume: VolumeId): Promise<VolumeStandingInfo | null> {
    for (const owned of this.#world.owned()) {
      if (owned.record.id !== volume) continue
      await this.#count(owned, this.#repairOf(volume), BYTES_FRESH_MS)
      return this.#standing(owned)
    }
    return null
  }

  async #count({ record }: OwnedVolume, repair: Repair, ageMsMax: number): Promise<void> {
    const now = this.#world.clock.monotonicMs()
    if (now - repair.bytesAtMs < ageMsMax) return
    repair.bytesAtMs = now
    repair.copyBytes = await this.#world.bytesOf(record)
  }

  async #lookAtAll(): Promise<void> {
    const { owned, wishes } = this.#world
    const volumes = [...owned()]
    const ids = new Set(volumes.map(({ record }) => record.id))
    for (const id of this.#repairs.keys()) if (!ids.has(id)) this.#repairs.delete(id)
    if (volumes.length === 0) return
    await wishes.refresh()
    for (const volume of volumes) {
      const repair = this.#repairOf(volume.record.id)
      if (repair.busy) continue
      repair.busy = true
      this.#look(volume, repair)
        .catch(background(this.#world.log, 'repair.look'))
        .finally(() => {
          repair.busy = false
        })
    }
  }

  #repairOf(id: VolumeId): Repair {
    const known = this.#repairs.get(id)
    if (known) return known
    const repair: Repair = {
      busy: false,
      step: { do: 'nothing' },
      trouble: null,
      againMs: Number.NEGATIVE_INFINITY,
      copyBytes: 0,
      bytesAtMs: Number.NEGATIVE_INFINITY,
      fillSince: new Map(),
    }
    this.#repairs.set(id, repair)
    return repair
  }

  async #look(volume: OwnedVolume, repair: Repair): Promise<void> {
    const { clock, log } = this.#world
    const { owner, record } = volume
    const now = clock.monotonicMs()
    if (owner.end !== null) return
    this.#watchFills(owner.standing(), repair, now)
    await this.#count(volume, repair, BYTES_MS)
    const step = nextStep({
      copies: this.#views(volume),
      wanted: record.spec.repl,
      spread: record.spec.spread,
      movingTo: record.movingTo,
      graceMs: this.#world.wishes.settings.graceMs,
    })
    if (step.do !== repair.step.do) {
      log.info({ op: 'repair', volume: record.id, step }, `volume ${record.name}: ${step.do}`)
      repair.trouble = null
      repair.againMs = Number.NEGATIVE_INFINITY
    }
    repair.step = step
    this.#giveUp(volume, step.do === 'release' ? step.copies : this.#givenFor(volume, repair))
    if (now < repair.againMs) return
    try {
      await this.#take(volume, step, repair)
      repair.trouble = null
    } catch (error) {
      if (isBug(error) || !(error instanceof FsError)) throw error
      const { next } = error.subject
      repair.trouble = {
        words: messageOf(error),
        next: typeof next === 'string' ? next : 'it is tried again by itself',
      }
      repair.againMs = clock.monotonicMs() + AGAIN_MS
      log.warn({ op: `repair.${step.do}`, volume: record.id, error: messageOf(error) }, 'not done')
    }
  }

  #watchFills(copies: readonly CopyStanding[], { fillSince }: Repair, now: number): void {
    for (const { id, fill } of copies) {
      if (!fill) fillSince.delete(id)
      else if (!fillSince.has(id)) fillSince.set(id, now)
    }
  }

  #views({ owner, record }: OwnedVolume): CopyView[] {
    const { domainOf, wishes } = this.#world
    const standing = new Map(owner.standing().map((copy) => [copy.id, copy]))
    // As the owner has recorded them: others may have been entered since.
    return record.copies.flatMap(({ id, node }) => {
      const copy = standing.get(id)
      if (!copy) return []
      const { isMember, isWhole, isOwn, silentMs, lost } = copy
      const isLeaving = wishes.draining.has(node)
      return [
        {
          id,
          node,
          domain: domainOf(node),
          isMember,
          isWhole,
          isOwn,
          silentMs,
          damaged: lost,
          isLeaving,
        },
      ]
    })
  }

  /** With no other node left, one that has lost its copy, or the drive of it, may take another: the lost one is in its way. */
  #givenFor({ owner }: OwnedVolume, { step, trouble }: Repair): readonly CopyId[] {
    if (step.do !== 'add' || trouble === null) return []
    const { graceMs } = this.#world.wishes.settings
    const isLost = (copy: CopyStanding) =>
      copy.lost !== null || (copy.isAway && copy.silentMs >= graceMs)
    const lost = owner.standing().find((copy) => isLost(copy) && !copy.isMember)
    return lost ? [lost.id] : []
  }

  #giveUp({ owner }: OwnedVolume, given: readonly CopyId[]): void {
    for (const { id, isOwn } of owner.standing()) {
      if (given.includes(id) && !isOwn) owner.release(id)
      else owner.keep(id)
    }
  }

  async #take(volume: OwnedVolume, step: RepairStep, repair: Repair): Promise<void> {
    const { node, handOver, arrived } = this.#world
    const { record, owner } = volume
    if (record.movingTo === node) await arrived(record.id).then(() => owner.look())
    switch (step.do) {
      case 'add':
        return await this.#add(volume, step.on, repair)
      case 'handOver':
        return await handOver(record, step.to)
      case 'nothing':
      case 'wait':
      case 'fill':
      case 'release':
        return
    }
  }

  async #add({ owner, record }: OwnedVolume, on: NodeId | null, repair: Repair): Promise<void> {
    const { candidates, domainOf, makeCopy, random, log, nameOf } = this.#world
    const { id, name, copies } = record
    const { found, silent } = await candidates()
    const { wish, open } = sparePlace(record, repair.copyBytes, on, found)
    const standing = copies.map(({ node }) => ({ node, domain: domainOf(node) }))
    const place = withSilent(silent, () => chooseSpare(wish, standing, open))
    const copy = { id: newId<CopyId>(random), node: place.node, drive: place.drive as DriveId }
    await makeCopy(record, copy)
    await owner.addCopy(copy)
    this.madeCopies++
    log.info(
      { op: 'repair.add', volume: id, copy },
      `volume ${name}: a copy on ${nameOf(copy.node)}`,
    )
  }

  #standing(volume: OwnedVolume): VolumeStandingInfo {
    const { owner, record } = volume
    const { clock } = this.#world
    const repair = this.#repairOf(record.id)
    const copies = owner.standing().map((copy) => this.#copyInfo(copy, repair))
    const joining = copies.filter(({ state }) => state === 'joining')
    const doneBytes = joining.reduce((sum, copy) => sum + copy.doneBytes, 0)
    const totalBytes = joining.reduce((sum, copy) => sum + copy.totalBytes, 0)
    const since = Math.min(...repair.fillSince.values())
    const seconds = (clock.monotonicMs() - since) / 1000
    const rate = doneBytes > 0 && seconds > 1 ? doneBytes / seconds : 0
    return {
      copies,
      wanted: record.spec.repl,
      inSync: copies.filter(({ state }) => state === 'in sync').length,
      minimum: owner.recorded.minimum,
      copyBytes: repair.copyBytes,
      doing: this.#doing(volume, repair.step),
      trouble: repair.trouble?.words ?? '',
      next: repair.trouble?.next ?? '',
      doneBytes,
      totalBytes,
      secondsLeft: rate > 0 ? Math.ceil((totalBytes - doneBytes) / rate) : null,
      scrub: this.#scrubInfo(record),
    }
  }

  #scrubInfo({ id, copies }: VolumeRecord): VolumeStandingInfo['scrub'] {
    const { found, unfinished, ...state } = this.#world.scrubOf(id)
    const nodeOf = (copy: CopyId) => copies.find((one) => one.id === copy)?.node ?? copy
    return {
      ...state,
      unfinished: unfinished.map(nodeOf),
      found: found.map(({ copy, chunk, what, mended, at }) => ({
        node: nodeOf(copy),
        chunk,
        what,
        mended,
        at,
      })),
    }
  }

  #copyInfo(copy: CopyStanding, { copyBytes }: Repair): CopyStandingInfo {
    const { id, node, isMember, isLeaving, silentMs, lost, wrong, fill, lagRecords, lacksChunks } =
      copy
    const isSilent = silentMs > SILENT_MS
    const state = isLeaving
      ? 'leaving'
      : isMember
        ? lacksChunks > 0
          ? 'incomplete'
          : 'in sync'
        : lost !== null
          ? 'damaged'
          : isSilent
            ? 'silent'
            : 'joining'
    const doneBytes = fill?.filledBytes ?? (isMember || copy.isWhole ? copyBytes : 0)
    const mean = fill && fill.filledChunks > 0 ? fill.filledBytes / fill.filledChunks : 0
    const totalBytes = fill ? Math.round(Math.max(doneBytes, fill.chunks * mean)) : copyBytes
    const lacks = `it lacks ${lacksChunks} chunks: a drive of its node is away`
    const why = lost ?? wrong ?? (lacksChunks > 0 ? lacks : '')
    return { id, node, state, silentMs, why, doneBytes, totalBytes, lagRecords }
  }

  #doing({ record }: OwnedVolume, step: RepairStep): string {
    const { nameOf } = this.#world
    const nodeOf = (copy: CopyId) => {
      const place = record.copies.find(({ id }) => id === copy)
      return place ? nameOf(place.node) : copy
    }
    switch (step.do) {
      case 'nothing':
        return ''
      case 'wait':
        return `node ${nodeOf(step.copy)} does not answer; in ${Math.ceil(step.ms / 1000)} s another copy is made in place of its own`
      case 'add':
        return step.on === null
          ? 'a place for another copy is looked for'
          : `a copy is made on node ${nameOf(step.on)}`
      case 'fill':
        return 'a copy is brought up'
      case 'release':
        return `copies that are not needed are given up: on ${step.copies.map(nodeOf).join(', ')}`
      case 'handOver':
        return `node ${nameOf(step.to)} takes the volume over`
    }
  }
}
