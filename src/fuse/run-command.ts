import { spawn } from 'node:child_process'
import { systemClock } from '../base/clock.ts'
import { codeOf, FsError } from '../base/errors.ts'

/** What a finished command said. `code` is null when a signal ended it. */
export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  /** Descriptors the child finds as 3, 4, … */
  readonly fds?: readonly number[]
  readonly deadlineMs?: number
}

const DEADLINE_MS = 30_000
/** A killed child that sits in an uninterruptible FUSE request is not waited for longer than this. */
const KILL_GRACE_MS = 500
const OUTPUT_CHARS_MAX = 8192
/** mount(8) and umount(8) live in sbin on some systems; messages are parsed, so the locale is fixed. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
}

const clock = systemClock()

/**
 * Run a system tool and wait for its end without blocking the event loop. Everything that touches a path which
 * may lie on a mount of ours goes through here: a stat from the serving process itself would wait for itself.
 * @throws FsError ENOENT when the tool is not installed, ETIMEDOUT when it had to be killed
 */
export function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: '/',
      env: ENVIRONMENT,
      stdio: ['ignore', 'pipe', 'pipe', ...(options.fds ?? [])],
    })
    let stdout = ''
    let stderr = ''
    let cancelGrace = () => {}
    const tooLate = () =>
      new FsError('ETIMEDOUT', program, {
        message: `${program} ${args.at(-1) ?? ''} did not end within ${deadlineMs} ms`,
      })
    let killed = false
    const cancelDeadline = clock.after(deadlineMs, () => {
      killed = true
      child.kill('SIGKILL')
      cancelGrace = clock.after(KILL_GRACE_MS, () => {
        child.unref()
        child.stdout?.destroy()
        child.stderr?.destroy()
        reject(tooLate())
      })
    })
    const settle = () => {
      cancelDeadline()
      cancelGrace()
    }
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < OUTPUT_CHARS_MAX) stdout += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < OUTPUT_CHARS_MAX) stderr += text
    })
    child.on('error', (error) => {
      settle()
      reject(
        codeOf(error) === 'ENOENT'
          ? new FsError('ENOENT', program, {
              cause: error,
              message: `${program} is not installed; install util-linux, mount, coreutils and perl-base`,
            })
          : new FsError('EIO', program, {
              cause: error,
              message: `cannot start ${program}: ${error.message}`,
            }),
      )
    })
    child.on('close', (code) => {
      settle()
      if (killed) reject(tooLate())
      else resolve({ code, stdout, stderr: stderr.trim() })
    })
  })
}
