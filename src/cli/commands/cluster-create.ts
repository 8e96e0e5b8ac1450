import { clusterText, ENTRY_OPTIONS, enterCluster, entryOf } from '../cluster-words.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  positionals: { cluster: { type: 'string', describe: 'Name of the cluster' } },
  options: ENTRY_OPTIONS,
  examples: [
    ['weft cluster create lab', 'This node becomes the first of a cluster; its volumes stay'],
    [
      'weft cluster create lab --domain region=eu,zone=1,rack=r1 --listen 10.0.0.1:9338',
      'With a place, and on one address alone',
    ],
  ],
  epilogue:
    'Starts the node if none runs. The daemon starts anew under its mounts. The coordinator, which says who owns what, is on\nthis node. Others come in with weft cluster invite and weft cluster join.',
  async run(context, args) {
    const body = { name: args.needed('cluster'), ...entryOf(args) }
    const { entered, cluster } = await enterCluster(
      context,
      '/v1/cluster',
      body,
      `making the cluster ${body.name}`,
    )
    context.print(
      { ...entered, cluster },
      () =>
        `${clusterText(cluster)}next: weft cluster invite, and on another machine weft cluster join\n`,
    )
    return undefined
  },
}
