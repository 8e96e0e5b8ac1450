import { type MessagePort, type TransferListItem, Worker } from 'node:worker_threads'
import { type ErrnoCode, FsError } from '../base/index.ts'
import type { Reason } from '../fuse/index.ts'
import type {
  EngineAnswer,
  EngineCalls,
  EngineDrive,
  EngineProgress,
  EngineReason,
  EngineVerb,
} from './engine-protocol.ts'

/** Of long work: what calls it off, and who hears how far it is. */
export interface Watch {
  signal: AbortSignal
  progress(done: number, total: number | null, message: string): void
}

type Heard = EngineAnswer | EngineProgress | EngineReason | EngineDrive

interface Waiting {
  verb: EngineVerb
  watch: Watch | null
  resolve(result: unknown): void
  reject(error: unknown): void
}

/** The main thread's side of the engine thread. */
export class EngineHost {
  readonly #worker = new Worker(new URL('./engine-thread.js', import.meta.url))
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  /**
   * @param onDeath the thread ended by a bug: the daemon must stop, the keeper starts it anew
   * @param onReason an fsync was answered with an error
   * @param onDrive a drive began to fail under a volume
   */
  constructor(
    onDeath: (error: unknown) => void,
    onReason: (reason: Reason) => void,
    onDrive: (failing: EngineDrive['failing']) => void,
  ) {
    this.#worker.on('error', onDeath)
    this.#worker.on('message', (heard: Heard) => {
      if ('reason' in heard) {
        onReason(heard.reason)
        return
      }
      if ('failing' in heard) {
        onDrive(heard.failing)
        return
      }
      const waiting = this.#waiting.get(heard.id)
      if ('progress' in heard) {
        const { done, total, message } = heard.progress
        waiting?.watch?.progress(done, total, message)
        return
      }
      this.#waiting.delete(heard.id)
      const { result, error } = heard
      if (error) {
        const { code, message, next } = error
        waiting?.reject(new FsError(code as ErrnoCode, waiting.verb, { message, next }))
      } else waiting?.resolve(result)
    })
  }

  call<V extends EngineVerb>(
    verb: V,
    args: EngineCalls[V]['args'],
    transfer: TransferListItem[] = [],
    watch: Watch | null = null,
  ): Promise<EngineCalls[V]['result']> {
    const id = ++this.#lastId
    const callOff = () =>
      this.#worker.postMessage({ id: ++this.#lastId, verb: 'cancel', args: { id } })
    return new Promise<EngineCalls[V]['result']>((resolve, reject) => {
      const settle = resolve as (result: unknown) => void
      this.#waiting.set(id, { verb, watch, resolve: settle, reject })
      this.#worker.postMessage({ id, verb, args }, transfer)
      if (watch?.signal.aborted) callOff()
      else watch?.signal.addEventListener('abort', callOff, { once: true })
    }).finally(() => watch?.signal.removeEventListener('abort', callOff))
  }

  async connect(port: MessagePort): Promise<void> {
    await this.call('port', { port }, [port])
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
