import { type MessagePort, type TransferListItem, Worker } from 'node:worker_threads'
import { type ErrnoCode, FsError } from '../base/index.ts'
import type { EngineAnswer, EngineCalls, EngineVerb } from './engine-protocol.ts'

interface Waiting {
  verb: EngineVerb
  resolve(result: unknown): void
  reject(error: unknown): void
}

/** The main thread's side of the engine thread. */
export class EngineHost {
  readonly #worker = new Worker(new URL('./engine-thread.js', import.meta.url))
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  /** @param onDeath the thread ended by a bug: the daemon must stop, the keeper starts it anew */
  constructor(onDeath: (error: unknown) => void) {
    this.#worker.on('error', onDeath)
    this.#worker.on('message', ({ id, result, error }: EngineAnswer) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error) {
        const { code, message } = error
        waiting?.reject(new FsError(code as ErrnoCode, waiting.verb, { message }))
      } else waiting?.resolve(result)
    })
  }

  call<V extends EngineVerb>(
    verb: V,
    args: EngineCalls[V]['args'],
    transfer: TransferListItem[] = [],
  ): Promise<EngineCalls[V]['result']> {
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { verb, resolve: resolve as (result: unknown) => void, reject })
      this.#worker.postMessage({ id, verb, args }, transfer)
    })
  }

  async connect(port: MessagePort): Promise<void> {
    await this.call('port', { port }, [port])
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
