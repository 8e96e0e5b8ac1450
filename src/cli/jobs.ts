import type { JobInfo } from '../api/index.ts'
import { sleep } from '../base/index.ts'
import { CliError } from './cli-error.ts'
import type { Context } from './command.ts'
import { EXIT, exitCodeOf } from './exit-codes.ts'
import { printable, size } from './render.ts'

const POLL_MS_MIN = 50
const POLL_MS_MAX = 500
/** A pipe gets a line when a tenth is done, or after this long. */
const LINE_MS = 10_000
const BAR_CELLS = 24

/**
 * Wait for a job, showing how far it is: a bar on a terminal, plain lines in a pipe, on standard error either way.
 * Ctrl-C asks the node to stop it.
 * @throws CliError when the job failed or was stopped
 */
export async function followJob(context: Context, started: JobInfo): Promise<JobInfo> {
  const { terminal, node } = context
  const show = terminal.errIsTty ? barOn(context) : linesOn(context)
  let interrupted = false
  const release = terminal.onInterrupt(() => {
    interrupted = true
    // A second Ctrl-C ends this process; the node goes on stopping the job.
    release()
  })
  try {
    let job = started
    let asked = false
    let waitMs = POLL_MS_MIN
    while (job.state === 'running') {
      show(job)
      await sleep(terminal.clock, waitMs)
      waitMs = Math.min(waitMs * 1.5, POLL_MS_MAX)
      if (interrupted && !asked) {
        asked = true
        job = await node.post<JobInfo>(`/v1/jobs/${encodeURIComponent(job.id)}/cancel`)
      } else {
        job = await node.get<JobInfo>(`/v1/jobs/${encodeURIComponent(job.id)}`)
      }
    }
    show(job)
    return ended(job)
  } finally {
    release()
  }
}

function ended(job: JobInfo): JobInfo {
  if (job.state === 'done') return job
  if (job.state === 'cancelled') {
    const message = `${job.kind} was stopped at ${progress(job)}`
    throw new CliError({
      exit: EXIT.interrupted,
      code: 'ECANCELED',
      message,
      next: 'give the command again to go on',
    })
  }
  const { code, message, next } = job.error ?? {
    code: 'EIO',
    message: `${job.kind} failed`,
    next: 'see `weft status`',
  }
  throw new CliError({ exit: exitCodeOf(code), code, message, next })
}

function barOn(context: Context): (job: JobInfo) => void {
  let shown = false
  return (job) => {
    if (job.state !== 'running') {
      if (shown) context.terminal.err('\r\x1b[K')
      return
    }
    shown = true
    const share = shareOf(job)
    const bar =
      share === null ? '' : `[${'#'.repeat(Math.floor(share * BAR_CELLS)).padEnd(BAR_CELLS, '.')}] `
    const line = `${job.kind} ${bar}${progress(job)} ${printable(job.message)}`
    context.terminal.err(`\r${line.slice(0, Math.max(20, context.terminal.columns - 1))}\x1b[K`)
  }
}

function linesOn(context: Context): (job: JobInfo) => void {
  const { clock } = context.terminal
  let tenth = -1
  let lineAt = clock.monotonicMs()
  return (job) => {
    const share = shareOf(job)
    const now = share === null ? -1 : Math.floor(share * 10)
    if (job.state === 'running' && now === tenth && clock.monotonicMs() - lineAt < LINE_MS) return
    tenth = now
    lineAt = clock.monotonicMs()
    context.terminal.err(
      `${job.kind}: ${progress(job)} ${job.state === 'running' ? printable(job.message) : job.state}\n`,
    )
  }
}

function shareOf(job: JobInfo): number | null {
  if (job.total === null || job.total <= 0) return null
  return Math.min(1, Math.max(0, job.done / job.total))
}

/** '45% (123 of 300 chunks)' */
export function progress(job: JobInfo): string {
  const share = shareOf(job)
  const count = (value: number) => (job.unit === 'bytes' ? size(value) : `${value}`)
  const unit = job.unit === 'bytes' ? '' : ` ${job.unit}`
  if (share === null || job.total === null) return `${count(job.done)}${unit}`
  return `${Math.floor(share * 100)}% (${count(job.done)} of ${count(job.total)}${unit})`
}
