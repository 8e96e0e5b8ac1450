import type { MessagePort } from 'node:worker_threads'
import {
  assert,
  type ChunkId,
  type Clock,
  codeOf,
  type ErrnoCode,
  FsError,
  type KeyEpoch,
  messageOf,
  type RecordSeq,
} from '../base/index.ts'
import type { Replicas } from '../store/index.ts'

/** What the engine's thread asks of a volume's owner, which lives in the main thread. */
type Question =
  | { readonly id: number; readonly op: 'sync'; readonly seq: RecordSeq }
  | {
      readonly id: number
      readonly op: 'putChunk'
      readonly chunk: ChunkId
      /** Over shared memory: no byte of it is copied. */
      readonly file: Uint8Array | null
    }
  | { readonly id: number; readonly op: 'readBack'; readonly chunk: ChunkId }
  | { readonly id: number; readonly op: 'checkpoint'; readonly checkpoint: Uint8Array }
  | { readonly id: number; readonly op: 'dropSealedBefore'; readonly keyEpoch: KeyEpoch }

type Hint =
  | { readonly op: 'appended' }
  | { readonly op: 'deleteChunk'; readonly chunk: ChunkId; readonly droppedBy: RecordSeq }

interface Answered {
  readonly id: number
  /** Of putChunk the number of the set; of checkpoint and dropSealedBefore that of the copies without it. */
  readonly result: number
  readonly error: { readonly code: string; readonly message: string } | null
}

interface Waiting {
  resolve(result: number): void
  reject(error: Error): void
}

/** The other copies of one volume, seen from the engine's thread. */
export class PortReplicas implements Replicas {
  readonly #port: MessagePort
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  constructor(port: MessagePort) {
    this.#port = port
    port.on('message', ({ id, result, error }: Answered) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (!error) waiting?.resolve(result)
      else waiting?.reject(new FsError(error.code as ErrnoCode, 'replicas', { ...error }))
    })
    port.unref()
  }

  appended(): void {
    this.#tell({ op: 'appended' })
  }

  async sync(seq: RecordSeq): Promise<void> {
    await this.#ask((id) => ({ id, op: 'sync', seq }))
  }

  async putChunk(chunk: ChunkId, file: Buffer | null): Promise<number> {
    assert(
      file === null || file.buffer instanceof SharedArrayBuffer,
      'a chunk goes between threads in memory that they share',
    )
    return await this.#ask((id) => ({ id, op: 'putChunk', chunk, file }))
  }

  async readBack(chunk: ChunkId): Promise<void> {
    await this.#ask((id) => ({ id, op: 'readBack', chunk }))
  }

  deleteChunk(chunk: ChunkId, droppedBy: RecordSeq): void {
    this.#tell({ op: 'deleteChunk', chunk, droppedBy })
  }

  async checkpoint(checkpoint: Buffer): Promise<number> {
    return await this.#ask((id) => ({ id, op: 'checkpoint', checkpoint }))
  }

  async dropSealedBefore(keyEpoch: KeyEpoch): Promise<number> {
    return await this.#ask((id) => ({ id, op: 'dropSealedBefore', keyEpoch }))
  }

  close(): void {
    this.#port.close()
  }

  #tell(hint: Hint): void {
    this.#port.postMessage(hint)
  }

  async #ask(question: (id: number) => Question): Promise<number> {
    const id = ++this.#lastId
    return await new Promise<number>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#port.postMessage(question(id))
    })
  }
}

/**
 * The main thread's side. What is asked before the owner serves waits for it.
 * @param owned rejects when the volume could not be taken over: the engine is closed then, and whoever asked is told
 * @param synced called with the ms until everything asked for was on stable storage on every copy in sync
 */
export function serveReplicas(
  port: MessagePort,
  owned: Promise<Replicas>,
  clock: Clock,
  synced: (ms: number) => void,
): void {
  const answer = async (question: Question): Promise<number> => {
    const replicas = await owned
    if (question.op === 'putChunk') {
      const { chunk, file } = question
      return await replicas.putChunk(chunk, file && asBuffer(file))
    }
    if (question.op === 'readBack') {
      await replicas.readBack(question.chunk)
      return 0
    }
    if (question.op === 'checkpoint') {
      return await replicas.checkpoint(Buffer.from(question.checkpoint))
    }
    if (question.op === 'dropSealedBefore') {
      return await replicas.dropSealedBefore(question.keyEpoch)
    }
    const begunMs = clock.monotonicMs()
    await replicas.sync(question.seq)
    synced(clock.monotonicMs() - begunMs)
    return 0
  }
  port.on('message', (heard: Question | Hint) => {
    if (heard.op === 'appended' || heard.op === 'deleteChunk') {
      owned.then(
        (replicas) => {
          if (heard.op === 'appended') replicas.appended()
          else replicas.deleteChunk(heard.chunk, heard.droppedBy)
        },
        () => {},
      )
      return
    }
    const { id } = heard
    answer(heard).then(
      (result) => port.postMessage({ id, result, error: null } satisfies Answered),
      (error: unknown) => {
        const told = { code: codeOf(error) || 'EIO', message: messageOf(error) }
        port.postMessage({ id, result: 0, error: told } satisfies Answered)
      },
    )
  })
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}
