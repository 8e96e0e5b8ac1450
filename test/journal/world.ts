import { createHash } from 'node:crypto'
import {
  type ChunkId,
  CorruptError,
  type Epoch,
  type KeyEpoch,
  type RecordSeq,
  type VolumeId,
} from '../../src/base/index.ts'
import { SimulatedDisk } from '../../src/disk/index.ts'
import {
  createJournal,
  Journal,
  type JournalHead,
  type JournalOptions,
  type RecordFields,
  type RecordSealer,
  type ScannedRecord,
  type ScanOptions,
  scan,
} from '../../src/journal/index.ts'

export const volumeId = '000102030405060708090a0b0c0d0e0f' as VolumeId
export const directory = '/drive/journal'

/** No secrecy, but the shape of the real one: nonce (24) || body || tag (16) over key epoch, associated data and body. */
export const plainSealer: RecordSealer = {
  seal: (keyEpoch, plain, ad) =>
    Buffer.concat([Buffer.alloc(24, 0xee), plain, tagOf(keyEpoch, plain, ad)]),
  open(keyEpoch, sealed, ad) {
    const plain = Buffer.from(sealed.subarray(24, sealed.length - 16))
    if (!tagOf(keyEpoch, plain, ad).equals(sealed.subarray(sealed.length - 16))) {
      throw new CorruptError('seal broken')
    }
    return plain
  },
}

function tagOf(keyEpoch: number, plain: Buffer, ad: Buffer): Buffer {
  const hash = createHash('sha256').update(`${keyEpoch},${ad.length},`).update(ad).update(plain)
  return hash.digest().subarray(0, 16)
}

export interface World {
  disk: SimulatedDisk
  first: JournalHead
  /** Another hand on the same journal, as another thread has it. */
  hand(options?: Partial<JournalOptions>): Journal
  journal: Journal
  scanAll(from?: JournalHead | null, options?: ScanOptions): { bodies: string[]; end: JournalHead }
}

/** @param aheadBytes zeros behind the newest record; none where a test counts bytes */
export function makeWorld(fileBytesMax = 64 * 1024, aheadBytes = 0): World {
  const disk = new SimulatedDisk()
  const written = new Float64Array(3)
  const first = createJournal(disk, directory, volumeId)
  const hand = (options: Partial<JournalOptions> = {}) =>
    new Journal({
      disk,
      directory,
      volumeId,
      sealer: plainSealer,
      fileBytesMax,
      aheadBytes,
      written,
      ...options,
    })
  return {
    disk,
    first,
    hand,
    journal: hand(),
    scanAll(from = null, options = {}) {
      const { records, end } = collect(scan(disk, directory, volumeId, from, plainSealer, options))
      return { bodies: records.map(({ body }) => String(body)), end }
    },
  }
}

export function collect(records: Generator<ScannedRecord, JournalHead, undefined>): {
  records: ScannedRecord[]
  end: JournalHead
} {
  const seen: ScannedRecord[] = []
  for (;;) {
    const step = records.next()
    if (step.done) return { records: seen, end: step.value }
    seen.push({ ...step.value, raw: Buffer.from(step.value.raw) })
  }
}

export function fields(changes: Partial<RecordFields> = {}): RecordFields {
  return {
    epoch: 1 as Epoch,
    keyEpoch: 1 as KeyEpoch,
    confirmed: { epoch: 0 as Epoch, seq: 0 as RecordSeq },
    begins: [],
    ends: [],
    ...changes,
  }
}

export function confirmedAt(head: JournalHead): Partial<RecordFields> {
  return { confirmed: { epoch: head.epoch, seq: head.seq } }
}

export function chunkId(byte: number): ChunkId {
  return byte.toString(16).padStart(2, '0').repeat(16) as ChunkId
}

export function nameOfThrown(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const sign = error instanceof CorruptError ? error.subject.sign : undefined
    const code = 'code' in error ? String(error.code) : undefined
    return [error.name, code ?? sign].filter((part) => part !== undefined).join(' ')
  }
  return 'no error'
}

/** Changes stored bytes behind everybody's back, durably. */
export function tamper(
  disk: SimulatedDisk,
  file: number,
  change: (bytes: Buffer) => Buffer | undefined,
): void {
  const path = pathOf(file)
  const bytes = disk.readFile(path, Number.MAX_SAFE_INTEGER)
  const changed = change(bytes) ?? bytes
  const handle = disk.open(path, 'write')
  disk.truncate(handle, changed.length)
  disk.write(handle, changed, 0, changed.length, 0)
  disk.fdatasync(handle)
  disk.close(handle)
}

export function pathOf(file: number): string {
  return `${directory}/${String(file).padStart(10, '0')}.journal`
}
