import type { Clock, Ino } from '../base/index.ts'

/** What a kernel is to forget: attributes of these inodes, and if `names`, every name it has of the volume. */
export interface Forgetting {
  readonly attributes: readonly Ino[]
  readonly names: boolean
}

/** What a request changes: attributes of inodes, and the names in directories. */
export interface Touched {
  readonly attributes: readonly Ino[]
  readonly names: readonly Ino[]
}

export interface GrantsWorld {
  readonly clock: Clock
  /** Have the kernel of a session forget; then `forgot` is called with the number of the asking. */
  ask(asking: number, session: number, forgetting: Forgetting): void
  /** Something is about to be granted: who answers for the volume next, without knowing, is to be told so. */
  granting(): void
}

/** One kernel's. Times are when its grants end. */
interface Holder {
  readonly attributes: Map<Ino, number>
  /** By directory. */
  readonly names: Map<Ino, number>
  /** It may have kept any attributes until then, but for those it was told to forget since. */
  anyUntilMs: number
  readonly forgotSince: Set<Ino>
  readonly asked: Set<Ino>
  isAskedNames: boolean
  /** When the last of all these ends. */
  untilMs: number
}

interface Asking extends Forgetting {
  readonly session: number
  readonly untilMs: number
}

/** How long another kernel may keep names and attributes, counted from when it gets them. */
export const GRANT_VALID_MS = 3000
/** An answer that took longer at the asker is given to its kernel without a life, so that a grant ends when its giver thinks. */
export const GRANT_LATE_MS = 500
/** How long a grant is reckoned with: the two above, and what clocks of two machines drift apart in that time. */
export const GRANT_MS = GRANT_VALID_MS + GRANT_LATE_MS + 500
/** What a kernel was made to forget is not granted again for so long: two that change one directory do not revoke in turn. */
const QUIET_MS = 1000
/** Of one kernel; more it asks for each time. */
const GRANTS_MAX = 65_536
/** Inodes of one asking. */
const ASKED_MAX = 1024

/**
 * What other kernels keep of one volume, by session: names and attributes, each until a time. Whoever is to execute a change
 * has all other kernels forget what it touches first (docs/adr/0021), so that no kernel shows less than somebody was told.
 */
export class Grants {
  readonly #world: GrantsWorld
  readonly #holders = new Map<number, Holder>()
  readonly #askings = new Map<number, Asking>()
  readonly #quiet = { attributes: new Map<Ino, number>(), names: new Map<Ino, number>() }
  #last = 0
  #isClosing = false
  #waiting: (() => void)[] = []
  #cancel: (() => void) | null = null

  constructor(world: GrantsWorld) {
    this.#world = world
  }

  /** Hot. @param leaseMs that the lease has still. @returns how long the asker may keep an inode's attributes, in ms */
  attributes(session: number, ino: Ino, leaseMs: number): number {
    return this.#give('attributes', session, ino, leaseMs)
  }

  /** Hot. Likewise, names that a directory has, or has not. */
  names(session: number, directory: Ino, leaseMs: number): number {
    return this.#give('names', session, directory, leaseMs)
  }

  /** A kernel was told by somebody else, until now, to keep attributes for so long. */
  keepsAny(session: number, forMs: number): void {
    const holder = this.#holder(session)
    holder.anyUntilMs = this.#world.clock.monotonicMs() + forMs
    holder.untilMs = Math.max(holder.untilMs, holder.anyUntilMs)
    holder.forgotSince.clear()
  }

  /** Whether any kernel may keep anything. */
  get any(): boolean {
    return this.#holders.size > 0
  }

  /**
   * Before a change: other kernels than the asker's are asked to forget what it touches.
   * @param again called once when it is to be tried again, if the answer is no
   * @returns whether none has any of it
   */
  clear(session: number, touched: Touched, again: () => void): boolean {
    const now = this.#expire()
    let isClear = true
    for (const [id, holder] of this.#holders) {
      if (id === session) continue
      const attributes = touched.attributes.filter((ino) => hasAttributes(holder, ino, now))
      const names = touched.names.some((directory) => (holder.names.get(directory) ?? 0) > now)
      if (attributes.length === 0 && !names) continue
      isClear = false
      this.#ask(id, holder, { attributes, names }, now)
    }
    if (isClear) return true
    this.#beQuiet(touched, now)
    this.#wait(again)
    return false
  }

  /** Likewise of everything, and nothing is granted any more: another thread or node is to answer for the volume. */
  clearAll(again: () => void): boolean {
    this.#isClosing = true
    const now = this.#expire()
    let isClear = true
    for (const [session, holder] of this.#holders) {
      const names = [...holder.names.values()].some((untilMs) => untilMs > now)
      const attributes = [...holder.attributes]
        .filter(([, untilMs]) => untilMs > now)
        .map(([ino]) => ino)
      if (attributes.length === 0 && !names) continue
      isClear = false
      this.#ask(session, holder, { attributes, names }, now)
    }
    if (!isClear) this.#wait(again)
    return isClear
  }

