import { CorruptError, FsError, limits } from '../base/index.ts'

export type SlotKind = 'node' | 'recipient' | 'passphrase' | 'shares'

/**
 * One way to the key-encryption key (KEK). Every slot holds a public key, so a rotation wraps the new KEK for all of them
 * without asking anybody: given (node, recipient), from argon2id (passphrase), from a seed split k of n (shares).
 */
export interface Slot {
  /** From 1, never given twice in one bundle. */
  readonly id: number
  readonly kind: SlotKind
  readonly label: string
  /** X25519, base64. */
  readonly publicKey: string
  /** The KEK sealed to publicKey by crypto_box_seal, base64. */
  readonly sealed: string
  /** passphrase only: 16 bytes in base64, and what argon2id was asked to do. */
  readonly salt?: string
  readonly opsLimit?: number
  readonly memLimitBytes?: number
  /** shares only: how many were made, how many are needed. */
  readonly shares?: number
  readonly threshold?: number
  readonly createdAt: string
}

/**
 * All of a volume's keys, wrapped: plain JSON, safe on any disk. It keeps secrets, it does not prove its author: anyone
 * can seal a KEK of his own to a public key, so whoever stores bundles signs or guards them.
 */
export interface KeyBundle {
  readonly version: 1
  /** Base64 of a blob under the KEK: name secret, and the data key of each key epoch. Bound to volume id and newest. */
  readonly keyringSealed: string
  readonly newest: number
  readonly slots: readonly Slot[]
  readonly nextSlot: number
}

const publicKeyBytes = 32
export const kekBytes = 32
/** crypto_box_SEALBYTES (48) more than the KEK. */
const sealedKekBytes = kekBytes + 48
export const saltBytes = 16
/** Limits of libsodium's crypto_pwhash. */
const opsLimitMin = 1
export const memLimitBytesMin = 8192

/**
 * Checks that a value read from JSON is a bundle.
 * @throws FsError ENOTSUP for a version this program does not know; CorruptError for anything else that is not a bundle
 */
export function parseBundle(value: unknown): KeyBundle {
  const it = fieldsOf(value, 'key bundle')
  if (it.version !== 1) {
    throw typeof it.version === 'number' && it.version > 1
      ? new FsError('ENOTSUP', 'key.parse', {
          version: it.version,
          message: `key.parse: the key bundle has version ${it.version}, this weft knows 1; use a newer weft`,
        })
      : new CorruptError('key bundle without a version')
  }
  const { slots } = it
  if (!Array.isArray(slots) || slots.length === 0 || slots.length > limits.keySlotsMax) {
    throw new CorruptError('key bundle without slots, or with too many')
  }
  const parsed = slots.map(parseSlot)
  const nextSlot = count(it.nextSlot, 'nextSlot', 1, Number.MAX_SAFE_INTEGER)
  if (new Set(parsed.map((slot) => slot.id)).size !== parsed.length) {
    throw new CorruptError('key bundle with one slot number twice')
  }
  if (parsed.some((slot) => slot.id >= nextSlot)) {
    throw new CorruptError('key bundle with a slot that was never given')
  }
  return {
    version: 1,
    keyringSealed: base64(it.keyringSealed, 'keyringSealed'),
    newest: count(it.newest, 'newest', 1, Number.MAX_SAFE_INTEGER),
    slots: parsed,
    nextSlot,
  }
}

function parseSlot(value: unknown): Slot {
  const it = fieldsOf(value, 'key slot')
  const common = {
    id: count(it.id, 'id', 1, Number.MAX_SAFE_INTEGER),
    label: text(it.label, 'label'),
    publicKey: base64(it.publicKey, 'publicKey', publicKeyBytes),
    sealed: base64(it.sealed, 'sealed', sealedKekBytes),
    createdAt: text(it.createdAt, 'createdAt'),
  }
  switch (it.kind) {
    case 'node':
    case 'recipient':
      return { kind: it.kind, ...common }
    case 'passphrase':
      return {
        kind: it.kind,
        ...common,
        salt: base64(it.salt, 'salt', saltBytes),
        opsLimit: count(it.opsLimit, 'opsLimit', opsLimitMin, limits.passphraseOpsMax),
        memLimitBytes: count(
          it.memLimitBytes,
          'memLimitBytes',
          memLimitBytesMin,
          limits.passphraseMemBytesMax,
        ),
      }
    case 'shares': {
      const shares = count(it.shares, 'shares', 2, 255)
      return {
        kind: it.kind,
        ...common,
        shares,
        threshold: count(it.threshold, 'threshold', 2, shares),
      }
    }
    default:
      throw new CorruptError('key slot of an unknown kind', { kind: String(it.kind) })
  }
}

function fieldsOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CorruptError(`${what} is not an object`)
  }
  return value as Record<string, unknown>
}

function text(value: unknown, field: string): string {
  if (typeof value !== 'string' || value.length > limits.keyLabelCharsMax) {
    throw new CorruptError('key bundle field is not a short text', { field })
  }
  return value
}

function count(value: unknown, field: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw new CorruptError(`key bundle field is not a number from ${min} to ${max}`, { field })
  }
  return value
}

function base64(value: unknown, field: string, lengthBytes?: number): string {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'base64') : undefined
  if (
    bytes === undefined ||
    bytes.toString('base64') !== value ||
    (lengthBytes !== undefined && bytes.length !== lengthBytes)
  ) {
    throw new CorruptError('key bundle field is not base64 of the right length', { field })
  }
  return value as string
}
