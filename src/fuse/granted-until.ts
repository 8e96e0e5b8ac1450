import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { keepJson, keptJson } from './kept-json.ts'

/**
 * Until when other nodes' kernels may keep names and attributes of a volume that this node owns, in ms on the clock of leases.
 * Kept beside the staged writes for the next life of the daemon, which does not know what was granted and to whom.
 */
const FILE = 'granted.json'

const shape = z.strictObject({ untilMs: z.number() })

export function keepGranted(stagingDirectory: string, untilMs: number): void {
  keepJson(join(stagingDirectory, FILE), { untilMs })
}

/** Every grant was taken back. */
export function forgetGranted(stagingDirectory: string): void {
  rmSync(join(stagingDirectory, FILE), { force: true })
}

/** @returns 0 when nothing is granted */
export function grantedUntil(stagingDirectory: string): number {
  const kept = keptJson(join(stagingDirectory, FILE))
  return kept === null ? 0 : shape.parse(kept).untilMs
}
