import { spawn } from 'node:child_process'
import { MessageChannel, Worker } from 'node:worker_threads'
import { type ErrnoCode, FsError, type VolumeNumber } from '../base/index.ts'
import {
  type AbsentVolume,
  type Forgetting,
  type FromWorker,
  MAILBOX_BYTES,
  METRICS_BYTES,
  mailCell,
  type NearOpening,
  OPCODE_NAMES,
  type OpenFile,
  type ServedVolume,
  type Told,
  type ToWorker,
  type WorkerStart,
} from '../fuse/index.ts'
import type { EngineHost } from './engine-host.ts'

/** A message that is acknowledged. */
type ToldWorker = Extract<ToWorker, { id: number }>

/** What it is acknowledged with. */
type Done = Pick<Extract<FromWorker, { kind: 'done' }>, 'opens' | 'inherited'>

/** A message that is not. */
type News = Exclude<ToWorker, ToldWorker>

/** The main thread's side of one mount's worker thread. */
export class MountWorker {
  readonly #worker: Worker
  readonly #mailbox = new Int32Array(new SharedArrayBuffer(MAILBOX_BYTES))
  readonly #metrics = new Float64Array(new SharedArrayBuffer(METRICS_BYTES))
  readonly #waiting = new Map<number, { resolve(done: Done): void; reject(error: Error): void }>()
  #lastId = 0
  /** Where the mount stands, once it does: touching it wakes the worker. */
  target: string | null = null
  #ended = false

  private constructor(
    start: Omit<WorkerStart, 'enginePort' | 'mailbox' | 'metrics'>,
    enginePort: MessageChannel['port1'],
    on: WorkerEvents,
  ) {
    const workerData: WorkerStart = {
      ...start,
      enginePort,
      mailbox: this.#mailbox.buffer as SharedArrayBuffer,
      metrics: this.#metrics.buffer as SharedArrayBuffer,
    }
    const transferList = [enginePort, ...start.volumes.map(({ opening }) => opening.keys.bytes)]
    this.#worker = new Worker(new URL('../fuse/worker.js', import.meta.url), {
      workerData,
      transferList,
    })
    this.#worker.on('error', on.death)
    this.#worker.on('exit', () => {
      this.#ended = true
      for (const { reject } of this.#waiting.values()) {
        reject(new FsError('ENODEV', 'mount', { message: 'the mount has ended' }))
      }
      on.ended()
    })
    this.#worker.on('message', (message: FromWorker) => {
      if (message.kind === 'done') {
        const waiting = this.#waiting.get(message.id)
        this.#waiting.delete(message.id)
        if (message.error) {
          const { code, message: text } = message.error
          waiting?.reject(new FsError(code as ErrnoCode, 'mount', { message: text }))
        } else waiting?.resolve(message)
      } else if (message.kind === 'negotiated') {
        // Without the keeper's yes the kernel gets no answer: the daemon ends, and INIT is read again.
        on.negotiated(message.negotiated).then(() => {
          Atomics.store(this.#mailbox, mailCell.initKept, 1)
          Atomics.notify(this.#mailbox, mailCell.initKept)
        }, on.death)
      } else if (message.kind !== 'ended') on.message(message)
    })
  }

  static async start(
    start: Omit<WorkerStart, 'enginePort' | 'mailbox' | 'metrics'>,
    engine: EngineHost,
    on: WorkerEvents,
  ): Promise<MountWorker> {
    const { port1, port2 } = new MessageChannel()
    await engine.connect(port2)
    return new MountWorker(start, port1, on)
  }

  get ended(): boolean {
    return this.#ended
  }

  /**
   * Resolves when the worker has done it; the mount is touched so that a worker blocked in read looks.
   * @returns files that its kernel has open, of a volume that was given up
   */
  async tell(message: Told<ToldWorker>, served?: ServedVolume): Promise<readonly OpenFile[]> {
    return (await this.#tell(message, served ? [served.opening.keys.bytes] : [])).opens
  }

  /** As `tell`, of a volume that another thread of this node answers for from now on. */
  async handOver(volume: AbsentVolume): Promise<Done> {
    return await this.#tell({ kind: 'absent', volume }, [])
  }

  /** @param near its keys are gone from this thread when this returns */
  async near(number: VolumeNumber, near: NearOpening | null): Promise<void> {
    await this.#tell({ kind: 'near', number, near }, near ? [near.keys.bytes] : [])
  }

  async #tell(message: Told<ToldWorker>, transfer: readonly ArrayBuffer[]): Promise<Done> {
    if (this.#ended) throw new FsError('ENODEV', 'mount', { message: 'the mount has ended' })
    const id = ++this.#lastId
    const done = new Promise<Done>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
    })
    this.#worker.postMessage({ ...message, id }, transfer)
    Atomics.add(this.#mailbox, mailCell.posted, 1)
    return await Promise.race([done, this.#touch().then(() => done)])
  }

  /** It looks before it acts on its next request, and answers none of itself until then. */
  post(message: News): void {
    this.#worker.postMessage(message, transferable(message))
    Atomics.add(this.#mailbox, mailCell.posted, 1)
  }

  /** As `post`. Fulfilled when no answer from before that is on its way to the kernel. */
  async forget(number: VolumeNumber, forgetting: Forgetting): Promise<void> {
    this.post({ kind: 'forget', number, forgetting })
    while (!this.#ended && Atomics.load(this.#mailbox, mailCell.answering) === 1) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /**
   * By another process: this one, killed in a call on its own mount, would wait for its own answer and never end, and its
   * successor never begin. Whatever the call answers: the request alone is what is wanted.
   * @throws FsError when it cannot be started; the worker then hears of the message by its next request
   */
  async #touch(): Promise<void> {
    const { target } = this
    if (target === null) return
    await new Promise<void>((resolve, reject) => {
      const child = spawn('stat', ['--file-system', target], { stdio: 'ignore' })
      child.once('exit', () => resolve())
      child.once('error', (cause) => reject(new FsError('EIO', 'mount', { target, cause })))
    })
  }

  /** The clone of the mount's descriptor is connected. */
  polled(): void {
    Atomics.store(this.#mailbox, mailCell.polled, 1)
  }

  /** The mount was refused: its worker waits on a descriptor that nothing will come from. */
  async abandon(): Promise<void> {
    await this.#worker.terminate()
  }

  /** Requests answered, by name: count, and seconds spent in the worker. */
  requests(): { op: string; count: number; seconds: number }[] {
    const rows: { op: string; count: number; seconds: number }[] = []
    for (const [code, op] of OPCODE_NAMES.entries()) {
      const count = this.#metrics[code * 2] ?? 0
      if (op && count > 0) rows.push({ op, count, seconds: this.#metrics[code * 2 + 1] ?? 0 })
    }
    return rows
  }
}

function transferable(message: News): ArrayBuffer[] {
  const reply = 'reply' in message ? message.reply : null
  return reply ? [reply.buffer as ArrayBuffer] : []
}

export interface WorkerEvents {
  /** Must be kept before the kernel gets its answer to INIT. */
  negotiated(negotiated: NonNullable<WorkerStart['negotiated']>): Promise<void>
  message(message: Exclude<FromWorker, { kind: 'done' | 'negotiated' | 'ended' }>): void
  ended(): void
  death(error: unknown): void
}
