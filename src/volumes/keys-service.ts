import {
  type Clock,
  CorruptError,
  codeOf,
  FsError,
  isoTime,
  type KeyEpoch,
  type NodeId,
  type VolumeId,
} from '../base/index.ts'
import {
  addSlot,
  type Opener as BundleOpener,
  createBundle,
  dropEpochs,
  exportBundle,
  type FirstSlot,
  importBundle,
  type KeyBundle,
  type OpenedKeys,
  openBundle,
  removeSlot,
  rotate,
  type Slot,
  type SlotKind,
  type SlotRequest,
  sameBytes,
  type VolumeKeys,
  wipeOpened,
} from '../crypto/index.ts'
import type { NodeIdentity } from './identity.ts'
import type { VolumeRecord } from './record.ts'
import type { StoredVolume, VolumeRegistry } from './registry.ts'

/** What opens a volume: this node's own key, what a person has, or keys that are open already (they stay open). */
export type KeyHolder =
  | { readonly kind: 'node' }
  | BundleOpener
  | { readonly kind: 'opened'; readonly opened: OpenedKeys }

/** A slot as it may be shown: nothing in it opens anything. */
export interface SlotSummary {
  readonly id: number
  readonly kind: SlotKind
  readonly label: string
  readonly publicKey: string
  readonly shares: number | null
  readonly threshold: number | null
  readonly createdAt: string
  readonly thisNode: boolean
}

/** Ways to open a new volume besides this node's key. */
export interface ExtraSlots {
  /** Stays the caller's to wipe. */
  readonly passphrase?: Buffer | undefined
  /** Base64 of raw X25519 public keys. */
  readonly recipients?: readonly string[] | undefined
  /** Other nodes that are to open the volume: raw X25519 public keys. */
  readonly nodes?: readonly { readonly id: NodeId; readonly boxKey: Buffer }[] | undefined
}

export interface AddedSlot {
  readonly stored: StoredVolume
  readonly slot: SlotSummary
  /** For a slot of kind 'shares': to be handed out once, the caller's to wipe. Else empty. */
  readonly shares: readonly Buffer[]
}

export interface ImportedBackup {
  readonly stored: StoredVolume
  /** True when the keys in use were damaged or gone and are now those of the backup; else only slots were added. */
  readonly replaced: boolean
}

export interface Drill {
  readonly slot: SlotSummary
  readonly epochs: readonly KeyEpoch[]
  /** Key epochs the volume needs that the backup lacks, or has other keys for. Empty = the backup is good. */
  readonly missingEpochs: readonly KeyEpoch[]
  /** Whether the keys were compared, byte for byte, with those in use, because this node can open them. */
  readonly compared: boolean
}

/**
 * Everything a person does with a volume's keys, as changes of its record. Verbs that read (list, open, exportBackup,
 * drill) change nothing. A change is durable in the coordinator before its promise is fulfilled. Every secret made on the
 * way is wiped; `open`, `rotate` and `dropEpochs` hand opened keys to the caller, who wipes them (wipeOpened).
 *
 * Errors of opening are those of crypto: FsError ENOKEY (no slot of that sort), EKEYREJECTED (none opens), CorruptError.
 */
export class KeysService {
  readonly #registry: VolumeRegistry
  readonly #node: NodeIdentity
  readonly #clock: Clock

  constructor(registry: VolumeRegistry, node: NodeIdentity, clock: Clock) {
    this.#registry = registry
    this.#node = node
    this.#clock = clock
  }

