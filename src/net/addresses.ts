import type { PeerKey } from '../base/index.ts'

/** Where a peer is reached: a name or an IP address, and the port for TCP, which is the DHT's UDP port too. */
export interface Address {
  readonly host: string
  readonly port: number
}

const NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?$/
const V6 = /^[0-9a-fA-F:.]{2,45}$/

/** "name:4000", "10.0.0.1:4000", "[fd00::1]:4000"; undefined for anything else. Port 0 is allowed. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (!match) return undefined
  const [, v6, name, digits] = match
  const port = Number(digits)
  if (port > 65_535) return undefined
  if (v6 !== undefined) return V6.test(v6) ? { host: v6, port } : undefined
  return name !== undefined && NAME.test(name) ? { host: name, port } : undefined
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** @param publicKey 32 bytes */
export function peerKeyOf(publicKey: Uint8Array): PeerKey {
  return Buffer.from(publicKey).toString('hex') as PeerKey
}

/** Enough of a key to tell peers apart in a message. */
export function shortKey(key: PeerKey): string {
  return key.slice(0, 8)
}
