import type { ApiError } from '../api/index.ts'
import { codeOf, messageOf } from '../base/index.ts'
import { EXIT, type ExitCode, exitCodeOf } from './exit-codes.ts'

/** A failure as a person gets it: what was tried on what and why it was refused (message), and what to do (next). */
export class CliError extends Error {
  readonly exit: ExitCode
  readonly code: string
  readonly next: string
  readonly op: string
  readonly subject: Readonly<Record<string, unknown>>

  constructor(fields: {
    exit: ExitCode
    message: string
    next: string
    code?: string
    op?: string
    subject?: Readonly<Record<string, unknown>>
    cause?: unknown
  }) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.name = 'CliError'
    this.exit = fields.exit
    this.code = fields.code ?? ''
    this.next = fields.next
    this.op = fields.op ?? ''
    this.subject = fields.subject ?? {}
  }
}

export function usageError(message: string, next: string): CliError {
  return new CliError({ exit: EXIT.usage, code: 'EINVAL', message, next })
}

export function fromApi(error: ApiError): CliError {
  return new CliError({ ...error, exit: exitCodeOf(error.code) })
}

/** A failed system call of the CLI's own, on a file a person named. */
export function fileError(error: unknown, op: string, path: string, next: string): CliError {
  const code = codeOf(error)
  const why = REASONS[code] ?? messageOf(error)
  return new CliError({
    exit: exitCodeOf(code),
    code,
    message: `cannot ${op} ${path}: ${why}`,
    next,
    op,
    subject: { path },
    cause: error,
  })
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EEXIST: 'it exists already',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  EROFS: 'the filesystem is read-only',
  ENOSPC: 'no space left',
}

/** Anything thrown; what is not a CliError is a bug of ours, and still said in one sentence. */
export function asCliError(thrown: unknown): CliError {
  if (thrown instanceof CliError) return thrown
  const next = 'please report this, with the command you gave and the output of `weft debug report`'
  return new CliError({
    exit: EXIT.failed,
    code: codeOf(thrown) || 'INTERNAL',
    message: `weft failed unexpectedly: ${messageOf(thrown)}`,
    next,
    cause: thrown,
  })
}

/** Two lines for a person, or one JSON object; for standard error either way. */
export function renderError(error: CliError, command: string, json: boolean): string {
  if (json) {
    const { code, message, next, op, subject, exit } = error
    return `${JSON.stringify({ error: { code, message, next, op: op || command, subject, exit } })}\n`
  }
  const head = command === '' ? 'weft' : `weft ${command}`
  // The node begins its messages with the operation, which the head has said already.
  const said = [`${command}: `, `${command.replaceAll(' ', '.')}: `]
  const message = error.message.slice(
    said.find((words) => error.message.startsWith(words))?.length ?? 0,
  )
  return `${head}: ${message}\n  next: ${error.next}\n`
}
