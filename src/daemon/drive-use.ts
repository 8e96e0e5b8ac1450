import { opendir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, codeOf, type DriveId } from '../base/index.ts'
import type { Drive } from '../drives/index.ts'

/** Bytes of a block in st_blocks. Source: man 2 stat. */
const BLOCK_BYTES = 512
/** A count that took longer than this is not waited for. */
const QUICK_MS = 300
/** One that was quick, or is the first, is waited for so long. */
const WAIT_MS = 900
const FRESH_MS_MIN = 1000
/** A count is fresh for so many times what it took: it never costs more than a twentieth of a CPU. */
const FRESH_FACTOR = 20

interface Count {
  bytes: number
  atMs: number
  tookMs: number
  running: Promise<void> | null
}

/** Bytes that weft itself has on its drives: chunks, journals, checkpoints, quarantine. Counted by walking, and kept. */
export class DriveUse {
  readonly #clock: Clock
  readonly #counts = new Map<DriveId, Count>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async bytes(drive: Drive): Promise<number> {
    const known = this.#counts.get(drive.id)
    const count = known ?? { bytes: 0, atMs: 0, tookMs: 0, running: null }
    this.#counts.set(drive.id, count)
    const age = this.#clock.monotonicMs() - count.atMs
    if (!known || age > Math.max(FRESH_MS_MIN, count.tookMs * FRESH_FACTOR)) {
      count.running ??= this.#count(drive, count)
    }
    if (count.running && count.tookMs <= QUICK_MS) await this.#atMost(WAIT_MS, count.running)
    return count.bytes
  }

  /** A drive may hang. */
  async #atMost(ms: number, count: Promise<void>): Promise<void> {
    let cancel = () => {}
    const late = new Promise<void>((resolve) => {
      cancel = this.#clock.after(ms, resolve)
    })
    await Promise.race([count, late])
    cancel()
  }

  async #count(drive: Drive, count: Count): Promise<void> {
    const began = this.#clock.monotonicMs()
    try {
      count.bytes = await bytesBelow(drive.dir)
    } finally {
      count.atMs = this.#clock.monotonicMs()
      count.tookMs = count.atMs - began
      count.running = null
    }
  }
}

/** What goes while it is counted does not count; a drive that does not answer has what could be counted. */
async function bytesBelow(directory: string): Promise<number> {
  let bytes = 0
  try {
    for await (const entry of await opendir(directory)) {
      const path = join(directory, entry.name)
      if (entry.isDirectory()) bytes += await bytesBelow(path)
      else if (entry.isFile()) bytes += await bytesOf(path)
    }
  } catch (error) {
    if (codeOf(error) === '') throw error
  }
  return bytes
}

async function bytesOf(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * BLOCK_BYTES
  } catch (error) {
    if (codeOf(error) === '') throw error
    return 0
  }
}
