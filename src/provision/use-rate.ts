import type { ServiceClass } from '../drives/index.ts'

interface Sample {
  /** Of which drives; of others it is another sum. */
  readonly drives: string
  readonly atMs: number
  readonly usedBytes: number
}

/** What is older says nothing about now. */
const KEPT_MS = 30 * 60_000
/** A burst is seen within this. */
const RECENT_MS = 5 * 60_000
/** Two looks nearer to each other tell noise. */
const APART_MS = 5000

/** How fast each class fills: looked at now and then, on a clock that never goes back. In memory only. */
export class UseRates {
  readonly #samples = new Map<ServiceClass, Sample[]>()

  /** @param drives names those that are counted: one that comes back with all that is on it is no burst */
  see(cos: ServiceClass, atMs: number, usedBytes: number, drives = ''): void {
    const before = this.#samples.get(cos) ?? []
    const samples = before.at(-1)?.drives === drives ? before : []
    const last = samples.at(-1)
    if (last && atMs - last.atMs < APART_MS) return
    samples.push({ drives, atMs, usedBytes })
    while (samples[0] && atMs - samples[0].atMs > KEPT_MS) samples.shift()
    this.#samples.set(cos, samples)
  }

  /** For how long a class has been looked at, in the last half hour. */
  seenMs(cos: ServiceClass): number {
    const samples = this.#samples.get(cos) ?? []
    return (samples.at(-1)?.atMs ?? 0) - (samples[0]?.atMs ?? 0)
  }

  /** Of the last half hour or the last minutes, whichever was faster: growing early costs less than growing late. */
  bytesPerMs(cos: ServiceClass): number {
    const samples = this.#samples.get(cos) ?? []
    const last = samples.at(-1)
    if (!last) return 0
    const recent = samples.find(({ atMs }) => last.atMs - atMs <= RECENT_MS)
    return Math.max(slope(samples[0] ?? last, last), slope(recent ?? last, last))
  }
}

function slope(from: Sample, to: Sample): number {
  const ms = to.atMs - from.atMs
  return ms <= 0 ? 0 : (to.usedBytes - from.usedBytes) / ms
}
