import { readFileSync } from 'node:fs'
import type { Fault } from './faults.ts'
import { CALM, type KnobValues } from './knobs.ts'
import type { Health } from './model.ts'
import type { Simulator } from './simulator.ts'

const POLL_MS = 200

/** What a person may write into knobs.json: what is not in it is calm. All but the values happens once, when the file changes. */
export interface KnobsFile extends Partial<KnobValues> {
  /** In place of those that are still to come. `path` is a part of the path. */
  readonly faults?: readonly Fault[]
  readonly random?: { readonly seed: number; readonly probability: number }
  readonly failOverMs?: number
  /** By serial number. */
  readonly health?: Readonly<Record<string, Health>>
  readonly endSessions?: boolean
}

export function turnKnobs(simulator: Simulator, file: KnobsFile): void {
  const { faults = [], random, failOverMs, health = {}, endSessions, ...values } = file
  const { knobs } = simulator
  knobs.set({ ...CALM, ...values })
  knobs.faults.clear()
  for (const fault of faults) knobs.inject(fault)
  knobs.random(random?.seed ?? 0, random?.probability ?? 0)
  for (const [serialNumber, state] of Object.entries(health))
    simulator.setHealth(serialNumber, state)
  if (failOverMs !== undefined) knobs.failOver(failOverMs)
  if (endSessions === true) simulator.sessions.endAll()
}

/**
 * Turns the knobs whenever the file says something new; one that is not there says nothing.
 * @param complain told of a file that cannot be used; the knobs stay where they were
 * @returns what ends it
 */
export function followKnobs(
  simulator: Simulator,
  path: string,
  complain: (problem: unknown) => void,
): () => void {
  let last = ''
  const timer = setInterval(() => {
    try {
      const text = readFileSync(path, 'utf8')
      if (text === last) return
      last = text
      turnKnobs(simulator, JSON.parse(text))
    } catch (problem) {
      if ((problem as NodeJS.ErrnoException).code !== 'ENOENT') complain(problem)
    }
  }, POLL_MS)
  return () => clearInterval(timer)
}
