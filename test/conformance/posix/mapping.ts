import { execFileSync } from 'node:child_process'
import * as assert from 'uvu/assert'
import type { Area } from './place.ts'

/** Memory maps, direct I/O, holes, reserved and freed space. */
export const mapping: Area = {
  'a write to a shared map is read from the file after msync': (at) => {
    at.python(String.raw`
put('f', b'x' * 20000); fd = os.open('f', os.O_RDWR); m = mmap.mmap(fd, 20000)
m[5000:5004] = b'MMAP'; m.flush(); eq(os.pread(fd, 6, 4999), b'xMMAPx'); eq(get('f')[5000:5004], b'MMAP'); m[0:1] = b'Y'; m.flush(); eq(get('f')[:2], b'Yx')
`)
  },

  'a write is seen in a map that is already there': (at) => {
    at.python(String.raw`
put('f', b'x' * 8192); fd = os.open('f', os.O_RDWR); m = mmap.mmap(fd, 8192); eq(m[0:1], b'x'); other = os.open('f', os.O_RDWR)
os.pwrite(other, b'abc', 4095); eq(m[4094:4099], b'xabcx')
`)
  },

  'two processes share one map': (at) => {
    at.python(String.raw`
put('f', bytes(4096)); fd = os.open('f', os.O_RDWR); m = mmap.mmap(fd, 4096)
def other(): o = os.open('f', os.O_RDWR); n = mmap.mmap(o, 4096); n[0:1] = b'1'; until(lambda: n[1:2] == b'2', 'answer'); n[2:3] = b'3'
pid = child(other); until(lambda: m[0:1] == b'1', 'first'); m[1:2] = b'2'; join(pid); eq(m[:4], b'123\0'); m.flush(); eq(get('f')[:3], b'123')
`)
  },

  'a private map changes nothing in the file': (at) => {
    at.python(String.raw`
put('f', b'x' * 4096); fd = os.open('f', os.O_RDONLY); m = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
m[0:4] = b'mine'; eq(get('f')[:4], b'xxxx'); eq(m[:4], b'mine')
`)
  },

  'a map outlives close and unlink, and its bytes reach the file': (at) => {
    at.python(String.raw`
put('f', b'x' * 100000); os.link('f', 'g'); fd = os.open('f', os.O_RDWR); m = mmap.mmap(fd, 100000); os.close(fd); os.unlink('f')
m[99999:100000] = b'!'; m[50000:50001] = b'?'; m.flush(); m.close(); d = get('g'); eq((d[99999:], d[50000:50001], len(d)), (b'!', b'?', 100000))
`)
  },

  'bytes of a map reach the file without msync when it is unmapped': (at) => {
    at.python(String.raw`
put('f', bytes(1 << 20)); fd = os.open('f', os.O_RDWR); m = mmap.mmap(fd, 1 << 20)
for i in range(0, 1 << 20, 4096): m[i:i + 4] = struct.pack('<I', i)
m.close(); os.fsync(fd); os.close(fd); d = get('f')
for i in range(0, 1 << 20, 4096): eq(struct.unpack_from('<I', d, i)[0], i)
`)
  },

  'a written map moves mtime by the time of msync': (at) => {
    at.python(String.raw`
put('f', b'x' * 4096); os.utime('f', ns=(1, 1)); fd = os.open('f', os.O_RDWR); m = mmap.mmap(fd, 4096); m[0:1] = b'y'; m.flush(); eq(os.stat('f').st_mtime_ns > 10**18, True)
`)
  },

  'a map shows zeros behind the end of file in its last page, and no page beyond': (at) => {
    at.python(String.raw`
put('f', b'x' * 5000); fd = os.open('f', os.O_RDWR); libc.mmap.restype = ctypes.c_void_p
p = libc.mmap(None, ctypes.c_size_t(16384), 3, 1, fd, ctypes.c_long(0)); eq(ctypes.string_at(p + 4990, 20), b'x' * 10 + bytes(10))
pid = child(lambda: ctypes.string_at(p + 8192, 1)); join(pid, -signal.SIGBUS)
os.ftruncate(fd, 100); eq(ctypes.string_at(p + 90, 20), b'x' * 10 + bytes(10)); pid = child(lambda: ctypes.string_at(p + 4096, 1)); join(pid, -signal.SIGBUS)
os.ftruncate(fd, 16384); eq(ctypes.string_at(p + 90, 20), b'x' * 10 + bytes(10)); eq(ctypes.string_at(p + 12288, 1), b'\0')
`)
  },

  'a database in a file with a shared map keeps its rows': (at) => {
    // Debian's own module; -S leaves the standard library in place.
    at.python(String.raw`
import sqlite3
for mode in ('DELETE', 'WAL'):
    d = sqlite3.connect(mode + '.db'); d.execute('pragma journal_mode=' + mode); d.execute('pragma mmap_size=1000000'); d.execute('create table t(a integer primary key, b)')
    for k in range(5):
        with d: d.executemany('insert into t(b) values(?)', [('v' * (i % 50),) for i in range(200)])
    def other(): e = sqlite3.connect(mode + '.db', timeout=10); e.execute('insert into t(b) values(1)'); e.commit(); e.close()
    join(child(other)); eq(d.execute('select count(*) from t').fetchone()[0], 1001); eq(d.execute('pragma integrity_check').fetchone()[0], 'ok'); d.close()
`)
  },

  'O_DIRECT reads and writes what other descriptors see': (at) => {
    if (!at.options.directIo) {
      at.python("put('f'); fails('EINVAL', os.open, 'f', os.O_RDWR | os.O_DIRECT)")
      return
    }
    at.python(String.raw`
fd = os.open('f', os.O_CREAT | os.O_RDWR | os.O_DIRECT); b = mmap.mmap(-1, 65536); b[:] = bytes(range(256)) * 256
eq(os.pwritev(fd, [b], 0), 65536); eq(os.pwritev(fd, [memoryview(b)[:4096]], 131072), 4096); eq(os.fstat(fd).st_size, 135168)
eq(get('f'), bytes(range(256)) * 256 + bytes(65536) + bytes(range(256)) * 16)
n = os.open('f', os.O_RDWR); os.pwrite(n, b'buffered', 8192); r = mmap.mmap(-1, 8192); eq(os.preadv(fd, [r], 8192), 8192); eq(r[:8], b'buffered')
eq(os.preadv(fd, [r], 1 << 20), 0)
`)
  },

  'fallocate extends with zeros, or keeps the size when asked': (at) => {
    at.sh('fallocate', '-l', '100000', 'f')
    at.python(String.raw`
eq(get('f'), bytes(100000)); b = os.stat('f').st_blocks
if b * 512 < 100000: raise AssertionError(f'{b} blocks')
put('g', b'abc'); fd = os.open('g', os.O_RDWR); c('fallocate', fd, 1, ctypes.c_long(0), ctypes.c_long(1 << 20)); eq(os.fstat(fd).st_size, 3)
os.posix_fallocate(fd, 10, 10); eq(get('g'), b'abc' + bytes(17)); os.posix_fallocate(fd, 0, 5); eq(get('g'), b'abc' + bytes(17))
fails('EINVAL', c, 'fallocate', fd, 0, ctypes.c_long(0), ctypes.c_long(0)); fails('EBADF', os.posix_fallocate, os.open('g', os.O_RDONLY), 0, 1)
`)
  },

  'a punched hole reads as zeros and gives its room back': (at) => {
    at.python(String.raw`
n = 8 << 20; put('f', b'x' * n); fd = os.open('f', os.O_RDWR); os.fsync(fd); before = os.fstat(fd).st_blocks
punch = lambda at, length: c('fallocate', fd, 3, ctypes.c_long(at), ctypes.c_long(length))
punch(1000, 3000); punch(1 << 20, 6 << 20); want = bytearray(b'x' * n); want[1000:4000] = bytes(3000); want[1 << 20:7 << 20] = bytes(6 << 20)
eq(get('f') == bytes(want), True, 'content'); os.fsync(fd); after = os.fstat(fd)
eq(after.st_size, n); eq(after.st_blocks < before // 2, True, f'{before} then {after.st_blocks} blocks')
punch(n - 10, 100); eq(os.fstat(fd).st_size, n); fails('EOPNOTSUPP', c, 'fallocate', fd, 2, ctypes.c_long(0), ctypes.c_long(10))
`)
  },

  'a zeroed range reads as zeros, inside and past the end': (at) => {
    const script = at.options.zeroRange
      ? String.raw`
zero(1000, 50000); want = b'x' * 1000 + bytes(50000) + b'x' * 49000; eq(get('f') == want, True); zero(99990, 20); eq(os.fstat(fd).st_size, 100010); eq(get('f')[-21:], b'x' + bytes(20))
zero(200000, 10, keep=1); eq(os.fstat(fd).st_size, 100010)
`
      : "fails('EOPNOTSUPP', zero, 0, 10)"
    at.python(String.raw`
put('f', b'x' * 100000); fd = os.open('f', os.O_RDWR)
def zero(at, length, keep=0): c('fallocate', fd, 0x10 | keep, ctypes.c_long(at), ctypes.c_long(length))
${script}`)
  },

  'SEEK_DATA and SEEK_HOLE find what a sparse file has': (at) => {
    if (!at.options.exactHoles) {
      at.python(String.raw`
fd = os.open('f', os.O_CREAT | os.O_RDWR); os.pwrite(fd, b'x' * 4096, 4 << 20); os.ftruncate(fd, 32 << 20); os.fsync(fd)
D, H = os.SEEK_DATA, os.SEEK_HOLE; seek = lambda at, how: os.lseek(fd, at, how)
eq([seek(0, D), seek(5 << 20, D), seek(0, H)], [0, 5 << 20, 32 << 20]); fails('ENXIO', seek, 32 << 20, D); fails('ENXIO', seek, 32 << 20, H)
`)
      return
    }
    at.python(String.raw`
M = 1 << 20; fd = os.open('f', os.O_CREAT | os.O_RDWR); os.pwrite(fd, b'x' * M, 4 * M); os.pwrite(fd, b'y' * M, 16 * M); os.ftruncate(fd, 32 * M); os.fsync(fd)
D, H = os.SEEK_DATA, os.SEEK_HOLE; seek = lambda at, how: os.lseek(fd, at, how)
eq([seek(0, D), seek(4 * M, H), seek(5 * M, D), seek(16 * M + 5, D), seek(16 * M, H), seek(0, H), seek(20 * M, H)], [4 * M, 5 * M, 16 * M, 16 * M + 5, 17 * M, 0, 20 * M])
fails('ENXIO', seek, 20 * M, D); fails('ENXIO', seek, 32 * M, H); fails('ENXIO', seek, 40 * M, D)
put('g', b'x' * 10000); g = os.open('g', os.O_RDONLY); eq((os.lseek(g, 0, D), os.lseek(g, 0, H)), (0, 10000))
put('e'); fails('ENXIO', os.lseek, os.open('e', os.O_RDONLY), 0, D)
`)
  },

  'unwritten data is found by SEEK_DATA before it is synced': (at) => {
    at.python(String.raw`
fd = os.open('f', os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 8 << 20); os.pwrite(fd, b'x' * 4096, 4 << 20); eq(os.lseek(fd, 0, os.SEEK_DATA) in (${at.options.exactHoles ? '' : '0, '}4 << 20,), True); eq(os.lseek(fd, 4 << 20, os.SEEK_DATA), 4 << 20)
`)
  },

  'copy_file_range copies bytes and stays apart from its source': (at) => {
    at.python(String.raw`
data = os.urandom(3 << 20); put('a', data); a, b = os.open('a', os.O_RDWR), os.open('b', os.O_CREAT | os.O_RDWR)
def copy(src, dst, n, s, d):
    while n:
        k = os.copy_file_range(src, dst, n, s, d)
        if k == 0: raise AssertionError('copied nothing')
        n -= k; s += k; d += k
copy(a, b, len(data), 0, 0); eq(get('b') == data, True); os.pwrite(a, b'changed', 100); eq(get('b') == data, True, 'the copy is its own'); os.pwrite(b, b'other', 2 << 20); eq(os.pread(a, 5, 2 << 20), data[2 << 20:(2 << 20) + 5])
copy(a, b, 1001, 50, 777); eq(os.pread(b, 1001, 777), os.pread(a, 1001, 50)); copy(a, b, 100, 0, 5 << 20); eq(os.fstat(b).st_size, (5 << 20) + 100); eq(os.pread(b, 10, 4 << 20), bytes(10))
eq(os.copy_file_range(a, b, 100, 3 << 20, 0), 0, 'at the end'); os.ftruncate(a, 1 << 20); eq(os.pread(b, 100, (2 << 20) + 10) == data[(2 << 20) + 10:(2 << 20) + 110], True, 'source cut')
`)
  },

  'copy_file_range sees what was written a moment ago, and refuses an overlap': (at) => {
    at.python(String.raw`
a, b = os.open('a', os.O_CREAT | os.O_RDWR), os.open('b', os.O_CREAT | os.O_RDWR); os.write(a, b'fresh' * 10000); os.write(b, b'z' * 60000)
eq(os.copy_file_range(a, b, 50000, 0, 5000), 50000); eq(get('b'), b'z' * 5000 + b'fresh' * 10000 + b'z' * 5000)
fails('EINVAL', os.copy_file_range, a, a, 100, 0, 50); eq(os.copy_file_range(a, a, 5, 0, 50000), 5); eq(get('a')[-5:], b'fresh')
fails('EBADF', os.copy_file_range, a, os.open('b', os.O_RDONLY), 10, 0, 0)
`)
  },

  'cp makes sparse, reflinked and plain copies that are equal': (at) => {
    at.python(
      "fd = os.open('f', os.O_CREAT | os.O_RDWR); os.pwrite(fd, os.urandom(300000), 1 << 20); os.ftruncate(fd, 5 << 20)",
    )
    for (const flag of ['--sparse=always', '--sparse=never', '--reflink=auto'])
      at.sh('cp', flag, 'f', `copy${flag}`)
    for (const flag of ['--sparse=always', '--sparse=never', '--reflink=auto'])
      at.sh('cmp', 'f', `./copy${flag}`)
  },

  'the room of a file shows in its blocks and goes with truncate': (at) => {
    at.python(String.raw`
fd = os.open('f', os.O_CREAT | os.O_RDWR); os.write(fd, os.urandom(2 << 20)); os.fsync(fd); full = os.fstat(fd).st_blocks * 512
if not 2 << 20 <= full <= 4 << 20: raise AssertionError(f'{full} bytes')
os.ftruncate(fd, 0); os.fsync(fd); eq(os.fstat(fd).st_blocks, 0); os.ftruncate(fd, 1 << 30); eq(os.fstat(fd).st_blocks * 512 < 1 << 20, True)
`)
  },

  'statfs is consistent and sees what is written': (at) => {
    at.python(String.raw`
s = os.statvfs('.'); eq(s.f_namemax, 255); eq(s.f_bsize > 0 and s.f_frsize > 0, True); eq(s.f_blocks >= s.f_bfree >= s.f_bavail >= 0 and s.f_blocks > 0, True, str(s)); eq(s.f_files >= s.f_ffree >= 0, True)
fd = os.open('f', os.O_CREAT | os.O_RDWR); os.write(fd, os.urandom(16 << 20)); os.fsync(fd); used = lambda v: (v.f_blocks - v.f_bfree) * v.f_frsize
grown = used(os.fstatvfs(fd)) - used(s); eq(grown > 8 << 20, True, f'{grown} bytes more')
`)
    assert.match(
      execFileSync('df', ['--output=size,used,avail', '-B1', at.dir], { encoding: 'utf8' }),
      /\d+ +\d+ +\d+/,
    )
  },

  'advice and readahead are taken': (at) => {
    at.python(String.raw`
put('f', b'x' * 100000); fd = os.open('f', os.O_RDWR)
for a in (os.POSIX_FADV_NORMAL, os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_RANDOM, os.POSIX_FADV_WILLNEED, os.POSIX_FADV_DONTNEED): os.posix_fadvise(fd, 0, 0, a)
c('readahead', fd, ctypes.c_long(0), ctypes.c_size_t(100000)); eq(get('f'), b'x' * 100000); c('sync_file_range', fd, ctypes.c_long(0), ctypes.c_long(0), 7)
`)
  },
}
