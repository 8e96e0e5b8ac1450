import type { Recovered, RecoverPlan, RecoverState } from '../api/index.ts'
import { assert, sleep } from '../base/index.ts'
import { CliError } from './cli-error.ts'
import type { Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { count, printable } from './render.ts'

const PATH = '/v1/cluster/coordinator'
/** Every member starts anew, and is asked again. */
const REBUILT_MS_MAX = 120_000
const POLL_MS = 200

/**
 * weft cluster coordinator recover. Without --yes nothing is changed: the plan is shown, and how to go on.
 * @throws CliError
 */
export async function recoverCoordinator(
  context: Context,
  { plan: onlyPlan, yes }: { readonly plan: boolean; readonly yes: boolean },
): Promise<void> {
  if (yes && !onlyPlan) return await recover(context)
  let plan: RecoverPlan
  try {
    plan = await context.node.get<RecoverPlan>(`${PATH}/recover`)
  } catch (error) {
    // It answers: there may be volumes that it lacks.
    if (onlyPlan || !(error instanceof CliError) || error.code !== 'EEXIST') throw error
    return show(context, await context.node.post<Recovered>(`${PATH}/recover`, { begin: false }))
  }
  context.print(plan, () => planText(plan, 'would be'))
  if (onlyPlan) return
  throw new CliError({
    exit: EXIT.refused,
    code: 'ECANCELED',
    message:
      'nothing was changed. The coordinator before is not obeyed again once this is done, and what only that one knew is lost',
    next: 'when it is lost for good: weft cluster coordinator recover --yes',
  })
}

async function recover(context: Context): Promise<void> {
  context.terminal.err('rebuilding the coordinator on this node …\n')
  const done = await context.node.post<Recovered>(`${PATH}/recover`, { begin: true })
  if (!done.begun) return show(context, done)
  const plan = await rebuilt(context, done.generation)
  context.print(plan, () => planText(plan, 'are'))
}

function show(context: Context, { plan }: Recovered): void {
  assert(plan !== null, 'what was taken in is told at once')
  context.print(plan, () =>
    plan.volumes.length + plan.refused.length === 0
      ? 'the coordinator answers, and lacks no volume that a member keeps\n'
      : volumesText(plan, 'are'),
  )
}

async function rebuilt(
  { node, terminal, home }: Context,
  generation: number,
): Promise<RecoverPlan> {
  const untilMs = terminal.clock.monotonicMs() + REBUILT_MS_MAX
  let waitsFor = ''
  while (terminal.clock.monotonicMs() < untilMs) {
    await sleep(terminal.clock, POLL_MS)
    if (!(await node.isUp())) continue
    const state = await node.get<RecoverState>(`${PATH}/recovery`)
    if (state.plan?.generation === generation) return state.plan
    const names = state.waitsFor.join(', ')
    if (names !== waitsFor && names !== '') terminal.err(`waiting for ${names} …\n`)
    waitsFor = names
  }
  throw new CliError({
    exit: EXIT.timeout,
    code: 'ETIMEDOUT',
    message: `the coordinator is not rebuilt after ${REBUILT_MS_MAX / 1000} s`,
    next: `it goes on; weft cluster coordinator shows how far it is, ${home}/log/keeper.log what is wrong`,
  })
}

function planText(plan: RecoverPlan, verb: 'would be' | 'are'): string {
  const is = verb === 'are' ? 'is' : 'would be'
  const lines = [
    `the coordinator ${is} on node ${plan.node}, generation ${plan.generation}`,
    `from what ${plan.from.join(', ')} keep${plan.from.length === 1 ? 's' : ''}`,
    ...plan.silent.map(({ node, why }) => `without node ${node}: ${why}`),
  ]
  return `${lines.map((line) => `${printable(line)}\n`).join('')}${volumesText(plan, verb)}`
}

function volumesText({ volumes, refused }: RecoverPlan, verb: 'would be' | 'are'): string {
  const lines = [
    `${verb === 'are' ? 'rebuilt' : 'to be rebuilt'}: ${count(volumes.length, 'volume')}`,
    ...volumes.map(
      ({ name, copies, answering }) =>
        `  ${name}: ${answering.length} of ${copies} copies (${answering.join(', ')})`,
    ),
    ...refused.flatMap(({ name, why, lacking }) => [
      `refused: ${name}: ${why}`,
      `  next: ${lacking.length === 0 ? '' : `start ${lacking.join(', ')}, then `}weft cluster coordinator recover takes it in; nothing of it is deleted, and its name stays taken`,
    ]),
  ]
  return lines.map((line) => `${printable(line)}\n`).join('')
}
