import { readFileSync } from 'node:fs'
import type { SynergyConnected } from '../../api/index.ts'
import { fileError, usageError } from '../cli-error.ts'
import { absolute, type Command, type Context } from '../command.ts'
import { className } from '../listings.ts'
import { count, printable, size } from '../render.ts'
import { PASSWORD_OPTIONS, passwordOf } from '../secrets.ts'

export const command: Command = {
  positionals: { url: { type: 'string', describe: 'https://HOST or https://HOST:PORT' } },
  options: {
    user: { type: 'string', requiresArg: true, describe: 'User of the appliance' },
    domain: {
      type: 'string',
      requiresArg: true,
      describe: "Directory to log in at; else the appliance's default",
    },
    ca: {
      type: 'string',
      requiresArg: true,
      describe: 'Who signed its certificate, or that itself (PEM)',
    },
    pin: {
      type: 'string',
      requiresArg: true,
      describe: 'sha256:HEX of its certificate, in place of --ca',
    },
    ...PASSWORD_OPTIONS,
  },
  examples: [
    [
      'weft synergy connect https://composer.example --user weft --password-file pw --ca ca.pem',
      'Log in, find this server, and keep it if that works',
    ],
    [
      'weft synergy connect https://composer.example --user weft --pin sha256:9f86…',
      'Asks for the password; this certificate and no other',
    ],
  ],
  epilogue:
    "The password is kept sealed with this node's key, and shown to that appliance alone. What the certificate's pin is: openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256",
  async run(context, args) {
    const url = args.needed('url')
    const user = args.needed('user')
    const domain = args.text('domain')
    const ca = args.text('ca')
    const pin = args.text('pin')
    if (ca !== undefined && pin !== undefined) {
      throw usageError('--ca and --pin are both given', 'give one of them')
    }
    const request = {
      ...{ url, user },
      ...(domain === undefined ? {} : { domain }),
      ...(ca === undefined ? {} : { ca: readPem(context, ca) }),
      ...(pin === undefined ? {} : { pin }),
    }
    const password = await passwordOf(context, args)
    try {
      const connected = await context.node.post<SynergyConnected>('/v1/synergy/connect', {
        ...request,
        password: password.toString('base64'),
      })
      context.print(connected, () => connectedText(connected))
      return undefined
    } finally {
      password.fill(0)
    }
  },
}

function readPem(context: Context, path: string): string {
  try {
    return readFileSync(absolute(context, path), 'utf8')
  } catch (error) {
    throw fileError(error, 'read', path, 'name the PEM file of --ca')
  }
}

function connectedText({ connection: { url, user }, free, held }: SynergyConnected): string {
  const lines = ([3, 2, 1] as const).flatMap((cos) => {
    const those = free.filter((one) => one.class === cos)
    const bytes = those.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    return those.length === 0
      ? []
      : [`  class ${className(cos)}: ${count(those.length, 'drive')} free, ${size(bytes)}\n`]
  })
  const found = lines.length === 0 ? ['  no drive is free in reach of this server\n'] : lines
  const has = held === 0 ? '' : `  nodes of this cluster have ${count(held, 'drive')} already\n`
  return `connected to ${printable(url)} as ${printable(user)}\n${found.join('')}${has}`
}
