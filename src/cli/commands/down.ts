import { sleep } from '../../base/index.ts'
import { CliError } from '../cli-error.ts'
import type { Command, Context } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { keeperPid } from '../keeper-lock.ts'

/** The keeper itself gives dirty data 30 s to be written and busy mounts 80 s to go (fuse/keeper.ts). */
const STOP_MS_MAX = 130_000
const POLL_MS = 50

/** A node without mounts may be gone before its answer is written: whether it stopped is looked at by the caller. */
async function askToStop(node: Context['node']): Promise<void> {
  try {
    await node.post('/v1/shutdown')
  } catch (error) {
    if (!(error instanceof CliError) || !['ECONNRESET', 'EPIPE'].includes(error.code)) throw error
  }
}

export const command: Command = {
  examples: [['weft down', 'Flush everything, unmount, and stop']],
  epilogue: 'A node that does not run is no error: what was asked is so already.',
  async run(context) {
    const { node, home, terminal } = context
    if (!(await node.isUp()) && keeperPid(home) === null) {
      context.print({ home, wasRunning: false }, () => `no node runs on ${home}\n`)
      return undefined
    }
    const keeper = keeperPid(home)
    // A daemon that keeps dying cannot be asked; its keeper can, and stops in the same order.
    if (await node.isUp()) await askToStop(node)
    else if (keeper !== null) process.kill(keeper, 'SIGTERM')
    const deadline = terminal.clock.monotonicMs() + STOP_MS_MAX
    while ((await node.isUp()) || keeperPid(home) !== null) {
      if (terminal.clock.monotonicMs() > deadline) {
        const next = `see ${home}/log/keeper.log; \`weft status\` shows what is still mounted`
        throw new CliError({
          exit: EXIT.timeout,
          code: 'ETIMEDOUT',
          message: `the node on ${home} has not ended after ${STOP_MS_MAX / 1000} s`,
          next,
        })
      }
      await sleep(terminal.clock, POLL_MS)
    }
    context.print({ home, wasRunning: true }, () => `weft on ${home} is down\n`)
    return undefined
  },
}
