import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'

/** Polls with a deadline. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = 5000,
): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > deadline) assert.unreachable(`not within ${ms} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export async function thrownBy(work: Promise<unknown>): Promise<FsError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, FsError, `expected an FsError, got ${error}`)
  return error as FsError
}
