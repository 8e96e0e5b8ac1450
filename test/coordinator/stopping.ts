import type { Coordinator } from '../../src/coordinator/index.ts'

/**
 * Stops whoever uses the wrapped coordinators at the n-th of all their calls, for good, as a crash would.
 * @param lost whether that call was made before the caller was stopped ('answer') or not ('request')
 * @param instead done at that call in place of stopping; the caller then goes on
 */
export function stopsAt(n: number, lost: 'request' | 'answer', instead?: () => Promise<void>) {
  const error = new Error('stopped here')
  let calls = 0
  const step = async <T>(work: () => Promise<T>): Promise<T> => {
    calls++
    if (calls === n && instead) await instead()
    if (instead || calls < n) return work()
    if (calls === n && lost === 'answer') await work()
    throw error
  }
  return {
    error,
    get reached() {
      return calls >= n
    },
    wrap: (inner: Coordinator): Coordinator => ({
      get: (key) => step(() => inner.get(key)),
      list: (prefix) => step(() => inner.list(prefix)),
      compareAndSet: (key, expected, value) =>
        step(() => inner.compareAndSet(key, expected, value)),
      transaction: (steps) => step(() => inner.transaction(steps)),
      watch: (prefix, onChange) => step(() => inner.watch(prefix, onChange)),
      close: () => inner.close(),
    }),
  }
}
