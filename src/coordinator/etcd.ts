import { setMaxListeners } from 'node:events'
import type {
  ICompare,
  IKeyValue,
  IRangeResponse,
  IRequestOp,
  ITxnRequest,
  IWatchResponse,
} from 'etcd3'
import { type Clock, CorruptError, type ErrnoCode, FsError, messageOf } from '../base/index.ts'
import type {
  CasResult,
  Change,
  Coordinator,
  Entry,
  Step,
  TransactionResult,
} from './coordinator.ts'
import { closedError, deadlineAfter, outcomeOpen, pause, within } from './deadline.ts'
import type { CallOptions, EtcdMember, MemberOptions } from './etcd-member.ts'
import { checkKey, checkPrefix, checkSteps } from './steps.ts'
import { tell, Watched } from './watched.ts'

export interface EtcdOptions {
  /** `http://host:port` or `https://host:port` of the members, all alike. One that answers is enough. */
  readonly endpoints: readonly string[]
  /** What our keys begin with, so that a cluster may share an etcd: printable ASCII, at most 255 characters. */
  readonly prefix: string
  /** Certificates in PEM: of the authority, and of ourselves when etcd asks for them. */
  readonly tls?: MemberOptions['tls']
  readonly login?: MemberOptions['login']
  readonly clock: Clock
  /** Of one call, with all that is tried. */
  readonly deadlineMs?: number
}

const DEADLINE_MS = 5000
/** Waited for a connection before it is asked why there is none. */
const CONNECT_MS = 500
const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 2000
/** etcdserverpb.Compare: CompareTarget.MOD and CompareResult.EQUAL; by number, because etcd3's names are not the protocol's. */
const COMPARE_MOD = 2
const COMPARE_EQUAL = 0
/** Entries asked for at once; a record of ours has a few KiB. */
const PAGE_ENTRIES = 256
const PREFIX = /^[\x21-\x7e]{1,255}$/
const ENDPOINT = /^(https?):\/\/[^/\s]+:\d+$/

/**
 * Answers that say for certain that nothing was done: the request was turned away before it was proposed.
 * Source: etcd, etcdserver/api/v3rpc/interceptor.go (no leader), etcdserver/v3_server.go (too many requests), raft/raft.go
 * ErrProposalDropped. The last never left this process: etcd3 closes the channel under every call when one has failed. Source:
 * grpc-js, internal-channel.ts, close and ShutdownPicker; etcd3, connection-pool.ts, resetAllServices.
 */
const TURNED_AWAY = [
  'etcdserver: no leader',
  'etcdserver: too many requests',
  'raft proposal dropped',
  'Channel closed before call started',
]
/** Refusals that no other member and no later moment mends. Each: words of the message, code, what to do. */
const FINAL: readonly (readonly [RegExp, ErrnoCode, string])[] = [
  [/authentication failed/, 'EACCES', 'check user and password'],
  [/permission denied/, 'EACCES', 'grant the user read and write on the prefix'],
  [
    /user name is empty|authentication is not enabled/,
    'EACCES',
    'etcd and weft disagree on whether users log in',
  ],
  [/database space exceeded/, 'ENOSPC', 'compact and defragment etcd, then clear its alarm'],
  [/request is too large/, 'EINVAL', "raise etcd's --max-request-bytes to at least 1572864"],
]
const COMPACTED = /required revision has been compacted/
/** The token is of before etcd's users were last changed: log in anew. */
const STALE_LOGIN = /revision of auth store is old|invalid auth token/

/**
 * Coordinator on an etcd cluster: a key's version is its mod_revision, a deletion's the revision that made it.
 *
 * Reads are etcd's linearizable ones, tried at one member after the other until the deadline. A transaction is sent once,
 * over a connection that stands; it is sent again only after an answer that says it was never proposed. A watch goes on
 * at the revision after the last it told; where etcd has compacted that away, what stands is compared with what was told.
 * @throws FsError EINVAL for endpoints or a prefix that cannot be. Members that are down are met by the calls
 */
