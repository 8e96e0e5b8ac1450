import type { Change, Entry } from './coordinator.ts'

/**
 * What one watcher was told: the keys below its prefix with their versions. After a break in the stream of changes it says
 * what the watcher missed, from a list of what stands now. Pure; the engines that lose connections (remote, etcd) share it.
 */
export class Watched {
  readonly #versions = new Map<string, number>()
  /** Changes below were told, or stand in a list that was compared; of this version some may still come. */
  #floor = 0

  /** @param entries what stood when, or before, the watch was put in place */
  constructor(entries: readonly Entry[]) {
    for (const { key, version } of entries) this.#versions.set(key, version)
  }

  /** A change out of the stream. @returns whether the watcher is to be told */
  take({ key, value, version }: Change): boolean {
    if (version < this.#floor || version <= (this.#versions.get(key) ?? 0)) return false
    this.#floor = version
    if (value === null) return this.#versions.delete(key)
    this.#versions.set(key, version)
    return true
  }

  /**
   * @param entries one consistent state of the prefix
   * @param revision of that state, where the engine has one; else the highest version known takes its place, which is
   *   below the next change of any key
   * @returns what differs from what the watcher was told, in the order of versions
   */
  compare(entries: readonly Entry[], revision = 0): Change[] {
    const stands = new Map(entries.map((entry) => [entry.key, entry]))
    const changes: Change[] = entries
      .filter(({ key, version }) => version > (this.#versions.get(key) ?? 0))
      .sort((one, other) => one.version - other.version)
    const gone = [...this.#versions].filter(([key]) => !stands.has(key))
    const versions = [...entries, ...changes].map(({ version }) => version)
    const after = gone.map(([, version]) => version + 1)
    const now = Math.max(revision, this.#floor, ...versions, ...after)
    for (const [key] of gone) {
      changes.push({ key, value: null, version: now })
      this.#versions.delete(key)
    }
    for (const { key, version } of entries) this.#versions.set(key, version)
    this.#floor = now
    return changes
  }
}

/** Tells a watcher, one change after the other, until `signal` is raised; its own mistakes are not the engine's. */
export function tell(
  changes: readonly Change[],
  signal: AbortSignal,
  onChange: (change: Change) => void,
): void {
  for (const change of changes) {
    queueMicrotask(() => {
      if (!signal.aborted) onChange(change)
    })
  }
}
