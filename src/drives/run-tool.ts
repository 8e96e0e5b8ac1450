import { spawn } from 'node:child_process'
import { type Clock, codeOf, FsError, systemClock } from '../base/index.ts'

/** The programs this room runs, and the Debian package of each. */
const PACKAGE_OF = {
  lsblk: 'util-linux',
  wipefs: 'util-linux',
  mount: 'mount',
  umount: 'mount',
  'mkfs.xfs': 'xfsprogs',
} as const
export type Tool = keyof typeof PACKAGE_OF

/** What a finished program said. `code` is null when a signal ended it. */
export interface ToolResult {
  readonly code: number | null
  readonly stdout: string
  /** Trimmed. */
  readonly stderr: string
}

export interface ToolOptions {
  readonly signal?: AbortSignal | undefined
  readonly deadlineMs?: number
}

/** Runs one of the programs; tests pass recorded answers instead. */
export type RunTool = (
  tool: Tool,
  args: readonly string[],
  options?: ToolOptions,
) => Promise<ToolResult>

const DEADLINE_MS = 30_000
/** A killed program that sits in the kernel, waiting for a dying disk, is not waited for longer than this. */
const KILL_GRACE_MS = 500
/** lsblk tells about 400 bytes of a disk: thousands of disks. */
const OUTPUT_CHARS_MAX = 4 * 1024 * 1024
/** The programs live in sbin on some systems; messages are parsed, so the locale is fixed. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
}

/**
 * Run a program and wait for its end; the event loop goes on meanwhile.
 * @throws FsError ENOENT when it is not installed, ETIMEDOUT or ECANCELED when it had to be killed, EIO when it cannot start
 */
export const runTool: RunTool = (tool, args, options = {}) =>
  runOn(systemClock(), tool, args, options)

function runOn(
  clock: Clock,
  tool: Tool,
  args: readonly string[],
  { signal, deadlineMs = DEADLINE_MS }: ToolOptions,
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(cancelled(tool))
      return
    }
    const child = spawn(tool, args, {
      cwd: '/',
      env: ENVIRONMENT,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    let killedFor: FsError | null = null
    let cancelGrace = () => {}
    const kill = (reason: FsError) => {
      if (killedFor !== null) return
      killedFor = reason
      child.kill('SIGKILL')
      cancelGrace = clock.after(KILL_GRACE_MS, () => {
        child.unref()
        child.stdout.destroy()
        child.stderr.destroy()
        reject(reason)
      })
    }
    const onAbort = () => kill(cancelled(tool))
    const cancelDeadline = clock.after(deadlineMs, () => kill(tooLate(tool, args, deadlineMs)))
    signal?.addEventListener('abort', onAbort, { once: true })
    const settle = () => {
      cancelDeadline()
      cancelGrace()
      signal?.removeEventListener('abort', onAbort)
    }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < OUTPUT_CHARS_MAX) stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < OUTPUT_CHARS_MAX) stderr += text
    })
    child.on('error', (error) => {
      settle()
      reject(notStarted(tool, error))
    })
    child.on('close', (code) => {
      settle()
      if (killedFor !== null) reject(killedFor)
      else resolve({ code, stdout, stderr: stderr.trim() })
    })
  })
}

function cancelled(tool: Tool): FsError {
  return new FsError('ECANCELED', tool, { message: `${tool} was stopped, as asked` })
}

function tooLate(tool: Tool, args: readonly string[], deadlineMs: number): FsError {
  return new FsError('ETIMEDOUT', tool, {
    retry: 'later',
    message: `${tool} ${args.at(-1) ?? ''} did not end within ${deadlineMs} ms`,
    next: 'look in the kernel log (dmesg) whether the disk answers',
  })
}

function notStarted(tool: Tool, cause: Error): FsError {
  if (codeOf(cause) === 'ENOENT') {
    return new FsError('ENOENT', tool, {
      cause,
      message: `${tool} is not installed on this host`,
      next: `apt install ${PACKAGE_OF[tool]}`,
    })
  }
  return new FsError('EIO', tool, { cause, message: `cannot start ${tool}: ${cause.message}` })
}
