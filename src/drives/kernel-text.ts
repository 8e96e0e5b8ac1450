import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/**
 * Reading /proc and /sys, where anything may vanish between two looks, with its disk or its process: what cannot be read is
 * as if it had never been there.
 */

/** Names in a directory, none when it is not there. */
export function namesIn(dir: string): string[] {
  return orElse([], () => readdirSync(dir))
}

/** Trimmed; '' when it is not there. */
export function textIn(path: string): string {
  return bytesIn(path).toString().trim()
}

export function bytesIn(path: string): Buffer {
  return orElse(Buffer.alloc(0), () => readFileSync(path))
}

/** Where a link leads, '' when it is not there. */
export function targetOf(link: string): string {
  return orElse('', () => readlinkSync(link))
}

function orElse<T>(otherwise: T, read: () => T): T {
  try {
    return read()
  } catch {
    return otherwise
  }
}
