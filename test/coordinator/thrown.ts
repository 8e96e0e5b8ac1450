import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'

/** The FsError that this ends with; anything else is red. */
export async function thrownBy(work: Promise<unknown>): Promise<FsError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, FsError, `expected an FsError, got ${error}`)
  return error as FsError
}
