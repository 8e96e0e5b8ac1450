import { FsError } from '../base/index.ts'

/**
 * Chooses a place for a copy; who did not answer may be why there is none.
 * @param silent nodes that did not say what drives they have, each with the reason
 * @throws what `choose` throws, naming them
 */
export function withSilent<T>(silent: readonly string[], choose: () => T): T {
  try {
    return choose()
  } catch (error) {
    if (!(error instanceof FsError) || silent.length === 0) throw error
    const message = `${error.message}; not answering: ${silent.join(', ')}`
    throw new FsError(error.code, error.op, { ...error.subject, message })
  }
}
