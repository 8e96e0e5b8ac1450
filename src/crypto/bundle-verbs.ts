import { FsError, type KeyEpoch, limits, type VolumeId } from '../base/index.ts'
import { type KeyBundle, kekBytes, type Slot } from './bundle.ts'
import { type Keyring, keysOf, openKeyring, sealKeyring, wipeKeyring } from './keyring.ts'
import { copySecret, newSecret, wipe } from './secret.ts'
import { makeSlot, type Opener, openSlots, type SlotRequest, sealTo } from './slots.ts'
import { newDataKey } from './sub-keys.ts'
import type { VolumeKeys } from './volume-keys.ts'

/**
 * Verbs on bundles. None changes its argument: each returns the bundle to store, and what was true before stays
 * true until that is durable. Times are given, as ISO text.
 */

/** A bundle opened: the secrets that verbs on it need. Ends with wipeOpened. */
export interface OpenedKeys {
  readonly volumeId: VolumeId
  readonly kek: Buffer
  readonly keys: VolumeKeys
}

/** Who can open a new volume from the start; others join by addSlot. */
export interface FirstSlot {
  readonly kind: 'node' | 'recipient'
  readonly label: string
  readonly publicKey: Buffer
}

const firstEpoch = 1 as KeyEpoch

/** New keys for a new volume. @throws FsError EINVAL without a slot, or as addSlot */
export async function createBundle(
  volumeId: VolumeId,
  firstSlots: readonly FirstSlot[],
  createdAt: string,
): Promise<{ bundle: KeyBundle; opened: OpenedKeys }> {
  if (firstSlots.length === 0) {
    throw new FsError('EINVAL', 'key.create', {
      volume: volumeId,
      message: 'key.create: a volume needs at least one slot, or nobody could ever open it',
    })
  }
  const kek = newSecret(kekBytes)
  const keyring: Keyring = {
    nameSecret: newSecret(32),
    byEpoch: new Map([[firstEpoch, newDataKey()]]),
  }
  const opened = { volumeId, kek, keys: keysOf(keyring, firstEpoch) }
  let bundle: KeyBundle = {
    version: 1,
    keyringSealed: sealKeyring(keyring, firstEpoch, kek, volumeId),
    newest: firstEpoch,
    slots: [],
    nextSlot: 1,
  }
  wipeKeyring(keyring)
  for (const first of firstSlots) bundle = (await addSlot(bundle, opened, first, createdAt)).bundle
  return { bundle, opened }
}

/** Changes nothing, so it is also the drill that proves a backup. @throws as openSlots, and CorruptError for a damaged keyring */
export async function openBundle(
  bundle: KeyBundle,
  volumeId: VolumeId,
  opener: Opener,
): Promise<OpenedKeys & { slot: Slot }> {
  const { slot, kek } = await openSlots(bundle, opener)
  const keyring = openKeyring(bundle.keyringSealed, bundle.newest, kek, volumeId)
  const keys = keysOf(keyring, bundle.newest as KeyEpoch)
  wipeKeyring(keyring)
  return { volumeId, kek, keys, slot }
}

export function wipeOpened(opened: OpenedKeys): void {
  wipe(opened.kek)
  opened.keys.wipe()
}

/**
 * Adds a slot. `shares` are what a slot of that kind hands out: shown once, kept nowhere.
 * @throws FsError EINVAL as makeSlot; EEXIST for a public key that has a slot; ENOSPC when there are too many;
 * CorruptError when `opened` is not of this bundle as it is now
 */
export async function addSlot(
  bundle: KeyBundle,
  opened: OpenedKeys,
  request: SlotRequest,
  createdAt: string,
): Promise<{ bundle: KeyBundle; slot: Slot; shares?: Buffer[] }> {
  // Proves the KEK: wrapping one that is no longer in use would make a slot that opens nothing.
  wipeKeyring(openKeyring(bundle.keyringSealed, bundle.newest, opened.kek, opened.volumeId))
  if (bundle.slots.length >= limits.keySlotsMax) {
    throw new FsError('ENOSPC', 'key.add', {
      message: `key.add: there are ${bundle.slots.length} slots already; remove one first`,
    })
  }
  const made = await makeSlot(request, opened.kek, createdAt)
  const twin = bundle.slots.find((slot) => slot.publicKey === made.slot.publicKey)
  if (twin !== undefined) {
    throw new FsError('EEXIST', 'key.add', {
      slot: twin.id,
      message: `key.add: slot ${twin.id} (${twin.label}) has this public key already`,
    })
  }
  const slot: Slot = { id: bundle.nextSlot, ...made.slot }
  const grown = { ...bundle, slots: [...bundle.slots, slot], nextSlot: bundle.nextSlot + 1 }
  return made.shares === undefined
    ? { bundle: grown, slot }
    : { bundle: grown, slot, shares: made.shares }
}

