import { join } from 'node:path'
import { z } from 'zod'
import type { VolumeNumber } from '../base/index.ts'
import { keepJson, keptJson } from '../fuse/index.ts'
import type { OwnEpochs } from './far-handles.ts'
import { lifeShape, type OwnerLife } from './owner-life.ts'

/** A session with a volume's owner, and what this node's kernel has as the handle of files it opened under it. */
export interface KeptSession {
  readonly session: number
  readonly generation: number
  /** While this node owned the volume: what was opened then holds under the session. */
  readonly carried: OwnEpochs | null
  readonly life: OwnerLife | null
}

const FILE = 'far-sessions.json'
const number = z.number().int().min(0)
const shape = z.record(
  z.string(),
  z.strictObject({
    session: number,
    generation: number,
    carried: z.strictObject({ first: number, last: number }).nullable().default(null),
    life: lifeShape.nullable(),
  }),
)

/** The sessions of this boot, beside the staged writes: the daemon that comes after this one goes on with them. */
export class FarSessions {
  readonly #path: string
  readonly #kept: Record<string, KeptSession>

  constructor(directory: string) {
    this.#path = join(directory, FILE)
    this.#kept = shape.parse(keptJson(this.#path) ?? {})
  }

  get(volume: VolumeNumber): KeptSession | null {
    return this.#kept[volume] ?? null
  }

  /** Of volumes that were used through another owner when the daemon before this one ended. */
  begun(): VolumeNumber[] {
    return Object.entries(this.#kept).flatMap(([volume, { life }]) =>
      life === null ? [] : [Number(volume) as VolumeNumber],
    )
  }

  set(volume: VolumeNumber, kept: KeptSession): void {
    this.#kept[volume] = kept
    keepJson(this.#path, this.#kept)
  }
}
