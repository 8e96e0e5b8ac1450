import { z } from 'zod'
import { CorruptError, FsError } from '../base/index.ts'
import type { Coordinator } from './coordinator.ts'
import { GENERATION_KEY } from './steps.ts'

const FORMAT = 1

/**
 * How a coordinator stands. `active` accepts changes; `frozen` answers reads alone while it is copied; from `committing` on
 * the new one may have been made, so that reads could be old; `moved` says for ever where to.
 */
const shape = z.object({
  version: z.literal(FORMAT),
  state: z.enum(['active', 'frozen', 'committing', 'moved']),
  /** From 1; a cluster obeys no lower one than it has seen. */
  generation: z.int().min(1),
  /** Added to the engine's versions, so that they grow over a move too; see GuardedCoordinator. */
  base: z.int().min(0),
  /** The move that made this generation, or that ends it; null when there was none. */
  migration: z.string().nullable(),
  /** Where it moves, or has moved, in words that a node can open; null while active. */
  to: z.string().nullable(),
})

export type Standing = Omit<z.infer<typeof shape>, 'version'>

/** @property version of the key, the engine's own */
export interface Read {
  readonly standing: Standing
  readonly version: number
}

/** @returns null when the coordinator was never begun, or is a copy not finished */
export async function readStanding(coordinator: Coordinator): Promise<Read | null> {
  const entry = await coordinator.get(GENERATION_KEY)
  return entry && { standing: decodeStanding(entry.value), version: entry.version }
}

export function encodeStanding(standing: Standing): Buffer {
  return Buffer.from(JSON.stringify({ version: FORMAT, ...standing }))
}

/** @throws FsError ENOTSUP for one of a newer build, CorruptError for what is none */
function decodeStanding(bytes: Buffer): Standing {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch (error) {
    throw new CorruptError('coordinator generation that is not JSON', {}, error)
  }
  const newer = z.object({ version: z.int().min(FORMAT + 1) }).safeParse(value)
  if (newer.success) {
    throw new FsError('ENOTSUP', 'coordinator.open', {
      message: `coordinator: its generation is written by a newer weft (version ${newer.data.version}, this build reads ${FORMAT}): run that build`,
    })
  }
  const parsed = shape.safeParse(value)
  if (!parsed.success) {
    const [first] = parsed.error.issues
    throw new CorruptError(
      `coordinator generation damaged at ${first?.path.join('.') || 'as a whole'}: ${first?.message ?? ''}`,
    )
  }
  const { version: _, ...standing } = parsed.data
  return standing
}

/**
 * Begin a new coordinator: the first of a cluster, or one rebuilt from what the members keep, as a generation above all they
 * have seen. Doing it again is no change.
 * @param base above every version that the generation before gave
 * @throws FsError EEXIST when it is of another generation already
 */
export async function beginGeneration(
  coordinator: Coordinator,
  generation: number,
  base = 0,
): Promise<void> {
  const standing = { state: 'active', generation, base, migration: null, to: null } as const
  const { ok } = await coordinator.compareAndSet(GENERATION_KEY, 0, encodeStanding(standing))
  if (ok) return
  const there = await readStanding(coordinator)
  if (there?.standing.generation === generation) return
  throw new FsError('EEXIST', 'coordinator.begin', {
    generation,
    message: `coordinator: of generation ${there?.standing.generation} already, not ${generation}: is it another cluster's? choose another place or prefix`,
  })
}
