import type { ChangePlan } from '../api/index.ts'
import { sleep } from '../base/index.ts'
import type { Context } from './command.ts'
import { count, printable, size } from './render.ts'

const POLL_MS = 1000

/** Options of every verb that changes where copies lie. */
export const PLAN_OPTIONS = {
  plan: {
    type: 'boolean',
    describe:
      'Show what would be copied, how long that takes and what is left meanwhile; change nothing',
  },
  wait: {
    type: 'boolean',
    default: true,
    describe: 'Wait until it is done; --no-wait lets it go on by itself',
  },
} as const

export function planText(plan: ChangePlan): string {
  const lines = plan.steps.map(
    ({ volume, what, bytes, inSyncMeanwhile, minimum }) =>
      `  volume ${volume}: ${what}; ${size(bytes)} to copy; meanwhile ${inSyncMeanwhile} in sync, at least ${minimum} needed`,
  )
  const time =
    plan.bytes === 0
      ? 'nothing is to be copied'
      : `${size(plan.bytes)} in all, ${minutes(plan.secondsMin)} at the rate of repair, ${minutes(plan.secondsMax)} beside callers`
  return `${[plan.what, ...lines, time].map(printable).join('\n')}\n`
}

function minutes(seconds: number): string {
  return seconds < 60 ? 'under a minute' : `about ${count(Math.ceil(seconds / 60), 'minute')}`
}

/** How far a change is: a line to show while it goes on, null once it is done. */
export type Look = () => Promise<string | null>

/**
 * Shows a change going on until it is done. Ending the command ends the showing alone.
 * @param trouble what keeps it from going on, if it is to be given up for that
 */
export async function followChange(context: Context, look: Look): Promise<void> {
  const { terminal } = context
  let shown = ''
  for (;;) {
    const line = await look()
    if (line === null) return
    if (line !== shown) terminal.err(`${printable(line)}\n`)
    shown = line
    await sleep(terminal.clock, POLL_MS)
  }
}
