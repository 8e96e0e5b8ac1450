import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import * as assert from 'uvu/assert'
import { type Area, fails, inoOf, textOf } from './place.ts'

/** For telldir and seekdir, which Python does not offer. */
const DIRENT = String.raw`
class Dirent(ctypes.Structure):
    _fields_ = [('ino', ctypes.c_uint64), ('off', ctypes.c_int64), ('len', ctypes.c_uint16), ('type', ctypes.c_uint8), ('name', ctypes.c_char * 256)]
libc.opendir.restype = ctypes.c_void_p; libc.readdir.restype = ctypes.POINTER(Dirent); libc.telldir.restype = ctypes.c_long
class Dir:
    def __init__(self, path):
        self.d = ctypes.c_void_p(libc.opendir(path.encode()))
        if not self.d.value: raise OSError(ctypes.get_errno(), path)
    def next(self):
        e = libc.readdir(self.d)
        return (e.contents.name, e.contents.ino, e.contents.type) if e else None
    def rest(self):
        out = []
        while e := self.next(): out.append(e)
        return out
    def tell(self): return libc.telldir(self.d)
    def seek(self, at): libc.seekdir(self.d, ctypes.c_long(at))
    def rewind(self): libc.rewinddir(self.d)
`

/** Making, removing, listing, renaming. */
export const directories: Area = {
  'mkdir and rmdir say why they do not': (at) => {
    at.file('f')
    mkdirSync(at.path('d/'))
    fails('EEXIST', () => mkdirSync(at.path('d')))
    fails('EEXIST', () => mkdirSync(at.path('f')))
    fails('ENOENT', () => mkdirSync(at.path('none/d')))
    fails('ENOTDIR', () => mkdirSync(at.path('f/d')))
    fails('ENOTDIR', () => rmdirSync(at.path('f')))
    fails('ENOENT', () => rmdirSync(at.path('none')))
    fails('EISDIR', () => unlinkSync(at.path('d')))
    at.file('d/f')
    fails('ENOTEMPTY', () => rmdirSync(at.path('d')))
    unlinkSync(at.path('d/f'))
    rmdirSync(at.path('d'))
    fails('ENOENT', () => statSync(at.path('d')))
  },

  'a directory counts its subdirectories': (at) => {
    mkdirSync(at.path('a'))
    mkdirSync(at.path('b'))
    assert.is(statSync(at.path('a')).nlink, 2)
    mkdirSync(at.path('a/1'))
    mkdirSync(at.path('a/2'))
    at.file('a/f')
    assert.is(statSync(at.path('a')).nlink, 4)
    renameSync(at.path('a/1'), at.path('b/1'))
    assert.is(statSync(at.path('a')).nlink, 3)
    assert.is(statSync(at.path('b')).nlink, 3)
    renameSync(at.path('a/2'), at.path('b/1'))
    assert.is(statSync(at.path('a')).nlink, 2)
    assert.is(statSync(at.path('b')).nlink, 3)
    rmdirSync(at.path('b/1'))
    assert.is(statSync(at.path('b')).nlink, 2)
  },

  'five thousand entries are listed whole, with type and inode': (at) => {
    at.python(`${DIRENT}
for i in range(5000):
    if i % 100 == 0: os.mkdir(f'd{i}')
    elif i % 100 == 1: os.symlink('x', f's{i}')
    else: os.close(os.open(f'f{i}', os.O_CREAT | os.O_WRONLY))
seen = Dir('.').rest(); got = {n: (i, t) for n, i, t in seen}
eq(len(seen), 5002); eq(len(got), 5002)
for i in range(0, 5000, 37):
    n = f'd{i}' if i % 100 == 0 else f's{i}' if i % 100 == 1 else f'f{i}'
    eq(got[n.encode()], (os.lstat(n).st_ino, 4 if n[0] == 'd' else 10 if n[0] == 's' else 8), n)
eq(got[b'.'][0], os.stat('.').st_ino); eq(got[b'..'][0], os.stat('..').st_ino)
`)
  },

  'deleting what is listed, while listing, leaves nothing behind': (at) => {
    at.python(`${DIRENT}
for i in range(3000): os.close(os.open(f'{i:04d}-' + 'n' * 40, os.O_CREAT | os.O_WRONLY))
d = Dir('.'); n = 0
while e := d.next():
    if e[0] in (b'.', b'..'): continue
    os.unlink(e[0]); n += 1
eq(n, 3000); eq(os.listdir('.'), [])
`)
  },

  'an entry that is there all the time is listed once while others come and go': (at) => {
    at.python(`${DIRENT}
for i in range(2000): os.close(os.open(f'stay{i}', os.O_CREAT | os.O_WRONLY)); os.close(os.open(f'go{i}', os.O_CREAT | os.O_WRONLY))
d = Dir('.'); seen = []; k = 0
while e := d.next():
    seen.append(e[0])
    if len(seen) % 3 == 0 and k < 2000:
        os.unlink(f'go{k}'); os.close(os.open(f'new{k}', os.O_CREAT | os.O_WRONLY)); k += 1
stay = [n for n in seen if n.startswith(b'stay')]
eq(len(stay), 2000, 'listed'); eq(len(set(stay)), 2000, 'different')
`)
  },

  'seekdir goes back to where telldir was, from any place': (at) => {
    at.python(`${DIRENT}
for i in range(700): os.close(os.open(f'{i}-' + 'x' * (i % 90), os.O_CREAT | os.O_WRONLY))
d = Dir('.'); places = []; names = []
while True:
    places.append(d.tell()); e = d.next()
    if not e: break
    names.append(e[0])
eq(len(names), 702)
for i in (0, 1, 2, 350, 17, 701, 600, 3):
    d.seek(places[i]); eq(d.next()[0], names[i], f'at {i}')
d.seek(places[500]); eq([e[0] for e in d.rest()], names[500:])
`)
  },

  'rewinddir shows what came since': (at) => {
    at.python(`${DIRENT}
put('one'); d = Dir('.'); d.rest(); put('two'); os.unlink('one')
d.rewind(); eq(sorted(e[0] for e in d.rest()), [b'.', b'..', b'two'])
`)
  },

  'two readers of one directory do not disturb each other': (at) => {
    at.python(`${DIRENT}
for i in range(400): put(f'f{i}')
a, b = Dir('.'), Dir('.'); x, y = [], []
for i in range(402):
    x.append(a.next()[0])
    if i % 2: y.append(b.next()[0])
y += [e[0] for e in b.rest()]
eq(sorted(x), sorted(y)); eq(a.next(), None)
`)
  },

  'what is made is listed at once, what is removed is gone at once': (at) => {
    for (let i = 0; i < 60; i++) {
      at.file(`f${i}`)
      assert.ok(readdirSync(at.dir).includes(`f${i}`))
      fails('ENOENT', () => statSync(at.path(`g${i}`)))
      renameSync(at.path(`f${i}`), at.path(`g${i}`))
      assert.ok(existsSync(at.path(`g${i}`)))
      fails('ENOENT', () => statSync(at.path(`f${i}`)))
      if (i % 2 === 0) unlinkSync(at.path(`g${i}`))
    }
    assert.is(readdirSync(at.dir).length, 30)
  },

  'a removed directory that is still open is empty and takes nothing': (at) => {
    at.python(String.raw`
os.mkdir('d'); fd = os.open('d', os.O_RDONLY); os.rmdir('d')
eq(os.listdir(fd), []); eq(os.fstat(fd).st_nlink, 0)
fails('ENOENT', os.open, 'f', os.O_CREAT | os.O_WRONLY, dir_fd=fd)
fails('ENOENT', os.mkdir, 'd', dir_fd=fd)
os.mkdir('d'); eq(os.fstat(fd).st_ino == os.stat('d').st_ino, False)
`)
  },

  'a tree copied with cp -a is the same tree': (at) => {
    mkdirSync(at.path('src/a/b'), { recursive: true })
    for (let i = 0; i < 40; i++) at.file(`src/a/f${i}`, Buffer.alloc(i * 777, i))
    linkSync(at.path('src/a/f5'), at.path('src/a/b/link'))
    at.sh('ln', '-s', '../f7', 'src/a/b/sym')
    at.sh('chmod', '2750', 'src/a/b')
    at.sh('cp', '-a', 'src', 'copy')
    at.sh('diff', '-r', '--no-dereference', 'src', 'copy')
    assert.is(inoOf(at.path('copy/a/f5')), inoOf(at.path('copy/a/b/link')))
    assert.is(statSync(at.path('copy/a/b')).mode & 0o7777, 0o2750)
    at.sh('rm', '-rf', 'copy')
    assert.equal(readdirSync(at.dir), ['src'])
  },

  'rename replaces a file in one step': (at) => {
    const a = at.file('a', 'new')
    at.file('b', 'old')
    const ino = inoOf(a)
    renameSync(a, at.path('b'))
    assert.is(inoOf(at.path('b')), ino)
    assert.is(textOf(at.path('b')), 'new')
    assert.equal(readdirSync(at.dir), ['b'])
  },

  'a name that is replaced again and again is never missing': (at) => {
    at.python(String.raw`
put('name', b'%064d' % 0)
def look():
    seen = -1
    while seen < 299:
        data = get('name'); eq(len(data), 64); now = int(data)
        if now < seen: raise AssertionError(f'went back from {seen} to {now}')
        seen = now
pids = [child(look) for _ in range(2)]
for i in range(300): put('tmp', b'%064d' % i); os.rename('tmp', 'name'); time.sleep(0.001)
for pid in pids: join(pid)
`)
  },

  'rename onto another link of the same file does nothing': (at) => {
    const a = at.file('a', 'x')
    linkSync(a, at.path('b'))
    renameSync(a, at.path('b'))
    assert.equal(readdirSync(at.dir).sort(), ['a', 'b'])
    assert.is(statSync(a).nlink, 2)
    renameSync(a, a)
    assert.is(textOf(a), 'x')
  },

  'rename lowers the link count of what it replaces': (at) => {
    const a = at.file('a', 'a')
    const b = at.file('b', 'b')
    linkSync(b, at.path('c'))
    renameSync(a, b)
    assert.is(statSync(at.path('c')).nlink, 1)
    assert.is(textOf(at.path('c')), 'b')
  },

  'a directory does not move into itself or below': (at) => {
    mkdirSync(at.path('a/b/c'), { recursive: true })
    fails('EINVAL', () => renameSync(at.path('a'), at.path('a/x')))
    fails('EINVAL', () => renameSync(at.path('a'), at.path('a/b/c/x')))
    fails('ENOTEMPTY', () => renameSync(at.path('a/b/c'), at.path('a')))
    fails('ENOTEMPTY', () => renameSync(at.path('a/b/c'), at.path('a/b')))
  },

  'rename keeps files and directories apart': (at) => {
    at.file('f')
    mkdirSync(at.path('empty'))
    mkdirSync(at.path('full'))
    at.file('full/f', 'x')
    mkdirSync(at.path('d'))
    at.file('d/mark')
    fails('EISDIR', () => renameSync(at.path('f'), at.path('empty')))
    fails('ENOTDIR', () => renameSync(at.path('d'), at.path('f')))
    fails('ENOTEMPTY', () => renameSync(at.path('d'), at.path('full')))
    fails('ENOENT', () => renameSync(at.path('none'), at.path('f')))
    fails('ENOENT', () => renameSync(at.path('f'), at.path('none/f')))
    fails('ENOTDIR', () => renameSync(at.path('f'), at.path('f/g')))
    fails('ENOTDIR', () => renameSync(`${at.path('f')}/`, at.path('g')))
    renameSync(at.path('d'), at.path('empty'))
    assert.ok(existsSync(at.path('empty/mark')))
    assert.not.ok(existsSync(at.path('d')))
  },

  'dot-dot of a moved directory is its new parent': (at) => {
    mkdirSync(at.path('a/moved'), { recursive: true })
    mkdirSync(at.path('b'))
    renameSync(at.path('a/moved'), at.path('b/moved'))
    at.python("eq(os.stat('b/moved/..').st_ino, os.stat('b').st_ino)")
    rmdirSync(at.path('a'))
  },

  'RENAME_NOREPLACE never replaces': (at) => {
    at.python(String.raw`
put('a', b'a'); put('b', b'b'); os.mkdir('d')
r = lambda old, new: c('renameat2', AT_FDCWD, old, AT_FDCWD, new, 1)
fails('EEXIST', r, b'a', b'b'); fails('EEXIST', r, b'a', b'd'); fails('ENOENT', r, b'none', b'x')
eq((get('a'), get('b')), (b'a', b'b'))
r(b'a', b'x'); eq(get('x'), b'a'); fails('ENOENT', os.stat, 'a')
`)
  },

  'RENAME_EXCHANGE swaps two names in one step': (at) => {
    at.python(String.raw`
put('f', b'f'); put('g', b'g'); os.makedirs('p/d/inner'); os.mkdir('q'); put('q/file', b'q')
x = lambda old, new: c('renameat2', AT_FDCWD, old, AT_FDCWD, new, 2)
x(b'f', b'g'); eq((get('f'), get('g')), (b'g', b'f'))
fails('ENOENT', x, b'f', b'none'); fails('EINVAL', x, b'p', b'p/d')
fails('EINVAL', c, 'renameat2', AT_FDCWD, b'f', AT_FDCWD, b'g', 3)
d, f = os.stat('p/d').st_ino, os.stat('q/file').st_ino
x(b'p/d', b'q/file'); eq((os.stat('q/file').st_ino, os.stat('p/d').st_ino), (d, f))
eq((os.stat('p').st_nlink, os.stat('q').st_nlink), (2, 3)); eq(os.listdir('q/file'), ['inner'])
eq(os.stat('q/file/..').st_ino, os.stat('q').st_ino)
`)
  },

  'renames of many processes in one tree lose and double nothing': (at) => {
    at.python(String.raw`
for i in range(4): os.mkdir(f'd{i}')
for i in range(40): put(f'd{i % 4}/f{i}', b'%d' % i)
def work(n):
    import random; r = random.Random(n)
    for _ in range(150):
        i = r.randrange(40)
        for a in range(4):
            try: os.rename(f'd{a}/f{i}', f'd{r.randrange(4)}/f{i}'); break
            except FileNotFoundError: pass
pids = [child(lambda n=n: work(n)) for n in range(4)]
for pid in pids: join(pid)
found = [(n, get(f'd{a}/{n}')) for a in range(4) for n in os.listdir(f'd{a}')]
eq(sorted(found), sorted((f'f{i}', b'%d' % i) for i in range(40)))
`)
  },
}
