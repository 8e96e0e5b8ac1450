import { readFileSync } from 'node:fs'
import type { Options } from 'yargs'
import { CliError, fileError, usageError } from './cli-error.ts'
import { type Args, absolute, type Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { readKeyFile, readShareFile } from './key-files.ts'

/**
 * Where secrets come from: a file, a descriptor, or a person at the terminal. Never the command line, which every
 * process of the machine can read (/proc/PID/cmdline) and the shell writes down.
 * Every Buffer made here is wiped by its caller, as soon as it is sent.
 */

const SECRET_BYTES_MAX = 1024

export const PASSPHRASE_OPTIONS = {
  passphrase: { type: 'boolean', describe: 'Ask for the passphrase on the terminal' },
  'passphrase-file': {
    type: 'string',
    requiresArg: true,
    describe: 'Read the passphrase from a file (its first line)',
  },
  'passphrase-fd': {
    type: 'string',
    requiresArg: true,
    describe: 'Read the passphrase from an open descriptor, as in 3<FILE',
  },
} as const satisfies Record<string, Options>

/** Of a service that weft logs in at; asked for when neither is given. */
export const PASSWORD_OPTIONS = {
  'password-file': {
    type: 'string',
    requiresArg: true,
    describe: 'Read the password from a file (its one line)',
  },
  'password-fd': {
    type: 'string',
    requiresArg: true,
    describe: 'Read the password from an open descriptor, as in 3<FILE',
  },
} as const satisfies Record<string, Options>

export const OPENER_OPTIONS = {
  ...PASSPHRASE_OPTIONS,
  identity: {
    type: 'string',
    requiresArg: true,
    describe: "Open with a person's key file, made by weft key create",
  },
  share: {
    type: 'string',
    array: true,
    requiresArg: true,
    describe: 'Open with share files, made by weft key split',
  },
} as const satisfies Record<string, Options>

/** What the api takes as opener: bytes as base64. */
export type WireOpener =
  | { kind: 'node' }
  | { kind: 'passphrase'; passphrase: string }
  | { kind: 'keypair'; publicKey: string; secretKey: string }
  | { kind: 'shares'; shares: string[] }

const REFUSED = /^--?(pass|password|passwd|passphrase|secret|secret-key|private-key|pin|token)=/i
const REFUSED_ALONE = /^--?(pass|password|passwd|secret|secret-key|private-key|pin|token)$/i
/** `--pin` of a certificate: its fingerprint, which everybody may know. */
const FINGERPRINT = /^(--pin=)?sha256:/

/** @throws CliError when the command line seems to hold a secret; its text is not repeated */
export function refuseSecretsInArgv(argv: readonly string[]): void {
  const end = argv.indexOf('--')
  const options = end < 0 ? argv : argv.slice(0, end)
  const isRefused = (word: string, at: number) => {
    if (word === '--pin') return !FINGERPRINT.test(options[at + 1] ?? '')
    if (FINGERPRINT.test(word)) return false
    return REFUSED.test(word) || REFUSED_ALONE.test(word)
  }
  if (options.some(isRefused)) throw secretInArgv()
}

/** For `--passphrase WORD` too, where yargs sees one word too many. */
export function secretInArgv(): CliError {
  return usageError(
    'a secret on the command line is refused: every process can read it there, and the shell keeps it in its history',
    'change that secret if it was a real one, then use --passphrase-file FILE, --passphrase-fd N, or --passphrase to be asked (of a service: --password-file FILE, --password-fd N, or neither to be asked)',
  )
}

/**
 * The passphrase the options name, null when they name none.
 * @param isNew ask twice, so that a slip of the finger does not lock the volume
 */
export async function passphraseOf(
  context: Context,
  args: Args,
  isNew: boolean,
): Promise<Buffer | null> {
  const file = args.text('passphrase-file')
  const fd = args.whole('passphrase-fd', 0, 65_535)
  const asked = args.flag('passphrase')
  const ways = [file !== undefined, fd !== undefined, asked].filter(Boolean).length
  if (ways === 0) return null
  // `--passphrase --passphrase-file F` reads naturally as one wish.
  if (file !== undefined && fd !== undefined)
    throw usageError('--passphrase-file and --passphrase-fd are both given', 'give one of them')
  if (file !== undefined) return readSecretLine(absolute(context, file), file, 'passphrase')
  if (fd !== undefined) return readSecretLine(fd, `descriptor ${fd}`, 'passphrase')
  return askPassphrase(context, isNew)
}

/** From the file or descriptor that the options name; else a person is asked. */
export async function passwordOf(context: Context, args: Args): Promise<Buffer> {
  const file = args.text('password-file')
  const fd = args.whole('password-fd', 0, 65_535)
  if (file !== undefined && fd !== undefined)
    throw usageError('--password-file and --password-fd are both given', 'give one of them')
  if (file !== undefined) return readSecretLine(absolute(context, file), file, 'password')
  if (fd !== undefined) return readSecretLine(fd, `descriptor ${fd}`, 'password')
  const typed = await context.terminal.askSecret('Password: ')
  try {
    checkSecret(typed, 'the password', 'password')
    return Buffer.from(typed)
  } finally {
    typed.fill(0)
  }
}

async function askPassphrase(context: Context, isNew: boolean): Promise<Buffer> {
  const first = await context.terminal.askSecret(isNew ? 'New passphrase: ' : 'Passphrase: ')
  try {
    checkSecret(first, 'the passphrase', 'passphrase')
    if (!isNew) return Buffer.from(first)
    const second = await context.terminal.askSecret('Again: ')
    const same = first.equals(second)
    second.fill(0)
    if (same) return Buffer.from(first)
    throw usageError('the two passphrases differ', 'try again; nothing was changed')
  } finally {
    first.fill(0)
  }
}

type Kind = 'passphrase' | 'password'

function readSecretLine(from: string | number, name: string, kind: Kind): Buffer {
  let bytes: Buffer
  try {
    bytes = readFileSync(from)
  } catch (error) {
    throw fileError(
      error,
      `read the ${kind} from`,
      name,
      `name a file or descriptor that holds the ${kind}`,
    )
  }
  const newline = bytes.indexOf(0x0a)
  let end = newline < 0 ? bytes.length : newline
  if (end > 0 && bytes[end - 1] === 0x0d) end--
  try {
    // More lines mean that it is the wrong file, and half of a passphrase would lock the volume for good.
    if (
      newline >= 0 &&
      bytes.subarray(newline + 1).some((byte) => byte !== 0x0a && byte !== 0x0d)
    ) {
      throw usageError(`${name} holds more than one line`, `put the ${kind} alone into a file`)
    }
    checkSecret(bytes.subarray(0, end), name, kind)
    return Buffer.from(bytes.subarray(0, end))
  } finally {
    bytes.fill(0)
  }
}

function checkSecret(bytes: Buffer, name: string, kind: Kind): void {
  if (bytes.length === 0) {
    const advice = kind === 'passphrase' ? ' of at least one character; eight words are better' : ''
    throw usageError(`${name} is empty`, `give a ${kind}${advice}`)
  }
  if (bytes.length > SECRET_BYTES_MAX)
    throw usageError(`${name} is longer than ${SECRET_BYTES_MAX} bytes`, 'choose a shorter one')
}

/**
 * What the options offer to open a volume with; this node's own key when they name nothing.
 * The base64 text cannot be wiped (it is a string); it lives until the request is sent.
 */
export async function openerOf(context: Context, args: Args): Promise<WireOpener> {
  const identity = args.text('identity')
  const shares = args.list('share')
  const passphrase = await passphraseOf(context, args, false)
  try {
    const ways = [identity !== undefined, shares.length > 0, passphrase !== null].filter(
      Boolean,
    ).length
    if (ways > 1)
      throw usageError(
        'more than one way to open the volume is given',
        'give a passphrase, --identity or --share, one kind',
      )
    if (passphrase !== null)
      return { kind: 'passphrase', passphrase: passphrase.toString('base64') }
    if (shares.length > 0)
      return { kind: 'shares', shares: shareTexts(shares.map((path) => absolute(context, path))) }
    if (identity === undefined) return { kind: 'node' }
    const key = readKeyFile(absolute(context, identity))
    return { kind: 'keypair', publicKey: key.publicKey, secretKey: key.secretKey }
  } finally {
    passphrase?.fill(0)
  }
}

/** @returns base64 of each share. @throws CliError when files repeat a share, are of different splits, or are too few */
export function shareTexts(paths: readonly string[]): string[] {
  const shares = paths.map(readShareFile)
  const [first] = shares
  if (first === undefined)
    throw usageError(
      'no share file is given',
      'name the share files, as in --share a.share --share b.share',
    )
  for (const share of shares) {
    if (share.volume !== first.volume || share.slot !== first.slot) {
      throw usageError(
        'the share files are of different splits',
        'use share files whose volume and slot lines agree',
      )
    }
  }
  const different = new Set(shares.map((share) => share.data)).size
  if (different < shares.length)
    throw usageError('a share is given more than once', `give ${first.threshold} different ones`)
  if (different < first.threshold) {
    throw new CliError({
      exit: EXIT.permission,
      code: 'ENOKEY',
      message: `${different} of the ${first.threshold} shares that are needed are given`,
      next: `ask ${first.threshold - different} more of the ${first.shares} people who hold one`,
    })
  }
  return shares.map((share) => share.data)
}
