import { FsError, limits } from '../base/index.ts'
import type { Step } from './coordinator.ts'

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

/** The rules of a transaction that hold for every engine. @throws FsError EINVAL */
export function checkSteps(steps: readonly Step[]): void {
  if (steps.length === 0) refuse('a transaction without steps')
  if (steps.length > limits.coordinatorStepsMax) {
    refuse(`a transaction of ${steps.length} steps, at most ${limits.coordinatorStepsMax} allowed`)
  }
  const seen = new Set<string>()
  for (const { key, expected, value } of steps) {
    checkKey(key)
    if (seen.has(key)) refuse(`key ${key} twice in one transaction`)
    seen.add(key)
    if (!Number.isSafeInteger(expected) || expected < 0)
      refuse(`key ${key}: ${expected} is not a version`)
    if (value !== null && value !== 'unchanged' && value.length > limits.coordinatorValueBytesMax) {
      refuse(
        `key ${key}: value of ${value.length} bytes, at most ${limits.coordinatorValueBytesMax} allowed`,
      )
    }
  }
}

const keyRule = `keys are 1 to ${limits.coordinatorKeyBytesMax} printable ASCII characters`

function refuse(message: string): never {
  throw new FsError('EINVAL', 'coordinator.key', { message: `coordinator: ${message}` })
}
