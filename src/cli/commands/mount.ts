import type { MountInfo } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import { absolute, type Command, type Context } from '../command.ts'
import { parseMountOptions } from '../mount-options.ts'
import { ensureNode } from '../start-node.ts'

export const command: Command = {
  positionals: { target: { type: 'string', describe: 'An empty directory' } },
  options: {
    o: {
      type: 'string',
      array: true,
      nargs: 1,
      requiresArg: true,
      describe:
        'Options as in /etc/fstab: ro, nosuid, nodev, noexec, noatime, nonempty, home=DIR, volume=NAME',
    },
    nonempty: { type: 'boolean', describe: 'Hide what the directory holds' },
    'read-only': { type: 'boolean', describe: 'Allow no changes through this mount' },
    driver: {
      choices: ['kernel', 'fuse-native'],
      describe:
        'kernel needs root; fuse-native is for everybody else, with limits that are printed',
    },
  },
  examples: [
    ['weft mount /mnt/weft', 'Mount the namespace'],
    ['weft mount /mnt/weft -o ro,nosuid', 'With options as fstab has them'],
    ['mount -t fuse.weft weft /mnt/weft', 'The same through mount(8)'],
  ],
  epilogue:
    'In /etc/fstab:  weft /mnt/weft fuse.weft defaults,_netdev 0 0\nFor that, /sbin/mount.fuse.weft has to start this program: scripts/launchers makes it, quickstart too.',
  async run(context, args) {
    const target = absolute(context, args.needed('target'))
    const words = parseMountOptions(args.list('o'))
    const there = words.home === undefined ? context : context.withHome(words.home)
    const driver = args.text('driver') ?? words.driver
    const readOnly = args.flag('read-only') || words.readOnly
    if (words.volume !== undefined && driver === 'fuse-native') {
      throw usageError(
        'an exclusive mount needs the kernel driver',
        'leave driver=fuse-native out, as root',
      )
    }
    await ensureNode(there)
    const wishes = {
      ...(words.flags.length > 0 ? { flags: words.flags } : {}),
      ...(words.nonempty || args.flag('nonempty') ? { nonempty: true } : {}),
    }
    const mounted =
      words.volume === undefined
        ? await there.node.post<MountInfo>('/v1/mount', {
            target,
            readOnly,
            ...(driver === undefined ? {} : { driver }),
            ...wishes,
          })
        : await there.node.post<MountInfo>('/v1/attach', {
            volume: words.volume,
            target,
            readOnly,
            ...wishes,
          })
    printMounted(there, mounted)
    return undefined
  },
}

export function printMounted(context: Context, mounted: MountInfo): void {
  context.print(mounted, () => {
    const what = mounted.volume === null ? 'weft' : `volume ${mounted.volume}`
    const notes = mounted.notes.map((note) => `  note: ${note}\n`).join('')
    return `${what} is mounted at ${mounted.target}${mounted.readOnly ? ', read-only' : ''}\n${notes}`
  })
}
