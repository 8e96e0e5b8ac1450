import { MessageChannel, Worker } from 'node:worker_threads'
import {
  background,
  type ErrnoCode,
  FsError,
  isBug,
  type Log,
  messageOf,
  type Random,
  type RecordSeq,
  type VolumeNumber,
} from '../base/index.ts'
import {
  type AccessWorkerStart,
  type Forgetting,
  type FromAccessWorker,
  type OpenFile,
  type Reason,
  type ServedVolume,
  type ToAccessWorker,
  type Told,
  type VolumeMessage,
  wire,
} from '../fuse/index.ts'
import type { EngineHost } from './engine-host.ts'

export interface AccessRequest {
  session: number
  /** What INIT agreed with the kernel that asks. */
  flags: number
  /** Names the asker in stored answers; null for another node's. */
  mount: number | null
  /** That kernel can be made to forget names. */
  keepsNames: boolean
  /** It keeps attributes itself, and wants those of what a change has touched. */
  postAttributes: boolean
  /** It has a copy, and wants to know where the bytes are that it reads. */
  fileMap: boolean
  /** A whole request, the callee's to keep. */
  frame: Uint8Array<ArrayBuffer>
}

export interface AccessHostWorld {
  engine: EngineHost
  random: Random
  damaged(message: Extract<FromAccessWorker, { kind: 'damaged' }>): void
  reason(reason: Reason): void
  /** As CopySyncs.sync. */
  sync(number: VolumeNumber, seq: RecordSeq): Promise<number>
  /** Have a session's kernel forget what it keeps of a volume; fulfilled when it has. @throws FsError when nobody knows */
  forget(number: VolumeNumber, session: number, forgetting: Forgetting): Promise<void>
  log: Log
  /** The thread died of a bug. */
  onDeath(error: unknown): void
}

/** The main thread's side of the thread that answers for volumes which several kernels use. It starts with the first one. */
export class AccessHost {
  readonly #world: AccessHostWorld
  readonly #told = new Map<
    number,
    { resolve(opens: readonly OpenFile[]): void; reject(error: Error): void }
  >()
  readonly #asked = new Map<number, (bytes: Buffer | null) => void>()
  #worker: Promise<Worker> | null = null
  #last = 0

  constructor(world: AccessHostWorld) {
    this.#world = world
  }

  /** As a mount's thread is told of a volume. @returns files of a volume it gave up that this node's kernel has open */
  async tell(
    message: Told<VolumeMessage> | { kind: 'drives' },
    served?: ServedVolume,
  ): Promise<readonly OpenFile[]> {
    const worker = await this.#started()
    const id = ++this.#last
    return await new Promise((resolve, reject) => {
      this.#told.set(id, { resolve, reject })
      worker.postMessage({ ...message, id }, served ? [served.opening.keys.bytes] : [])
    })
  }

  /** As Mounts.letGoOfDrives, where there is such a thread. */
  async letGoOfDrives(): Promise<void> {
    if (this.#worker) await this.tell({ kind: 'drives' })
  }

  /** @returns the whole answer, empty when none is due; null when the volume is not that thread's */
  async request(request: AccessRequest): Promise<Buffer | null> {
    const worker = await this.#started()
    const token = ++this.#last
    return await new Promise((resolve) => {
      this.#asked.set(token, resolve)
      const message: ToAccessWorker = { kind: 'request', token, ...request }
      worker.postMessage(message, [request.frame.buffer])
    })
  }

  opens(number: VolumeNumber, session: number, opens: readonly OpenFile[] | null): void {
    this.#post({ kind: 'opens', number, session, opens })
  }

  endSession(number: VolumeNumber, session: number): void {
    this.#post({ kind: 'endSession', number, session })
  }

  async end(): Promise<void> {
    await (await this.#worker)?.terminate()
  }

  #post(message: ToAccessWorker): void {
    this.#worker?.then((worker) => worker.postMessage(message), this.#world.onDeath)
  }

  #started(): Promise<Worker> {
    this.#worker ??= this.#start()
    return this.#worker
  }

  async #start(): Promise<Worker> {
    const { engine, random, onDeath } = this.#world
    const { port1, port2 } = new MessageChannel()
    await engine.connect(port2)
    const workerData: AccessWorkerStart = {
      mount: random.bytes(4).readUInt32LE(0),
      enginePort: port1,
    }
    const worker = new Worker(new URL('../fuse/access-worker.js', import.meta.url), {
      workerData,
      transferList: [port1],
    })
    worker.on('error', onDeath)
    worker.on('message', (message: FromAccessWorker) => this.#heard(message))
    return worker
  }

  async #forget(message: Extract<FromAccessWorker, { kind: 'forget' }>): Promise<void> {
    const { number, session, asking, forgetting } = message
    try {
      await this.#world.forget(number, session, forgetting)
    } catch (error) {
      if (isBug(error)) throw error
      // What it keeps ends by itself, and who wants to change it waits for that.
      this.#world.log.info({ op: 'access.forget', number, error: messageOf(error) }, 'no answer')
      return
    }
    this.#post({ kind: 'forgot', number, asking })
  }

  async #sync(message: Extract<FromAccessWorker, { kind: 'sync' }>): Promise<void> {
    const { number, seq, token, uniqueLo, uniqueHi } = message
    const errno = await this.#world.sync(number, seq)
    const bytes = Buffer.alloc(wire.OUT_HEADER_BYTES)
    wire.encodeReplyHeader(bytes, bytes.length, errno, uniqueLo, uniqueHi)
    this.#answered(token, bytes)
  }

  #answered(token: number, bytes: Buffer | null): void {
    const asked = this.#asked.get(token)
    this.#asked.delete(token)
    asked?.(bytes)
  }

  #heard(message: FromAccessWorker): void {
    if (message.kind === 'damaged') {
      this.#world.damaged(message)
    } else if (message.kind === 'reason') {
      this.#world.reason(message.reason)
    } else if (message.kind === 'sync') {
      this.#sync(message).catch(background(this.#world.log, 'access.sync'))
    } else if (message.kind === 'forget') {
      this.#forget(message).catch(background(this.#world.log, 'access.forget'))
    } else if (message.kind === 'done') {
      const told = this.#told.get(message.id)
      this.#told.delete(message.id)
      if (message.error) {
        const { code, message: text } = message.error
        told?.reject(new FsError(code as ErrnoCode, 'access', { message: text }))
      } else told?.resolve(message.opens)
    } else {
      const { token, bytes } = message
      this.#answered(token, bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
    }
  }
}
