import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Epoch } from '../base/index.ts'
import { keepJson, keptJson } from '../fuse/index.ts'
import { linesShape, type OwnerLine } from './owner-life.ts'

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
  before: linesShape.default([]),
})

/** What an epoch goes on with. */
export interface OwnedSince {
  readonly first: number
  /** As SharedVolume.carriedGeneration. */
  readonly carriedGeneration: number | null
  /** As OwnerNow.before. */
  readonly before: readonly OwnerLine[]
}

/**
 * A node lets go of the volume for this one, whose epoch is the next, if no other node comes in between.
 * @param lines its own, and those before it
 */
export function keepReleased(stagingDirectory: string, lines: readonly OwnerLine[]): void {
  const [newest] = lines
  if (!newest) return
  const since = { first: newest.epoch + 1, carriedGeneration: null, before: lines }
  // It may never have been open here.
  mkdirSync(stagingDirectory, { recursive: true, mode: 0o700 })
  keepOwned(stagingDirectory, newest.epoch, since)
}

/** This node has taken an epoch, and may die before it serves anybody. */
export function tookEpoch(stagingDirectory: string, epoch: Epoch): void {
  const kept = keptOf(stagingDirectory)
  if (kept?.last === epoch - 1) keepOwned(stagingDirectory, epoch, kept)
}

/** @returns what an epoch goes on with that this node has taken, and now serves in */
export function ownedSince(stagingDirectory: string, epoch: Epoch): OwnedSince {
  const kept = keptOf(stagingDirectory)
  const goesOn = kept !== null && (kept.last === epoch - 1 || kept.last === epoch)
  const since = goesOn ? kept : { first: epoch, carriedGeneration: null, before: [] }
  keepOwned(stagingDirectory, epoch, since)
  return since
}

export function keepOwned(
  stagingDirectory: string,
  epoch: number,
  { first, carriedGeneration, before }: OwnedSince,
): void {
  keepJson(join(stagingDirectory, FILE), { first, last: epoch, carriedGeneration, before })
}

function keptOf(stagingDirectory: string): z.infer<typeof shape> | null {
  return shape.nullable().parse(keptJson(join(stagingDirectory, FILE)))
}

/** What is staged is dropped: nobody took it. @returns whether a life of the daemon in this boot of the machine owned it */
export function forgetOwned(stagingDirectory: string): boolean {
  const kept = keptOf(stagingDirectory)
  rmSync(join(stagingDirectory, FILE), { force: true })
  return kept !== null && kept.first <= kept.last
}
