import { usageError } from '../cli-error.ts'
import { absolute, type Command } from '../command.ts'
import { keyFileText, newKeyPair, writeSecretFile } from '../key-files.ts'

export const command: Command = {
  options: {
    out: {
      type: 'string',
      requiresArg: true,
      describe: 'File for the secret key; made new, readable by you alone',
    },
  },
  examples: [
    [
      'weft key create --out ~/.weft-key',
      'Keep the file; give the printed public key to who runs the node',
    ],
  ],
  epilogue:
    'The node then lets you in: weft key add VOLUME --recipient PUBKEY\nYou open with it: weft key unlock VOLUME --identity FILE',
  async run(context, args) {
    const out = args.text('out')
    if (out === undefined)
      throw usageError(
        '--out is missing',
        'name the file for the secret key: weft key create --out FILE',
      )
    const path = absolute(context, out)
    const key = newKeyPair()
    writeSecretFile(path, keyFileText(key))
    context.print(
      { publicKey: key.publicKey, file: path },
      () => `secret key written to ${path}\npublic key: ${key.publicKey}\n`,
    )
    return undefined
  },
}
