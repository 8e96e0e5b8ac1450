import { CorruptError, type KeyEpoch, type VolumeId } from '../base/index.ts'
import { blobOverheadBytes, openBlobInto, sealBlob } from './blobs.ts'
import { keyringDomain } from './domains.ts'
import { copySecret, emptySecret, wipe } from './secret.ts'
import { deriveNameKey, deriveSubKeys, type SubKeys } from './sub-keys.ts'
import { VolumeKeys } from './volume-keys.ts'

/** What the KEK protects. Held in memory only while a bundle is opened or changed. */
export interface Keyring {
  readonly nameSecret: Buffer
  /** Data keys, 32 bytes each. */
  readonly byEpoch: ReadonlyMap<KeyEpoch, Buffer>
}

/**
 * Plain bytes: version 1 (u8), name secret (32), count (u16 LE), then per key epoch its number (u48 LE) and data key (32).
 * Associated data: domain, volume id, newest key epoch.
 */
const headBytes = 1 + 32 + 2
const entryBytes = 6 + 32

/** Base64 for KeyBundle.keyringSealed. */
export function sealKeyring(
  keyring: Keyring,
  newest: KeyEpoch,
  kek: Buffer,
  volumeId: VolumeId,
): string {
  const plain = emptySecret(headBytes + keyring.byEpoch.size * entryBytes)
  plain.writeUInt8(1, 0)
  plain.set(keyring.nameSecret, 1)
  plain.writeUInt16LE(keyring.byEpoch.size, 33)
  let at = headBytes
  for (const [epoch, dataKey] of keyring.byEpoch) {
    plain.writeUIntLE(epoch, at, 6)
    plain.set(dataKey, at + 6)
    at += entryBytes
  }
  const sealed = sealBlob(kek, plain, keyringDomain(volumeId, newest))
  wipe(plain)
  return sealed.toString('base64')
}

/** @throws CorruptError when it is damaged, of another volume, or sealed under another KEK */
export function openKeyring(
  keyringSealed: string,
  newest: number,
  kek: Buffer,
  volumeId: VolumeId,
): Keyring {
  const sealed = Buffer.from(keyringSealed, 'base64')
  const len = sealed.length - blobOverheadBytes
  if (len < headBytes + entryBytes || (len - headBytes) % entryBytes !== 0) {
    throw new CorruptError('keyring of a wrong length', { volume: volumeId, bytes: sealed.length })
  }
  const plain = emptySecret(len)
  try {
    openBlobInto(kek, sealed, 0, sealed.length, keyringDomain(volumeId, newest), plain, 0)
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    throw new CorruptError(
      'keyring does not open: damaged, of another volume, or changed since',
      { volume: volumeId },
      error,
    )
  }
  const byEpoch = new Map<KeyEpoch, Buffer>()
  const nameSecret = copySecret(plain.subarray(1, 33))
  for (let at = headBytes; at < len; at += entryBytes) {
    const epoch = plain.readUIntLE(at, 6) as KeyEpoch
    byEpoch.set(epoch, copySecret(plain.subarray(at + 6, at + entryBytes)))
  }
  const fits = plain[0] === 1 && plain.readUInt16LE(33) === byEpoch.size
  wipe(plain)
  if (!fits || !byEpoch.has(newest as KeyEpoch)) {
    wipeKeyring({ nameSecret, byEpoch })
    throw new CorruptError('keyring contradicts itself', { volume: volumeId })
  }
  return { nameSecret, byEpoch }
}

export function keysOf(keyring: Keyring, newest: KeyEpoch): VolumeKeys {
  const byEpoch = new Map<KeyEpoch, SubKeys>()
  for (const [epoch, dataKey] of keyring.byEpoch) byEpoch.set(epoch, deriveSubKeys(dataKey))
  return new VolumeKeys(newest, deriveNameKey(keyring.nameSecret), byEpoch)
}

export function wipeKeyring(keyring: Keyring): void {
  wipe(keyring.nameSecret, ...keyring.byEpoch.values())
}
