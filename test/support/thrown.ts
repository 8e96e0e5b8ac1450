import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'

/** The FsError that this ends with; anything else is red. */
export async function thrownBy(work: Promise<unknown> | (() => unknown)): Promise<FsError> {
  let error: unknown = null
  try {
    await (typeof work === 'function' ? work() : work)
  } catch (thrown) {
    error = thrown
  }
  assert.instance(error, FsError, `expected an FsError, got ${error}`)
  return error as FsError
}
