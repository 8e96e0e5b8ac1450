import type { JobInfo, SynergyStatus } from '../api/index.ts'
import { sleep } from '../base/index.ts'
import { CliError } from './cli-error.ts'
import type { Context } from './command.ts'
import { EXIT, exitCodeOf } from './exit-codes.ts'
import { printable } from './render.ts'

/**
 * Following work with the drives of a frame. Emptying a drive with journals or taking one out may restart the daemon under its
 * mounts, which forgets its jobs; what was begun is gone on with by the next life. So a job may end without an answer here.
 */

const POLL_MS = 1000

/**
 * Shows what the job says until it has ended. Ending the command ends the showing alone.
 * @returns null when the daemon has restarted under it
 * @throws CliError when it failed or was cancelled
 */
export async function followFrameJob(context: Context, started: JobInfo): Promise<JobInfo | null> {
  const say = sayer(context)
  for (;;) {
    const job = await jobOrNull(context, started)
    if (job === null) return null
    if (job.state === 'done') return job
    if (job.state !== 'running') throw failed(job)
    say(job.message)
    await sleep(context.terminal.clock, POLL_MS)
  }
}

/**
 * Shows what the new life of the daemon does, until those drives that are meant need nothing more done, or one of them is in trouble.
 * What becomes of others is not waited for: giving one back may take hours.
 * @param isUnderWay whether something is left to do with the meant ones
 * @throws CliError when the daemon cannot go on
 */
export async function untilDone(
  context: Context,
  isUnderWay: (status: SynergyStatus) => boolean,
): Promise<SynergyStatus> {
  const say = sayer(context)
  for (;;) {
    const status = await context.node.get<SynergyStatus>('/v1/synergy')
    if (!isUnderWay(status)) return status
    if (status.trouble !== '') {
      throw new CliError({
        exit: EXIT.failed,
        code: 'EIO',
        message: `the daemon has restarted and cannot go on: ${status.trouble}`,
        next: 'what was begun is gone on with by itself; weft synergy status shows where each drive stands',
      })
    }
    say(status.underWay?.words ?? 'the daemon restarts under its mounts')
    await sleep(context.terminal.clock, POLL_MS)
  }
}

/** Each line once, on standard error. */
function sayer({ terminal }: Context): (words: string) => void {
  let shown = ''
  return (words) => {
    if (words !== shown && words !== '') terminal.err(`${printable(words)}\n`)
    shown = words
  }
}

/** Numbers of jobs begin anew with each life of the daemon: another one may bear this number by now. */
async function jobOrNull({ node }: Context, started: JobInfo): Promise<JobInfo | null> {
  try {
    const job = await node.get<JobInfo>(`/v1/jobs/${encodeURIComponent(started.id)}`)
    return job.startedAt === started.startedAt && job.kind === started.kind ? job : null
  } catch (error) {
    if (error instanceof CliError && error.code === 'ENOENT') return null
    throw error
  }
}

function failed({ kind, state, error }: JobInfo): CliError {
  if (state === 'cancelled') {
    const message = `${kind} was stopped`
    const next = 'give the command again to go on'
    return new CliError({ exit: EXIT.interrupted, code: 'ECANCELED', message, next })
  }
  const { code, message, next } = error ?? { code: 'EIO', message: `${kind} failed`, next: '' }
  return new CliError({
    exit: exitCodeOf(code),
    code,
    message,
    next: next || 'weft synergy status shows where each drive stands',
  })
}
