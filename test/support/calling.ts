import { text } from 'node:stream/consumers'
import type { Host } from './lab-host.ts'

const ENOUGH = '/run/enough'
/** Condition of a loop of bash that goes on until `enough`. */
export const untilEnough = `until [ -e ${ENOUGH} ]`

/** A script of bash beside. @returns what it said on standard output, once it has ended */
export async function calling(
  host: Host,
  script: string,
  ...args: readonly string[]
): Promise<string> {
  const { stdout } = host.spawn(['bash', '-c', script, 'calls', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (!stdout) throw new Error('a program beside has no standard output')
  return await text(stdout)
}

/** Loops of this host end. */
export async function enough(host: Host): Promise<void> {
  await host.run('touch', ENOUGH)
}
