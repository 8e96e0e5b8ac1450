import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'

/** The FsError that this ends with; anything else is red. */
export async function thrownBy(work: () => unknown): Promise<FsError> {
  let error: unknown = null
  try {
    await work()
  } catch (thrown) {
    error = thrown
  }
  assert.instance(error, FsError, `expected an FsError, got ${error}`)
  return error as FsError
}