export async function openEtcdCoordinator(options: EtcdOptions): Promise<Coordinator> {
  const { endpoints, prefix, clock, deadlineMs = DEADLINE_MS, tls, login } = options
  const schemes = new Set(endpoints.map((endpoint) => ENDPOINT.exec(endpoint)?.[1] ?? ''))
  if (schemes.size !== 1 || schemes.has('')) {
    throw new FsError('EINVAL', 'coordinator.open', {
      message: `etcd: endpoints are http://host:port, or all https://, not '${endpoints.join(',')}'`,
    })
  }
  if (!PREFIX.test(prefix)) {
    throw new FsError('EINVAL', 'coordinator.open', {
      message: `etcd: prefix ${JSON.stringify(prefix)}: 1 to 255 printable ASCII characters`,
    })
  }
  // Loaded here and not at the top: gRPC takes half a second and 40 MiB, and most nodes never speak it.
  const { EtcdMember: Member } = await import('./etcd-member.ts')
  const of = { clock, deadlineMs, ...(tls && { tls }), ...(login && { login }) }
  const members = endpoints.map((endpoint) => new Member(endpoint, of))
  return new EtcdCoordinator(members, prefix, clock, deadlineMs)
}

class EtcdCoordinator implements Coordinator {
  /** The one that answered last is the first to be asked. */
  #members: EtcdMember[]
  readonly #prefix: string
  readonly #clock: Clock
  readonly #deadlineMs: number
  readonly #closing = new AbortController()

