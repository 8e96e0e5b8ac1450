import { dirname, join } from 'node:path'
import { z } from 'zod'
import { CorruptError, FsError, type NodeId } from '../base/index.ts'
import { type NodeSigned, nodeSignedShape } from '../cluster/index.ts'
import { openEmbeddedCoordinator, readStanding } from '../coordinator/index.ts'
import type { Disk } from '../disk/index.ts'

/** That the coordinator is rebuilt on this node: <home>/recover.json, from the word of a person until it is done. */
export interface Intent {
  /** As it is told to the other members. */
  readonly succession: NodeSigned
  /** Who answered when it was begun, this node too. */
  readonly expects: readonly NodeId[]
}

const FILE = 'recover.json'
const shape = z.strictObject({
  version: z.literal(1),
  succession: nodeSignedShape,
  expects: z.array(z.string().regex(/^[0-9a-f]{32}$/)),
})

/** @throws CorruptError */
export function readIntent(home: string, disk: Disk): Intent | null {
  const path = join(home, FILE)
  if (!disk.exists(path)) return null
  try {
    const { succession, expects } = shape.parse(JSON.parse(disk.readFile(path).toString()))
    return { succession, expects: expects as NodeId[] }
  } catch (error) {
    throw new CorruptError(
      `${path}: damaged; remove it and give weft cluster coordinator recover again`,
      {},
      error,
    )
  }
}

/** Durable when it returns. */
export function writeIntent(home: string, disk: Disk, intent: Intent): void {
  disk.replaceFile(join(home, FILE), Buffer.from(JSON.stringify({ version: 1, ...intent })))
}

export function endIntent(home: string, disk: Disk): void {
  const path = join(home, FILE)
  if (!disk.exists(path)) return
  disk.unlink(path)
  disk.fsyncDirectory(home)
}

/**
 * Makes room for the coordinator that is rebuilt: one of another generation in this home is renamed, never deleted. What a
 * rebuilding that was cut short has written stays, and is gone on with.
 * @returns whether the one of this generation is there and begun
 */
export async function setAside(
  directory: string,
  disk: Disk,
  generation: number,
): Promise<boolean> {
  if (!disk.exists(directory)) return false
  const found = await generationIn(directory)
  if (found === generation) return true
  if (found === null) return false
  const parent = dirname(directory)
  for (let n = 0; ; n++) {
    const aside = `${directory}.${found}${n === 0 ? '' : `.${n}`}`
    if (disk.exists(aside)) continue
    disk.rename(directory, aside)
    disk.fsyncDirectory(parent)
    return false
  }
}

/** Of the coordinator in a directory; null when nobody has begun it, 'damaged' when it cannot be read. */
export async function generationIn(directory: string): Promise<number | 'damaged' | null> {
  try {
    const coordinator = await openEmbeddedCoordinator(directory)
    try {
      return (await readStanding(coordinator))?.standing.generation ?? null
    } finally {
      await coordinator.close()
    }
  } catch (error) {
    if (!(error instanceof CorruptError || error instanceof FsError)) throw error
    return 'damaged'
  }
}
