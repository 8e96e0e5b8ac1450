import sodium from 'sodium-native'
import { CorruptError, FsError, limits, messageOf } from '../base/index.ts'
import { boxOpen, boxSeal } from './box-seal.ts'
import { type KeyBundle, kekBytes, memLimitBytesMin, type Slot, saltBytes } from './bundle.ts'
import { boxKeyPairFromSeed, type KeyPair } from './identity.ts'
import { emptySecret, newSecret, sameBytes, wipe } from './secret.ts'
import { combineShares, splitSeed } from './shares.ts'

/** What the person or node that opens a bundle has. The buffers stay the caller's to wipe. */
export type Opener =
  | { readonly kind: 'keypair'; readonly publicKey: Buffer; readonly secretKey: Buffer }
  | { readonly kind: 'passphrase'; readonly passphrase: Buffer }
  | { readonly kind: 'shares'; readonly shares: readonly Buffer[] }

/** What a new slot is made for. */
export type SlotRequest =
  | { readonly kind: 'node' | 'recipient'; readonly label: string; readonly publicKey: Buffer }
  | {
      readonly kind: 'passphrase'
      readonly label: string
      readonly passphrase: Buffer
      readonly opsLimit?: number
      readonly memLimitBytes?: number
    }
  | {
      readonly kind: 'shares'
      readonly label: string
      readonly shares: number
      readonly threshold: number
    }

/** libsodium's INTERACTIVE: 2 passes over 64 MiB, about 0.1 s. */
export const passphraseDefaults = { opsLimit: 2, memLimitBytes: 64 * 1024 * 1024 } as const
/** The least libsodium accepts: for tests. Protects nothing. */
export const passphraseMinimum = { opsLimit: 1, memLimitBytes: memLimitBytesMin } as const

/** A slot that is not in a bundle yet, and the shares to hand out when it is one of that kind. */
export interface NewSlot {
  readonly slot: Omit<Slot, 'id'>
  readonly shares?: Buffer[]
}

/** @throws FsError EINVAL for a label, key, passphrase, limit or split that cannot be */
export async function makeSlot(
  request: SlotRequest,
  kek: Buffer,
  createdAt: string,
): Promise<NewSlot> {
  const { kind, label } = request
  checkLabel(label)
  switch (request.kind) {
    case 'node':
    case 'recipient':
      return { slot: { kind, label, createdAt, ...sealTo(request.publicKey, kek) } }
    case 'passphrase': {
      const { passphrase } = request
      const opsLimit = request.opsLimit ?? passphraseDefaults.opsLimit
      const memLimitBytes = request.memLimitBytes ?? passphraseDefaults.memLimitBytes
      checkPassphrase(passphrase, opsLimit, memLimitBytes)
      const salt = Buffer.alloc(saltBytes)
      sodium.randombytes_buf(salt)
      const { publicKey, secretKey } = await passphrasePair(
        passphrase,
        salt,
        opsLimit,
        memLimitBytes,
      )
      wipe(secretKey)
      const made = { salt: salt.toString('base64'), opsLimit, memLimitBytes, createdAt }
      return { slot: { kind, label, ...sealTo(publicKey, kek), ...made } }
    }
    case 'shares': {
      const { shares: count, threshold } = request
      const seed = newSecret(32)
      const shares = await splitSeed(seed, count, threshold)
      const { publicKey, secretKey } = boxKeyPairFromSeed(seed)
      wipe(seed, secretKey)
      const made = { shares: count, threshold, createdAt }
      return { slot: { kind, label, ...sealTo(publicKey, kek), ...made }, shares }
    }
  }
}

/** Wraps a KEK for a public key. @throws FsError EINVAL when the key is none */
export function sealTo(publicKey: Buffer, kek: Buffer): Pick<Slot, 'publicKey' | 'sealed'> {
  const sealed = boxSeal(kek, publicKey, 'key.add')
  return { publicKey: publicKey.toString('base64'), sealed: sealed.toString('base64') }
}

/**
 * Finds the slot that fits and unwraps the KEK, into secure memory.
 * @throws FsError ENOKEY when the bundle has no slot of that sort; EKEYREJECTED when it has, and none opens;
 * EINVAL for shares that cannot be combined; CorruptError for a slot that fits and is damaged
 */
export async function openSlots(
  bundle: KeyBundle,
  opener: Opener,
): Promise<{ slot: Slot; kek: Buffer }> {
  switch (opener.kind) {
    case 'keypair':
      return openWithPair(bundle, opener)
    case 'passphrase':
      return openWithPassphrase(bundle, opener.passphrase)
    case 'shares':
      return openWithShares(bundle, opener.shares)
  }
}

function openWithPair(bundle: KeyBundle, pair: KeyPair): { slot: Slot; kek: Buffer } {
  const wanted = pair.publicKey.toString('base64')
  const slot = bundle.slots.find((one) => one.publicKey === wanted)
  if (slot === undefined) throw noSlot(`of the public key ${wanted}`)
  const kek = unsealFrom(slot, pair)
  if (kek === undefined) {
    throw rejected(`slot ${slot.id} does not open with the secret key given, or is damaged`)
  }
  return { slot, kek }
}

