import { z } from 'zod'

/** One life of a volume's owner: its daemon, in one epoch. */
export interface OwnerLife {
  readonly node: string
  readonly boot: string
  readonly epoch: number
}

/** A life, and those before it of the same node and boot of which it has all that they were asked to do, fsync or not. */
export interface OwnerLine extends OwnerLife {
  /** Epoch of the first. */
  readonly first: number
}

/** What a volume is let go of for: on an exclusive mount, files that are open for writing elsewhere could not be written. */
export const releaseFor = z.enum(['attach', 'use'])
export type ReleaseFor = z.infer<typeof releaseFor>

/** What an owner says of itself. */
export interface OwnerNow extends OwnerLine {
  /**
   * Of the nodes that let go of the volume one for the next and the last of them for this one, newest first: nothing of those is
   * missing either. Empty after a take-over.
   */
  readonly before: readonly OwnerLine[]
}

/** Lines that an owner knows of before its own: whoever has not been heard of for so many moves has lost its session anyway. */
export const linesBeforeMax = 16

const life = {
  node: z.string().max(64),
  boot: z.string().max(64),
  epoch: z.number().int().min(0),
}
export const lifeShape = z.strictObject(life)
export const lineShape = z.strictObject({ ...life, first: z.number().int().min(0) })
export const linesShape = z.array(lineShape).max(linesBeforeMax)
export const nowShape = lineShape.extend({ before: linesShape })

export function isOf(line: OwnerLine, { node, boot, epoch }: OwnerLife): boolean {
  return line.node === node && line.boot === boot && line.first <= epoch && epoch <= line.epoch
}

/** Whether an owner has all that a life was asked to do. */
export function hasAllOf(now: OwnerNow, life: OwnerLife): boolean {
  return [now, ...now.before].some((line) => isOf(line, life))
}