/**
 * Takes a slot away. Its holder may have kept an older bundle or the keys: only rotate, and a re-seal of what is
 * stored, shuts him out.
 * @throws FsError ENOENT for an unknown slot; EBUSY for the last one
 */
export function removeSlot(bundle: KeyBundle, slotId: number): KeyBundle {
  const slots = bundle.slots.filter((slot) => slot.id !== slotId)
  if (slots.length === bundle.slots.length) {
    throw new FsError('ENOENT', 'key.remove', {
      slot: slotId,
      message: `key.remove: there is no slot ${slotId}; its slots are ${bundle.slots.map((slot) => slot.id).join(', ')}`,
    })
  }
  if (slots.length === 0) {
    throw new FsError('EBUSY', 'key.remove', {
      slot: slotId,
      message: `key.remove: slot ${slotId} is the last one; without it nobody could open the volume`,
      next: 'add another first: weft key add VOLUME --passphrase',
    })
  }
  return { ...bundle, slots }
}

/**
 * A new data key as newest key epoch and a new KEK, wrapped for every slot. The old `opened` still reads the old bundle;
 * wipe it when the new bundle is durable and its users are on the new keys. The name key stays (view keys depend on it).
 * @throws CorruptError when `opened` is not of this bundle as it is now
 */
export function rotate(
  bundle: KeyBundle,
  opened: OpenedKeys,
): { bundle: KeyBundle; opened: OpenedKeys } {
  const { volumeId } = opened
  const old = openKeyring(bundle.keyringSealed, bundle.newest, opened.kek, volumeId)
  const newest = (Math.max(...old.byEpoch.keys()) + 1) as KeyEpoch
  const keyring: Keyring = {
    nameSecret: old.nameSecret,
    byEpoch: new Map([...old.byEpoch, [newest, newDataKey()]]),
  }
  const kek = newSecret(kekBytes)
  const rotated: KeyBundle = {
    ...bundle,
    keyringSealed: sealKeyring(keyring, newest, kek, volumeId),
    newest,
    slots: bundle.slots.map((slot) => ({
      ...slot,
      ...sealTo(Buffer.from(slot.publicKey, 'base64'), kek),
    })),
  }
  const keys = keysOf(keyring, newest)
  wipeKeyring(keyring)
  return { bundle: rotated, opened: { volumeId, kek, keys } }
}

/**
 * Forgets the data keys of key epochs below `keepFrom`, when nothing stored is sealed with them any more. The KEK stays.
 * @throws FsError EINVAL when that would drop the newest; CorruptError as rotate
 */
export function dropEpochs(
  bundle: KeyBundle,
  opened: OpenedKeys,
  keepFrom: KeyEpoch,
): { bundle: KeyBundle; opened: OpenedKeys } {
  const { volumeId, kek } = opened
  if (keepFrom > bundle.newest) {
    throw new FsError('EINVAL', 'key.drop', {
      keepFrom,
      message: `key.drop: key epoch ${bundle.newest} is the newest and stays; asked to keep from ${keepFrom}`,
    })
  }
  const newest = bundle.newest as KeyEpoch
  const all = openKeyring(bundle.keyringSealed, newest, kek, volumeId)
  const kept: Keyring = {
    nameSecret: all.nameSecret,
    byEpoch: new Map([...all.byEpoch].filter(([epoch]) => epoch >= keepFrom)),
  }
  const smaller = { ...bundle, keyringSealed: sealKeyring(kept, newest, kek, volumeId) }
  const keys = keysOf(kept, newest)
  wipeKeyring(all)
  return { bundle: smaller, opened: { volumeId, kek: copySecret(kek), keys } }
}