  /** Keys for a volume that is being created: VolumeRegistry.create asks for them. */
  async createKeys(id: VolumeId, extra: ExtraSlots = {}): Promise<KeyBundle> {
    const recipients = (extra.recipients ?? []).map(parseRecipient)
    const first: FirstSlot[] = [
      this.#nodeSlot(),
      ...(extra.nodes ?? []).map(({ id: node, boxKey }) => nodeSlot(node, boxKey)),
      ...recipients.map((publicKey) => ({ kind: 'recipient' as const, label: '', publicKey })),
    ]
    const { bundle, opened } = await createBundle(id, first, isoTime(this.#clock))
    try {
      if (extra.passphrase === undefined) return bundle
      const request = { kind: 'passphrase' as const, label: '', passphrase: extra.passphrase }
      return (await addSlot(bundle, opened, request, isoTime(this.#clock))).bundle
    } finally {
      wipeOpened(opened)
    }
  }

  list(record: VolumeRecord): readonly SlotSummary[] {
    return record.keys.slots.map((slot) => this.#summary(slot))
  }

  /** The caller wipes what it gets. */
  async open(record: VolumeRecord, holder: BundleOpener | { kind: 'node' }): Promise<OpenedKeys> {
    return this.#openBundle(record.name, record.id, record.keys, holder)
  }

  async add(id: VolumeId, request: SlotRequest, holder: KeyHolder): Promise<AddedSlot> {
    let added: Awaited<ReturnType<typeof addSlot>> | undefined
    const stored = await this.#registry.updateKeys(id, (record) =>
      this.#with(record, holder, async (opened) => {
        for (const share of added?.shares ?? []) share.fill(0)
        added = await addSlot(record.keys, opened, request, isoTime(this.#clock))
        return added.bundle
      }),
    )
    if (added === undefined) throw new CorruptError('key slot that was not made')
    return { stored, slot: this.#summary(added.slot), shares: added.shares ?? [] }
  }

  /** A slot for a node that is to hold a copy, so that it can own the volume; no change when it has one. */
  async addNode(id: VolumeId, node: NodeId, boxKey: Buffer, holder: KeyHolder): Promise<void> {
    try {
      await this.add(id, nodeSlot(node, boxKey), holder)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
  }

  /** A slot that any `threshold` of the shares open together. */
  async split(
    id: VolumeId,
    how: { readonly shares: number; readonly threshold: number; readonly label: string },
    holder: KeyHolder,
  ): Promise<AddedSlot> {
    return this.add(id, { kind: 'shares', ...how }, holder)
  }

  /** Needs no key. @throws FsError ENOENT for an unknown slot, EBUSY for the last one */
  async remove(id: VolumeId, slotId: number): Promise<StoredVolume> {
    return this.#registry.updateKeys(id, async (record) => removeSlot(record.keys, slotId))
  }

  /** A new key epoch for what is sealed from now on. @returns the keys of all epochs, open, for the caller to use and wipe */
  async rotate(
    id: VolumeId,
    holder: KeyHolder,
  ): Promise<{ readonly stored: StoredVolume; readonly opened: OpenedKeys }> {
    return this.#renew(id, holder, (bundle, opened) => rotate(bundle, opened))
  }

  /** Forgets key epochs below `keepFrom`, when nothing stored needs them any more; the caller knows that. */
  async dropEpochs(
    id: VolumeId,
    keepFrom: KeyEpoch,
    holder: KeyHolder,
  ): Promise<{ readonly stored: StoredVolume; readonly opened: OpenedKeys }> {
    return this.#renew(id, holder, (bundle, opened) => dropEpochs(bundle, opened, keepFrom))
  }

  /** Text that opens nothing without the secret of one of its slots. */
  exportBackup(record: VolumeRecord): string {
    return exportBundle(record.keys, record.id)
  }

  /**
   * Gives the volume the slots of a backup. Where the keys in use are not those of the backup, they are replaced only when
   * the backup has every one of them, or when this node cannot open them; and what is replaced is kept beside the record.
   * @throws FsError EINVAL for a backup of another volume or older than the newest key epoch, EEXIST when the keys in use
   * are whole and others than the backup's
   */
  async importBackup(
    id: VolumeId,
    text: string,
    opener: BundleOpener | { kind: 'node' },
  ): Promise<ImportedBackup> {
    const backup = readBackup(text, id)
    const { record } = await this.#registry.get(id)
    const backupKeys = await this.#openBundle(record.name, id, backup, opener)
    try {
      if (sameKek(record.keys, backupKeys)) {
        const stored = await this.#registry.updateKeys(id, async (now) => {
          if (!sameKek(now.keys, backupKeys)) throw changedMeanwhile(now)
          return withSlotsOf(now.keys, backup)
        })
        return { stored, replaced: false }
      }
      const stored = await this.#registry.replaceKeys(id, async (now) => {
        await this.#mustCover(now, backup, backupKeys.keys)
        return backup
      })
      return { stored, replaced: true }
    } finally {
      wipeOpened(backupKeys)
    }
  }

  /** Opens the volume with what a person has, shares for instance, and makes a slot for this node again if it has none. */
  async recover(id: VolumeId, opener: BundleOpener): Promise<StoredVolume> {
    const { record } = await this.#registry.get(id)
    const opened = await this.open(record, opener)
    try {
      return await this.#registry.updateKeys(id, async (now) => {
        if (!sameKek(now.keys, opened)) throw changedMeanwhile(now)
        if (now.keys.slots.some((slot) => this.#isOurs(slot))) return now.keys
        return (await addSlot(now.keys, opened, this.#nodeSlot(), isoTime(this.#clock))).bundle
      })
    } finally {
      wipeOpened(opened)
    }
  }

  /**
   * Proves that a backup opens, and that what it opens is what the volume needs. Changes nothing.
   * @param text the backup; null takes the keys in use
   * @param neededEpochs key epochs that stored data is sealed with; the newest of the record is added
   */
  async drill(
    record: VolumeRecord,
    text: string | null,
    opener: BundleOpener | { kind: 'node' },
    neededEpochs: readonly KeyEpoch[] = [],
  ): Promise<Drill> {
    const bundle = text === null ? record.keys : readBackup(text, record.id)
    const backup = await this.#openBundle(record.name, record.id, bundle, opener)
    try {
      const inUse = await this.#openIfWeCan(record)
      try {
        const newest = record.keys.newest as KeyEpoch
        const needed = new Set([...neededEpochs, newest, ...(inUse?.keys.epochs() ?? [])])
        const missing = [...needed].filter((epoch) => !covers(backup.keys, epoch, inUse?.keys))
        return {
          slot: this.#summary(backup.slot),
          epochs: backup.keys.epochs(),
          missingEpochs: missing.sort((a, b) => a - b),
          compared: inUse !== null,
        }
      } finally {
        if (inUse !== null) wipeOpened(inUse)
      }
    } finally {
      wipeOpened(backup)
    }
  }

  async #renew(
    id: VolumeId,
    holder: KeyHolder,
    renew: (bundle: KeyBundle, opened: OpenedKeys) => { bundle: KeyBundle; opened: OpenedKeys },
  ): Promise<{ stored: StoredVolume; opened: OpenedKeys }> {
    let fresh: OpenedKeys | undefined
    try {
      const stored = await this.#registry.updateKeys(id, (record) =>
        this.#with(record, holder, async (opened) => {
          if (fresh !== undefined) wipeOpened(fresh)
          const renewed = renew(record.keys, opened)
          fresh = renewed.opened
          return renewed.bundle
        }),
      )
      if (fresh === undefined) throw new CorruptError('keys that were not made')
      return { stored, opened: fresh }
    } catch (error) {
      if (fresh !== undefined) wipeOpened(fresh)
      throw error
    }
  }

  async #with<T>(
    record: VolumeRecord,
    holder: KeyHolder,
    work: (opened: OpenedKeys) => Promise<T>,
  ): Promise<T> {
    if (holder.kind === 'opened') return work(holder.opened)
    const opened = await this.open(record, holder)
    try {
      return await work(opened)
    } finally {
      wipeOpened(opened)
    }
  }

