import { type Clock, FsError } from '../base/index.ts'
import {
  type CoordinatorPlace,
  type EtcdAccess,
  formatAddress,
  parseAddress,
} from '../cluster/index.ts'
import type { EtcdOptions } from '../coordinator/index.ts'

export type Etcd = Extract<CoordinatorPlace, { kind: 'etcd' }>

/**
 * As a person names it, etcd://h1:2379,h2:2379, and as a coordinator that has moved says where to: etcds:// is over TLS, and
 * behind `?access=` stands what only members can open.
 */
const ETCD = /^(etcds?):\/\/([^/?]+)\/?(?:\?access=([A-Za-z0-9+/]+=*))?$/

/** @throws FsError EINVAL that says what to give */
export function parseEtcd(text: string): Etcd {
  const [, scheme, hosts, access] = ETCD.exec(text) ?? []
  if (hosts === undefined) {
    throw new FsError('EINVAL', 'coordinator.place', {
      message: `${JSON.stringify(text.slice(0, 80))} names no coordinator`,
      next: 'give the members of an etcd: etcd://h1:2379,h2:2379,h3:2379',
    })
  }
  const addresses = hosts.split(',').map((host) => formatAddress(parseAddress(host)))
  const http = scheme === 'etcds' ? 'https' : 'http'
  const endpoints = addresses.map((address) => `${http}://${address}`)
  return { kind: 'etcd', endpoints, ...(access === undefined ? {} : { access }) }
}

/**
 * An etcd as a person names it, with what it asks for.
 * @throws FsError EINVAL for what does not go together
 */
export function placeOf(text: string, access: EtcdAccess): Etcd {
  const { ca, cert, key, user, password } = access
  const refuse = (message: string, next: string): never => {
    throw new FsError('EINVAL', 'coordinator.place', { message, next })
  }
  const { endpoints } = parseEtcd(ca === undefined ? text : text.replace(/^etcd:/, 'etcds:'))
  if (ca === undefined && endpoints[0]?.startsWith('https:')) {
    refuse('an etcd over TLS, and no certificate of who is to be trusted', 'give it: --ca FILE')
  }
  if ((cert === undefined) !== (key === undefined)) {
    refuse('a client certificate is a certificate and its key', 'give both: --cert FILE --key FILE')
  }
  if (cert !== undefined && ca === undefined) {
    refuse('a client certificate is shown over TLS only', 'give also whom to trust: --ca FILE')
  }
  if ((user === undefined) !== (password === undefined)) {
    refuse('a user and its password go together', 'give both: --user NAME --password-file FILE')
  }
  return { kind: 'etcd', endpoints }
}

/** For a person: parseEtcd gives the same endpoints back. */
export function formatEtcd({ endpoints }: Etcd): string {
  const scheme = endpoints[0]?.startsWith('https:') ? 'etcds' : 'etcd'
  return `${scheme}://${endpoints.map((endpoint) => endpoint.replace(/^https?:\/\//, '')).join(',')}`
}

/** For members: parseEtcd gives the same place back. */
export function wordsOf(place: Etcd): string {
  return `${formatEtcd(place)}${place.access === undefined ? '' : `?access=${place.access}`}`
}

/** Where a coordinator says that it has moved to; null for any other error. */
export function movedTo(error: unknown): Etcd | null {
  if (!(error instanceof FsError) || error.code !== 'ESTALE') return null
  const { to } = error.subject
  return typeof to === 'string' ? parseEtcd(to) : null
}

/** Clusters that share an etcd have keys of their own there. */
export function etcdOptionsFor(
  { endpoints }: Etcd,
  { ca, cert, key, user, password }: EtcdAccess,
  cluster: string,
  clock: Clock,
): EtcdOptions {
  const pair = cert && key ? { cert: Buffer.from(cert), key: Buffer.from(key) } : {}
  return {
    endpoints,
    prefix: `weft/${cluster}/`,
    clock,
    ...(ca && { tls: { ca: Buffer.from(ca), ...pair } }),
    ...(user && password && { login: { user, password } }),
  }
}
