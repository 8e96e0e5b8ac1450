import { realpathSync } from 'node:fs'
import type { NodeStatus } from '../../api/index.ts'
import { sleep } from '../../base/index.ts'
import { checkProgram, type Program } from '../check-program.ts'
import { CliError } from '../cli-error.ts'
import { absolute, type Command } from '../command.ts'
import { EXIT } from '../exit-codes.ts'

const RESTART_MS_MAX = 60_000
const POLL_MS = 100

export const command: Command = {
  options: {
    program: {
      type: 'string',
      requiresArg: true,
      describe: "Another build's dist/main.js; this one when left out",
    },
  },
  examples: [
    [
      'weft upgrade --program /opt/weft-2/dist/main.js',
      'Open files and mounts stay; calls wait for a moment',
    ],
  ],
  epilogue:
    'Exit code 1 when the new build does not start: the keeper then goes back to the one before, under the same mounts.',
  async run(context, args) {
    const { node, terminal, home } = context
    const given = args.text('program')
    const before = await node.get<NodeStatus>('/v1/status')
    const program = await checkProgram(
      given === undefined ? terminal.program : absolute(context, given),
    )
    await node.post('/v1/upgrade', { program: program.path })
    const deadline = terminal.clock.monotonicMs() + RESTART_MS_MAX
    while (terminal.clock.monotonicMs() < deadline) {
      await sleep(terminal.clock, POLL_MS)
      if (!(await node.isUp())) continue
      const now = await node.get<NodeStatus>('/v1/status')
      if (now.daemon.pid === before.daemon.pid) continue
      refuseFallback(program, now, home)
      context.print(
        {
          program: program.path,
          before: before.version,
          version: now.version,
          daemon: now.daemon,
        },
        () =>
          `weft ${now.version} runs, daemon pid ${now.daemon.pid} (before: ${before.version})\n`,
      )
      return undefined
    }
    throw new CliError({
      exit: EXIT.timeout,
      code: 'ETIMEDOUT',
      message: `no new daemon on ${home} after ${RESTART_MS_MAX / 1000} s`,
      next: `see ${home}/log/keeper.log; the mounts are still there, \`weft status\` shows who serves them`,
    })
  },
}

/**
 * The keeper goes back to the program before when the new one dies twice before it is ready (fuse/keeper.ts).
 * @throws CliError when it did. A build that does not say which program it runs is judged by its version
 */
function refuseFallback(wanted: Program, now: NodeStatus, home: string): void {
  const runs = (now.daemon as { program?: string }).program
  const isWanted = runs === undefined ? now.version === wanted.version : samePath(runs, wanted.path)
  if (isWanted) return
  throw new CliError({
    exit: EXIT.failed,
    code: 'ECHILD',
    message: `weft ${wanted.version} (${wanted.path}) did not start, and the keeper went back: weft ${now.version}${runs === undefined ? '' : ` (${runs})`} runs, the mounts stand`,
    next: `see ${home}/log/keeper.log for why it ended`,
    subject: { program: wanted.path, runs: runs ?? null },
  })
}

function samePath(one: string, other: string): boolean {
  if (one === other) return true
  try {
    return realpathSync(one) === other
  } catch {
    return false
  }
}