  async #openBundle(
    name: string,
    id: VolumeId,
    bundle: KeyBundle,
    holder: BundleOpener | { kind: 'node' },
  ): Promise<OpenedKeys & { slot: Slot }> {
    if (holder.kind !== 'node') return openBundle(bundle, id, holder)
    if (!bundle.slots.some((slot) => this.#isOurs(slot))) {
      throw new FsError('ENOKEY', 'key.open', {
        volume: name,
        message: `volume ${name}: this node has no key slot for it`,
        next: `open it with a passphrase, a key file or shares, as in: weft key unlock ${name} --passphrase-file FILE`,
      })
    }
    return openBundle(bundle, id, { kind: 'keypair', ...this.#node.keys.box })
  }

  async #openIfWeCan(record: VolumeRecord): Promise<OpenedKeys | null> {
    try {
      return await this.open(record, { kind: 'node' })
    } catch (error) {
      if (error instanceof FsError || error instanceof CorruptError) return null
      throw error
    }
  }

  /** @throws FsError unless replacing the keys in use by the backup's loses none that can be used */
  async #mustCover(record: VolumeRecord, backup: KeyBundle, keys: VolumeKeys): Promise<void> {
    if (backup.newest < record.keys.newest) {
      throw new FsError('EINVAL', 'key.import', {
        volume: record.name,
        message: `volume ${record.name}: the backup ends at key epoch ${backup.newest} and the volume is at ${record.keys.newest}, what was written since could not be read; use a newer backup`,
      })
    }
    const inUse = await this.#openIfWeCan(record)
    if (inUse === null) return
    try {
      const lost = inUse.keys.epochs().filter((epoch) => !covers(keys, epoch, inUse.keys))
      if (lost.length === 0) return
      throw new FsError('EEXIST', 'key.import', {
        volume: record.name,
        message: `volume ${record.name}: its keys are whole, and the backup has others for key epoch ${lost.join(', ')}; nothing was changed. Look at both with: weft key drill ${record.name}`,
      })
    } finally {
      wipeOpened(inUse)
    }
  }

  #nodeSlot(): FirstSlot {
    const { id, keys } = this.#node
    return nodeSlot(id, keys.box.publicKey)
  }

  #isOurs(slot: Slot): boolean {
    return slot.publicKey === this.#node.keys.box.publicKey.toString('base64')
  }

  #summary(slot: Slot): SlotSummary {
    const { id, kind, label, publicKey, shares, threshold, createdAt } = slot
    return {
      id,
      kind,
      label,
      publicKey,
      shares: shares ?? null,
      threshold: threshold ?? null,
      createdAt,
      thisNode: this.#isOurs(slot),
    }
  }
}

