import { type IOptions, KVClient, WatchClient } from 'etcd3'
import { ConnectionPool } from 'etcd3/lib/connection-pool.js'
import type { Clock } from '../base/index.ts'
import { deadlineAfter } from './deadline.ts'

export type CallOptions = NonNullable<Parameters<KVClient['range']>[1]>
type Interceptor = NonNullable<CallOptions['interceptors']>[number]

export interface MemberOptions {
  readonly tls?: { readonly ca: Buffer; readonly key?: Buffer; readonly cert?: Buffer }
  readonly login?: { readonly user: string; readonly password: string }
  readonly clock: Clock
  /** Of one call of ours; logging in has it too. */
  readonly deadlineMs: number
}

/** grpc-js, connectivityState.READY. */
const READY = 2

/**
 * A member that has lost the others says so at once instead of keeping a watch silent and a call waiting.
 * Source: etcd, etcdserver/api/v3rpc/rpctypes/metadatafields.go, MetadataRequireLeaderKey.
 */
const requireLeader: Interceptor = (options, nextCall) => {
  const call = nextCall(options)
  const start = call.start.bind(call)
  call.start = (metadata, listener) => {
    metadata.set('hasleader', 'true')
    start(metadata, listener)
  }
  return call as ReturnType<Interceptor>
}

/**
 * etcd3 retries by itself, transactions too, and keeps away from a member for seconds after three failures: both are for
 * the caller to decide, who knows what may be asked twice. So its policies are ones that do nothing.
 */
const asIs = {
  execute: async (work: (context: object) => unknown) => work({}),
} as unknown as ReturnType<NonNullable<NonNullable<IOptions['faultHandling']>['host']>>

/** One member of an etcd cluster: its connection, and the two services that we call. */
export class EtcdMember {
  readonly endpoint: string
  readonly #options: MemberOptions
  #pool: ConnectionPool
  #kv: KVClient
  #watch: WatchClient

  constructor(endpoint: string, options: MemberOptions) {
    this.endpoint = endpoint
    this.#options = options
    this.#pool = connect(endpoint, options)
    this.#kv = new KVClient(this.#pool)
    this.#watch = new WatchClient(this.#pool)
  }

  get kv(): KVClient {
    return this.#kv
  }

  get watch(): WatchClient {
    return this.#watch
  }

  /** Whether a call would go out at once. Begins to connect when it would not. */
  async isReady(): Promise<boolean> {
    return this.#pool
      .withConnection(
        'KV',
        ({ client }) => client.getChannel().getConnectivityState(true) === READY,
      )
      .catch(() => false)
  }

  /**
   * Fulfilled when a call would go out at once.
   * @param probe a key that may be read
   * @throws the reason when that is not so within `ms`, or logging in failed
   */
  async ready(ms: number, probe: Buffer): Promise<void> {
    const deadline = deadlineAfter(this.#options.clock, ms)
    const waited = await this.#pool.withConnection(
      'KV',
      ({ client }) =>
        new Promise<Error | undefined>((resolve) => client.waitForReady(deadline, resolve)),
    )
    if (waited === undefined) return
    // It says only that it has waited. A read that fails has the reason.
    const late = { deadline: deadlineAfter(this.#options.clock, ms) }
    await this.#kv.range({ key: probe, limit: 1, keys_only: true }, late)
  }

  /** Forget the connection and who we were logged in as: after a change of etcd's users the old token is refused for ever. */
  renew(): void {
    this.#pool.close()
    this.#pool = connect(this.endpoint, this.#options)
    this.#kv = new KVClient(this.#pool)
    this.#watch = new WatchClient(this.#pool)
  }

  close(): void {
    this.#pool.close()
  }
}

function connect(endpoint: string, options: MemberOptions): ConnectionPool {
  const { tls, login, clock, deadlineMs } = options
  return new ConnectionPool({
    hosts: endpoint,
    ...(tls && {
      credentials: {
        rootCertificate: tls.ca,
        ...(tls.key && tls.cert && { privateKey: tls.key, certChain: tls.cert }),
      },
    }),
    ...(login && {
      auth: {
        username: login.user,
        password: login.password,
        callOptions: () => ({ deadline: deadlineAfter(clock, deadlineMs) }),
      },
    }),
    grpcOptions: {
      // A list page or a watch answer may be larger than gRPC's 4 MiB.
      'grpc.max_receive_message_length': -1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 2000,
      // etcd refuses pings more often than every 5 s (--grpc-keepalive-min-time), and any without a call.
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 3000,
    },
    defaultCallOptions: () => ({ interceptors: [requireLeader] }),
    faultHandling: { host: () => asIs, global: asIs },
  })
}
