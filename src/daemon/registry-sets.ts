import { assert, type CopyId, type Epoch, type NodeId, type VolumeId } from '../base/index.ts'
import type { PlacedCopy, RecordedSet, SetStore } from '../replication/index.ts'
import type { Owning, StoredVolume, VolumeRegistry } from '../volumes/index.ts'

/** Of a volume's record what replication rests on, through the registry. */
export class RegistrySets implements SetStore {
  readonly #registry: VolumeRegistry
  readonly #volume: VolumeId
  readonly #changed: (stored: StoredVolume) => void

  /** @param changed told the record as each change left it */
  constructor(registry: VolumeRegistry, volume: VolumeId, changed: (stored: StoredVolume) => void) {
    this.#registry = registry
    this.#volume = volume
    this.#changed = changed
  }

  async read(): Promise<RecordedSet> {
    return this.#seen(await this.#registry.get(this.#volume))
  }

  async takeEpoch(node: NodeId, abovePromise: Epoch): Promise<RecordedSet> {
    return this.#seen(await this.#registry.takeEpoch(this.#volume, node, { abovePromise }))
  }

  async setInSync(by: Owning, inSync: readonly CopyId[]): Promise<RecordedSet> {
    const { record } = await this.#registry.get(this.#volume)
    const copies = inSync.map((id) => {
      const copy = record.copies.find((one) => one.id === id)
      assert(copy !== undefined, 'a member is a copy of the volume')
      return copy
    })
    return this.#seen(await this.#registry.setInSync(this.#volume, by, copies))
  }

  async addCopy(by: Owning, copy: PlacedCopy): Promise<RecordedSet> {
    return this.#seen(await this.#registry.addCopy(this.#volume, by, copy))
  }

  async release(by: Owning, copies: readonly CopyId[]): Promise<RecordedSet> {
    return this.#seen(await this.#registry.release(this.#volume, by, copies))
  }

  #seen(stored: StoredVolume): RecordedSet {
    this.#changed(stored)
    const { epoch, owner, copies, inSync, minimum } = stored.record
    return { epoch, owner, copies, inSync, minimum }
  }
}
