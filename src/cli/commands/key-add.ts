import type { KeySlotInfo } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import { type Command, volumePath } from '../command.ts'
import { PASSPHRASE_OPTIONS, passphraseOf } from '../secrets.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id' } },
  options: {
    ...PASSPHRASE_OPTIONS,
    recipient: {
      type: 'string',
      requiresArg: true,
      describe: "A person's public key, from weft key create",
    },
    label: { type: 'string', requiresArg: true, describe: 'Who or what the slot is for' },
  },
  examples: [
    ['weft key add mysql_vol --passphrase', 'Asks twice, on the terminal'],
    ['weft key add mysql_vol --passphrase-file /root/pass', 'For scripts'],
    ['weft key add mysql_vol --recipient PUBKEY --label anna', 'Lets a person in'],
  ],
  async run(context, args) {
    const recipient = args.text('recipient')
    const label = args.text('label')
    const path = volumePath(args.needed('volume'), '/keys')
    const passphrase = await passphraseOf(context, args, true)
    try {
      if ((recipient === undefined) === (passphrase === null)) {
        throw usageError(
          'a slot is for a passphrase or for a person',
          'give --passphrase (or -file, -fd), or --recipient PUBKEY',
        )
      }
      if (recipient !== undefined && Buffer.from(recipient, 'base64').length !== 32) {
        throw usageError(
          `"${recipient}" is not a public key: 32 bytes as base64, 44 characters`,
          'take it from the line "public key" of weft key create',
        )
      }
      const kind =
        passphrase === null
          ? { kind: 'recipient', recipient }
          : { kind: 'passphrase', passphrase: passphrase.toString('base64') }
      const slot = await context.node.post<KeySlotInfo>(path, {
        ...kind,
        ...(label === undefined ? {} : { label }),
      })
      context.print(slot, () => `slot ${slot.id} is added: ${slot.kind}, ${slot.name}\n`)
      return undefined
    } finally {
      passphrase?.fill(0)
    }
  },
}
