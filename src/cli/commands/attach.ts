import type { MountInfo } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import { absolute, type Command } from '../command.ts'
import { parseMountOptions } from '../mount-options.ts'
import { printMounted } from './mount.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id of the volume' },
    target: { type: 'string', describe: 'An empty directory' },
  },
  options: {
    force: { type: 'boolean', describe: 'End other mounts that have files of it open for writing' },
    nonempty: { type: 'boolean', describe: 'Hide what the directory holds' },
    o: {
      type: 'string',
      array: true,
      nargs: 1,
      requiresArg: true,
      describe: 'Options as in /etc/fstab: ro, nosuid, nodev, noexec, noatime, nonempty',
    },
  },
  examples: [['weft attach mysql_vol /var/lib/mysql', 'A database gets the volume to itself']],
  epilogue: 'While a volume is attached, the other mounts read what was flushed, and cannot write.',
  async run(context, args) {
    const words = parseMountOptions(args.list('o'))
    if (words.home !== undefined || words.volume !== undefined || words.driver !== undefined) {
      throw usageError('home=, volume= and driver= are words of weft mount', 'weft attach --help')
    }
    const mounted = await context.node.post<MountInfo>('/v1/attach', {
      volume: args.needed('volume'),
      target: absolute(context, args.needed('target')),
      force: args.flag('force'),
      readOnly: words.readOnly,
      flags: words.flags,
      ...(words.nonempty || args.flag('nonempty') ? { nonempty: true } : {}),
    })
    printMounted(context, mounted)
    return undefined
  },
}
