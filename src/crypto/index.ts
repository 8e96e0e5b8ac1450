/**
 * crypto: keys and seals. The only room that knows sodium-native; it reads and writes no file and no socket.
 * chunks seal pages with it, journal and meta seal blobs and hash names, volumes and cli work on bundles, net and daemon
 * take identities from it.
 *
 * Invariants: a secret is in secure memory (secret.ts) from birth to wipe; plain bytes leave only when their seal holds,
 * else CorruptError and zeros; every use of a key has its own name (domains.ts); a bundle always has a slot; verbs on
 * bundles return new ones and change none. Hot calls (pages, blobs, name hash) share scratch memory: they are
 * synchronous and complete before they return.
 */
export { exportBundle, importBundle } from './backup.ts'
export { blobOverheadBytes, openBlob, openBlobInto, sealBlob, sealBlobInto } from './blobs.ts'
export { type KeyBundle, parseBundle, type Slot, type SlotKind } from './bundle.ts'
export {
  addSlot,
  createBundle,
  dropEpochs,
  type FirstSlot,
  type OpenedKeys,
  openBundle,
  removeSlot,
  rotate,
  wipeOpened,
} from './bundle-verbs.ts'
export {
  type ClusterKeys,
  discoveryTopic,
  inviteKeyPair,
  newClusterKeys,
  openAccess,
  openClusterKeys,
  sealAccess,
  sealClusterKeys,
  wipeClusterKeys,
} from './cluster-keys.ts'
export {
  type Identity,
  identityFromSeed,
  type KeyPair,
  newBoxKeyPair,
  newIdentity,
  sign,
  verify,
  wipeIdentity,
} from './identity.ts'
export { inviteIdOf, nodeIdOf } from './key-ids.ts'
export { nameHash, nameHashBytes } from './name-hash.ts'
export { openPage, sealPage, tagBytes, wipePageKey } from './pages.ts'
export { openSecret, sealSecret } from './sealed-secret.ts'
export { emptySecret, newSecret, sameBytes, secretFrom, wipe } from './secret.ts'
export { combineShares, formatShare, parseShare, splitSeed, type WrittenShare } from './shares.ts'
export {
  type Opener,
  passphraseDefaults,
  passphraseMinimum,
  type SlotRequest,
} from './slots.ts'
export { type StatementKind, signStatement, verifyStatement } from './statements.ts'
export { deriveNameKey, deriveSubKeys, newDataKey, type SubKeys } from './sub-keys.ts'
export { type ExportedKeys, VolumeKeys } from './volume-keys.ts'
