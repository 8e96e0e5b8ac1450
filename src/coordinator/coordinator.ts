/** One key as it stands: `version` is the number that the last change of this key was given, from 1. */
export interface Entry {
  readonly key: string
  readonly value: Buffer
  readonly version: number
}

/** One condition of a transaction, and what is done to its key when all of them hold. */
export interface Step {
  readonly key: string
  /** Version the key must have now; 0 = the key must be absent. */
  readonly expected: number
  /**
   * New bytes, null to delete, 'unchanged' for a condition alone. All values of one transaction together have at most
   * limits.coordinatorValueBytesMax bytes.
   */
  readonly value: Buffer | null | 'unchanged'
}

/** @property version of the key afterwards when ok (of its deletion, when deleted); else as it stands, 0 when absent */
export interface CasResult {
  readonly ok: boolean
  readonly version: number
}

/** @property versions one per step, in the order of the steps, each as in CasResult */
export interface TransactionResult {
  readonly ok: boolean
  readonly versions: readonly number[]
}

/** What a watcher is told. `value` is null when the key was deleted. */
export interface Change {
  readonly key: string
  readonly value: Buffer | null
  readonly version: number
}

/**
 * Agrees on few and small things: who owns what, which names are taken. Made for any engine with compare-and-set
 * (LMDB on one node; etcd, whose mod_revision is our version).
 *
 * - Reads are linearizable: a `get` sees every change whose promise was fulfilled, anywhere, before the call.
 * - A change is on stable storage before its promise is fulfilled. A promise that rejects with anything but EINVAL
 *   leaves open whether the change was made: the caller reads again before it decides.
 * - Versions grow for ever and per key are never given twice, over delete and create too, so a compare-and-set with
 *   an old version can never hit a younger value. Keys changed by one transaction get the same version.
 * - Buffers that come out belong to the caller; those that go in are copied before the call returns its promise.
 *
 * Keys: 1 to limits.coordinatorKeyBytesMax printable ASCII characters. @throws FsError EINVAL for others, and for a
 * transaction that is empty, too long or names one key twice; ECANCELED after close.
 */
export interface Coordinator {
  get(key: string): Promise<Entry | null>
  /** Every key that begins with `prefix` ('' = all), ordered by key; one consistent state. */
  list(prefix: string): Promise<Entry[]>
  compareAndSet(key: string, expected: number, value: Buffer | null): Promise<CasResult>
  /** All steps or none. */
  transaction(steps: readonly Step[]): Promise<TransactionResult>
  /**
   * Calls back once for each later change below `prefix`, in the order of versions; the promise is fulfilled when the
   * watch is in place, so watch first, then list, and no change is missed. After a break that was longer than an engine
   * keeps changes for, several changes of one key are told as one, the last; a deletion found so has a version between the
   * key's last and its next. Deleting what is absent is no change. @returns cancel: no call comes after it
   */
  watch(prefix: string, onChange: (change: Change) => void): Promise<() => void>
  close(): Promise<void>
}
