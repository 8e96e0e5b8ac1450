import { combine, split } from 'shamir-secret-sharing'
import sodium from 'sodium-native'
import { FsError, messageOf, type VolumeId } from '../base/index.ts'
import { shareTitle } from './domains.ts'
import { secretFrom, wipe } from './secret.ts'

/** Shares as shamir-secret-sharing makes them: seed bytes, then one byte that numbers the share. */

/**
 * Splits a seed; any `threshold` of the shares give it back, fewer say nothing about it. The seed stays.
 * @throws FsError EINVAL unless 2 <= threshold <= shares <= 255
 */
export async function splitSeed(
  seed: Buffer,
  shares: number,
  threshold: number,
): Promise<Buffer[]> {
  const sane =
    Number.isInteger(shares) && Number.isInteger(threshold) && threshold >= 2 && shares <= 255
  if (!sane || threshold > shares) {
    throw new FsError('EINVAL', 'key.split', {
      shares,
      threshold,
      message: `key.split: ${threshold} of ${shares} shares cannot be made; it takes 2 <= threshold <= shares <= 255`,
    })
  }
  // The package takes exactly Uint8Array, not Buffer.
  const plain = new Uint8Array(seed)
  const made = await split(plain, shares, threshold)
  wipe(plain)
  return made.map(secretFrom)
}

/**
 * What the shares give together: the seed, or noise when they are too few or do not belong together.
 * @throws FsError EINVAL for shares that cannot be combined at all (same one twice, different lengths, fewer than 2)
 */
export async function combineShares(shares: readonly Buffer[]): Promise<Buffer> {
  const plain = shares.map((share) => new Uint8Array(share))
  try {
    return secretFrom(await combine(plain))
  } catch (error) {
    throw new FsError('EINVAL', 'key.recover', {
      shares: shares.length,
      cause: error,
      message: `key.recover: these shares cannot be combined: ${messageOf(error)}`,
    })
  } finally {
    wipe(...plain)
  }
}

/** A share as a person keeps it. The check finds a slip of the pen; it proves nothing else. */
export interface WrittenShare {
  /** First 8 hex digits of the volume id. */
  readonly volumeStart: string
  readonly slot: number
  readonly threshold: number
  readonly share: Buffer
}

/** One line: weft-share-1:<volume start>:<slot>:<threshold>:<share, base64url>:<check, 8 hex digits>. */
export function formatShare(
  volumeId: VolumeId,
  slot: number,
  threshold: number,
  share: Buffer,
): string {
  const head = [
    shareTitle,
    volumeId.slice(0, 8),
    String(slot),
    String(threshold),
    share.toString('base64url'),
  ].join(':')
  return `${head}:${checkOf(head)}`
}

const shareLine = new RegExp(
  `^(${shareTitle}:([0-9a-f]{8}):(\\d{1,9}):(\\d{1,3}):([A-Za-z0-9_-]{4,})):([0-9a-f]{8})$`,
)

/** @throws FsError EINVAL that says what is wrong with the line */
export function parseShare(line: string): WrittenShare {
  const match = shareLine.exec(line.trim())
  if (match === null) throw badShare(`not a share; one begins with ${shareTitle}:`)
  const [, head = '', volumeStart = '', slot, threshold, share = '', check] = match
  if (checkOf(head) !== check) throw badShare('mistyped: its check does not fit')
  return {
    volumeStart,
    slot: Number(slot),
    threshold: Number(threshold),
    share: secretFrom(Buffer.from(share, 'base64url')),
  }
}

function badShare(why: string): FsError {
  return new FsError('EINVAL', 'key.recover', {
    message: `key.recover: the share is ${why}`,
  })
}

function checkOf(head: string): string {
  const hash = Buffer.alloc(16)
  sodium.crypto_generichash(hash, Buffer.from(head))
  return hash.toString('hex', 0, 4)
}
