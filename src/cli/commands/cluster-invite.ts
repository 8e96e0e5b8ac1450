import type { InviteMade } from '../../api/index.ts'
import { lifetimeOf } from '../cluster-words.ts'
import type { Command } from '../command.ts'

const USES_MAX = 1000

export const command: Command = {
  options: {
    uses: { type: 'string', requiresArg: true, describe: 'Nodes it admits (default 1)' },
    expires: { type: 'string', requiresArg: true, describe: 'Its life: 30m, 12h, 7d (default 1h)' },
  },
  examples: [
    ['weft cluster invite', 'One line for one node, good for an hour'],
    ['weft cluster invite --uses 5 --expires 12h > invite', 'For five nodes'],
    ['weft cluster invite | ssh node2 weft cluster join -', 'Straight to the node'],
  ],
  epilogue:
    'Who has the line can join: treat it as a password. It is shown this once; weft cluster invites lists and revokes.',
  async run(context, args) {
    const uses = args.whole('uses', 1, USES_MAX)
    const expires = args.text('expires')
    const made = await context.node.post<InviteMade>('/v1/cluster/invites', {
      ...(uses === undefined ? {} : { uses }),
      ...(expires === undefined ? {} : { lifetimeMs: lifetimeOf(expires) }),
    })
    const nodes = made.usesLeft === 1 ? 'one node' : `${made.usesLeft} nodes`
    context.terminal.err(
      `invite ${made.id}: admits ${nodes} until ${made.expiresAt}; revoke it with weft cluster invites --revoke ${made.id}\n`,
    )
    context.print(made, () => `${made.line}\n`)
    return undefined
  },
}
