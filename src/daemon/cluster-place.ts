import { FsError } from '../base/index.ts'
import { type CoordinatorPlace, formatAddress, parseAddress } from '../cluster/index.ts'

type Etcd = Extract<CoordinatorPlace, { kind: 'etcd' }>

/** As a person names it, and as a coordinator that has moved says where to: etcd://h1:2379,h2:2379, or etcds:// over TLS. */
const ETCD = /^etcd(s?):\/\/([^/]+)\/?$/

/** @throws FsError EINVAL that says what to give */
export function parseEtcd(text: string): Etcd {
  const [, secure, hosts] = ETCD.exec(text) ?? []
  if (hosts === undefined) {
    throw new FsError('EINVAL', 'coordinator.place', {
      message: `${JSON.stringify(text.slice(0, 80))} names no coordinator`,
      next: 'give the members of an etcd: etcd://h1:2379,h2:2379,h3:2379',
    })
  }
  const scheme = secure === 's' ? 'https' : 'http'
  const addresses = hosts.split(',').map((host) => formatAddress(parseAddress(host)))
  return { kind: 'etcd', endpoints: addresses.map((address) => `${scheme}://${address}`) }
}

/** parseEtcd gives the same place back. */
export function formatEtcd({ endpoints }: Etcd): string {
  const secure = endpoints.every((endpoint) => endpoint.startsWith('https:'))
  const hosts = endpoints.map((endpoint) => endpoint.replace(/^https?:\/\//, ''))
  return `etcd${secure ? 's' : ''}://${hosts.join(',')}`
}

/** Where a coordinator says that it has moved to; null for any other error. */
export function movedTo(error: unknown): Etcd | null {
  if (!(error instanceof FsError) || error.code !== 'ESTALE') return null
  const { to } = error.subject
  return typeof to === 'string' ? parseEtcd(to) : null
}
