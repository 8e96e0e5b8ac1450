import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { CorruptError, codeOf, type ErrnoCode, FsError, limits } from '../base/index.ts'
import { formatAddress, parseAddress } from '../cluster/index.ts'
import type { Disk } from '../disk/index.ts'

/** TCP and UDP: WEFT on a telephone's keys. Nobody has it at IANA, nor in nmap's list of what is seen in use. */
export const PORT = 9338

/** How this node meets its peers, as a person said it: <home>/network.json. */
export interface Network {
  readonly listen: {
    /** Absent: every address of this machine. */
    readonly host?: string
    readonly port: number
  }
  /** host:port each; null: the addresses that this machine has. */
  readonly advertise: readonly string[] | null
}

const FORMAT = 1
const FILE = 'network.json'
const shape = z.strictObject({
  version: z.literal(FORMAT),
  listen: z.strictObject({ host: z.string().nullable(), port: z.int().min(1).max(65535) }),
  advertise: z.array(z.string()).nullable(),
})

const everywhere: Network = { listen: { port: PORT }, advertise: null }

/**
 * @param given.listen host:port, or :port for every address. @param given.advertise host:port each
 * @throws FsError EINVAL that says what to give instead
 */
export function parseNetwork(given: {
  readonly listen?: string | undefined
  readonly advertise?: readonly string[] | undefined
}): Network {
  const advertise = given.advertise?.map((text) => formatAddress(parseAddress(text))) ?? null
  if (advertise !== null && advertise.length > limits.memberAddressesMax) {
    throw new FsError('EINVAL', 'cluster.network', {
      message: `${advertise.length} addresses to advertise: name at most ${limits.memberAddressesMax}`,
    })
  }
  const text = given.listen
  if (text === undefined) return { ...everywhere, advertise }
  const { host, port } = parseAddress(text.startsWith(':') ? `0.0.0.0${text}` : text)
  const isAll = host === '0.0.0.0' || host === '::'
  return { listen: isAll ? { port } : { host, port }, advertise }
}

/** As it was said when this node came into its cluster. @throws CorruptError, FsError ENOTSUP */
export function readNetwork(home: string, disk: Disk): Network {
  const path = join(home, FILE)
  if (!disk.exists(path)) return everywhere
  const value = jsonOf(path, disk.readFile(path).toString())
  const { version } = (value ?? {}) as { version?: unknown }
  if (typeof version === 'number' && version > FORMAT) {
    throw new FsError('ENOTSUP', 'cluster.network', {
      message: `${path}: written by a newer weft (version ${version}, this build reads ${FORMAT}): run that build`,
    })
  }
  const { data, error } = shape.safeParse(value)
  if (data === undefined) throw damaged(path, error)
  const { host, port } = data.listen
  return { listen: host === null ? { port } : { host, port }, advertise: data.advertise }
}

export function writeNetwork(home: string, disk: Disk, { listen, advertise }: Network): void {
  const { host = null, port } = listen
  const text = JSON.stringify({ version: FORMAT, listen: { host, port }, advertise }, null, 2)
  disk.replaceFile(join(home, FILE), Buffer.from(`${text}\n`))
}

function jsonOf(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw damaged(path, error)
  }
}

function damaged(path: string, cause: unknown): CorruptError {
  return new CorruptError(
    `${path}: damaged; remove it to listen on port ${PORT} of every address, or put it back from a backup`,
    {},
    cause,
  )
}

/** Where others reach this node, host:port each, best first. Read anew: addresses of a machine change. */
export function addressesOf({ listen, advertise }: Network): string[] {
  if (advertise !== null) return [...advertise]
  const { host, port } = listen
  if (host !== undefined) return [formatAddress({ host, port })]
  return ownAddresses(networkInterfaces())
    .slice(0, limits.memberAddressesMax)
    .map((address) => formatAddress({ host: address, port }))
}

/** Those that another machine can use: no loopback, and none that is good on one link alone. IPv4 before IPv6. */
export function ownAddresses(interfaces: ReturnType<typeof networkInterfaces>): string[] {
  const all = Object.values(interfaces).flatMap((each) => each ?? [])
  const usable = all.filter(
    ({ internal, address }) => !internal && !/^(fe[89ab]|169\.254\.)/i.test(address),
  )
  const of = (family: string) => usable.filter((each) => each.family === family)
  return [...of('IPv4'), ...of('IPv6')].map(({ address }) => address)
}

/** @throws FsError EADDRINUSE and the like, in words, before anything is changed for it */
export async function mustBeFree({ listen }: Network): Promise<void> {
  const { host, port } = listen
  await new Promise<void>((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => {
      const at = host === undefined ? `port ${port}` : formatAddress({ host, port })
      const code = (codeOf(error) || 'EIO') as ErrnoCode
      reject(
        new FsError(code, 'cluster.network', {
          cause: error,
          message: `cannot listen on ${at}: ${error.message}`,
          next: 'name another one: --listen HOST:PORT, or --listen :PORT for every address',
        }),
      )
    })
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () =>
      server.close(() => resolve()),
    )
  })
}
