import { assert, type CopyId, codeOf, FsError } from '../base/index.ts'
import type { PlacedCopy } from './messages.ts'
import type { Owning, RecordedSet, SetStore } from './sets.ts'

/**
 * Who counts. While a change is asked for and not answered, both sets do: a removed member until the coordinator has
 * answered, an added one from the asking, and a change whose answer was lost until a later one has settled it (§6.3).
 */
export class InSyncSet {
  readonly #store: SetStore
  readonly #by: Owning
  #recorded: RecordedSet
  #asked: readonly CopyId[] | null = null

  constructor(store: SetStore, by: Owning, recorded: RecordedSet) {
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

  /** A further copy, which is no member. Not while a change is unsettled. @throws as SetStore.addCopy */
  async addCopy(copy: PlacedCopy): Promise<void> {
    await this.#settled((by) => this.#store.addCopy(by, copy))
  }

  /** Copies that are no members go. Not while a change is unsettled. @throws as SetStore.release */
  async release(copies: readonly CopyId[]): Promise<void> {
    assert(
      copies.every((id) => !this.members.has(id)),
      'only who is no member is given up',
    )
    await this.#settled((by) => this.#store.release(by, copies))
  }

  /** What others changed in the record. Not while a change is unsettled. @throws FsError ESTALE when another owner has it */
  async look(): Promise<void> {
    await this.#settled(async ({ node, epoch }) => {
      const recorded = await this.#store.read()
      if (recorded.owner === node && recorded.epoch === epoch) return recorded
      throw new FsError('ESTALE', 'set.look', { message: 'another owner has the volume' })
    })
  }

  async #settled(ask: (by: Owning) => Promise<RecordedSet>): Promise<void> {
    assert(
      this.#asked === null,
      'nothing of the record is changed while a change of the set is open',
    )
    this.#recorded = await ask(this.#by)
  }
}
