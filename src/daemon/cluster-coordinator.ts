import { type Clock, FsError } from '../base/index.ts'
import type {
  CasResult,
  Change,
  Coordinator,
  Entry,
  Step,
  TransactionResult,
} from '../coordinator/index.ts'
import { movedTo } from './cluster-place.ts'

/**
 * The coordinator of a cluster, wherever it is, also while it is away: a call opens it if nobody has yet, and fails in its
 * words when it cannot be opened. So a node starts without it, and goes on with it when it is back.
 */
export class ClusterCoordinator implements Coordinator {
  readonly #open: () => Promise<Coordinator>
  readonly #explain: (error: unknown) => unknown
  #opening: Promise<Coordinator> | null = null
  #closed = false

  /**
   * @param open ends within seconds; called again after it has failed
   * @param explain what is thrown in the place of an error: whoever knows the peers knows better why nobody answered
   */
  constructor(open: () => Promise<Coordinator>, explain: (error: unknown) => unknown) {
    this.#open = open
    this.#explain = explain
  }

  get(key: string): Promise<Entry | null> {
    return this.#with((coordinator) => coordinator.get(key))
  }

  list(prefix: string): Promise<Entry[]> {
    return this.#with((coordinator) => coordinator.list(prefix))
  }

  compareAndSet(key: string, expected: number, value: Buffer | null): Promise<CasResult> {
    return this.#with((coordinator) => coordinator.compareAndSet(key, expected, value))
  }

  transaction(steps: readonly Step[]): Promise<TransactionResult> {
    return this.#with((coordinator) => coordinator.transaction(steps))
  }

  watch(prefix: string, onChange: (change: Change) => void): Promise<() => void> {
    return this.#with((coordinator) => coordinator.watch(prefix, onChange))
  }

  async close(): Promise<void> {
    this.#closed = true
    // What is being opened ends by itself, and what failed to open needs no closing.
    const opened = await this.#opening?.catch(() => null)
    await opened?.close()
  }

  async #with<T>(call: (coordinator: Coordinator) => Promise<T>): Promise<T> {
    if (this.#closed) {
      throw new FsError('ECANCELED', 'coordinator', {
        message: 'coordinator: closed; the node is stopping',
      })
    }
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    try {
      return await call(await this.#opening)
    } catch (error) {
      // The next call opens the new one. This one is not closed: its node serves it for those who do not know yet.
      if (movedTo(error)) this.#opening = null
      throw this.#explain(error)
    }
  }
}

/** @returns null when `work` takes longer; it goes on, and what comes of it is nobody's */
export async function orNull<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T | null> {
  let cancel = () => {}
  const late = new Promise<null>((resolve) => {
    cancel = clock.after(ms, () => resolve(null))
  })
  try {
    return await Promise.race([work.catch(() => null), late])
  } finally {
    cancel()
  }
}
