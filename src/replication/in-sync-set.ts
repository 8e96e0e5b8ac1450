import { assert, type CopyId, codeOf, type Epoch, type NodeId } from '../base/index.ts'
import type { RecordedSet, SetStore } from './sets.ts'

/**
 * Who counts. While a change is asked for and not answered, both sets do: a removed member until the coordinator has
 * answered, an added one from the asking, and a change whose answer was lost until a later one has settled it (§6.3).
 */
export class InSyncSet {
  readonly #store: SetStore
  readonly #by: { readonly node: NodeId; readonly epoch: Epoch }
  #recorded: RecordedSet
  #asked: readonly CopyId[] | null = null

  constructor(store: SetStore, by: { node: NodeId; epoch: Epoch }, recorded: RecordedSet) {
    this.#store = store
    this.#by = by
    this.#recorded = recorded
  }

  get recorded(): RecordedSet {
    return this.#recorded
  }

  /** A change was asked for and is not settled. */
  get changing(): boolean {
    return this.#asked !== null
  }

  /** The copies that every acknowledgement needs. */
  get members(): ReadonlySet<CopyId> {
    return new Set([...this.#recorded.inSync, ...(this.#asked ?? [])])
  }

  /**
   * Make `inSync` the set. Begun while another change is unsettled, it settles that one and does nothing more.
   * @returns whether `inSync` is the recorded set now
   * @throws FsError ESTALE when another owner has the volume; what the coordinator throws, the change being unsettled then
   */
  async change(inSync: readonly CopyId[]): Promise<boolean> {
    assert(inSync.length >= this.#recorded.minimum, 'the recorded set is never below the minimum')
    const wanted = this.#asked ?? inSync
    this.#asked = wanted
    try {
      this.#recorded = await this.#store.setInSync(this.#by, wanted)
    } catch (error) {
      // Refused for good: nothing of this owner's will be recorded any more.
      if (codeOf(error) === 'ESTALE') this.#asked = null
      throw error
    }
    this.#asked = null
    return wanted === inSync
  }
}
