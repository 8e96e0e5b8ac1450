import { type Clock, FsError } from '../base/index.ts'
import type {
  CasResult,
  Change,
  Coordinator,
  Entry,
  Step,
  TransactionResult,
} from '../coordinator/index.ts'

/**
 * The coordinator of a cluster, wherever it is, also while it is away: a call opens it if nobody has yet, and fails in its
 * words when it cannot be opened. So a node starts without it, and goes on with it when it is back.
 */
export class ClusterCoordinator implements Coordinator {
  readonly #open: () => Promise<Coordinator>
  #opening: Promise<Coordinator> | null = null
  #closed = false

  /** @param open ends within seconds; called again after it has failed */
  constructor(open: () => Promise<Coordinator>) {
    this.#open = open
  }

  async get(key: string): Promise<Entry | null> {
    return (await this.#opened()).get(key)
  }

  async list(prefix: string): Promise<Entry[]> {
    return (await this.#opened()).list(prefix)
  }

  async compareAndSet(key: string, expected: number, value: Buffer | null): Promise<CasResult> {
    return (await this.#opened()).compareAndSet(key, expected, value)
  }

  async transaction(steps: readonly Step[]): Promise<TransactionResult> {
    return (await this.#opened()).transaction(steps)
  }

  async watch(prefix: string, onChange: (change: Change) => void): Promise<() => void> {
    return (await this.#opened()).watch(prefix, onChange)
  }

  async close(): Promise<void> {
    this.#closed = true
    // What is being opened ends by itself, and what failed to open needs no closing.
    const opened = await this.#opening?.catch(() => null)
    await opened?.close()
  }

  #opened(): Promise<Coordinator> {
    if (this.#closed) {
      throw new FsError('ECANCELED', 'coordinator', {
        message: 'coordinator: closed; the node is stopping',
      })
    }
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    return this.#opening
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
