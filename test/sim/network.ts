import { FsError } from '../../src/base/index.ts'
import type { Seeded } from '../support/seeded.ts'
import type { NodeClock, Timeline } from './timeline.ts'

export interface Faults {
  /** Of a thousand messages. */
  readonly lost: number
  readonly doubled: number
  readonly late: number
}

/** Who can be asked: an answer to bytes-like requests, or none while it is down. */
export interface Host<Q, A> {
  readonly name: string
  /** Null while the host is off. */
  readonly life: { readonly clock: NodeClock; answer(question: Q): Promise<A> } | null
}

const LATE_MS = 500

/** Carries questions and answers; may lose, double, delay and reorder them, and cut hosts off from each other. */
export class Network {
  readonly #timeline: Timeline
  readonly #dice: Seeded
  readonly #cuts = new Set<string>()
  faults: Faults = { lost: 0, doubled: 0, late: 0 }

  constructor(timeline: Timeline, dice: Seeded) {
    this.#timeline = timeline
    this.#dice = dice
  }

  cut(a: string, b: string): void {
    this.#cuts.add(`${a} ${b}`).add(`${b} ${a}`)
  }

  heal(): void {
    this.#cuts.clear()
  }

  /** @throws FsError ETIMEDOUT at the asker's deadline */
  async ask<Q, A>(
    from: { readonly name: string; readonly clock: NodeClock },
    to: Host<Q, A>,
    question: Q,
    deadlineMs: number,
  ): Promise<A> {
    return await new Promise<A>((resolve, reject) => {
      const timeout = () =>
        reject(new FsError('ETIMEDOUT', 'ask', { message: `${to.name} is silent` }))
      const cancel = from.clock.after(deadlineMs, timeout)
      this.#carry(from.name, to.name, () => {
        const { life } = to
        life?.clock.run(() => {
          life.answer(question).then(
            (answer) =>
              this.#carry(to.name, from.name, () =>
                from.clock.run(() => {
                  cancel()
                  resolve(answer)
                }),
              ),
            // A host that failed in the middle does not answer.
            () => {},
          )
        })
      })
    })
  }

  #carry(from: string, to: string, arrive: () => void): void {
    const times = this.#happens(this.faults.lost) ? 0 : this.#happens(this.faults.doubled) ? 2 : 1
    for (let n = 0; n < times; n++) {
      const lateMs = this.#happens(this.faults.late) ? this.#dice.below(LATE_MS) : 0
      this.#timeline.after(0.2 + this.#dice.below(50) / 10 + lateMs, () => {
        if (!this.#cuts.has(`${from} ${to}`)) arrive()
      })
    }
  }

  #happens(ofThousand: number): boolean {
    return this.#dice.below(1000) < ofThousand
  }
}
