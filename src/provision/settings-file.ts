import { z } from 'zod'
import { CorruptError } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import { type PolicySettings, usualSettings } from './settings.ts'

/** Version 2 has drives that stand ready; without them the file is written as version 1, which older builds read. */
const FORMAT = 2

const fileShape = z.strictObject({
  version: z.union([z.literal(1), z.literal(FORMAT)]),
  settings: z.strictObject({
    enabled: z.boolean(),
    dryRun: z.boolean(),
    growAtPercent: z.int().min(1).max(99),
    shrinkAtPercent: z.int().min(0).max(99),
    reserve: z.union([z.enum(['one-node', 'none']), z.int().min(0)]),
    maxDrives: z.int().min(1),
    budgetPerDay: z.int().min(1),
    coolDownMs: z.int().min(0),
    readyDrives: z.int().min(0).default(0),
  }),
})

/** The usual ones when none were set. @throws CorruptError for a file that is damaged or of a newer build */
export function readSettings(disk: Disk, path: string): PolicySettings {
  if (!disk.exists(path)) return usualSettings
  try {
    return fileShape.parse(JSON.parse(disk.readFile(path).toString())).settings
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof z.ZodError)) throw error
    throw new CorruptError(
      `${path}: damaged, or of a newer weft; move it away and give the settings again with \`weft policy set\``,
      { path },
      error,
    )
  }
}

/** On stable storage when it returns. */
export function writeSettings(disk: Disk, path: string, settings: PolicySettings): void {
  const { readyDrives, ...before } = settings
  const file = readyDrives === 0 ? { version: 1, settings: before } : { version: FORMAT, settings }
  disk.replaceFile(path, Buffer.from(`${JSON.stringify(file, null, 1)}\n`))
}
