import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What a filesystem may lack without being wrong. A case that meets a `false` asserts the refusal instead; nothing is skipped. */
export interface PosixOptions {
  /** FALLOC_FL_ZERO_RANGE; without it EOPNOTSUPP (tmpfs has none). */
  readonly zeroRange: boolean
  /** O_DIRECT; without it open says EINVAL (tmpfs before Linux 6.6). */
  readonly directIo: boolean
  /**
   * SEEK_DATA and SEEK_HOLE know every hole; without it all is data up to the end, which POSIX allows. A FUSE mount with writeback
   * cache can not know: the kernel asks the server without writing its dirty pages first (fs/fuse/file.c, fuse_lseek), so a server
   * that answered from what it has would report fresh data as a hole.
   */
  readonly exactHoles: boolean
  /** user.* attributes; without them EOPNOTSUPP (tmpfs before Linux 6.6). */
  readonly userXattrs: boolean
}

export type CaseBody = (at: Place) => void | Promise<void>

/** An area's cases: titles are sentences about behaviour. */
export type Area = Readonly<Record<string, CaseBody>>

/** Where one case works: a fresh directory that anyone may enter, and ways to act on it. */
export class Place {
  readonly dir: string
  readonly options: PosixOptions

  constructor(base: string, options: PosixOptions) {
    this.dir = mkdtempSync(join(base, 'posix-'))
    this.options = options
    chmodSync(this.dir, 0o755)
  }

  path(...names: readonly string[]): string {
    return join(this.dir, ...names)
  }

  /** A file below the place; the path comes back. */
  file(name: string, content: string | Buffer = ''): string {
    const path = this.path(name)
    writeFileSync(path, content)
    return path
  }

  /** What coreutils or util-linux print. @throws when the command does not exit 0 */
  sh(command: string, ...args: readonly string[]): string {
    return execFileSync(command, args, {
      cwd: this.dir,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    })
  }

  /**
   * Calls that Node does not offer, made by Debian's python3 in the place's directory; PRELUDE says what it may use.
   * @throws with the traceback when an expectation does not hold
   */
  python(script: string, ...args: readonly string[]): string {
    const { status, signal, stdout, stderr } = spawnSync(
      '/usr/bin/python3',
      ['-I', '-S', '-c', PRELUDE + script, ...args],
      { cwd: this.dir, encoding: 'utf8', timeout: 30_000, killSignal: 'SIGKILL' },
    )
    if (status !== 0)
      throw new Error(
        `python3 ended with ${signal ?? status}\n${stderr.split('\n').slice(-12).join('\n')}`,
      )
    return stdout
  }

  close(): void {
    rmSync(this.dir, { recursive: true, maxRetries: 3 })
  }
}

/**
 * eq: both are the same · fails: the call says that errno · as_user: the function in a child with these ids and no capabilities ·
 * child: the function in a child that runs beside us; its result is awaited by join · tick: longer than the coarsest clock of a kernel.
 */
const PRELUDE = String.raw`
import ctypes, errno, fcntl, mmap, os, signal, stat, struct, sys, time
os.umask(0o022)
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
def eq(got, want, what=''):
    if got != want: raise AssertionError(f'{what} got {got!r}, want {want!r}')
def fails(code, call, *args, **named):
    try: got = call(*args, **named)
    except OSError as e:
        if e.errno != getattr(errno, code):
            raise AssertionError(f'said {errno.errorcode.get(e.errno)}, want {code}') from e
    else: raise AssertionError(f'gave {got!r}, want {code}')
def c(name, *args):
    got = getattr(libc, name)(*args)
    if got == -1: e = ctypes.get_errno(); raise OSError(e, os.strerror(e))
    return got
def child(call):
    sys.stderr.flush(); pid = os.fork()
    if pid: return pid
    libc.prctl(1, signal.SIGKILL) # PR_SET_PDEATHSIG: a failed case leaves no process
    code = 1
    try: call(); code = 0
    except BaseException: import traceback; traceback.print_exc()
    finally: sys.stderr.flush(); os._exit(code)
def join(pid, code=0):
    _, status = os.waitpid(pid, 0)
    eq(os.waitstatus_to_exitcode(status), code, 'exit of child')
def as_user(call, uid=1000, gid=1000, groups=()):
    def run():
        os.setgroups(list(groups)); os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid); call()
    join(child(run))
def put(path, data=b'', mode=0o644):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode); os.write(fd, data); os.close(fd)
def get(path):
    fd = os.open(path, os.O_RDONLY); out = b''
    while chunk := os.read(fd, 1 << 20): out += chunk
    os.close(fd); return out
def tick(): time.sleep(0.02)
def until(call, what, seconds=10):
    end = time.monotonic() + seconds
    while not call():
        if time.monotonic() > end: raise AssertionError(f'never: {what}')
        time.sleep(0.005)
`

/** The call must throw with that code. */
export function fails(code: string, call: () => unknown): void {
  let got: unknown
  try {
    got = call()
  } catch (error) {
    const seen = (error as NodeJS.ErrnoException).code
    if (seen !== code) throw new Error(`said ${seen}, want ${code}`, { cause: error })
    return
  }
  throw new Error(`gave ${String(got)}, want ${code}`)
}

export const inoOf = (path: string): bigint => statSync(path, { bigint: true }).ino
export const textOf = (path: string): string => readFileSync(path, 'utf8')