async function openWithPassphrase(bundle: KeyBundle, passphrase: Buffer) {
  const slots = bundle.slots.filter((slot) => slot.kind === 'passphrase')
  if (slots.length === 0) throw noSlot('for a passphrase')
  for (const slot of slots) {
    const { salt = '', opsLimit = 0, memLimitBytes = 0 } = slot
    checkPassphrase(passphrase, opsLimit, memLimitBytes)
    const saltRaw = Buffer.from(salt, 'base64')
    const pair = await passphrasePair(passphrase, saltRaw, opsLimit, memLimitBytes)
    const kek = openIfOurs(slot, pair)
    if (kek !== undefined) return { slot, kek }
  }
  const ids = slots.map((slot) => slot.id).join(', ')
  throw rejected(`wrong passphrase: it opens no passphrase slot (${ids})`)
}

async function openWithShares(bundle: KeyBundle, shares: readonly Buffer[]) {
  const slots = bundle.slots.filter((slot) => slot.kind === 'shares')
  if (slots.length === 0) throw noSlot('for shares')
  const enough = slots.filter((slot) => shares.length >= (slot.threshold ?? 2))
  if (enough.length === 0) {
    const needs = slots.map((slot) => `slot ${slot.id} needs ${slot.threshold} of ${slot.shares}`)
    throw rejected(`too few shares: ${shares.length} given, ${needs.join(', ')}`)
  }
  const seed = await combineShares(shares)
  try {
    for (const slot of enough) {
      if (seed.length !== 32) continue
      const kek = openIfOurs(slot, boxKeyPairFromSeed(seed))
      if (kek !== undefined) return { slot, kek }
    }
  } finally {
    wipe(seed)
  }
  throw rejected(
    'these shares together open no slot: one of them is wrong, or of another slot or volume',
  )
}

/** The KEK when the pair is this slot's; wipes the pair's secret key. @throws CorruptError when it is and the seal is broken */
function openIfOurs(slot: Slot, pair: KeyPair): Buffer | undefined {
  const kek = sameBytes(pair.publicKey, Buffer.from(slot.publicKey, 'base64'))
    ? unsealFrom(slot, pair)
    : null
  wipe(pair.secretKey)
  if (kek === undefined) throw new CorruptError('key slot fails its seal', { slot: slot.id })
  return kek ?? undefined
}

function unsealFrom(slot: Slot, pair: KeyPair): Buffer | undefined {
  return boxOpen(Buffer.from(slot.sealed, 'base64'), pair, kekBytes)
}

async function passphrasePair(
  passphrase: Buffer,
  salt: Buffer,
  opsLimit: number,
  memLimitBytes: number,
): Promise<KeyPair> {
  const seed = emptySecret(32)
  try {
    await sodium.crypto_pwhash_async(
      seed,
      passphrase,
      salt,
      opsLimit,
      memLimitBytes,
      sodium.crypto_pwhash_ALG_ARGON2ID13,
    )
    return boxKeyPairFromSeed(seed)
  } catch (error) {
    throw new FsError('ENOMEM', 'key.passphrase', {
      memLimitBytes,
      cause: error,
      message: `key.passphrase: argon2id failed, it needs ${memLimitBytes} bytes of memory: ${messageOf(error)}`,
    })
  } finally {
    wipe(seed)
  }
}

function checkPassphrase(passphrase: Buffer, opsLimit: number, memLimitBytes: number): void {
  const within =
    Number.isInteger(opsLimit) &&
    Number.isInteger(memLimitBytes) &&
    opsLimit >= passphraseMinimum.opsLimit &&
    opsLimit <= limits.passphraseOpsMax &&
    memLimitBytes >= passphraseMinimum.memLimitBytes &&
    memLimitBytes <= limits.passphraseMemBytesMax
  if (!within) {
    throw new FsError('EINVAL', 'key.passphrase', {
      opsLimit,
      memLimitBytes,
      message: `key.passphrase: argon2id with ${opsLimit} passes over ${memLimitBytes} bytes is out of bounds`,
    })
  }
  if (passphrase.length === 0) {
    throw new FsError('EINVAL', 'key.passphrase', {
      message: 'key.passphrase: the passphrase is empty',
    })
  }
}

function checkLabel(label: string): void {
  if (label.length <= limits.keyLabelCharsMax && !/\p{Cc}/u.test(label)) return
  throw new FsError('EINVAL', 'key.add', {
    message: `key.add: a label has at most ${limits.keyLabelCharsMax} characters and no control characters`,
  })
}

function noSlot(what: string): FsError {
  return new FsError('ENOKEY', 'key.open', { message: `key.open: there is no slot ${what}` })
}

function rejected(why: string): FsError {
  return new FsError('EKEYREJECTED', 'key.open', { message: `key.open: ${why}` })
}
