import { FsError } from '../base/index.ts'
import { type CoordinatorPlace, formatAddress, parseAddress } from '../cluster/index.ts'

type Etcd = Extract<CoordinatorPlace, { kind: 'etcd' }>

/** As a person names it, and as a coordinator that has moved says where to: etcd://h1:2379,h2:2379. */
const ETCD = /^etcd:\/\/([^/]+)\/?$/

/** @throws FsError EINVAL that says what to give */
export function parseEtcd(text: string): Etcd {
  const [, hosts] = ETCD.exec(text) ?? []
  if (hosts === undefined) {
    throw new FsError('EINVAL', 'coordinator.place', {
      message: `${JSON.stringify(text.slice(0, 80))} names no coordinator`,
      next: 'give the members of an etcd: etcd://h1:2379,h2:2379,h3:2379',
    })
  }
  const addresses = hosts.split(',').map((host) => formatAddress(parseAddress(host)))
  return { kind: 'etcd', endpoints: addresses.map((address) => `http://${address}`) }
}

/** parseEtcd gives the same place back. */
export function formatEtcd({ endpoints }: Etcd): string {
  return `etcd://${endpoints.map((endpoint) => endpoint.replace(/^https?:\/\//, '')).join(',')}`
}

/** Where a coordinator says that it has moved to; null for any other error. */
export function movedTo(error: unknown): Etcd | null {
  if (!(error instanceof FsError) || error.code !== 'ESTALE') return null
  const { to } = error.subject
  return typeof to === 'string' ? parseEtcd(to) : null
}
