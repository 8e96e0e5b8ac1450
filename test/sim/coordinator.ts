import { assert, type Epoch, FsError, type NodeId } from '../../src/base/index.ts'
import type {
  CopyPlace,
  Owning,
  PlacedCopy,
  RecordedSet,
  SetStore,
} from '../../src/replication/index.ts'
import type { Host, Network } from './network.ts'
import { NodeClock, type Timeline } from './timeline.ts'

interface Versioned {
  readonly set: RecordedSet
  readonly version: number
}

type Question = { op: 'get' } | { op: 'cas'; expected: number; set: RecordedSet }

/** One record and its version; changed by compare-and-set, asked over the network. */
export class SimCoordinator implements Host<Question, Versioned & { ok: boolean }> {
  readonly name = 'coordinator'
  #now: Versioned
  /** Told of each change. */
  readonly #changed: (set: RecordedSet) => void
  readonly life: Host<Question, Versioned & { ok: boolean }>['life']

  constructor(timeline: Timeline, set: RecordedSet, changed: (set: RecordedSet) => void) {
    this.#now = { set, version: 1 }
    this.#changed = changed
    const answer = async (question: Question) => this.#answer(question)
    this.life = { clock: new NodeClock(timeline, 1, 0), answer }
  }

  get recorded(): RecordedSet {
    return this.#now.set
  }

  /** A person has put an empty copy where a wiped one was: a copy of the volume, and no member. */
  addCopy(copy: CopyPlace): void {
    const { set, version } = this.#now
    this.#now = { set: { ...set, copies: [...set.copies, copy] }, version: version + 1 }
  }

  #answer(question: Question): Versioned & { ok: boolean } {
    if (question.op === 'get') return { ...this.#now, ok: true }
    const ok = question.expected === this.#now.version
    if (ok) {
      this.#now = { set: question.set, version: this.#now.version + 1 }
      this.#changed(question.set)
    }
    return { ...this.#now, ok }
  }
}

function mustOwn(set: RecordedSet, by: Owning): void {
  if (set.owner === by.node && set.epoch === by.epoch) return
  throw new FsError('ESTALE', 'change', { message: 'another owner' })
}

const ANSWER_MS = 60

/** The volume's record as one node reaches it: read, judge, compare-and-set, and again when another was quicker. */
export class SimSetStore implements SetStore {
  readonly #ask: (question: Question) => Promise<Versioned & { ok: boolean }>

  constructor(
    network: Network,
    from: { readonly name: string; readonly clock: NodeClock },
    coordinator: SimCoordinator,
  ) {
    this.#ask = (question) => network.ask(from, coordinator, question, ANSWER_MS)
  }

  async read(): Promise<RecordedSet> {
    return (await this.#ask({ op: 'get' })).set
  }

  async takeEpoch(node: NodeId, abovePromise: Epoch): Promise<RecordedSet> {
    return await this.#change((set) => ({
      ...set,
      epoch: (Math.max(set.epoch, abovePromise) + 1) as Epoch,
      owner: node,
    }))
  }

  async setInSync(by: Owning, inSync: RecordedSet['inSync']): Promise<RecordedSet> {
    return await this.#change((set) => {
      mustOwn(set, by)
      assert(
        inSync.every((id) => set.copies.some((copy) => copy.id === id)),
        'members are copies',
      )
      return { ...set, inSync }
    })
  }

  async addCopy(by: Owning, copy: PlacedCopy): Promise<RecordedSet> {
    return await this.#change((set) => {
      mustOwn(set, by)
      if (set.copies.some(({ id }) => id === copy.id)) return set
      if (set.copies.some(({ node }) => node === copy.node))
        throw new FsError('EEXIST', 'addCopy', {})
      return { ...set, copies: [...set.copies, { id: copy.id, node: copy.node }] }
    })
  }

  async release(by: Owning, given: RecordedSet['inSync']): Promise<RecordedSet> {
    return await this.#change((set) => {
      mustOwn(set, by)
      if (given.some((id) => set.inSync.includes(id))) throw new FsError('EBUSY', 'release', {})
      return { ...set, copies: set.copies.filter(({ id }) => !given.includes(id)) }
    })
  }

  async #change(make: (set: RecordedSet) => RecordedSet): Promise<RecordedSet> {
    for (;;) {
      const before = await this.#ask({ op: 'get' })
      const wanted = make(before.set)
      const done = await this.#ask({ op: 'cas', expected: before.version, set: wanted })
      if (done.ok) return done.set
    }
  }
}
