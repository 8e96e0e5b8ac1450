import type { NodeStatus } from '../../api/index.ts'
import { CliError } from '../cli-error.ts'
import { absolute, type Command } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { sleep } from '../terminal.ts'

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
  async run(context, args) {
    const { node, terminal, home } = context
    const given = args.text('program')
    const before = await node.get<NodeStatus>('/v1/status')
    const program = given === undefined ? terminal.program : absolute(context, given)
    await node.post('/v1/upgrade', { program })
    const deadline = terminal.clock.monotonicMs() + RESTART_MS_MAX
    while (terminal.clock.monotonicMs() < deadline) {
      await sleep(terminal.clock, POLL_MS)
      if (!(await node.isUp())) continue
      const now = await node.get<NodeStatus>('/v1/status')
      if (now.daemon.pid === before.daemon.pid) continue
      context.print(
        { program, before: before.version, version: now.version, daemon: now.daemon },
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
