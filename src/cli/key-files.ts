import { createHash, generateKeyPairSync } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { type CliError, fileError, usageError } from './cli-error.ts'
import { absolute, type Context } from './command.ts'

/**
 * Files that people keep: their secret key, their share of a split key. Text lines, so that they can be printed on
 * paper and typed in again; a check line finds a slip. Written once, never over something, readable by their owner alone.
 */

const KEY_TITLE = 'WEFT SECRET KEY'
const SHARE_TITLE = 'WEFT KEY SHARE'
const VERSION = '1'

export interface KeyFile {
  /** base64 of 32 bytes: an X25519 key, as crypto_box takes it. */
  readonly publicKey: string
  readonly secretKey: string
}

export interface ShareFile {
  readonly volume: string
  readonly slot: string
  readonly number: number
  readonly shares: number
  readonly threshold: number
  /** base64 */
  readonly data: string
}

/** Needs no node: a person makes the pair on their own machine and gives away the public half. */
export function newKeyPair(): KeyFile {
  const { privateKey } = generateKeyPairSync('x25519')
  const { x, d } = privateKey.export({ format: 'jwk' })
  const standard = (base64url: string | undefined) =>
    Buffer.from(base64url ?? '', 'base64url').toString('base64')
  return { publicKey: standard(x), secretKey: standard(d) }
}

export function keyFileText(key: KeyFile): string {
  return withCheck([
    KEY_TITLE,
    `version: ${VERSION}`,
    `public: ${key.publicKey}`,
    `secret: ${key.secretKey}`,
  ])
}

export function shareFileText(share: ShareFile): string {
  return withCheck([
    SHARE_TITLE,
    `version: ${VERSION}`,
    `volume: ${share.volume}`,
    `slot: ${share.slot}`,
    `share: ${share.number} of ${share.shares}, ${share.threshold} needed`,
    `data: ${share.data}`,
  ])
}

export function readKeyFile(path: string): KeyFile {
  const read = readTitled(path, KEY_TITLE, 'name a key file made by weft key create')
  const key = { publicKey: read('public'), secretKey: read('secret') }
  if (
    Buffer.from(key.publicKey, 'base64').length !== 32 ||
    Buffer.from(key.secretKey, 'base64').length !== 32
  ) {
    throw damaged(path, 'a key is not 32 bytes long')
  }
  return key
}

export function readShareFile(path: string): ShareFile {
  const read = readTitled(path, SHARE_TITLE, 'name a share file made by weft key split')
  const counts = /^(\d{1,3}) of (\d{1,3}), (\d{1,3}) needed$/.exec(read('share'))
  if (counts === null) throw damaged(path, 'its share line cannot be read')
  const [number, shares, threshold] = counts.slice(1).map(Number) as [number, number, number]
  return {
    volume: read('volume'),
    slot: read('slot'),
    number,
    shares,
    threshold,
    data: read('data'),
  }
}

/** A new file, 0600, on stable storage when this returns. @throws CliError when something has that name */
export function writeSecretFile(path: string, text: string): void {
  let fd: number
  try {
    fd = openSync(path, 'wx', 0o600)
  } catch (error) {
    throw fileError(
      error,
      'write',
      path,
      'name a file that does not exist yet, in a directory that does',
    )
  }
  try {
    writeSync(fd, text)
    fsyncSync(fd)
  } catch (error) {
    throw fileError(error, 'write', path, 'remove the half-written file and choose another place')
  } finally {
    closeSync(fd)
  }
}

function readTitled(path: string, title: string, next: string): (name: string) => string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw fileError(error, 'read', path, next)
  }
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
  if (lines[0] !== title) throw usageError(`${path} is not a "${title}" file`, next)
  const fields = new Map(
    lines.slice(1).map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1).trim()]
    }),
  )
  const version = fields.get('version')
  if (version !== VERSION)
    throw usageError(
      `${path} has version ${version ?? '(none)'}, this weft reads ${VERSION}`,
      'use the weft that wrote it, or a newer one',
    )
  if (fields.get('check') !== checkOf(lines.filter((line) => !line.startsWith('check:')))) {
    throw damaged(path, 'its check line does not fit the lines above it')
  }
  return (name) => {
    const value = fields.get(name)
    if (value === undefined || value === '') throw damaged(path, `it has no ${name} line`)
    return value
  }
}

function damaged(path: string, why: string): CliError {
  return usageError(`${path} is damaged or mistyped: ${why}`, 'use another copy of the file')
}

function withCheck(lines: readonly string[]): string {
  return `${lines.join('\n')}\ncheck: ${checkOf(lines)}\n`
}

function checkOf(lines: readonly string[]): string {
  return createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 8)
}

/** The text of a backup; what is in it is for the node to judge. */
export function readBackup(context: Context, file: string): string {
  const path = absolute(context, file)
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw fileError(error, 'read the backup', path, 'name a file made by weft key export')
  }
}
