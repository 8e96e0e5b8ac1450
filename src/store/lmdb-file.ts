import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { CorruptError, codeOf } from '../base/index.ts'
import { checkLmdbFile, type LmdbBytes } from '../coordinator/index.ts'

const BLOCK_BYTES = 64 * 1024
const BLOCKS_KEPT = 256

/** A file of any size, read in blocks as they are asked for. */
class PagedFile implements LmdbBytes {
  readonly length: number
  readonly #fd: number
  readonly #blocks = new Map<number, Buffer>()
  #last = -1
  #lastBlock: Buffer = Buffer.alloc(0)

  constructor(path: string) {
    this.#fd = openSync(path, 'r')
    this.length = fstatSync(this.#fd).size
  }

  readUInt16LE(at: number): number {
    return this.#block(at).readUInt16LE(at % BLOCK_BYTES)
  }
  readUInt32LE(at: number): number {
    return this.#block(at).readUInt32LE(at % BLOCK_BYTES)
  }
  readBigUInt64LE(at: number): bigint {
    return this.#block(at).readBigUInt64LE(at % BLOCK_BYTES)
  }

  close(): void {
    closeSync(this.#fd)
  }

  /** With 8 bytes of the next block behind it, so that no number lies across two. */
  #block(at: number): Buffer {
    const number = Math.floor(at / BLOCK_BYTES)
    if (number === this.#last) return this.#lastBlock
    let block = this.#blocks.get(number)
    if (!block) {
      block = Buffer.alloc(BLOCK_BYTES + 8)
      const count = readSync(this.#fd, block, 0, block.length, number * BLOCK_BYTES)
      block = block.subarray(0, count)
      if (this.#blocks.size >= BLOCKS_KEPT) {
        for (const oldest of this.#blocks.keys()) {
          this.#blocks.delete(oldest)
          break
        }
      }
      this.#blocks.set(number, block)
    }
    this.#last = number
    this.#lastBlock = block
    return block
  }
}

/** What is wrong with the pages of a view that nobody has open; null when they are whole. LMDB itself would crash on it. */
export function viewDamage(viewDirectory: string): string | null {
  let file: PagedFile | null = null
  try {
    file = new PagedFile(join(viewDirectory, 'data.mdb'))
    checkLmdbFile(file)
    return null
  } catch (error) {
    if (error instanceof CorruptError || error instanceof RangeError) return error.message
    if (codeOf(error) === 'ENOENT') return 'the file is missing'
    throw error
  } finally {
    file?.close()
  }
}
