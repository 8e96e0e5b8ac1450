import { CorruptError, type DriveId, type VolumeId } from '../base/index.ts'
import { type ChunkReader, ChunkStore } from '../chunks/index.ts'
import { type ExportedKeys, VolumeKeys } from '../crypto/index.ts'
import { FollowedDrives } from '../drives/index.ts'
import { type FileMap, readExtents } from '../vfs/index.ts'

/** What a thread needs to read chunks of a volume that another node owns from this node's drives. */
export interface NearOpening {
  readonly id: VolumeId
  /** Buffer of ToldDrives. */
  readonly drives: SharedArrayBuffer
  readonly keys: ExportedKeys
}

/** Chunks whose descriptors are kept; what is deleted meanwhile keeps its space until they are closed. */
const OPEN_MOST = 64

/**
 * The copy that this node has of a volume which another node owns: chunks, by the owner's map of a file. A chunk never changes,
 * so what is read here is right or fails its seal; one that is not here any more, the owner has moved.
 */
export class NearCopy {
  readonly volume: VolumeId
  readonly #keys: VolumeKeys
  readonly #chunks: ChunkStore
  readonly #reader: ChunkReader
  /** Any of the node's: a chunk is found on whichever has it. */
  readonly #drive: DriveId

  /** @param opening its keys are taken over, and zeros afterwards */
  constructor({ id, drives: told, keys }: NearOpening) {
    this.volume = id
    this.#keys = VolumeKeys.import(keys)
    const followed = new FollowedDrives(told)
    const { drives } = followed
    this.#chunks = new ChunkStore(drives, { openMost: OPEN_MOST, look: () => followed.look() })
    this.#reader = { volume: id, keyOf: (epoch) => this.#keys.get(epoch).chunk }
    // Without any, each read says EIO, and the owner is asked.
    this.#drive = drives[0]?.id as DriveId
  }

  /**
   * @param map covers the range, as far as the file reaches
   * @returns bytes read, less than length only at the end of the file
   * @throws CorruptError for a chunk that is damaged here, or not here; FsError
   */
  read(map: FileMap, offset: number, length: number, out: Buffer, outAt: number): number {
    const count = Math.min(length, map.size - offset)
    if (count <= 0) return 0
    readExtents(map.extents, offset, count, out, outAt, (chunk, at, bytes, to) => {
      this.#chunks.readSync(chunk, this.#drive, this.#reader, at, bytes, out, to)
    })
    return count
  }

  /** Nothing stays open on drives that are none of this node any more. */
  lookAtDrives(): void {
    this.#chunks.lookAtDrives()
  }

  /** Its keys are wiped, and so is what was unsealed with them. */
  close(): void {
    this.#chunks.close()
    this.#keys.wipe()
  }
}

/** A chunk that is there and damaged, in words; null when that is not what is wrong. */
export function damageOf(error: unknown): { chunk: string; what: string } | null {
  if (!(error instanceof CorruptError)) return null
  const { chunk, missing } = error.subject as { chunk?: string; missing?: boolean }
  return chunk !== undefined && !missing ? { chunk, what: error.message } : null
}
