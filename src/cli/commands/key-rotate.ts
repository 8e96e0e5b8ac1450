import type { JobInfo } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { followJob } from '../jobs.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id' } },
  options: {
    reseal: {
      type: 'boolean',
      describe: 'Rewrite what the old key sealed; afterwards the old key opens nothing',
    },
    background: { type: 'boolean', describe: 'Do not wait for the rewriting' },
  },
  examples: [
    ['weft key rotate mysql_vol', 'New data is sealed with a new key; the volume stays in use'],
    ['weft key rotate mysql_vol --reseal', 'Old data too, with progress'],
  ],
  epilogue:
    'The rewriting goes on where it stopped, after Ctrl-C or a restart, when the command is given again.',
  async run(context, args) {
    const volume = args.needed('volume')
    const reseal = args.flag('reseal')
    const path = volumePath(volume, '/keys/rotate')
    const { newestEpoch, job } = await context.node.post<{
      newestEpoch: number
      job: JobInfo | null
    }>(path, { reseal })
    const ended = job === null || args.flag('background') ? job : await followJob(context, job)
    context.print({ newestEpoch, job: ended }, () => {
      const rest =
        ended === null
          ? ''
          : ended.state === 'running'
            ? '; old data is being rewritten'
            : '; old data is rewritten'
      return `volume ${volume} has key epoch ${newestEpoch}${rest}\n`
    })
    return undefined
  },
}
