import { resolve } from 'node:path'
import type { Host } from './lab-host.ts'

const SUITE = resolve(import.meta.dirname, '../../scripts/posix.js')

/** The posix suite, in a directory of a host. @param names of cases, or parts; default all @returns each failing case, and how many passed */
export async function posixOn(
  host: Host,
  dir: string,
  ...names: readonly string[]
): Promise<string> {
  const { stdout, stderr } = await host.tryRun(process.execPath, SUITE, dir, ...names)
  return stdout + stderr
}
