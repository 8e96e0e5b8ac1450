import { constants } from 'node:os'

/** The errno names weft answers with. ENOKEY and ENODATA are not in every libuv table, so they are named here. */
const EXTRA_ERRNO = {
  ENOKEY: 126,
  EKEYREJECTED: 129,
  ENODATA: 61,
  ENOATTR: 61,
  EUCLEAN: 117,
  ESTALE: 116,
} as const
const ERRNO: Readonly<Record<string, number>> = { ...constants.errno, ...EXTRA_ERRNO }

export type ErrnoCode = keyof typeof constants.errno | keyof typeof EXTRA_ERRNO

/** Positive errno number of a code; EIO (5) for a code this platform does not know. */
export function errnoOf(code: string): number {
  return ERRNO[code] ?? 5
}

/** Name of what a system call failed with, also where libuv has none; '' for what no system call threw. */
export function errnoNameOf(error: unknown): string {
  const code = codeOf(error)
  const { errno } = (error ?? {}) as { errno?: unknown }
  const extra = Object.entries(EXTRA_ERRNO).find(([, number]) => number === -Number(errno))
  return extra && code.startsWith('Unknown') ? extra[0] : code
}

export type Subject = Readonly<Record<string, unknown>>

/**
 * An expected failure, the one error type that crosses a room's door.
 * `errno` is negative, as in Node and in fuse_out_header.error.
 */
export class FsError extends Error {
  readonly code: ErrnoCode
  readonly errno: number
  readonly op: string
  readonly subject: Subject
  readonly retry: 'never' | 'later'

  constructor(
    code: ErrnoCode,
    op: string,
    subject: Subject & { cause?: unknown; retry?: 'never' | 'later'; message?: string } = {},
  ) {
    const { cause, retry, message, ...rest } = subject
    super(
      message ?? `${op}: ${code} ${describeSubject(rest)}`.trimEnd(),
      cause === undefined ? undefined : { cause },
    )
    this.name = 'FsError'
    this.code = code
    this.errno = -errnoOf(code)
    this.op = op
    this.subject = rest
    this.retry = retry ?? 'never'
  }
}

/** Bytes from a kernel, a peer or a client that break their own protocol. The sender is dropped, nothing else happens. */
export class ProtocolError extends Error {
  constructor(what: string, cause?: unknown) {
    super(what, cause === undefined ? undefined : { cause })
    this.name = 'ProtocolError'
  }
}

/** Stored bytes that fail their seal or checksum. The piece is quarantined; reads of it answer EIO. */
export class CorruptError extends Error {
  readonly subject: Subject
  constructor(what: string, subject: Subject = {}, cause?: unknown) {
    super(
      `${what} ${describeSubject(subject)}`.trimEnd(),
      cause === undefined ? undefined : { cause },
    )
    this.name = 'CorruptError'
    this.subject = subject
  }
}

/** What only a bug can break. The daemon stops on it: wrong data is worse than none. */
export class AssertionError extends Error {
  constructor(what: string) {
    super(`assertion failed: ${what}`)
    this.name = 'AssertionError'
  }
}

export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new AssertionError(what)
}

/** What only a mistake in this program throws; nobody may carry on after it. */
export function isBug(error: unknown): boolean {
  return (
    error instanceof AssertionError || error instanceof TypeError || error instanceof ReferenceError
  )
}

/** The errno-like code of anything thrown, '' when it has none. */
export function codeOf(error: unknown): string {
  return typeof error === 'object' &&
    error !== null &&
    'code' in error &&
    typeof error.code === 'string'
    ? error.code
    : ''
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function describeSubject(subject: Subject): string {
  return Object.entries(subject)
    .map(
      ([key, value]) =>
        `${key}=${typeof value === 'string' || typeof value === 'number' ? value : JSON.stringify(value)}`,
    )
    .join(' ')
}
