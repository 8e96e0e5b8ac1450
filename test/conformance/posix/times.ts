import type { Area } from './place.ts'

/** Prelude of every case here: times of a path, and which of them a call moved. */
const TIMES = String.raw`
def times(path):
    s = os.lstat(path); return {'a': s.st_atime_ns, 'm': s.st_mtime_ns, 'c': s.st_ctime_ns}
def moved(call, *paths):
    before = [times(p) for p in paths]; tick(); call(); out = []
    for p, b in zip(paths, before):
        after = times(p)
        if after['c'] < b['c']: raise AssertionError(f'ctime of {p} went back')
        out.append(''.join(k for k in 'mc' if after[k] != b[k]))
    return out if len(out) > 1 else out[0]
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
class Timespec(ctypes.Structure): _fields_ = [('sec', ctypes.c_long), ('nsec', ctypes.c_long)]
def utimensat(path, a, m): c('utimensat', AT_FDCWD, path, (Timespec * 2)(Timespec(*a), Timespec(*m)), 0)
`

const area = (cases: Readonly<Record<string, string>>): Area =>
  Object.fromEntries(
    Object.entries(cases).map(([title, script]) => [
      title,
      (at) => {
        at.python(TIMES + script)
      },
    ]),
  )

/** Which call touches which time, and that each time is kept as it was given. */
export const times: Area = area({
  'access and modification time keep their nanoseconds, each its own': String.raw`
put('f'); os.mkdir('d')
for p in ('f', 'd'):
    os.utime(p, ns=(1234567890123456789, 987654321987654321)); t = times(p)
    eq((t['a'], t['m']), (1234567890123456789, 987654321987654321), p)
`,

  'times before 1970, after 2038 and after 2106 are kept': String.raw`
put('f')
for s in (-1, -86400 * 365, -2**31 + 1, 2**31, 2**32 + 5, 7258118400):
    for ns in (0, 1, 999999999):
        want = s * 10**9 + ns; os.utime('f', ns=(want, want + 1)); t = times('f')
        eq((t['a'], t['m']), (want, want + 1), str(s))
`,

  'UTIME_OMIT leaves a time alone': String.raw`
put('f'); os.utime('f', ns=(111, 222))
utimensat(b'f', (0, UTIME_OMIT), (3, 4)); t = times('f'); eq((t['a'], t['m']), (111, 3 * 10**9 + 4))
utimensat(b'f', (5, 6), (0, UTIME_OMIT)); t = times('f'); eq((t['a'], t['m']), (5 * 10**9 + 6, 3 * 10**9 + 4))
c0 = times('f')['c']; tick(); utimensat(b'f', (0, UTIME_OMIT), (0, UTIME_OMIT)); eq(times('f')['c'], c0, 'both omitted')
`,

  'UTIME_NOW sets the present time': String.raw`
put('f'); os.utime('f', ns=(111, 222)); lo = time.time_ns() - 10**9
utimensat(b'f', (0, UTIME_OMIT), (0, UTIME_NOW)); t = times('f'); eq(t['a'], 111)
if not lo <= t['m'] <= time.time_ns() + 10**9: raise AssertionError(t)
os.utime('f'); t = times('f')
if not all(lo <= t[k] <= time.time_ns() + 10**9 for k in 'amc'): raise AssertionError(t)
`,

  'setting times moves ctime to the present': String.raw`
put('f'); lo = time.time_ns() - 10**9
eq(moved(lambda: os.utime('f', ns=(1, 1)), 'f'), 'mc')
if times('f')['c'] < lo: raise AssertionError('ctime can not be set')
`,

  'a nanosecond outside its range is refused': String.raw`
put('f'); fails('EINVAL', utimensat, b'f', (0, 10**9), (0, 0)); fails('EINVAL', utimensat, b'f', (0, 0), (0, -1))
`,

  'a new file has one time, the present, and touches its directory': String.raw`
lo = time.time_ns() - 10**9
for make in (lambda: put('f'), lambda: os.mkdir('d'), lambda: os.symlink('x', 's'), lambda: os.mkfifo('p')):
    eq(moved(make, '.'), 'mc')
for p in ('f', 'd', 's', 'p'):
    t = times(p)
    if not all(lo <= t[k] <= time.time_ns() + 10**9 for k in 'amc'): raise AssertionError((p, t))
`,

  'write moves mtime and ctime of the file, not of its directory': String.raw`
put('f', b'x'); fd = os.open('f', os.O_RDWR)
eq(moved(lambda: os.write(fd, b'y'), 'f', '.'), ['mc', ''])
eq(moved(lambda: os.pwrite(fd, b'y', 0), 'f'), 'mc')
`,

  'a write is seen in mtime by fstat before close and by stat after': String.raw`
put('f', b'x'); os.utime('f', ns=(1, 1)); fd = os.open('f', os.O_RDWR); os.write(fd, b'y')
m = os.fstat(fd).st_mtime_ns; eq(m > 10**18, True); eq(times('f')['m'], m); os.close(fd)
tick(); eq(times('f')['m'] - m < 10**7, True, 'close does not write')
`,

  'times set after a write stay through fsync and close': String.raw`
fd = os.open('f', os.O_CREAT | os.O_RDWR); os.write(fd, b'x' * 100000); os.utime(fd, ns=(1000, 2000))
t = times('f'); eq((t['a'], t['m']), (1000, 2000)); os.fsync(fd); eq(times('f')['m'], 2000, 'fsync'); os.close(fd)
tick(); eq(times('f')['m'], 2000, 'close'); os.sync(); eq(times('f')['m'], 2000, 'sync')
`,

  'read moves neither mtime nor ctime': String.raw`
put('f', b'x' * 10000); os.mkdir('d'); put('d/x')
eq(moved(lambda: get('f'), 'f'), ''); eq(moved(lambda: os.listdir('d'), 'd'), ''); os.symlink('f', 's'); eq(moved(lambda: os.readlink('s'), 's'), '')
`,

  'chmod and chown move ctime alone': String.raw`
put('f'); os.mkdir('d')
for p in ('f', 'd'):
    eq(moved(lambda: os.chmod(p, 0o700), p, '.'), ['c', '']); eq(moved(lambda: os.chown(p, 1, 1), p, '.'), ['c', ''])
`,

  'link and unlink move ctime of the file and both times of the directory': String.raw`
put('f'); os.mkdir('d')
eq(moved(lambda: os.link('f', 'd/g'), 'f', 'd', '.'), ['c', 'mc', ''])
eq(moved(lambda: os.unlink('d/g'), 'f', 'd', '.'), ['c', 'mc', ''])
`,

  'mkdir and rmdir touch the parent': String.raw`
os.mkdir('p'); eq(moved(lambda: os.mkdir('p/d'), 'p', '.'), ['mc', '']); eq(moved(lambda: os.rmdir('p/d'), 'p', '.'), ['mc', ''])
`,

  'rename touches both directories and keeps the mtime of what moves': String.raw`
os.mkdir('a'); os.mkdir('b'); put('a/f')
eq(moved(lambda: os.rename('a/f', 'b/f'), 'a', 'b'), ['mc', 'mc'])
m = times('b/f')['m']; tick(); os.rename('b/f', 'a/f'); eq(times('a/f')['m'], m)
`,

  'truncate to another size moves mtime and ctime': String.raw`
put('f', b'x' * 100); fd = os.open('f', os.O_RDWR)
eq(moved(lambda: os.truncate('f', 10), 'f'), 'mc'); eq(moved(lambda: os.ftruncate(fd, 200), 'f'), 'mc')
eq(moved(lambda: os.close(os.open('f', os.O_WRONLY | os.O_TRUNC)), 'f'), 'mc')
`,

  'opening without writing moves nothing': String.raw`
put('f', b'x'); eq(moved(lambda: os.close(os.open('f', os.O_RDWR)), 'f', '.'), ['', ''])
eq(moved(lambda: os.close(os.open('f', os.O_CREAT | os.O_RDWR)), 'f', '.'), ['', ''])
`,

  'a failed call moves nothing': String.raw`
put('f'); os.mkdir('d'); put('d/x')
def nothing():
    fails('EEXIST', os.mkdir, 'd'); fails('EEXIST', os.link, 'f', 'd'); fails('ENOTEMPTY', os.rmdir, 'd'); fails('EISDIR', os.unlink, 'd')
eq(moved(nothing, '.', 'f', 'd'), ['', '', ''])
`,

  'the birth time is the first moment and stays': String.raw`
import subprocess
birth = lambda p: subprocess.run(['stat', '-c', '%.9W', p], capture_output=True, text=True, check=True).stdout.strip()
put('f'); b = birth('f'); s = float(b)
if not time.time() - 60 < s <= time.time() + 1: raise AssertionError(b)
tick(); os.utime('f', ns=(1, 1)); put('f', b'more'); os.chmod('f', 0o600); os.rename('f', 'g'); eq(birth('g'), b)
`,

  'mtime never goes back while a file is written': String.raw`
fd = os.open('f', os.O_CREAT | os.O_RDWR); last = 0
for i in range(300):
    os.write(fd, b'x'); m = os.fstat(fd).st_mtime_ns
    if m < last: raise AssertionError(f'{last} then {m}')
    last = m
`,

  'only the owner sets times; who may write may set them to now': String.raw`
os.chmod('.', 0o777); put('f'); os.chown('f', 2000, 2000); os.chmod('f', 0o666); put('g'); os.chmod('g', 0o644)
as_user(lambda: fails('EPERM', os.utime, 'f', ns=(1, 1)))
as_user(lambda: os.utime('f'))
as_user(lambda: fails('EACCES', os.utime, 'g')); as_user(lambda: fails('EPERM', os.utime, 'g', ns=(1, 1)))
as_user(lambda: os.utime('f', ns=(7, 8)), uid=2000); t = times('f'); eq((t['a'], t['m']), (7, 8))
`,
})
