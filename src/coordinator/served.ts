import {
  assert,
  type Clock,
  CorruptError,
  FsError,
  limits,
  messageOf,
  type Random,
} from '../base/index.ts'
import type { Change, Coordinator, Entry } from './coordinator.ts'
import { pause } from './deadline.ts'
import { type Answer, type Cursor, decodeRequest, encodeAnswer, type Request } from './wire.ts'

/** Changes kept for those whose connection broke: minutes of a busy cluster. Whoever is behind them compares lists. */
const CHANGES_MAX = 4096
const CHANGES_BYTES_MAX = 8 * 1024 * 1024
/** Values of one answer, the last of them beyond it. */
const ANSWER_BYTES_MAX = limits.coordinatorValueBytesMax
/** A poll without news is answered after this, whatever its peer asked for. */
const WAIT_MS_MAX = 30_000
/**
 * Polls that wait: of one peer (half of the calls that a connection works on at a time, so that others get
 * through; a node has a handful), and of all together. One more is refused with EBUSY.
 */
const POLLS_OF_PEER_MAX = 32
const POLLS_MAX = 4096
/** Lists of more than one answer that are held for their next pages; the oldest goes first. */
const LISTS_MAX = 16

interface Kept {
  readonly seq: number
  readonly change: Change
}

export interface ServedCoordinator {
  /**
   * @param peer whose request it is, already known to be a member; for counting only
   * @param body ours from here on
   * @throws ProtocolError when the peer broke the protocol: drop it. What the coordinator refuses is an answer
   */
  answer(peer: string, body: Buffer, signal: AbortSignal): Promise<Buffer>
  /** Ends the polls that wait. The coordinator stays open: it is the caller's. */
  close(): void
}

/**
 * Serve a coordinator to peers over any transport that carries a request and its answer (wire.ts).
 *
 * Changes are watched by long polls with a cursor: the number of the last change seen, and which life of this service
 * counted it. The last changes are kept, so a poll after a broken connection goes on where it was; a cursor that is older,
 * or of an earlier life, is answered with `again`, and the watcher compares what stands with what it was told (watched.ts).
 * A large list is held and given in pages, so that they are one state.
 */
export async function serveCoordinator(
  coordinator: Coordinator,
  world: { readonly clock: Clock; readonly random: Random },
): Promise<ServedCoordinator> {
  const service = new Service(coordinator, world.clock, world.random.bytes(8).toString('hex'))
  const cancel = await coordinator.watch('', (change) => service.keep(change))
  return {
    answer: (peer, body, signal) => service.answer(peer, body, signal),
    close() {
      cancel()
      service.close()
    },
  }
}

class Service {
  readonly #coordinator: Coordinator
  readonly #clock: Clock
  readonly #life: string
  #kept: Kept[] = []
  #keptBytes = 0
  #seq = 0
  /** Held lists by their number, counted from 1. */
  readonly #lists = new Map<number, Entry[]>()
  #lastList = 0
  readonly #polls = new Map<string, Set<AbortController>>()
  #pollCount = 0
  #closed = false

  constructor(coordinator: Coordinator, clock: Clock, life: string) {
    this.#coordinator = coordinator
    this.#clock = clock
    this.#life = life
  }

  keep(change: Change): void {
    this.#kept.push({ seq: ++this.#seq, change })
    this.#keptBytes += bytesOf(change)
    while (this.#kept.length > CHANGES_MAX || this.#keptBytes > CHANGES_BYTES_MAX) {
      const gone = this.#kept.shift()
      assert(gone !== undefined, 'bytes are those of what is kept')
      this.#keptBytes -= bytesOf(gone.change)
    }
    this.#wake()
  }

