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

/** What an owner says of itself. */
export interface OwnerNow extends OwnerLine {
  /** Of the node that let go of the volume for this one: nothing of that is missing either. Null after a take-over. */
  readonly before: OwnerLine | null
}

const life = {
  node: z.string().max(64),
  boot: z.string().max(64),
  epoch: z.number().int().min(0),
}
export const lifeShape = z.strictObject(life)
export const lineShape = z.strictObject({ ...life, first: z.number().int().min(0) })
export const nowShape = lineShape.extend({ before: lineShape.nullable() })

export function isOf(line: OwnerLine, { node, boot, epoch }: OwnerLife): boolean {
  return line.node === node && line.boot === boot && line.first <= epoch && epoch <= line.epoch
}

/** Whether an owner has all that a life was asked to do. */
export function hasAllOf(now: OwnerNow, life: OwnerLife): boolean {
  return isOf(now, life) || (now.before !== null && isOf(now.before, life))
}
