import { FsError, limits } from '../base/index.ts'
import type { Step } from './coordinator.ts'

/** Where a coordinator says which generation it is, and whether it still accepts changes (generation.ts). */
export const GENERATION_KEY = 'coordinator/generation'

const KEY = /^[\x21-\x7e]+$/
const PREFIX = /^[\x21-\x7e]*$/

/** @throws FsError EINVAL: keys are printable ASCII so that every engine orders and shows them alike */
export function checkKey(key: string): void {
  if (!KEY.test(key) || key.length > limits.coordinatorKeyBytesMax)
    refuse(`key ${JSON.stringify(key.slice(0, 80))}: ${keyRule}`)
}

export function checkPrefix(prefix: string): void {
  if (!PREFIX.test(prefix) || prefix.length > limits.coordinatorKeyBytesMax) {
    refuse(`prefix ${JSON.stringify(prefix.slice(0, 80))}: ${keyRule}`)
  }
}

/**
 * The rules of a transaction that hold for every engine. The condition on the generation that a guard adds (guarded.ts) is
 * not counted, so that a guarded coordinator allows as many steps as one without.
 * @throws FsError EINVAL
 */
export function checkSteps(steps: readonly Step[]): void {
  const count = steps.filter(
    ({ key, value }) => key !== GENERATION_KEY || value !== 'unchanged',
  ).length
  if (steps.length === 0) refuse('a transaction without steps')
  if (count > limits.coordinatorStepsMax) {
    refuse(`a transaction of ${count} steps, at most ${limits.coordinatorStepsMax} allowed`)
  }
  const seen = new Set<string>()
  let valueBytes = 0
  for (const { key, expected, value } of steps) {
    checkKey(key)
    if (seen.has(key)) refuse(`key ${key} twice in one transaction`)
    seen.add(key)
    if (!Number.isSafeInteger(expected) || expected < 0)
      refuse(`key ${key}: ${expected} is not a version`)
    if (value === null || value === 'unchanged') continue
    valueBytes += value.length
    // Together, because etcd's bound of 1.5 MiB is one of the whole request.
    if (valueBytes > limits.coordinatorValueBytesMax) {
      refuse(
        `key ${key}: values of ${valueBytes} bytes in one transaction, at most ${limits.coordinatorValueBytesMax} allowed`,
      )
    }
  }
}

/** The steps with their bytes copied: what the caller does to its buffers afterwards changes nothing. */
export function copySteps(steps: readonly Step[]): Step[] {
  return steps.map((step) =>
    Buffer.isBuffer(step.value) ? { ...step, value: Buffer.from(step.value) } : step,
  )
}

const keyRule = `keys are 1 to ${limits.coordinatorKeyBytesMax} printable ASCII characters`

function refuse(message: string): never {
  throw new FsError('EINVAL', 'coordinator.key', { message: `coordinator: ${message}` })
}
