/**
 * volumes: what a person or a scheduler asks for. Words become a VolumeSpec (spec.ts), a volume becomes one record of the
 * coordinator (record.ts, registry.ts), its keys are listed, added, rotated, saved and proven (keys-service.ts), and the
 * node has an identity that its key slots are made for (identity.ts). Data and quotas in use are not here.
 *
 * Called by daemon, and by frontends for specs. Invariants: names and numbers are unique in a cluster and numbers are
 * never reused; an epoch only grows, by compare-and-set (design §6.1); the recorded in-sync set is never below the
 * minimum (§6.3); only a tombstone orders data to be deleted; no verb leaves a volume without a key slot, or puts older
 * keys in the place of newer ones; a refusal says what, why, and what next.
 */
export {
  NUMBER_NEXT,
  nameKey,
  REPLACED_KEYS,
  replacedKey,
  TOMBSTONES,
  tombstoneKey,
  VOLUMES,
  volumeKey,
} from './entries.ts'
export { type NodeIdentity, openNodeIdentity } from './identity.ts'
export {
  type AddedSlot,
  type Drill,
  type ExtraSlots,
  type ImportedBackup,
  type KeyHolder,
  KeysService,
  parseRecipient,
  type SlotSummary,
} from './keys-service.ts'
export {
  type Copy,
  copyOn,
  decodeRecord,
  decodeTombstone,
  encodeRecord,
  type Tombstone,
  type VolumeRecord,
} from './record.ts'
export {
  type Beside,
  type NewVolume,
  type Owning,
  type StoredVolume,
  type VolumeList,
  VolumeRegistry,
} from './registry.ts'
export { describeBytes, formatSize, parseSize } from './size.ts'
export {
  type ClassOfService,
  type ClusterShape,
  checkVolumeName,
  formatVolumeSpec,
  leastMinimum,
  parseVolumeSpec,
  type VolumeSpec,
  type VolumeSpecRequest,
} from './spec.ts'