  /** A kernel has forgotten what it was asked to. */
  forgot(asking: number): void {
    const asked = this.#askings.get(asking)
    if (!asked) return
    this.#end(asking, asked)
    this.goOn()
  }

  /** All that waits is tried again. */
  goOn(): void {
    this.#cancel?.()
    this.#cancel = null
    const waiting = this.#waiting
    this.#waiting = []
    for (const again of waiting) again()
  }

  /** For an answer, or for time to give it. */
  #wait(again: () => void): void {
    this.#waiting.push(again)
    if (this.#cancel) return
    const ends = [...this.#askings.values()].map(({ untilMs }) => untilMs)
    const inMs = Math.max(1, Math.min(...ends) - this.#world.clock.monotonicMs() + 1)
    this.#cancel = this.#world.clock.after(inMs, () => this.goOn())
  }

  #give(what: 'attributes' | 'names', session: number, ino: Ino, leaseMs: number): number {
    const now = this.#world.clock.monotonicMs()
    const validMs = Math.min(GRANT_VALID_MS, Math.floor(leaseMs) - (GRANT_MS - GRANT_VALID_MS))
    if (validMs <= 0 || this.#isClosing || (this.#quiet[what].get(ino) ?? 0) > now) return 0
    const holder = this.#holder(session)
    if (what === 'names' ? holder.isAskedNames : holder.asked.has(ino)) return 0
    const grants = holder[what]
    if (grants.size >= GRANTS_MAX && !grants.has(ino)) {
      dropEnded(grants, now)
      if (grants.size >= GRANTS_MAX) return 0
    }
    this.#world.granting()
    grants.set(ino, now + GRANT_MS)
    holder.untilMs = Math.max(holder.untilMs, now + GRANT_MS)
    return validMs
  }

  #holder(session: number): Holder {
    let holder = this.#holders.get(session)
    if (!holder) {
      holder = {
        attributes: new Map(),
        names: new Map(),
        anyUntilMs: 0,
        forgotSince: new Set(),
        asked: new Set(),
        isAskedNames: false,
        untilMs: 0,
      }
      this.#holders.set(session, holder)
    }
    return holder
  }

  /** What it was asked already it is not asked again. */
  #ask(session: number, holder: Holder, { attributes, names }: Forgetting, now: number): void {
    const fresh = attributes.filter((ino) => !holder.asked.has(ino))
    if (names && !holder.isAskedNames) {
      holder.isAskedNames = true
      this.#begin(session, { attributes: [], names: true }, latest(now, holder.names.values()))
    }
    for (let from = 0; from < fresh.length; from += ASKED_MAX) {
      const some = fresh.slice(from, from + ASKED_MAX)
      const ends = some.map((ino) => Math.max(holder.attributes.get(ino) ?? 0, holder.anyUntilMs))
      for (const ino of some) holder.asked.add(ino)
      this.#begin(session, { attributes: some, names: false }, latest(now, ends))
    }
  }

  #begin(session: number, forgetting: Forgetting, untilMs: number): void {
    const asking = ++this.#last
    this.#askings.set(asking, { session, ...forgetting, untilMs })
    this.#world.ask(asking, session, forgetting)
  }

  #end(asking: number, { session, attributes, names }: Asking): void {
    this.#askings.delete(asking)
    const holder = this.#holders.get(session)
    if (!holder) return
    if (holder.anyUntilMs <= this.#world.clock.monotonicMs()) holder.forgotSince.clear()
    for (const ino of attributes) {
      holder.asked.delete(ino)
      holder.attributes.delete(ino)
      holder.forgotSince.add(ino)
    }
    if (!names) return
    holder.isAskedNames = false
    holder.names.clear()
  }

  /** What was not answered is over by time: a later answer means nothing then, for there may be new grants. */
  #expire(): number {
    const now = this.#world.clock.monotonicMs()
    for (const [asking, asked] of this.#askings) {
      if (asked.untilMs <= now) this.#end(asking, asked)
    }
    for (const [session, { untilMs }] of this.#holders) {
      if (untilMs <= now) this.#holders.delete(session)
    }
    return now
  }

  #beQuiet({ attributes, names }: Touched, now: number): void {
    for (const [quiet, inos] of [
      [this.#quiet.attributes, attributes],
      [this.#quiet.names, names],
    ] as const) {
      if (quiet.size > GRANTS_MAX) dropEnded(quiet, now)
      for (const ino of inos) quiet.set(ino, now + QUIET_MS)
    }
  }
}

function hasAttributes(
  { attributes, anyUntilMs, forgotSince }: Holder,
  ino: Ino,
  now: number,
): boolean {
  return (attributes.get(ino) ?? 0) > now || (anyUntilMs > now && !forgotSince.has(ino))
}

function dropEnded(ends: Map<Ino, number>, now: number): void {
  for (const [ino, untilMs] of ends) if (untilMs <= now) ends.delete(ino)
}

function latest(now: number, ends: Iterable<number>): number {
  let last = now
  for (const end of ends) last = Math.max(last, end)
  return last
}
