import { readdirSync, readFileSync } from 'node:fs'
import { sleep } from '../node-world.ts'

/** Marks of other test files that the runner which started this one has under way. */
export function othersOfRun(): string[] {
  const own = process.env.WEFT_TEST_RUN ?? ''
  const run = own.slice(0, own.lastIndexOf('/') + 1)
  const marks = readdirSync('/proc').flatMap((pid) => {
    try {
      const entries = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0')
      return entries.filter((entry) => entry.startsWith(`WEFT_TEST_RUN=${run}`))
    } catch {
      return [] // no process, or one that went while we looked
    }
  })
  return [...new Set(marks)].filter((mark) => mark !== `WEFT_TEST_RUN=${own}`)
}

/** @returns whether it came to be true before so many ms had passed */
export async function comesTrue(look: () => boolean, withinMs: number): Promise<boolean> {
  for (const untilMs = Date.now() + withinMs; Date.now() < untilMs; await sleep(20)) {
    if (look()) return true
  }
  return false
}
