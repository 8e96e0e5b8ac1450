import type { VolumeDetail } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { withGrowth } from '../growing.ts'
import { size } from '../render.ts'
import { PASSPHRASE_OPTIONS, passphraseOf } from '../secrets.ts'
import { sayingSpec } from '../volume-words.ts'

export const command: Command = {
  positionals: {
    name: {
      type: 'string',
      describe: 'A name, or a whole specification: size=100G,repl=1,cos=3,name=NAME',
    },
  },
  options: {
    size: { type: 'string', requiresArg: true, describe: 'Most it may hold: 500M, 100G, 2T' },
    repl: { type: 'string', requiresArg: true, describe: 'Number of copies' },
    cos: {
      type: 'string',
      requiresArg: true,
      describe: 'Class of service: 1 low, 2 medium, 3 high',
    },
    'cos-fallback': {
      type: 'boolean',
      describe: 'Take a lower class where there is no room, and move up later',
    },
    spread: {
      type: 'string',
      requiresArg: true,
      describe: 'No two copies in one: region, zone, rack, enclosure or node',
    },
    recipient: {
      type: 'string',
      array: true,
      nargs: 1,
      requiresArg: true,
      describe: 'Public key of a person who can open it too',
    },
    ...PASSPHRASE_OPTIONS,
  },
  examples: [
    ['weft volume create mysql_vol --size 100G', 'A volume of 100 GiB'],
    ['weft volume create size=100G,repl=1,cos=3,name=mysql_vol', 'The same as containers write it'],
    [
      'weft volume create db --size 100G --repl 3 --spread rack',
      'Three copies, each in a rack of its own',
    ],
    [
      'weft volume create notes --passphrase',
      'One that a passphrase opens too, when the node is lost',
    ],
  ],
  async run(context, args) {
    const given = args.needed('name')
    const passphrase = await passphraseOf(context, args, true)
    try {
      const request = {
        ...(given.includes('=') ? { spec: given } : { name: given }),
        ...pick(args.text('size'), 'size'),
        ...pick(args.text('repl'), 'repl'),
        ...pick(args.text('cos'), 'cos'),
        ...(args.flag('cos-fallback') ? { cosFallback: true } : {}),
        ...pick(args.text('spread'), 'spread'),
        ...(args.list('recipient').length > 0 ? { recipients: args.list('recipient') } : {}),
        ...(passphrase === null ? {} : { passphrase: passphrase.toString('base64') }),
      }
      const created = await sayingSpec(() =>
        withGrowth(context, () => context.node.post<VolumeDetail>('/v1/volumes', request)),
      )
      context.print(
        created,
        () =>
          `volume ${created.name} is created, ${size(created.sizeBytes)}, key slots: ${created.keySlots}\n`,
      )
      return undefined
    } finally {
      passphrase?.fill(0)
    }
  },
}

function pick(value: string | undefined, name: string): Record<string, string> {
  return value === undefined ? {} : { [name]: value }
}
