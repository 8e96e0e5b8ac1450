import type { SynergyReleased, SynergyStatus } from '../../api/index.ts'
import { CliError } from '../cli-error.ts'
import type { Command, Context } from '../command.ts'
import { exitCodeOf } from '../exit-codes.ts'
import { followFrameJob } from '../frame-jobs.ts'
import { printable } from '../render.ts'

export const command: Command = {
  positionals: { drive: { type: 'string', describe: 'Tag, id or serial number' } },
  options: {
    plan: { type: 'boolean', describe: 'Show what would be moved; change nothing' },
    lost: {
      type: 'boolean',
      describe: 'What is on it is lost or not needed: give it back though nobody can look at it',
    },
  },
  examples: [
    ['weft synergy release S4EVNF0M --plan', 'What would be moved, and where there is room for it'],
    ['weft synergy release S4EVNF0M', 'Empty it, give it back, erased where it can be'],
  ],
  epilogue:
    'Files stay in use meanwhile; the daemon may restart under its mounts. What was begun goes on when this command is ended.',
  async run(context, args) {
    const drive = args.needed('drive')
    if (args.flag('plan')) {
      const { plan, id, name } = await post(context, { drive, plan: true })
      context.print({ id, name, plan }, () => `${plan.map(printable).join('\n')}\n`)
      return undefined
    }
    const { id, name } = await release(context, drive, args.flag('lost'))
    context.print({ id, name }, () => `${printable(name)} is free again\n`)
    return undefined
  },
}

/** Once it is on its way out it is known by its tag alone. */
async function release(context: Context, drive: string, lost: boolean): Promise<SynergyReleased> {
  const how = { plan: false, ...(lost && { lost }) }
  let given = await post(context, { drive, ...how })
  while (given.job && (await followFrameJob(context, given.job)) === null) {
    const status = await context.node.get<SynergyStatus>('/v1/synergy')
    const left = status.drives.find(({ id }) => id === given.id)
    if (!left) break
    if (left.trouble !== '') {
      const code = left.step === 'needs-power-off' ? 'EPERM' : 'EAGAIN'
      const next = 'it is tried again by itself; weft synergy status shows where it stands'
      throw new CliError({ exit: exitCodeOf(code), code, message: left.trouble, next })
    }
    given = await post(context, { drive: given.id, ...how })
  }
  return given
}

function post({ node }: Context, request: object): Promise<SynergyReleased> {
  return node.post<SynergyReleased>('/v1/synergy/release', request)
}
