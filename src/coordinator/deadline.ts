import { type Clock, FsError } from '../base/index.ts'

/** The one error of every call after close. */
export function closedError(): FsError {
  return new FsError('ECANCELED', 'coordinator', {
    message: 'coordinator: closed; the node is stopping',
  })
}

/** Said of a transaction that may or may not have been made. */
export const outcomeOpen = 'whether the change was made is not known: read again before deciding'

/** @returns when `ms` from now will have gone by, as gRPC wants it: milliseconds since 1970 */
export function deadlineAfter(clock: Clock, ms: number): number {
  const { sec, nsec } = clock.now()
  return sec * 1000 + nsec / 1e6 + ms
}

/** Fulfilled after `ms`, or at once when the signal is raised. Never rejects. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = () => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.after(ms, done)
    signal.addEventListener('abort', done)
  })
}

/**
 * @param work is given a signal that is raised at the deadline, and with `signal`
 * @throws what `late` makes once `ms` have gone by, whether or not `work` heeds its signal; ECANCELED when `signal` is raised
 */
export async function within<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  late: () => Error,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (signal.aborted) throw closedError()
  const own = new AbortController()
  let abandon = () => {}
  let cancel = () => {}
  try {
    return await new Promise<T>((resolve, reject) => {
      abandon = () => reject(closedError())
      signal.addEventListener('abort', abandon)
      cancel = clock.after(ms, () => reject(late()))
      work(own.signal).then(resolve, reject)
    })
  } finally {
    cancel()
    signal.removeEventListener('abort', abandon)
    own.abort()
  }
}
