import type { FrameDrive, SynergyChange, SynergyStatus } from '../../api/index.ts'
import { CliError, usageError } from '../cli-error.ts'
import type { Command, Context } from '../command.ts'
import { exitCodeOf } from '../exit-codes.ts'
import { followFrameJob, untilDone } from '../frame-jobs.ts'
import { frameTable } from '../frame-words.ts'
import { printable } from '../render.ts'

const DRIVES_MAX = 40

interface Wanted {
  readonly class: number
  readonly drives: number
}

export const command: Command = {
  options: {
    class: {
      choices: ['1', '2', '3'],
      describe: '1 low (HDD), 2 medium (SATA SSD), 3 high (SAS SSD, NVMe)',
    },
    drives: { type: 'string', requiresArg: true, describe: 'How many' },
    plan: { type: 'boolean', describe: 'Show which would be taken; change nothing' },
  },
  examples: [
    [
      'weft synergy allocate --class 3 --drives 2 --plan',
      'Which drives, and what is done with them',
    ],
    ['weft synergy allocate --class 3 --drives 2', 'Take them, format them, use them'],
  ],
  epilogue:
    'Each drive is used as soon as it is there. What was begun goes on when this command is ended.',
  async run(context, args) {
    const cos = args.whole('class', 1, 3)
    const drives = args.whole('drives', 1, DRIVES_MAX)
    if (cos === undefined || drives === undefined) {
      throw usageError(
        `--${cos === undefined ? 'class' : 'drives'} is missing`,
        'weft synergy allocate --class 3 --drives 2',
      )
    }
    const wanted = { class: cos, drives }
    if (args.flag('plan')) {
      const { plan } = await post(context, { ...wanted, plan: true })
      context.print({ plan }, () => `${plan.map(printable).join('\n')}\n`)
      return undefined
    }
    const taken = await allocate(context, wanted)
    context.print({ drives: taken }, () => frameTable(taken))
    return undefined
  },
}

/** Each drive may cost the daemon its life, and the job with it: those that are missing then are asked for again. */
async function allocate(context: Context, wanted: Wanted): Promise<readonly FrameDrive[]> {
  const before = new Set(inUse(await look(context)).map(({ id }) => id))
  const ours = (status: SynergyStatus) =>
    status.drives.filter((one) => one.class === wanted.class && !before.has(one.id))
  let missing = wanted.drives
  while (missing > 0) {
    const { job } = await post(context, { ...wanted, drives: missing })
    if (job && (await followFrameJob(context, job))) break
    const status = await untilDone(context, (now) => {
      const coming = ours(now).filter(({ towards, step }) => towards === 'in' && step !== 'settled')
      const isAtRest = now.reconciled !== null && now.underWay === null
      return coming.length > 0 && coming.every(({ trouble }) => trouble === '') && !isAtRest
    })
    const stuck = ours(status).find(({ towards, trouble }) => towards === 'in' && trouble !== '')
    if (stuck) throw stuckError(stuck)
    missing = wanted.drives - inUse({ drives: ours(status) }).length
  }
  return inUse({ drives: ours(await look(context)) })
}

function inUse({ drives }: Pick<SynergyStatus, 'drives'>): readonly FrameDrive[] {
  return drives.filter(({ step }) => step === 'settled')
}

function look({ node }: Context): Promise<SynergyStatus> {
  return node.get<SynergyStatus>('/v1/synergy')
}

function post({ node }: Context, wanted: Wanted & { plan?: boolean }): Promise<SynergyChange> {
  return node.post<SynergyChange>('/v1/synergy/allocate', wanted)
}

function stuckError({ id, step, trouble }: FrameDrive): CliError {
  const code = step === 'needs-power-off' ? 'EPERM' : 'EAGAIN'
  return new CliError({
    exit: exitCodeOf(code),
    code,
    message: trouble,
    next: `it is tried again by itself; weft synergy release ${id} gives it back`,
  })
}
