import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Epoch } from '../base/index.ts'
import { keepJson, keptJson } from '../fuse/index.ts'

/**
 * In which epochs, one behind the other, this node has owned a volume without losing anything that it was asked to do: a
 * daemon that is killed loses nothing, so the next one goes on. Kept beside the staged writes, with which it ends: at a
 * start of the machine, and when the volume is lost.
 */
const FILE = 'owned.json'

const count = z.number().int().min(0)
const shape = z.strictObject({
  first: count,
  last: count,
  carriedGeneration: count.nullable().default(null),
})

/** What an epoch goes on with. */
export interface OwnedSince {
  readonly first: number
  /** As SharedVolume.carriedGeneration. */
  readonly carriedGeneration: number | null
}

/** @returns what this epoch goes on with */
export function ownedSince(stagingDirectory: string, epoch: Epoch): OwnedSince {
  const before = shape.nullable().parse(keptJson(join(stagingDirectory, FILE)))
  const goesOn = before?.last === epoch - 1
  const since = goesOn
    ? { first: before.first, carriedGeneration: before.carriedGeneration }
    : { first: epoch, carriedGeneration: null }
  keepOwned(stagingDirectory, epoch, since)
  return since
}

export function keepOwned(stagingDirectory: string, epoch: Epoch, since: OwnedSince): void {
  keepJson(join(stagingDirectory, FILE), { ...since, last: epoch })
}

/** What is staged is dropped: nobody took it. @returns whether a life of the daemon in this boot of the machine owned it */
export function forgetOwned(stagingDirectory: string): boolean {
  const path = join(stagingDirectory, FILE)
  const owned = existsSync(path)
  rmSync(path, { force: true })
  return owned
}
