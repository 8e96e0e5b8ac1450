import { clusterText, ENTRY_OPTIONS, enterCluster, entryOf, inviteLine } from '../cluster-words.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  positionals: {
    invite: {
      type: 'string',
      describe:
        'The line that weft cluster invite printed; - reads it from standard input, ./FILE from a file',
    },
  },
  options: ENTRY_OPTIONS,
  examples: [
    [
      'ssh node1 weft cluster invite | weft cluster join - --domain region=eu,zone=1,rack=r2',
      'The invite never stands on a command line',
    ],
    ['weft cluster join ./invite', 'From a file'],
    [
      'weft cluster join weft1:… --name node2',
      'Others on this machine may see the line: it is used up by this',
    ],
  ],
  epilogue:
    'Starts the node if none runs. A node that has volumes of its own is refused: their names and numbers may be taken in\nthe cluster. Doing it again after a break is allowed: it counts no second use of the invite.',
  async run(context, args) {
    // yargs makes '' of a place that is given as "-": it reads places as options, whose values begin with no hyphen.
    const given = args.text('invite') || '-'
    const body = { invite: inviteLine(context, given), ...entryOf(args) }
    const { entered, cluster } = await enterCluster(
      context,
      '/v1/cluster/join',
      body,
      'asking the nodes of the invite',
    )
    context.print({ ...entered, cluster }, () => clusterText(cluster))
    return undefined
  },
}
