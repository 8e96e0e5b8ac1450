import {
  background,
  type Clock,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type VolumeNumber,
} from '../base/index.ts'
import type { VolumeRecord } from '../volumes/index.ts'

export interface FollowUseWorld {
  readonly node: NodeId
  /** A volume of several copies that this node owns and could let go of now; null for any other. */
  mayGo(number: VolumeNumber): { readonly record: VolumeRecord; readonly files: number } | null
  /** It can be reached, and is not to lose what it has. */
  isFit(node: NodeId): boolean
  /** As NodeRepairs.handOver. */
  handOver(record: VolumeRecord, to: NodeId): Promise<void>
  readonly clock: Clock
  readonly log: Log
}

/** Who uses a volume now, and since when nobody else has. */
interface SoleUse {
  readonly node: NodeId
  readonly sinceMs: number
  requests: number
}

/** So long nobody else has asked for anything; once more for each so many files. */
const SOLE_MS = 10_000
const SOLE_FILES = 20_000
/** What is asked for less often gains nothing. */
const REQUESTS_PER_S_MIN = 20
/** The next owner brings its index up to date first, while callers wait: 3 s for 100,000 files that it had not seen. */
const FILES_MAX = 200_000
const LOOK_MS = 1000
/** Of what could not go, for locks were held or the node could not open it. */
const REFUSED_MS = 60_000
/** Who has just become the owner stays it for so long: two that use a volume in turn do not pass it to and fro. */
const STAYS_MS = 30_000

/**
 * A volume goes to the node that uses it, as what is used there goes faster: when for a while one other node alone has asked for
 * something, and that node has a copy in sync, it becomes the owner. What is open there and elsewhere goes on. Not of volumes whose
 * spec says owner=stays.
 */
export class FollowUse {
  readonly #world: FollowUseWorld
  readonly #uses = new Map<VolumeNumber, SoleUse>()
  readonly #notBeforeMs = new Map<VolumeNumber, number>()
  #cancel: (() => void) | null = null
  #going: Promise<void> | null = null

  constructor(world: FollowUseWorld) {
    this.#world = world
  }

  start(): void {
    this.#cancel = this.#world.clock.after(LOOK_MS, () => {
      this.#going ??= this.#look().finally(() => {
        this.#going = null
      })
      this.#going.catch(background(this.#world.log, 'follow'))
      this.start()
    })
  }

  close(): void {
    this.#cancel?.()
  }

  /** This node owns a volume from now on. */
  owned(number: VolumeNumber): void {
    this.#uses.delete(number)
    this.#notBeforeMs.set(number, this.#world.clock.monotonicMs() + STAYS_MS)
  }

  /** Hot. A kernel asks for something of a volume that several nodes may use. */
  asked(number: VolumeNumber, node: NodeId): void {
    const use = this.#uses.get(number)
    if (use?.node === node) use.requests++
    else this.#uses.set(number, { node, sinceMs: this.#world.clock.monotonicMs(), requests: 1 })
  }

  async #look(): Promise<void> {
    const { node: self, clock, mayGo, isFit } = this.#world
    for (const [number, { node, sinceMs, requests }] of this.#uses) {
      const forMs = clock.monotonicMs() - sinceMs
      if (node === self || forMs < SOLE_MS) continue
      const going = mayGo(number)
      if (going && forMs < SOLE_MS * (going.files / SOLE_FILES)) continue
      this.#uses.delete(number)
      if (requests < (REQUESTS_PER_S_MIN * forMs) / 1000) continue
      if ((this.#notBeforeMs.get(number) ?? 0) > clock.monotonicMs()) continue
      if (!going || going.files > FILES_MAX || going.record.spec.ownerStays) continue
      if (hasInSync(going.record, node) && isFit(node)) await this.#go(going.record, node)
    }
  }

  async #go(record: VolumeRecord, to: NodeId): Promise<void> {
    const { handOver, clock, log } = this.#world
    const { id, name, number } = record
    log.info({ op: 'follow', volume: id, to }, `volume ${name} goes to the node that uses it`)
    this.#notBeforeMs.set(number, clock.monotonicMs() + REFUSED_MS)
    try {
      await handOver(record, to)
    } catch (error) {
      if (isBug(error) || !(error instanceof FsError)) throw error
      log.info({ op: 'follow', volume: id, error: messageOf(error) }, `volume ${name} stays`)
    }
  }
}

function hasInSync({ copies, inSync }: VolumeRecord, node: NodeId): boolean {
  const copy = copies.find((one) => one.node === node)
  return copy !== undefined && inSync.includes(copy.id)
}
