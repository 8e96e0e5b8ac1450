import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** A number below `below`. */
export type Draw = (below: number) => number

export type Step = readonly [op: string, ...args: (string | number)[]]

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'ä ö', 'n'.repeat(255)]
const DIRECTORIES = ['', 'p', 'q', 'p/q', 'p/q/p', 'q/p']
const HANDLES = 4
const FILE_BYTES = 1 << 20
const LARGE_BYTES = 6 << 20

/** One step; many fail, then they have to fail alike. No symlink leads out of the tree: steps follow them. */
export function drawStep(draw: Draw): Step {
  const one = <T>(list: readonly T[]): T => list[draw(list.length)] as T
  const path = () => `${one(DIRECTORIES)}/${one(NAMES)}`.replace(/^\//, '')
  const place = () =>
    draw(40) === 0 ? draw(LARGE_BYTES) : draw(4) === 0 ? draw(FILE_BYTES) : draw(20_000)
  const length = () => (draw(60) === 0 ? draw(5 << 20) : draw(8) === 0 ? draw(200_000) : draw(6000))
  const directory = () => one(DIRECTORIES.filter((name) => name !== ''))
  const kinds: readonly (readonly [weight: number, make: () => Step])[] = [
    [14, () => ['write', path(), place(), length(), draw(256)]],
    [8, () => ['append', path(), length(), draw(256)]],
    [4, () => ['create', path(), one([0o644, 0o600, 0o755])]],
    [6, () => ['truncate', path(), place()]],
    [4, () => ['replace', path(), length(), draw(256)]],
    [9, () => ['rename', path(), path()]],
    [2, () => ['rename', directory(), directory()]],
    [2, () => ['exchange', path(), path()]],
    [4, () => ['link', path(), path()]],
    [7, () => ['unlink', path()]],
    [6, () => ['mkdir', directory()]],
    [1, () => ['rmdir', directory()]],
    [1, () => ['rmtree', directory()]],
    [3, () => ['symlink', one(['a', 'p/b', '/dev/null/no', 'x'.repeat(3000)]), path()]],
    [3, () => ['chmod', path(), one([0o644, 0o4755, 0o600, 0o1777, 0o400])]],
    [3, () => ['utimes', path(), 1_000_000_000 + draw(500_000_000), draw(1_000_000_000)]],
    [3, () => ['setxattr', path(), `user.${one(['k', 'l', 'm'])}`, draw(2000), draw(256)]],
    [1, () => ['removexattr', path(), `user.${one(['k', 'l', 'm'])}`]],
    [4, () => ['copy_range', path(), place(), path(), place(), length()]],
    [2, () => ['cp', path(), path()]],
    [3, () => ['allocate', path(), place(), length() + 1]],
    [4, () => ['punch', path(), place(), length() + 1]],
    [4, () => ['open', draw(HANDLES), path()]],
    [5, () => ['pwrite', draw(HANDLES), place(), length(), draw(256)]],
    [4, () => ['pread', draw(HANDLES), place(), length()]],
    [2, () => ['ftruncate', draw(HANDLES), place()]],
    [2, () => ['fsync', draw(HANDLES)]],
    [2, () => ['mapped', path(), draw(20_000), draw(256)]],
    [6, () => ['read', path()]],
    [3, () => ['stat', path()]],
    [2, () => ['list', one(DIRECTORIES)]],
  ]
  let at = draw(kinds.reduce((sum, [weight]) => sum + weight, 0))
  for (const [weight, make] of kinds) {
    at -= weight
    if (at < 0) return make()
  }
  throw new Error('weights are counted wrong')
}

/**
 * Two directories that are to stay alike: what each step does to the one it does to the other, and the answers are
 * compared. Made by one python3, because Node lacks half of the calls.
 */
export class TwinTrees {
  readonly #child: ChildProcess
  readonly #waiting: ((line: string) => void)[] = []
  #ended: string | null = null
  #stderr = ''

  /** @param start runs a program with pipes, where both directories are seen */
  constructor(model: string, tested: string, start = startHere) {
    this.#child = start(['/usr/bin/python3', '-I', '-S', '-c', TWINS, model, tested])
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    this.#child.stdin?.on('error', () => {}) // its end tells
    if (this.#child.stdout) {
      createInterface(this.#child.stdout).on('line', (line) => this.#waiting.shift()?.(line))
    }
    this.#child.on('exit', (code, signal) => {
      this.#ended = `python3 ended with ${signal ?? code}: ${this.#stderr}`
      for (const give of this.#waiting.splice(0)) give(this.#ended)
    })
  }

  /** @returns '' when both did the same, else how they differ */
  do(step: Step): Promise<string> {
    if (this.#ended !== null) return Promise.resolve(this.#ended)
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.#child.stdin?.write(`${JSON.stringify(step)}\n`)
    })
  }

  /** Content, sizes, modes, links, times and attributes of everything. @returns '' when alike */
  compare(): Promise<string> {
    return this.do(['compare'])
  }

  /** Before the tested directory goes away for a while. */
  closeHandles(): Promise<string> {
    return this.do(['close'])
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}

function startHere([program = '', ...args]: readonly string[]): ChildProcess {
  return spawn(program, args, { stdio: 'pipe' })
}

/**
 * A time set by utimes lies before NEW and must be the same on both; any other is that of the call, which was made on
 * both within a moment.
 */
const TWINS = String.raw`
import ctypes, errno, hashlib, json, mmap, os, shutil, stat, subprocess, sys
sys.stdout.reconfigure(line_buffering=True)
libc = ctypes.CDLL(None, use_errno=True)
NEW = 1_600_000_000
NEAR = 60
roots = [os.fsencode(root) for root in sys.argv[1:3]]
handles = [{}, {}]
def c(name, *args):
    if getattr(libc, name)(*args) == -1:
        e = ctypes.get_errno(); raise OSError(e, os.strerror(e))
def data(length, byte):
    return (bytes([byte]) + b'%d,' % byte + bytes(range(256))) * (length // 256 + 1)
def filled(length, byte): return data(length, byte)[:length]
def put(fd, bytes, offset=None):
    n = os.write(fd, bytes) if offset is None else os.pwrite(fd, bytes, offset)
    if n != len(bytes): raise AssertionError(f'short write {n}')
def with_file(path, flags, call):
    fd = os.open(path, flags, 0o644)
    try: return call(fd)
    finally: os.close(fd)
def digest(fd):
    h = hashlib.md5(); n = 0; at = 0
    while chunk := os.pread(fd, 1 << 20, at): h.update(chunk); at += len(chunk)
    return f'{at} {h.hexdigest()}'
def map_write(fd, at, byte):
    size = os.fstat(fd).st_size
    if size == 0: return 'empty'
    with mmap.mmap(fd, size) as m: m[at % size] = byte; m.flush()
def copy(src, at, dst, to, length):
    if not stat.S_ISREG(os.stat(src).st_mode): raise OSError(errno.EINVAL, 'kind')
    def inner(a):
        def outer(b):
            if os.path.samestat(os.fstat(a), os.fstat(b)) : return 'same'
            left = min(length, max(0, os.fstat(a).st_size - at)); done = 0
            while done < left:
                n = os.copy_file_range(a, b, left - done, at + done, to + done)
                if n == 0: break
                done += n
            return done
        return with_file(dst, os.O_RDWR | os.O_CREAT, outer)
    return with_file(src, os.O_RDONLY, inner)
def swap(a, b):
    c('renameat2', -100, a, -100, b, 2)
def handle(side, n): 
    if n not in handles[side]: raise OSError(errno.EBADF, 'handle')
    return handles[side][n]
def do(side, op, args):
    at = lambda name: os.path.join(roots[side], os.fsencode(name)) if name else roots[side]
    a = args
    match op:
        case 'create': return with_file(at(a[0]), os.O_CREAT | os.O_EXCL | os.O_WRONLY, lambda fd: os.fchmod(fd, a[1]))
        case 'write': return with_file(at(a[0]), os.O_CREAT | os.O_WRONLY, lambda fd: put(fd, filled(a[2], a[3]), a[1]))
        case 'append': return with_file(at(a[0]), os.O_CREAT | os.O_WRONLY | os.O_APPEND, lambda fd: put(fd, filled(a[1], a[2])))
        case 'replace': return with_file(at(a[0]), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, lambda fd: put(fd, filled(a[1], a[2])))
        case 'truncate': return os.truncate(at(a[0]), a[1])
        case 'rename': return os.rename(at(a[0]), at(a[1]))
        case 'exchange': return swap(at(a[0]), at(a[1]))
        case 'link': return os.link(at(a[0]), at(a[1]), follow_symlinks=False)
        case 'unlink': return os.unlink(at(a[0]))
        case 'mkdir': return os.mkdir(at(a[0]))
        case 'rmdir': return os.rmdir(at(a[0]))
        case 'rmtree': return shutil.rmtree(at(a[0]))
        case 'symlink': return os.symlink(a[0].encode(), at(a[1]))
        case 'chmod':
            if os.path.islink(at(a[0])): raise OSError(errno.EINVAL, 'symlink')
            return os.chmod(at(a[0]), a[1])
        case 'utimes': return os.utime(at(a[0]), ns=(a[1] * 10**9 + a[2], a[1] * 10**9 + a[2]), follow_symlinks=False)
        case 'setxattr': return os.setxattr(at(a[0]), a[1], filled(a[2], a[3]), follow_symlinks=False)
        case 'removexattr': return os.removexattr(at(a[0]), a[1], follow_symlinks=False)
        case 'copy_range': return copy(at(a[0]), a[1], at(a[2]), a[3], a[4])
        case 'cp':
            if os.path.islink(at(a[0])) or os.path.isdir(at(a[0])) or os.path.isdir(at(a[1])) or os.path.islink(at(a[1])): return 'not a file'
            return subprocess.run(['cp', '--reflink=auto', at(a[0]), at(a[1])], stderr=subprocess.DEVNULL).returncode
        case 'allocate': return with_file(at(a[0]), os.O_RDWR, lambda fd: os.posix_fallocate(fd, a[1], a[2]))
        case 'punch': return with_file(at(a[0]), os.O_RDWR, lambda fd: c('fallocate', fd, 3, ctypes.c_int64(a[1]), ctypes.c_int64(a[2])))
        case 'open':
            if a[0] in handles[side]: os.close(handles[side].pop(a[0]))
            handles[side][a[0]] = os.open(at(a[1]), os.O_RDWR)
        case 'pwrite': return put(handle(side, a[0]), filled(a[2], a[3]), a[1])
        case 'pread': return hashlib.md5(os.pread(handle(side, a[0]), a[2], a[1])).hexdigest()
        case 'ftruncate': return os.ftruncate(handle(side, a[0]), a[1])
        case 'fsync': return os.fsync(handle(side, a[0]))
        case 'mapped': return with_file(at(a[0]), os.O_RDWR, lambda fd: map_write(fd, a[1], a[2]))
        case 'read': return with_file(at(a[0]), os.O_RDONLY, digest)
        case 'stat': s = os.lstat(at(a[0])); return [s.st_mode, s.st_nlink, 0 if stat.S_ISDIR(s.st_mode) else s.st_size]
        case 'list': return sorted(os.fsdecode(name) for name in os.listdir(at(a[0])))
        case 'close':
            for fd in handles[side].values(): os.close(fd)
            handles[side].clear()
        case _: raise AssertionError(op)
def outcome(side, op, args):
    try: return ['ok', do(side, op, args)]
    except OSError as e: return ['errno', errno.errorcode.get(e.errno, e.errno)]
def look(root):
    seen = {}; inodes = {}
    def one(path):
        rel = os.path.relpath(path, root); s = os.lstat(path); kind = stat.S_IFMT(s.st_mode)
        what = {'mode': oct(s.st_mode), 'nlink': s.st_nlink, 'uid': s.st_uid, 'gid': s.st_gid, 'mtime': s.st_mtime_ns}
        if kind == stat.S_IFLNK: what['target'] = os.readlink(path).decode(); what['size'] = s.st_size
        if kind == stat.S_IFREG:
            what['size'] = s.st_size; what['content'] = with_file(path, os.O_RDONLY, digest)
            what['same file as'] = os.fsdecode(inodes.setdefault(s.st_ino, rel))
        if kind != stat.S_IFLNK: what['xattrs'] = sorted([name, hashlib.md5(os.getxattr(path, name)).hexdigest()] for name in os.listxattr(path) if name.startswith('user.'))
        seen[rel] = what
        if kind == stat.S_IFDIR:
            for name in sorted(os.listdir(path)): one(os.path.join(path, name))
    one(root); return seen
def compare():
    model, tested = look(roots[0]), look(roots[1])
    wrong = []
    for name in sorted({*model, *tested}):
        m, t = model.get(name), tested.get(name)
        if m is None or t is None: wrong.append(f'{name!r}: is only in the {"tested tree" if m is None else "model"}'); continue
        mm, tm = m.pop('mtime'), t.pop('mtime')
        alike = mm == tm if mm < NEW * 10**9 else abs(mm - tm) < NEAR * 10**9
        if not alike and name != b'.': wrong.append(f'{name!r}: mtime {tm}, model {mm}')
        for key in m:
            if m[key] != t.get(key): wrong.append(f'{name!r}: {key} {t.get(key)!r}, model {m[key]!r}')
    return '; '.join(wrong[:8])
for line in sys.stdin:
    op, *args = json.loads(line)
    try:
        if op == 'compare': print(json.dumps(compare())[1:-1]); continue
        model = outcome(0, op, args); tested = outcome(1, op, args)
        print('' if model == tested else f'{tested}, model {model}')
    except BaseException as e: print(f'{type(e).__name__}: {e}'.replace('\n', ' '))
`
