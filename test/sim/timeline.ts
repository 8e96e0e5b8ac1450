import type { Clock } from '../../src/base/index.ts'

interface Event {
  readonly atMs: number
  readonly order: number
  call: (() => void) | null
}

/**
 * Simulated time. What is due is done one after the other, and between two of them every promise that can settle does, so
 * a run with the same seed is the same run.
 */
export class Timeline {
  nowMs = 0
  #order = 0
  /** A heap by time, then by order of asking. */
  readonly #events: Event[] = []

  after(ms: number, call: () => void): () => void {
    const event: Event = { atMs: this.nowMs + Math.max(0, ms), order: this.#order++, call }
    this.#push(event)
    return () => {
      event.call = null
    }
  }

  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.after(ms, resolve))
  }

  /** Goes on until `untilMs`, or until nothing is left to do. */
  async run(untilMs: number): Promise<void> {
    for (let event = this.#events[0]; event && event.atMs <= untilMs; event = this.#events[0]) {
      this.#pop()
      this.nowMs = event.atMs
      if (!event.call) continue
      event.call()
      // Two turns: a simulated disk's sync takes one of its own.
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.nowMs = untilMs
  }

  #push(event: Event): void {
    const heap = this.#events
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!before(event, heap[above] as Event)) break
      heap[at] = heap[above] as Event
      at = above
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#events
    const last = heap.pop() as Event
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && before(heap[below + 1] as Event, heap[below] as Event)) below++
      if (!before(heap[below] as Event, last)) break
      heap[at] = heap[below] as Event
      at = below
    }
    heap[at] = last
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/**
 * The clock of one life of a node: it may run fast or slow, and while the node is paused, or after its life has ended,
 * nothing of it is called.
 */
export class NodeClock implements Clock {
  readonly #timeline: Timeline
  readonly #rate: number
  readonly #offsetMs: number
  readonly #due: (() => void)[] = []
  #paused = false
  #ended = false

  constructor(timeline: Timeline, rate: number, offsetMs: number) {
    this.#timeline = timeline
    this.#rate = rate
    this.#offsetMs = offsetMs
  }

  now() {
    const ms = 1_700_000_000_000 + this.monotonicMs()
    return { sec: Math.floor(ms / 1000), nsec: 0 }
  }

  monotonicMs(): number {
    return this.#offsetMs + this.#timeline.nowMs * this.#rate
  }

  after(ms: number, call: () => void): () => void {
    return this.#timeline.after(ms / this.#rate, () => this.run(call))
  }

  /** What comes from outside, a message: done now, when the node goes on, or never. */
  run(call: () => void): void {
    if (this.#ended) return
    if (this.#paused) this.#due.push(call)
    else call()
  }

  get paused(): boolean {
    return this.#paused
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    for (const call of this.#due.splice(0)) this.#timeline.after(0, () => this.run(call))
  }

  end(): void {
    this.#ended = true
  }
}