  async answer(peer: string, body: Buffer, signal: AbortSignal): Promise<Buffer> {
    const request = decodeRequest(body)
    try {
      return encodeAnswer(await this.#do(peer, request, signal))
    } catch (error) {
      const known = error instanceof FsError ? error : null
      // A mistake of ours is not the peer's to be told.
      if (known === null && !(error instanceof CorruptError)) throw error
      return encodeAnswer({
        kind: 'refused',
        code: known?.code ?? 'EIO',
        retry: known?.retry ?? 'never',
        message: messageOf(error),
      })
    }
  }

  close(): void {
    this.#closed = true
    this.#lists.clear()
    this.#wake()
  }

  async #do(peer: string, request: Request, signal: AbortSignal): Promise<Answer> {
    switch (request.op) {
      case 'get':
        return { kind: 'entry', entry: await this.#coordinator.get(request.key) }
      case 'list': {
        const entries = await this.#coordinator.list(request.prefix)
        if (countWithin(entries) === entries.length) return { kind: 'entries', list: null, entries }
        return this.#page(this.#hold(entries), entries, 0)
      }
      case 'page': {
        const { life, seq } = request.list
        const entries = life === this.#life ? this.#lists.get(seq) : undefined
        return entries === undefined ? { kind: 'again' } : this.#page(seq, entries, request.from)
      }
      case 'transaction':
        return { kind: 'done', result: await this.#coordinator.transaction(request.steps) }
      case 'poll': {
        if (request.cursor === null) return { kind: 'changes', cursor: this.#now(), changes: [] }
        return this.#poll(peer, request.prefix, request.cursor, request.waitMs, signal)
      }
    }
  }

  #hold(entries: Entry[]): number {
    this.#lists.set(++this.#lastList, entries)
    const [oldest = 0] = this.#lists.keys()
    if (this.#lists.size > LISTS_MAX) this.#lists.delete(oldest)
    return this.#lastList
  }

  /** A page may be asked for twice, its answer was lost; so the list stays until newer ones push it out. */
  #page(list: number, entries: Entry[], from: number): Answer {
    const rest = entries.slice(from)
    const count = countWithin(rest)
    const more = count < rest.length ? { life: this.#life, seq: list } : null
    return { kind: 'entries', list: more, entries: rest.slice(0, count) }
  }

  async #poll(
    peer: string,
    prefix: string,
    cursor: Cursor,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<Answer> {
    let at = cursor
    const untilMs = this.#clock.monotonicMs() + Math.min(waitMs, WAIT_MS_MAX)
    for (;;) {
      const oldest = this.#kept[0]?.seq ?? this.#seq + 1
      const follows = at.life === this.#life && at.seq + 1 >= oldest && at.seq <= this.#seq
      if (!follows || this.#closed) return { kind: 'again' }
      const found = this.#kept
        .slice(at.seq + 1 - oldest)
        .filter(({ change }) => change.key.startsWith(prefix))
      if (found.length > 0) {
        const some = found.slice(0, countWithin(found.map(({ change }) => change)))
        const seq = some.length < found.length ? (some.at(-1)?.seq ?? at.seq) : this.#seq
        return {
          kind: 'changes',
          cursor: { life: this.#life, seq },
          changes: some.map(({ change }) => change),
        }
      }
      at = this.#now()
      const leftMs = untilMs - this.#clock.monotonicMs()
      if (leftMs <= 0 || signal.aborted) return { kind: 'changes', cursor: at, changes: [] }
      await this.#news(peer, leftMs, signal)
    }
  }

  /** Waits for a change, at most `ms`. */
  async #news(peer: string, ms: number, signal: AbortSignal): Promise<void> {
    const waiting = this.#polls.get(peer) ?? new Set()
    if (waiting.size >= POLLS_OF_PEER_MAX || this.#pollCount >= POLLS_MAX) {
      throw new FsError('EBUSY', 'coordinator.watch', {
        peer,
        retry: 'later',
        message: `coordinator: ${waiting.size} watches of this peer wait already, ${this.#pollCount} of all; try again later`,
      })
    }
    const news = new AbortController()
    const end = () => news.abort()
    this.#polls.set(peer, waiting.add(news))
    this.#pollCount++
    signal.addEventListener('abort', end)
    await pause(this.#clock, ms, news.signal)
    signal.removeEventListener('abort', end)
    this.#pollCount--
    waiting.delete(news)
    if (waiting.size === 0) this.#polls.delete(peer)
  }

  #wake(): void {
    for (const waiting of this.#polls.values()) for (const news of waiting) news.abort()
  }

  #now(): Cursor {
    return { life: this.#life, seq: this.#seq }
  }
}

/** How many of these one answer takes: at least one. */
function countWithin(items: readonly (Entry | Change)[]): number {
  let bytes = 0
  const over = items.findIndex((item) => {
    bytes += bytesOf(item)
    return bytes > ANSWER_BYTES_MAX
  })
  return over < 0 ? items.length : over + 1
}

function bytesOf({ key, value }: Entry | Change): number {
  return key.length + (value?.length ?? 0) + 24
}
