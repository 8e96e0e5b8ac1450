import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

/**
 * Small things kept beside the staged writes for the next life of the daemon: on tmpfs, so they end with the machine's boot
 * and there is nothing to sync. Whoever dies in the middle of it leaves the one before.
 */
export function keepJson(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** @returns null when nothing is kept there */
export function keptJson(path: string): unknown {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null
}
