import type { JobInfo, SynergyFinding } from '../../api/index.ts'
import type { Command, Context } from '../command.ts'
import { followFrameJob } from '../frame-jobs.ts'
import { findingLines } from '../frame-words.ts'

export const command: Command = {
  options: {
    'release-orphans': {
      type: 'boolean',
      describe: "Give back what is held under this node's tag and nobody knows of",
    },
    'retry-power': {
      type: 'boolean',
      describe: 'Ask once more for what the appliance would only do with the server off',
    },
  },
  examples: [
    [
      'weft synergy reconcile',
      'Compare what was meant, the appliance and this host; finish or undo',
    ],
    ['weft synergy reconcile --release-orphans', 'Give back what a lost home left behind'],
  ],
  epilogue: 'It is done every three minutes by itself, without the options.',
  async run(context, args) {
    const options = {
      releaseOrphans: args.flag('release-orphans'),
      retryPower: args.flag('retry-power'),
    }
    const findings = await reconcile(context, options)
    context.print({ findings }, () =>
      findings.length === 0 ? 'all is as it was meant\n' : findingLines(findings),
    )
    return undefined
  },
}

/** A daemon that restarted under it is asked again: what it finished then is not to be done any more. */
async function reconcile(
  context: Context,
  options: Readonly<Record<string, boolean>>,
): Promise<readonly SynergyFinding[]> {
  for (;;) {
    const job = await context.node.post<JobInfo>('/v1/synergy/reconcile', options)
    const ended = await followFrameJob(context, job)
    if (ended) return (ended.result as { findings: SynergyFinding[] }).findings
  }
}
