import { join } from 'node:path'
import type { KeySlotInfo } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import { absolute, type Command, volumePath } from '../command.ts'
import { shareFileText, writeSecretFile } from '../key-files.ts'
import { makeDirectory } from '../make-directory.ts'

interface Split {
  readonly slot: KeySlotInfo
  readonly threshold: number
  readonly shares: readonly string[]
}

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id' } },
  options: {
    shares: { type: 'string', requiresArg: true, describe: 'How many people get one (2 to 255)' },
    threshold: { type: 'string', requiresArg: true, describe: 'How many of them are needed' },
    out: {
      type: 'string',
      requiresArg: true,
      describe: 'Directory for the share files, made if it is missing',
    },
    label: { type: 'string', requiresArg: true, describe: 'What the slot is for' },
  },
  examples: [
    [
      'weft key split mysql_vol --shares 5 --threshold 3 --out shares',
      'Any three of the five files open the volume',
    ],
  ],
  epilogue: 'Give each file to another person, and keep none together. The node keeps no copy.',
  async run(context, args) {
    const volume = args.needed('volume')
    const shares = args.whole('shares', 2, 255)
    const threshold = args.whole('threshold', 2, 255)
    const out = args.text('out')
    if (shares === undefined || threshold === undefined || out === undefined) {
      throw usageError('--shares, --threshold and --out are needed', 'weft key split --help')
    }
    if (threshold > shares)
      throw usageError(
        `${threshold} of ${shares} shares can never come together`,
        'choose a threshold that is not above the shares',
      )
    const dir = absolute(context, out)
    // Before the slot is made: shares that cannot be written would be lost.
    makeDirectory(dir, 'make the directory', 'choose another directory')
    const label = args.text('label')
    const split = await context.node.post<Split>(volumePath(volume, '/keys/split'), {
      shares,
      threshold,
      ...(label === undefined ? {} : { label }),
    })
    const files = split.shares.map((data, at) => {
      const file = join(dir, `${volume}-slot${split.slot.id}-${at + 1}of${shares}.share`)
      writeSecretFile(
        file,
        shareFileText({ volume, slot: split.slot.id, number: at + 1, shares, threshold, data }),
      )
      return file
    })
    context.print({ volume, slot: split.slot.id, threshold, files }, () => {
      const list = files.map((file) => `  ${file}\n`).join('')
      return `slot ${split.slot.id} of ${volume} opens with ${threshold} of these ${shares} files:\n${list}`
    })
    return undefined
  },
}
