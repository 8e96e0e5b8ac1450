import { assert, FsError, type KeyEpoch } from '../base/index.ts'
import { copySecret, wipe } from './secret.ts'
import { nameKeyBytes, type SubKeys, subKeyBytes } from './sub-keys.ts'

/** A volume's keys on their way to another thread: post it with `[exported.bytes]` as transfer list. */
export interface ExportedKeys {
  readonly newest: KeyEpoch
  readonly epochs: readonly KeyEpoch[]
  /** Name key, then chunk, journal and view key of each epoch, in the order of `epochs`. */
  readonly bytes: ArrayBuffer
}

const epochBytes = 3 * subKeyBytes

/** What a thread needs to read and write one unlocked volume: sub-keys of each key epoch and the name key. No data key. */
export class VolumeKeys {
  readonly newest: KeyEpoch
  /** 16 bytes. */
  readonly nameKey: Buffer
  readonly #byEpoch: ReadonlyMap<KeyEpoch, SubKeys>
  readonly #newestKeys: SubKeys
  #wiped = false

  /** Takes over the buffers given. */
  constructor(newest: KeyEpoch, nameKey: Buffer, byEpoch: ReadonlyMap<KeyEpoch, SubKeys>) {
    const newestKeys = byEpoch.get(newest)
    assert(newestKeys !== undefined, 'the newest key epoch is in the keyring')
    this.newest = newest
    this.nameKey = nameKey
    this.#byEpoch = byEpoch
    this.#newestKeys = newestKeys
  }

  /** @throws FsError ENOKEY for an epoch this keyring does not have, and for every epoch after wipe */
  get(epoch: KeyEpoch): SubKeys {
    const keys = epoch === this.newest ? this.#newestKeys : this.#byEpoch.get(epoch)
    if (keys === undefined || this.#wiped) throw this.#noKey(epoch)
    return keys
  }

  /** Keys for everything that is sealed now. */
  newestKeys(): SubKeys {
    return this.get(this.newest)
  }

  /** Ascending. */
  epochs(): KeyEpoch[] {
    return [...this.#byEpoch.keys()].sort((a, b) => a - b)
  }

  /** Copies the keys to ordinary memory, because secure memory cannot move between threads. `import` wipes the copy. */
  export(): ExportedKeys {
    if (this.#wiped) throw this.#noKey(this.newest)
    const epochs = this.epochs()
    const bytes = new ArrayBuffer(nameKeyBytes + epochs.length * epochBytes)
    const view = new Uint8Array(bytes)
    view.set(this.nameKey)
    epochs.forEach((epoch, i) => {
      const { chunk, journal, view: viewKey } = this.get(epoch)
      const at = nameKeyBytes + i * epochBytes
      view.set(chunk, at)
      view.set(journal, at + subKeyBytes)
      view.set(viewKey, at + 2 * subKeyBytes)
    })
    return { newest: this.newest, epochs, bytes }
  }

  /** Moves exported keys into secure memory of this thread; `exported.bytes` is all zeros afterwards. */
  static import(exported: ExportedKeys): VolumeKeys {
    const { newest, epochs, bytes } = exported
    assert(
      bytes.byteLength === nameKeyBytes + epochs.length * epochBytes,
      'exported keys have the length of their epochs',
    )
    const all = new Uint8Array(bytes)
    let at = 0
    const take = (count: number) => {
      at += count
      return copySecret(all.subarray(at - count, at))
    }
    const nameKey = take(nameKeyBytes)
    const byEpoch = new Map<KeyEpoch, SubKeys>()
    for (const epoch of epochs) {
      byEpoch.set(epoch, {
        chunk: take(subKeyBytes),
        journal: take(subKeyBytes),
        view: take(subKeyBytes),
      })
    }
    wipe(all)
    return new VolumeKeys(newest, nameKey, byEpoch)
  }

  /** Zeros every key. Whoever still holds one of the buffers seals with zeros, so stop the users first. */
  wipe(): void {
    this.#wiped = true
    wipe(this.nameKey)
    for (const { chunk, journal, view } of this.#byEpoch.values()) wipe(chunk, journal, view)
  }

  #noKey(epoch: KeyEpoch): FsError {
    return new FsError('ENOKEY', 'key.get', {
      keyEpoch: epoch,
      message: this.#wiped
        ? 'key.get: the volume is locked; unlock it with: weft key unlock'
        : `key.get: no key of key epoch ${epoch}; this keyring has ${this.epochs().join(', ')}`,
    })
  }
}
