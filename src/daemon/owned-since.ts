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

const shape = z.strictObject({ first: z.number().int().min(0), last: z.number().int().min(0) })

/** @returns first epoch of those that this one goes on with */
export function ownedSince(stagingDirectory: string, epoch: Epoch): number {
  const path = join(stagingDirectory, FILE)
  const before = shape.nullable().parse(keptJson(path))
  const first = before?.last === epoch - 1 ? before.first : epoch
  keepJson(path, { first, last: epoch })
  return first
}

/** What is staged is dropped: nobody took it. @returns whether a life of the daemon in this boot of the machine owned it */
export function forgetOwned(stagingDirectory: string): boolean {
  const path = join(stagingDirectory, FILE)
  const owned = existsSync(path)
  rmSync(path, { force: true })
  return owned
}
