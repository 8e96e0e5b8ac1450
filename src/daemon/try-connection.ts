import { type Clock, FsError } from '../base/index.ts'
import { type FreeDrive, type OneViewOptions, openOneView } from '../provision/index.ts'

/** What an appliance said at the first login. */
export interface Tried {
  readonly free: readonly FreeDrive[]
  /** Drives that this cluster's nodes hold. */
  readonly held: number
}

/** Logging in, finding this server and listing what is free takes a large appliance some seconds. */
const TRY_MS = 60_000

/**
 * Log in at an appliance, look for this server and for what it could be given, and log out again. Changes nothing.
 * @param tags of drives that this node has: they have to be known there
 * @throws FsError why it cannot be used; EBUSY when the drives are another frame's
 */
export async function tryConnection(
  options: OneViewOptions,
  tags: readonly string[],
  clock: Clock,
): Promise<Tried> {
  const { url } = options
  const provisioner = await openOneView({ ...options, awayMs: 0 })
  const late = new AbortController()
  const cancel = clock.after(TRY_MS, () => late.abort())
  try {
    const free = await provisioner.free(late.signal)
    const held = await provisioner.held(late.signal)
    const isOther = tags.length > 0 && !held.some(({ tag }) => tags.includes(tag))
    if (!isOther) return { free, held: held.length }
    throw new FsError('EBUSY', 'synergy.connect', {
      url,
      message: `this node has ${tags.length} drives of a frame, and ${url} knows none of them: it is another frame's, or their logical JBODs were deleted`,
      next: 'give them back first (weft synergy release ID), or weft synergy logout --force if that frame is gone for good',
    })
  } catch (error) {
    if (!late.signal.aborted) throw error
    throw new FsError('ETIMEDOUT', 'synergy.connect', {
      url,
      cause: error,
      message: `${url} was reached but has not answered all within ${TRY_MS / 1000} s`,
      next: 'look at the load of the appliance and at the network to it, then try again',
    })
  } finally {
    cancel()
    await provisioner.close()
  }
}
