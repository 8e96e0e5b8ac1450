import { FsError } from '../base/index.ts'

/** Long work in the engine thread: it tells how far it is, can be called off, and lets others have their turn. */
export interface Work {
  readonly signal: AbortSignal
  progress(done: number, total: number | null, message: string): void
}

/** Gives other work of the thread its turn. @throws FsError ECANCELED when the work was called off */
export async function turn(work: Work): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
  if (work.signal.aborted) throw new FsError('ECANCELED', 'work', { message: 'called off' })
}

/** What was found, in a person's words. */
export interface Finding {
  severity: 'note' | 'damage'
  /** Name of the volume. */
  volume: string
  what: string
  /** Path below the volume's root, where one is known. */
  path: string | null
  outcome: 'left' | 'repaired' | 'quarantined'
  next: string
}
