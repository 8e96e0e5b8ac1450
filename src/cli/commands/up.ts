import type { Command } from '../command.ts'
import { ensureNode } from '../start-node.ts'

export const command: Command = {
  examples: [
    ['weft up', 'Start the node'],
    ['weft --home /srv/weft up', 'Start another one, with its own home'],
  ],
  epilogue: 'Mounts nothing: weft mount TARGET does. The log is HOME/log/keeper.log.',
  async run(context) {
    const { status, wasRunning } = await ensureNode(context)
    const { version, home, daemon, node } = status
    context.print({ version, home, daemon, node, wasRunning }, () =>
      wasRunning
        ? `weft runs already on ${home}, daemon pid ${daemon.pid}\n`
        : `weft ${version} is up on ${home}, daemon pid ${daemon.pid}\n`,
    )
    return undefined
  },
}
