import type { InviteInfo } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { table } from '../render.ts'

export const command: Command = {
  options: {
    revoke: {
      type: 'string',
      requiresArg: true,
      describe: 'End this invite; whom it has admitted stays',
    },
  },
  examples: [
    ['weft cluster invites', 'Which stand, and which ended lately, and why'],
    ['weft cluster invites --revoke 7f3c09…', 'By the id that the list shows in full'],
  ],
  async run(context, args) {
    const id = args.text('revoke')
    if (id !== undefined) {
      const path = `/v1/cluster/invites/${encodeURIComponent(id)}`
      const revoked = await context.node.delete<InviteInfo>(path)
      context.print(revoked, () => `invite ${revoked.id} is revoked\n`)
      return undefined
    }
    const { invites } = await context.node.get<{ invites: InviteInfo[] }>('/v1/cluster/invites')
    context.print({ invites }, () =>
      invites.length === 0 ? 'no invite: weft cluster invite\n' : inviteTable(invites),
    )
    return undefined
  },
}

function inviteTable(invites: readonly InviteInfo[]): string {
  const columns = [
    { title: 'INVITE' },
    { title: 'STATE' },
    { title: 'USES LEFT', right: true },
    { title: 'USED', right: true },
    { title: 'EXPIRES' },
  ]
  const rows = invites.map(({ id, state, usesLeft, usedBy, expiresAt }) => [
    id,
    state,
    String(usesLeft),
    String(usedBy.length),
    expiresAt,
  ])
  return table(columns, rows)
}