/** @param text base64 of a raw X25519 public key. @throws FsError EINVAL */
export function parseRecipient(text: string): Buffer {
  const bytes = Buffer.from(text.trim(), 'base64')
  if (bytes.length === 32 && bytes.toString('base64') === text.trim()) return bytes
  throw new FsError('EINVAL', 'key.add', {
    message: `recipient ${JSON.stringify(text.slice(0, 60))}: not a public key (44 characters of base64); weft key create --out FILE makes a pair and prints its public key`,
  })
}

/** A backup is a file that a person gives: damage in it is their news, not ours. @throws FsError EINVAL, ENOTSUP */
function readBackup(text: string, id: VolumeId): KeyBundle {
  try {
    return importBundle(text, id).bundle
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    throw new FsError('EINVAL', 'key.import', {
      cause: error,
      message: `this is a damaged backup: ${error.message}`,
    })
  }
}

/** Whether `opened` holds the KEK that a bundle's keyring is sealed with now. */
function sameKek(bundle: KeyBundle, opened: OpenedKeys): boolean {
  try {
    wipeOpened(dropEpochs(bundle, opened, 1 as KeyEpoch).opened)
    return true
  } catch (error) {
    if (error instanceof CorruptError) return false
    throw error
  }
}

/** Whether `keys` has an epoch, with the same key as the other side where that has it too. */
function covers(keys: VolumeKeys, epoch: KeyEpoch, other: VolumeKeys | undefined): boolean {
  if (!keys.epochs().includes(epoch)) return false
  if (other === undefined || !other.epochs().includes(epoch)) return true
  return (
    sameBytes(keys.nameKey, other.nameKey) &&
    sameBytes(keys.get(epoch).chunk, other.get(epoch).chunk)
  )
}

/** Slots of a backup under the same KEK stay valid as they are; they get numbers of their own. */
function withSlotsOf(bundle: KeyBundle, backup: KeyBundle): KeyBundle {
  const known = new Set(bundle.slots.map((slot) => slot.publicKey))
  const added = backup.slots
    .filter((slot) => !known.has(slot.publicKey))
    .map((slot, index) => ({ ...slot, id: bundle.nextSlot + index }))
  const slots = [...bundle.slots, ...added]
  return { ...bundle, slots, nextSlot: bundle.nextSlot + added.length }
}

function changedMeanwhile(record: VolumeRecord): FsError {
  return new FsError('ESTALE', 'key.change', {
    volume: record.name,
    retry: 'later',
    message: `volume ${record.name}: its keys were rotated meanwhile; nothing was changed, repeat the command`,
  })
}

function nodeSlot(id: NodeId, publicKey: Buffer): FirstSlot {
  return { kind: 'node', label: `node ${id.slice(0, 8)}`, publicKey }
}
