import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import * as assert from 'uvu/assert'
import { type Area, fails, inoOf, textOf } from './place.ts'

/** Opening, reading, writing, truncating; what an open file keeps when its name goes. */
export const files: Area = {
  'open of a missing file says ENOENT': (at) => {
    fails('ENOENT', () => openSync(at.path('none'), 'r'))
    fails('ENOENT', () => openSync(at.path('none/file'), 'w'))
  },

  'O_EXCL refuses a name that exists, a dangling symlink too': (at) => {
    at.file('there')
    symlinkSync('nowhere', at.path('dangling'))
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY
    fails('EEXIST', () => openSync(at.path('there'), flags))
    fails('EEXIST', () => openSync(at.path('dangling'), flags))
    closeSync(openSync(at.path('fresh'), flags))
    fails('ENOENT', () => statSync(at.path('nowhere')))
  },

  'O_CREAT through a dangling symlink makes its target': (at) => {
    symlinkSync('target', at.path('link'))
    at.file('link', 'x')
    assert.is(textOf(at.path('target')), 'x')
  },

  'O_EXCL lets one of many racing processes create the file': (at) => {
    at.python(String.raw`
r, w = os.pipe()
def race():
    try: os.close(os.open('one', os.O_CREAT | os.O_EXCL | os.O_WRONLY)); os.write(w, b'x')
    except FileExistsError: pass
pids = [child(race) for _ in range(8)]
for pid in pids: join(pid)
eq(os.read(r, 100), b'x', 'winners')
`)
  },

  'O_TRUNC empties the file and keeps the inode': (at) => {
    const path = at.file('f', 'some text')
    const before = inoOf(path)
    closeSync(openSync(path, constants.O_WRONLY | constants.O_TRUNC))
    assert.is(statSync(path).size, 0)
    assert.is(inoOf(path), before)
  },

  'O_TRUNC empties what another open file sees': (at) => {
    const path = at.file('f', 'some text')
    const fd = openSync(path, 'r')
    try {
      closeSync(openSync(path, 'w'))
      assert.is(fstatSync(fd).size, 0)
      assert.is(readSync(fd, Buffer.alloc(10), 0, 10, 0), 0)
    } finally {
      closeSync(fd)
    }
  },

  'O_APPEND writes at the end, whatever the position says': (at) => {
    const path = at.file('f', 'one')
    const fd = openSync(path, 'a')
    try {
      writeSync(fd, 'two')
      truncateSync(path, 4)
      // pwrite on an append descriptor appends as well: man 2 pwrite, BUGS.
      writeSync(fd, 'three', 0)
    } finally {
      closeSync(fd)
    }
    assert.is(textOf(path), 'onetthree')
  },

  'appends of several processes lose and mix nothing': (at) => {
    at.python(String.raw`
def work(n):
    fd = os.open('log', os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    for i in range(200): eq(os.write(fd, f'{n} {i:05d} '.encode().ljust(99, b'.') + b'\n'), 100)
    os.close(fd)
pids = [child(lambda n=n: work(n)) for n in range(4)]
for pid in pids: join(pid)
lines = get('log').decode().splitlines()
eq(len(lines), 800)
eq(sorted((int(l.split()[0]), int(l.split()[1])) for l in lines), [(n, i) for n in range(4) for i in range(200)])
for n in range(4): eq([int(l.split()[1]) for l in lines if l.startswith(f'{n} ')], list(range(200)), 'order')
`)
  },

  'a descriptor opened for one direction refuses the other': (at) => {
    const path = at.file('f', 'x')
    const reading = openSync(path, 'r')
    const writing = openSync(path, constants.O_WRONLY)
    try {
      fails('EBADF', () => writeSync(reading, 'y'))
      fails('EBADF', () => readSync(writing, Buffer.alloc(1)))
      fails('EINVAL', () => ftruncateSync(reading, 0))
    } finally {
      closeSync(reading)
      closeSync(writing)
    }
  },

  'a directory is not opened for writing, a file not as a directory': (at) => {
    mkdirSync(at.path('d'))
    at.file('f')
    fails('EISDIR', () => openSync(at.path('d'), 'r+'))
    fails('ENOTDIR', () => openSync(at.path('f'), constants.O_DIRECTORY))
    fails('ENOTDIR', () => openSync(at.path('f/x'), 'r'))
    fails('ENOTDIR', () => openSync(`${at.path('f')}/`, 'r'))
    fails('EISDIR', () => openSync(`${at.path('new')}/`, 'w'))
  },

  'a file with mode 0 is written through the descriptor that made it': (at) => {
    const fd = openSync(at.path('f'), constants.O_CREAT | constants.O_RDWR, 0)
    try {
      writeSync(fd, 'text')
      assert.is(fstatSync(fd).mode & 0o7777, 0)
    } finally {
      closeSync(fd)
    }
    assert.is(textOf(at.path('f')), 'text')
  },

  'reading at and past the end gives nothing': (at) => {
    const fd = openSync(at.file('f', 'abc'), 'r')
    try {
      const into = Buffer.alloc(10)
      assert.is(readSync(fd, into, 0, 10, 1), 2)
      assert.is(into.toString('utf8', 0, 2), 'bc')
      assert.is(readSync(fd, into, 0, 10, 3), 0)
      assert.is(readSync(fd, into, 0, 10, 1_000_000), 0)
    } finally {
      closeSync(fd)
    }
  },

  'a gap between old end and new data reads as zeros': (at) => {
    const path = at.file('f', 'abc')
    const fd = openSync(path, 'r+')
    try {
      writeSync(fd, 'end', 1_000_003)
    } finally {
      closeSync(fd)
    }
    const want = Buffer.alloc(1_000_006)
    want.write('abc', 0)
    want.write('end', 1_000_003)
    assert.ok(readFileSync(path).equals(want))
  },

  'truncate down and up again shows zeros, not the old bytes': (at) => {
    for (const keep of [0, 1, 4095, 4096, 4097, 70_000]) {
      const path = at.file('f', Buffer.alloc(200_000, 'x'))
      truncateSync(path, keep)
      assert.is(statSync(path).size, keep)
      truncateSync(path, 200_000)
      const want = Buffer.alloc(200_000)
      want.fill('x', 0, keep)
      assert.ok(readFileSync(path).equals(want), `kept ${keep}`)
    }
  },

  'truncate by descriptor works on a file that lost its name': (at) => {
    const path = at.file('f', 'abcdef')
    const fd = openSync(path, 'r+')
    try {
      unlinkSync(path)
      ftruncateSync(fd, 3)
      assert.is(fstatSync(fd).size, 3)
      ftruncateSync(fd, 5)
      const into = Buffer.alloc(10)
      assert.is(readSync(fd, into, 0, 10, 0), 5)
      assert.is(into.toString('latin1', 0, 5), 'abc\0\0')
    } finally {
      closeSync(fd)
    }
  },

  'truncate refuses a directory and a negative length': (at) => {
    mkdirSync(at.path('d'))
    at.file('f')
    fails('EISDIR', () => truncateSync(at.path('d'), 0))
    at.python("fails('EINVAL', os.truncate, 'f', -1)")
  },

  'a write past the end after truncate leaves zeros between': (at) => {
    const path = at.file('f', Buffer.alloc(10_000, 'x'))
    const fd = openSync(path, 'r+')
    try {
      ftruncateSync(fd, 100)
      writeSync(fd, 'y', 5000)
    } finally {
      closeSync(fd)
    }
    const want = Buffer.alloc(5001)
    want.fill('x', 0, 100)
    want.write('y', 5000)
    assert.ok(readFileSync(path).equals(want))
  },

  'an open file without a name keeps its data and takes more': (at) => {
    const path = at.file('f', 'before')
    const fd = openSync(path, 'r+')
    try {
      unlinkSync(path)
      assert.is(fstatSync(fd).nlink, 0)
      writeSync(fd, ' after', 6)
      const into = Buffer.alloc(20)
      assert.is(into.toString('utf8', 0, readSync(fd, into, 0, 20, 0)), 'before after')
      fsyncSync(fd)
      fails('ENOENT', () => statSync(path))
    } finally {
      closeSync(fd)
    }
  },

  'a name is free again while the unlinked file is open': (at) => {
    const path = at.file('f', 'old')
    const fd = openSync(path, 'r')
    try {
      unlinkSync(path)
      at.file('f', 'new!')
      assert.is(fstatSync(fd).size, 3)
      assert.is(statSync(path).size, 4)
      assert.is.not(inoOf(path), fstatSync(fd, { bigint: true }).ino)
    } finally {
      closeSync(fd)
    }
  },

  'rename over an open file keeps the old data readable': (at) => {
    const target = at.file('target', 'old')
    const fd = openSync(target, 'r')
    try {
      renameSync(at.file('fresh', 'new'), target)
      const into = Buffer.alloc(10)
      assert.is(into.toString('utf8', 0, readSync(fd, into, 0, 10, 0)), 'old')
      assert.is(fstatSync(fd).nlink, 0)
      assert.is(textOf(target), 'new')
    } finally {
      closeSync(fd)
    }
  },

  'an open file follows its rename and its directory': (at) => {
    mkdirSync(at.path('d'))
    const fd = openSync(at.file('d/f', 'one'), 'r+')
    try {
      renameSync(at.path('d/f'), at.path('d/g'))
      renameSync(at.path('d'), at.path('e'))
      writeSync(fd, 'two', 3)
    } finally {
      closeSync(fd)
    }
    assert.is(textOf(at.path('e/g')), 'onetwo')
  },

  'what one descriptor wrote another one reads at once': (at) => {
    const path = at.file('f')
    const writing = openSync(path, 'r+')
    const reading = openSync(path, 'r')
    try {
      const into = Buffer.alloc(8)
      for (let i = 0; i < 50; i++) {
        writeSync(writing, String(i).padStart(8, '0'), i * 8)
        assert.is(fstatSync(reading).size, i * 8 + 8)
        assert.is(readSync(reading, into, 0, 8, i * 8), 8)
        assert.is(into.toString(), String(i).padStart(8, '0'))
      }
    } finally {
      closeSync(writing)
      closeSync(reading)
    }
  },

  'what one process wrote another one reads at once': (at) => {
    at.python(String.raw`
fd = os.open('f', os.O_CREAT | os.O_RDWR)
go, tell = os.pipe(), os.pipe()
def reader():
    for i in range(30):
        os.read(go[0], 1)
        eq(get('f'), b''.join(b'%08d' % k for k in range(i + 1)))
        os.write(tell[1], b'x')
pid = child(reader)
for i in range(30):
    os.write(fd, b'%08d' % i); os.write(go[1], b'x')
    until(lambda: __import__('select').select([tell[0]], [], [], 0.1)[0] or os.waitpid(pid, os.WNOHANG)[0], 'answer')
    os.read(tell[0], 1)
join(pid)
`)
  },

  'overlapping writes of odd sizes leave what a model leaves': (at) => {
    const size = 3 * 1024 * 1024
    const model = Buffer.alloc(size)
    const path = at.file('f')
    const fd = openSync(path, 'r+')
    try {
      let seed = 12345
      const next = (below: number) => {
        seed = (seed * 1103515245 + 12345) % 2147483648
        return Math.floor((seed / 2147483648) * below)
      }
      ftruncateSync(fd, size)
      for (let i = 0; i < 300; i++) {
        const length = 1 + next(i % 10 === 0 ? 300_000 : 9000)
        const offset = next(size - length)
        const data = Buffer.alloc(length, 1 + (i % 255))
        assert.is(writeSync(fd, data, 0, length, offset), length)
        data.copy(model, offset)
        if (i % 50 === 0) fdatasyncSync(fd)
        const from = next(size - 5000)
        const seen = Buffer.alloc(5000)
        readSync(fd, seen, 0, 5000, from)
        assert.ok(seen.equals(model.subarray(from, from + 5000)), `read after write ${i}`)
      }
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    assert.ok(readFileSync(path).equals(model))
  },

  'a large write arrives whole': (at) => {
    const data = Buffer.alloc(12 * 1024 * 1024 + 17)
    for (let i = 0; i < data.length; i += 4) data.writeUInt32LE(i, Math.min(i, data.length - 4))
    const path = at.file('f', data)
    assert.ok(readFileSync(path).equals(data))
  },

  'an empty write changes neither size nor mtime': (at) => {
    at.python(String.raw`
put('f', b'abc'); os.utime('f', ns=(5, 7))
fd = os.open('f', os.O_RDWR); eq(os.pwrite(fd, b'', 100), 0); os.close(fd)
s = os.stat('f'); eq((s.st_size, s.st_mtime_ns), (3, 7))
`)
  },

  'readv, writev, preadv and pwritev move several buffers in order': (at) => {
    at.python(String.raw`
fd = os.open('f', os.O_CREAT | os.O_RDWR)
eq(os.writev(fd, [b'abc', b'', b'defg']), 7)
eq(os.pwritev(fd, [b'X', b'YZ'], 2), 3)
os.lseek(fd, 0, 0); a, b = bytearray(3), bytearray(10)
eq(os.readv(fd, [a, b]), 7); eq((bytes(a), bytes(b[:4])), (b'abX', b'YZfg'))
eq(os.preadv(fd, [a], 4), 3); eq(bytes(a), b'Zfg')
`)
  },

  'sendfile and splice copy in and out': (at) => {
    at.python(String.raw`
data = os.urandom(300000); put('a', data)
a, b = os.open('a', os.O_RDONLY), os.open('b', os.O_CREAT | os.O_RDWR)
left = len(data)
while left: left -= os.sendfile(b, a, None, left)
eq(get('b'), data)
r, w = os.pipe(); d = os.open('d', os.O_CREAT | os.O_RDWR); at = 0
while n := os.splice(a, w, 65536, offset_src=at):
    at += n
    while n: n -= os.splice(r, d, n)
eq(get('d'), data)
`)
  },

  'O_SYNC and O_DSYNC writes are taken': (at) => {
    for (const flag of [constants.O_SYNC, constants.O_DSYNC]) {
      const fd = openSync(at.path('f'), constants.O_CREAT | constants.O_RDWR | flag)
      try {
        for (let i = 0; i < 5; i++) writeSync(fd, 'x', i)
      } finally {
        closeSync(fd)
      }
      assert.is(textOf(at.path('f')), 'xxxxx')
    }
  },

  'fsync and fdatasync work on files and directories, opened either way': (at) => {
    mkdirSync(at.path('d'))
    for (const [path, flag] of [
      [at.file('f', 'x'), 'r'],
      [at.path('f'), 'r+'],
      [at.path('d'), 'r'],
    ] as const) {
      const fd = openSync(path, flag)
      try {
        fsyncSync(fd)
        fdatasyncSync(fd)
      } finally {
        closeSync(fd)
      }
    }
    at.python("fd = os.open('.', os.O_RDONLY); c('syncfs', fd)")
  },

  'a thousand files are open at once, each with its own content': (at) => {
    at.python(String.raw`
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
fds = [os.open(f'f{i}', os.O_CREAT | os.O_RDWR) for i in range(1000)]
for i, fd in enumerate(fds): os.write(fd, b'%d' % i)
for i in range(0, 1000, 2): os.unlink(f'f{i}')
for i, fd in enumerate(fds): eq(os.pread(fd, 10, 0), b'%d' % i)
for fd in fds: os.close(fd)
eq(len(os.listdir('.')), 500)
`)
  },

  'a file of 8 TiB is written at its end and takes no room': (at) => {
    at.python(String.raw`
end = 8 << 40
fd = os.open('f', os.O_CREAT | os.O_RDWR)
eq(os.pwrite(fd, b'last', end - 4), 4)
eq(os.fstat(fd).st_size, end)
eq(os.pread(fd, 10, end - 4), b'last'); eq(os.pread(fd, 4, 4 << 40), bytes(4))
os.fsync(fd)
if os.fstat(fd).st_blocks > 2048 * 8: raise AssertionError(f'{os.fstat(fd).st_blocks} blocks')
os.ftruncate(fd, 10); eq(os.fstat(fd).st_size, 10)
os.ftruncate(fd, end); eq(os.pread(fd, 4, end - 4), bytes(4))
`)
  },

  'a file without a name gets one by linkat': (at) => {
    at.python(String.raw`
fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o640)
eq(os.fstat(fd).st_nlink, 0); os.write(fd, b'text'); eq(os.listdir('.'), [])
c('linkat', AT_FDCWD, b'/proc/self/fd/%d' % fd, AT_FDCWD, b'named', 0x400)
eq((get('named'), os.stat('named').st_nlink, stat.S_IMODE(os.stat('named').st_mode)), (b'text', 1, 0o640))
os.write(fd, b' more'); eq(get('named'), b'text more')
`)
  },

  'a nameless file opened with O_EXCL never gets a name': (at) => {
    at.python(String.raw`
fd = os.open('.', os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
fails('ENOENT', c, 'linkat', AT_FDCWD, b'/proc/self/fd/%d' % fd, AT_FDCWD, b'named', 0x400)
fails('EISDIR', os.open, '.', os.O_RDWR)
os.close(fd); eq(os.listdir('.'), [])
`)
  },

  'O_NOFOLLOW refuses a symlink, O_PATH opens the symlink itself': (at) => {
    at.file('f', 'x')
    symlinkSync('f', at.path('link'))
    fails('ELOOP', () => openSync(at.path('link'), constants.O_RDONLY | constants.O_NOFOLLOW))
    at.python(String.raw`
fd = os.open('link', os.O_PATH | os.O_NOFOLLOW)
eq(stat.S_ISLNK(os.fstat(fd).st_mode), True); eq(os.readlink('', dir_fd=fd), 'f')
`)
  },

  'a program is copied in and run, and a running program is not written to': (at) => {
    at.python(String.raw`
put('sleep', get('/bin/sleep'), 0o755)
pid = child(lambda: os.execv('./sleep', ['sleep', '20']))
until(lambda: os.readlink(f'/proc/{pid}/exe').endswith('/sleep') and 'posix-' in os.readlink(f'/proc/{pid}/exe'), 'exec')
fails('ETXTBSY', os.open, 'sleep', os.O_WRONLY)
os.kill(pid, 9); os.waitpid(pid, 0)
fd = os.open('sleep', os.O_WRONLY)
fails('ETXTBSY', os.execv, './sleep', ['sleep', '0'])
`)
  },

  'a FIFO passes bytes from process to process': (at) => {
    at.python(String.raw`
os.mkfifo('p', 0o600); eq(stat.S_ISFIFO(os.stat('p').st_mode), True)
def writer():
    fd = os.open('p', os.O_WRONLY); os.write(fd, b'through the pipe'); os.close(fd)
pid = child(writer)
eq(get('p'), b'through the pipe'); join(pid)
eq(os.stat('p').st_size, 0)
`)
  },

  'a unix socket is bound, connected to and removed': (at) => {
    at.python(String.raw`
import socket
s = socket.socket(socket.AF_UNIX); s.bind('sock'); s.listen()
eq(stat.S_ISSOCK(os.stat('sock').st_mode), True)
k = socket.socket(socket.AF_UNIX); k.connect('sock'); a, _ = s.accept()
k.sendall(b'hello'); eq(a.recv(10), b'hello')
fails('ENXIO', os.open, 'sock', os.O_RDONLY)
t = socket.socket(socket.AF_UNIX); fails('EADDRINUSE', t.bind, 'sock')
os.unlink('sock'); k2 = socket.socket(socket.AF_UNIX); fails('ENOENT', k2.connect, 'sock')
`)
  },

  'device nodes keep their numbers': (at) => {
    at.python(String.raw`
os.mknod('null', 0o666 | stat.S_IFCHR, os.makedev(1, 3)); os.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(259, 200000))
s = os.stat('null'); eq((stat.S_ISCHR(s.st_mode), os.major(s.st_rdev), os.minor(s.st_rdev)), (True, 1, 3))
s = os.stat('disk'); eq((stat.S_ISBLK(s.st_mode), os.major(s.st_rdev), os.minor(s.st_rdev)), (True, 259, 200000))
os.mknod('plain', 0o644 | stat.S_IFREG); eq(stat.S_ISREG(os.stat('plain').st_mode), True)
fails('EEXIST', os.mknod, 'plain', 0o644 | stat.S_IFREG)
os.chmod('.', 0o777); as_user(lambda: fails('EPERM', os.mknod, 'x', stat.S_IFCHR, os.makedev(1, 3)))
as_user(lambda: os.mkfifo('fifo'))
`)
  },
}
