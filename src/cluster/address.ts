import { isIPv4, isIPv6 } from 'node:net'
import { z } from 'zod'
import { FsError, limits } from '../base/index.ts'

/** Where a node can be dialled. `host` is an IPv4 or IPv6 address without brackets, or a DNS name. */
export interface Address {
  readonly host: string
  readonly port: number
}

const NAME =
  /^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/

/** Digits and dots alone are an IPv4 address or a mistake, never a name. */
export function isHost(host: string): boolean {
  if (isIPv4(host) || isIPv6(host)) return !host.includes('%')
  return host.length <= limits.hostCharsMax && NAME.test(host) && !/^[\d.]+$/.test(host)
}

export const addressShape = z.strictObject({
  host: z.string().max(limits.hostCharsMax).refine(isHost, 'no address and no name'),
  port: z.int().min(1).max(65535),
})

/**
 * Reads host:port, or [v6]:port.
 * @throws FsError EINVAL that says what is wrong with it
 */
export function parseAddress(text: string): Address {
  const shown = JSON.stringify(text.slice(0, 80))
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text)
  if (match === null) {
    refuse(text, `address ${shown}: write host:port, as in 10.0.0.1:4433 or [fd00::1]:4433`)
  }
  const [, inBrackets, plain, digits] = match
  const host = inBrackets ?? plain ?? ''
  const port = Number(digits)
  if (!isHost(host) || (inBrackets !== undefined && !isIPv6(host))) {
    refuse(text, `address ${shown}: ${JSON.stringify(host)} is no IP address and no host name`)
  }
  if (port < 1 || port > 65535) refuse(text, `address ${shown}: a port is a number from 1 to 65535`)
  return { host, port }
}

/** As parseAddress reads it. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

function refuse(given: string, message: string): never {
  throw new FsError('EINVAL', 'cluster.address', { value: given.slice(0, 80), message })
}