  constructor(members: EtcdMember[], prefix: string, clock: Clock, deadlineMs: number) {
    this.#members = members
    this.#prefix = prefix
    this.#clock = clock
    this.#deadlineMs = deadlineMs
    // Every call that waits listens to it: Node takes more than ten for a leak.
    setMaxListeners(0, this.#closing.signal)
  }

  async get(key: string): Promise<Entry | null> {
    this.#mustBeOpen()
    checkKey(key)
    const answer = await this.#call('get', 'again', (member, options) =>
      member.kv.range({ key: this.#bytes(key) }, options),
    )
    const [found] = answer.kvs
    return found === undefined ? null : this.#entry(found)
  }

  async list(prefix: string): Promise<Entry[]> {
    this.#mustBeOpen()
    checkPrefix(prefix)
    return (await this.#list(prefix)).entries
  }

  async compareAndSet(key: string, expected: number, value: Buffer | null): Promise<CasResult> {
    const { ok, versions } = await this.transaction([{ key, expected, value }])
    return { ok, version: versions[0] ?? 0 }
  }

  async transaction(steps: readonly Step[]): Promise<TransactionResult> {
    this.#mustBeOpen()
    checkSteps(steps)
    const request = this.#request(steps)
    const expected = steps.map((step) => (step.value === 'unchanged' ? step.expected : null))
    const answer = await this.#call('transaction', 'once', (member, options) =>
      member.kv.txn(request, options),
    )
    if (answer.succeeded) {
      const revision = versionOf(answer.header.revision)
      return { ok: true, versions: expected.map((version) => version ?? revision) }
    }
    const versions = answer.responses.map(({ response_range: { kvs } }) =>
      versionOf(kvs[0]?.mod_revision ?? '0'),
    )
    return { ok: false, versions }
  }

  async watch(prefix: string, onChange: (change: Change) => void): Promise<() => void> {
    this.#mustBeOpen()
    checkPrefix(prefix)
    // In place from here on: the stream begins behind this state, whenever it stands.
    const { entries, revision } = await this.#list(prefix)
    const ending = new AbortController()
    const end = () => ending.abort()
    this.#closing.signal.addEventListener('abort', end)
    // Never rejects: it goes on until it is cancelled.
    void this.#follow(prefix, new Watched(entries), revision + 1, ending.signal, onChange)
    return () => {
      ending.abort()
      this.#closing.signal.removeEventListener('abort', end)
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    for (const member of this.#members) member.close()
  }

  /** Pages of one revision, the one at which the first was read. */
  async #list(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    const entries: Entry[] = []
    const range_end = endOf(this.#bytes(prefix))
    let key = this.#bytes(prefix)
    let revision = 0
    for (;;) {
      let page: IRangeResponse
      try {
        const request = { key, range_end, limit: PAGE_ENTRIES, revision }
        page = await this.#call('list', 'again', (member, options) =>
          member.kv.range(request, options),
        )
      } catch (error) {
        // Compacted between two pages: begin anew, at the newest.
        if (!COMPACTED.test(messageOf(error)) || revision === 0) throw error
        return this.#list(prefix)
      }
      revision ||= versionOf(page.header.revision)
      entries.push(...page.kvs.map((found) => this.#entry(found)))
      const last = page.kvs.at(-1)
      if (!page.more || last === undefined) return { entries, revision }
      key = Buffer.concat([last.key, Buffer.of(0)])
    }
  }

  /** All conditions on mod_revision, which is 0 for a key that is absent; else the versions are asked for. */
  #request(steps: readonly Step[]): ITxnRequest {
    const keys = steps.map(({ key }) => this.#bytes(key))
    return {
      compare: steps.map(
        ({ expected }, i): ICompare => ({
          target: COMPARE_MOD,
          result: COMPARE_EQUAL,
          key: keys[i] as Buffer,
          mod_revision: expected,
        }),
      ),
      success: steps.flatMap(({ value }, i): IRequestOp[] => {
        const key = keys[i] as Buffer
        if (value === 'unchanged') return []
        if (value === null) return [{ request_delete_range: { key } }]
        return [{ request_put: { key, value: Buffer.from(value) } }]
      }),
      failure: keys.map((key) => ({ request_range: { key, keys_only: true } })),
    }
  }

  /** Streams one after the other, until cancelled. */
  async #follow(
    prefix: string,
    watched: Watched,
    from: number,
    signal: AbortSignal,
    onChange: (change: Change) => void,
  ): Promise<void> {
    let next = from
    let waitMs = RETRY_MS_MIN
    while (!signal.aborted) {
      try {
        const compacted = await this.#stream(prefix, next, signal, (changes) => {
          waitMs = RETRY_MS_MIN
          // Revisions come whole, so what follows the last is new. The revision in the header may be far ahead of it.
          next = (changes.at(-1)?.version ?? next) + 1
          tell(
            changes.filter((change) => watched.take(change)),
            signal,
            onChange,
          )
        })
        if (compacted) {
          const { entries, revision } = await this.#list(prefix)
          tell(watched.compare(entries, revision), signal, onChange)
          next = revision + 1
        }
      } catch {
        // Every call says for itself why etcd does not answer; a watch only waits until it does.
        await pause(this.#clock, waitMs, signal)
        waitMs = Math.min(2 * waitMs, RETRY_MS_MAX)
      }
    }
  }

  /**
   * One watch stream, until it is cancelled.
   * @param revision the first that was not told; changes that were may come again
   * @returns true when etcd has compacted it away, false when cancelled
   * @throws when the stream broke
   */
  async #stream(
    prefix: string,
    revision: number,
    signal: AbortSignal,
    onChanges: (changes: readonly Change[]) => void,
  ): Promise<boolean> {
    const key = this.#bytes(prefix)
    // A read first: it finds a member that has a majority behind it, and renews a login that has run out.
    const member = await this.#call('watch', 'again', async (each, options) => {
      await each.kv.range({ key, limit: 1, keys_only: true }, options)
      return each
    })
    const stream = await member.watch.watch()
    let cancel = () => {}
    try {
      return await new Promise<boolean>((resolve, reject) => {
        cancel = () => resolve(false)
        signal.addEventListener('abort', cancel)
        if (signal.aborted) cancel()
        stream.on('data', (answer: IWatchResponse) => {
          if (Number(answer.compact_revision) > 0) resolve(true)
          else if (answer.canceled) reject(new Error(answer.cancel_reason))
          else if (answer.events.length > 0 && !signal.aborted) {
            onChanges(answer.events.map((event) => this.#change(event)))
          }
        })
        stream.on('error', reject)
        stream.on('end', () => reject(new Error('the stream ended')))
        // From the one before, which was told: etcd 3.4.23 silently drops a deletion at the very revision that it was
        // compacted to (etcd#18089, measured); asked for one less it says that this is compacted.
        const start_revision = Math.max(revision - 1, 1)
        stream.write({ create_request: { key, range_end: endOf(key), start_revision } })
      })
    } finally {
      signal.removeEventListener('abort', cancel)
      stream.cancel()
    }
  }

  /**
   * One call with a deadline, at the member that answered last or at others.
   * @param tries 'once': sent again only after an answer that says nothing was done
   */
  async #call<T>(
    op: string,
    tries: 'once' | 'again',
    run: (member: EtcdMember, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const untilMs = this.#clock.monotonicMs() + this.#deadlineMs
    const why = new Map<string, string>()
    let asked: EtcdMember | null = null
    let sent = false
    const late = () => {
      // Silent to the end: the next call is not to wait for it again.
      if (asked) this.#askLast(asked)
      return this.#failed(op, 'ETIMEDOUT', `no answer within ${this.#deadlineMs} ms`, why, sent)
    }
    return within(this.#clock, this.#deadlineMs, this.#closing.signal, late, async (signal) => {
      for (let waitMs = RETRY_MS_MIN; ; waitMs = Math.min(2 * waitMs, RETRY_MS_MAX)) {
        const leftMs = untilMs - this.#clock.monotonicMs()
        const member = await this.#ready(op, Math.min(leftMs, CONNECT_MS), why)
        if (signal.aborted) throw late()
        if (member !== null) {
          // A read leaves time for the others; a transaction has only this one, and our own deadline ends it.
          const ms = tries === 'again' ? this.#deadlineMs / 3 : leftMs + RETRY_MS_MAX
          asked = member
          sent = tries === 'once'
          try {
            return await run(member, { deadline: deadlineAfter(this.#clock, ms) })
          } catch (error) {
            const text = messageOf(error)
            why.set(member.endpoint, text)
            this.#askLast(member)
            this.#throwIfFinal(op, text, error)
            if (STALE_LOGIN.test(text)) member.renew()
            else if (sent && !TURNED_AWAY.some((words) => text.includes(words)))
              throw this.#failed(op, 'EIO', 'the answer was lost', why, true, error)
            asked = null
            sent = false
          }
        }
        await pause(this.#clock, waitMs, signal)
      }
    })
  }

  /** A member to which a call goes out at once; null when there was none. @throws FsError when logging in is refused */
  async #ready(op: string, ms: number, why: Map<string, string>): Promise<EtcdMember | null> {
    const members = this.#members
    for (const member of members) if (await member.isReady()) return member
    const tried = members.map(async (member) => {
      await member.ready(ms, this.#bytes(''))
      return member
    })
    try {
      return await Promise.any(tried)
    } catch (error) {
      const errors: unknown[] = error instanceof AggregateError ? error.errors : [error]
      errors.forEach((each, i) => {
        why.set(members[i]?.endpoint ?? '', messageOf(each))
        this.#throwIfFinal(op, messageOf(each), each)
      })
      return null
    }
  }

  #askLast(member: EtcdMember): void {
    this.#members = [...this.#members.filter((each) => each !== member), member]
  }

  #throwIfFinal(op: string, text: string, cause: unknown): void {
    if (COMPACTED.test(text)) throw cause
    for (const [words, code, next] of FINAL) {
      if (!words.test(text)) continue
      throw new FsError(code, `coordinator.${op}`, {
        cause,
        message: `etcd refused ${op} below '${this.#prefix}': ${text}; ${next}`,
      })
    }
  }

  #failed(
    op: string,
    code: 'ETIMEDOUT' | 'EIO',
    what: string,
    why: ReadonlyMap<string, string>,
    sent: boolean,
    cause?: unknown,
  ): FsError {
    const asked = this.#members
      .map(({ endpoint }) => `${endpoint} (${why.get(endpoint) ?? 'no connection'})`)
      .join(', ')
    const next = sent
      ? outcomeOpen
      : "nothing was changed; try 'etcdctl endpoint status' and bring a majority of its members back"
    return new FsError(code, `coordinator.${op}`, {
      cause,
      retry: 'later',
      message: `etcd: ${op}: ${what}; asked ${asked}; ${next}`,
    })
  }

  #change({ type, kv }: IWatchResponse['events'][number]): Change {
    const { key, value, version } = this.#entry(kv)
    // etcd3 declares 'Put' and 'Delete'; the protocol's own names come.
    return { key, value: type.toUpperCase() === 'DELETE' ? null : value, version }
  }

  #entry({ key, value, mod_revision }: IKeyValue): Entry {
    return {
      key: key.toString('latin1', this.#prefix.length),
      // A copy, so that one entry kept does not keep the whole answer.
      value: Buffer.from(value),
      version: versionOf(mod_revision),
    }
  }

  #bytes(key: string): Buffer {
    return Buffer.from(this.#prefix + key, 'latin1')
  }

  #mustBeOpen(): void {
    if (this.#closing.signal.aborted) throw closedError()
  }
}

/** The first key behind all that begin with `prefix`, which ends in printable ASCII. */
function endOf(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix)
  end[end.length - 1] = (end.at(-1) ?? 0) + 1
  return end
}

/** @throws CorruptError for a revision that is no exact number */
function versionOf(revision: string): number {
  const version = Number(revision)
  if (!Number.isSafeInteger(version)) throw new CorruptError('etcd: revision', { revision })
  return version
}
