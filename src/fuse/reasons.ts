import { type Clock, codeOf, FsError, messageOf } from '../base/index.ts'
import type { Reason } from './worker-protocol.ts'

/**
 * Errors that say all there is to say, or that programs provoke to learn something. Any other answer leaves a reason behind,
 * which `weft why` shows.
 */
const ORDINARY: ReadonlySet<string> = new Set(
  `E2BIG EACCES EAGAIN EBADF EEXIST EFBIG EINTR EINVAL EISDIR ELOOP EMLINK ENAMETOOLONG ENODATA ENOENT ENOSYS ENOTDIR ENOTEMPTY
   ENOTTY ENXIO EOPNOTSUPP ERANGE ETXTBSY EXDEV`.split(/\s+/),
)
/** The same is not told again for so long: a program that writes on at ENOSPC meets thousands of it. */
const REPEAT_MS = 1000

/** What one thread answers, told to the main thread where it is out of the ordinary. */
export class Reasons {
  readonly #clock: Clock
  readonly #tell: (reason: Reason) => void
  #last = ''
  #lastMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, tell: (reason: Reason) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  /** @param error that a request about an inode of a volume is answered with; volume 0 is the namespace's root */
  note(error: unknown, { number, ino, op }: Pick<Reason, 'number' | 'ino' | 'op'>): void {
    const code = codeOf(error) || 'EIO'
    if (ORDINARY.has(code)) return
    const key = `${number}/${ino} ${op} ${code}`
    const now = this.#clock.monotonicMs()
    if (key === this.#last && now - this.#lastMs < REPEAT_MS) return
    this.#last = key
    this.#lastMs = now
    const next = error instanceof FsError ? error.subject.next : undefined
    const known = typeof next === 'string' ? next : ''
    this.#tell({ number, ino, op, code, why: messageOf(error), next: known })
  }
}
