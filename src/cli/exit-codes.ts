/** What a script can rely on. The same table stands in docs/cli.md. */
export const EXIT = {
  /** Done. */
  ok: 0,
  /** Failed for a reason that has no number of its own. */
  failed: 1,
  /** The command line, or a value in it, is wrong. Nothing was tried. */
  usage: 2,
  /** No node runs on this home. */
  notRunning: 3,
  /** What was named is not there. */
  notFound: 4,
  /** Refused in this state: busy, exists already, not empty, read-only. */
  refused: 5,
  /** Not allowed: rights, a locked volume, a key or passphrase that does not fit. */
  permission: 6,
  /** Checked, and damage was found that is still there. */
  damage: 7,
  /** No space: a drive or a quota is full. */
  full: 8,
  /** No answer in time. */
  timeout: 9,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const satisfies Record<string, number>

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** Exit code of each errno name the node answers with; others are `failed`. */
const BY_CODE: Readonly<Record<string, ExitCode>> = {
  EINVAL: EXIT.usage,
  E2BIG: EXIT.usage,
  ERANGE: EXIT.usage,
  ENAMETOOLONG: EXIT.usage,
  ENOTDIR: EXIT.usage,
  ENOENT: EXIT.notFound,
  EBUSY: EXIT.refused,
  EEXIST: EXIT.refused,
  ENOTEMPTY: EXIT.refused,
  EROFS: EXIT.refused,
  EAGAIN: EXIT.refused,
  EADDRINUSE: EXIT.refused,
  EPERM: EXIT.permission,
  EACCES: EXIT.permission,
  ENOKEY: EXIT.permission,
  EKEYREJECTED: EXIT.permission,
  EUCLEAN: EXIT.damage,
  ENOSPC: EXIT.full,
  EDQUOT: EXIT.full,
  ETIMEDOUT: EXIT.timeout,
  EHOSTUNREACH: EXIT.timeout,
}

export function exitCodeOf(code: string): ExitCode {
  return BY_CODE[code] ?? EXIT.failed
}

/**
 * mount(8) reads a helper's exit code by a table of its own: 1 wrong invocation or rights, 2 system error, 32 mount failure.
 * Source: man 8 mount, EXIT STATUS.
 */
export function mountHelperCode(exit: ExitCode): number {
  if (exit === EXIT.ok) return 0
  return exit === EXIT.usage || exit === EXIT.permission ? 1 : 32
}
