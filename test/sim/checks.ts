import type { ChunkId, Epoch } from '../../src/base/index.ts'
import type { RecordedSet } from '../../src/replication/index.ts'

/** A promise of design §6 is broken: the message says which and by what. */
export class PromiseBroken extends Error {}

/** What a log says of itself: seal tags by sequence, and its end. */
export interface LogSeen {
  readonly tags: ReadonlyMap<number, string>
  readonly chunks: ReadonlySet<ChunkId>
}

/** What was told to callers, against what the cluster has. It sees more than any node does. */
export class Checks {
  /** Seal tag of every acknowledged record, by sequence. */
  readonly #acknowledged = new Map<number, string>()
  readonly #minimum: number
  #servedEpoch = 0 as Epoch
  /** Where the log ended when it was last served from, and the tag there. */
  #shown = { seq: 0, tag: '' }
  acknowledgements = 0
  reads = 0

  constructor(minimum: number) {
    this.#minimum = minimum
  }

  /** fsync of everything up to `seq` returned 0. @param tags of the owner's log */
  acknowledge(node: string, seq: number, tags: ReadonlyMap<number, string>): void {
    this.acknowledgements++
    for (let at = seq; at > 0; at--) {
      const tag = tags.get(at)
      const before = this.#acknowledged.get(at)
      if (tag === undefined) throw new PromiseBroken(`${node} acknowledged ${at}, which it has not`)
      if (before === tag) break
      if (before !== undefined) {
        throw new PromiseBroken(
          `two versions: record ${at} was acknowledged twice, last by ${node}`,
        )
      }
      this.#acknowledged.set(at, tag)
    }
  }

  /** An owner begins to serve. */
  serve(node: string, epoch: Epoch, seq: number, { tags }: LogSeen): void {
    // An answer older than its lease: it can acknowledge nothing, and what it reads is the lease's work.
    if (epoch < this.#servedEpoch) return
    this.#servedEpoch = epoch
    this.#mustHave(`${node} serves at epoch ${epoch}`, tags)
    const { seq: shownSeq, tag } = this.#shown
    if (shownSeq > 0 && tags.get(shownSeq) !== tag) {
      throw new PromiseBroken(
        `${node} serves at epoch ${epoch} without record ${shownSeq}, which an owner began with`,
      )
    }
    this.#shown = { seq, tag: tags.get(seq) ?? '' }
  }

  /** An owner answers a read from its log, its lease permitting. */
  read(node: string, epoch: Epoch, { tags }: LogSeen): void {
    this.reads++
    if (epoch < this.#servedEpoch) {
      throw new PromiseBroken(
        `${node} reads at epoch ${epoch} while epoch ${this.#servedEpoch} serves`,
      )
    }
    this.#mustHave(`${node} reads`, tags)
  }

  recorded({ inSync, epoch }: RecordedSet): void {
    if (inSync.length < this.#minimum) {
      throw new PromiseBroken(
        `epoch ${epoch} records a set of ${inSync.length}, the minimum is ${this.#minimum}`,
      )
    }
  }

  /** A member of the recorded set, after every machine lost its power. */
  member(name: string, log: LogSeen, hasChunk: (chunk: ChunkId) => boolean): void {
    this.#mustHave(`member ${name}, after a cut in power,`, log.tags)
    for (const chunk of log.chunks) {
      if (!hasChunk(chunk))
        throw new PromiseBroken(`member ${name} lacks a chunk that its log uses`)
    }
  }

  #mustHave(who: string, tags: ReadonlyMap<number, string>): void {
    for (const [seq, tag] of this.#acknowledged) {
      if (tags.get(seq) !== tag) {
        const has = tags.has(seq) ? 'has another record' : 'has none'
        throw new PromiseBroken(`${who} lacks acknowledged record ${seq}: it ${has} there`)
      }
    }
  }
}
