import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import * as assert from 'uvu/assert'
import { type Area, fails, inoOf, textOf } from './place.ts'

/** Names, hard links, symbolic links. */
export const names: Area = {
  'a name of 255 bytes works everywhere, of 256 nowhere': (at) => {
    const long = 'n'.repeat(255)
    const longer = 'n'.repeat(256)
    const short = at.file('short', 'x')
    for (const make of [
      (path: string) => writeFileSync(path, 'x'),
      (path: string) => mkdirSync(path),
      (path: string) => symlinkSync('short', path),
      (path: string) => linkSync(short, path),
    ]) {
      fails('ENAMETOOLONG', () => make(at.path(longer)))
      make(at.path(long))
      assert.equal(readdirSync(at.dir).sort(), [long, 'short'].sort())
      fails('ENAMETOOLONG', () => renameSync(at.path(long), at.path(longer)))
      renameSync(at.path(long), at.path('moved'))
      renameSync(at.path('moved'), at.path(long))
      if (lstatSync(at.path(long)).isDirectory()) rmdirSync(at.path(long))
      else unlinkSync(at.path(long))
    }
    fails('ENAMETOOLONG', () => statSync(at.path(longer)))
    // The limit counts bytes, not characters.
    writeFileSync(at.path('é'.repeat(127)), '')
    fails('ENAMETOOLONG', () => writeFileSync(at.path('é'.repeat(128)), ''))
  },

  'a name may be any byte but slash and NUL': (at) => {
    at.python(String.raw`
want = set()
for b in range(1, 256):
    if b in (0x2f, 0x2e): continue
    n = bytes([b]); put(n, n); want.add(n)
    os.mkdir(b'd' + n + b'\xff\xfe'); want.add(b'd' + n + b'\xff\xfe')
eq(set(os.listdir(b'.')), want)
for n in want:
    if n[:1] == b'd' and len(n) > 1: os.rmdir(n)
    else: eq(get(n), n); os.unlink(n)
eq(os.listdir(b'.'), [])
`)
  },

  'names are bytes: case and composition make different files': (at) => {
    at.file('name', '1')
    at.file('NAME', '2')
    at.file('\u00e9', '3')
    at.file('e\u0301', '4')
    assert.is(readdirSync(at.dir).length, 4)
    assert.is(textOf(at.path('\u00e9')), '3')
    assert.is(textOf(at.path('e\u0301')), '4')
  },

  'names that look like options, dots or paths are plain names': (at) => {
    const odd = [
      '...',
      '.hidden',
      '-rf',
      ' ',
      '\n',
      'a\nb',
      '\\',
      '*',
      '"',
      "'",
      '$(x)',
      '~',
      'C:',
      'a ',
      '.. ',
    ]
    for (const name of odd) at.file(name, name)
    assert.equal(readdirSync(at.dir).sort(), [...odd].sort())
    for (const name of odd) assert.is(textOf(`${at.dir}/${name}`), name)
  },

  'dot and dot-dot are not made, removed or renamed': (at) => {
    mkdirSync(at.path('d'))
    at.python(String.raw`
for n in ('d/.', 'd/..'): fails('EEXIST', os.mkdir, n)
fails('EINVAL', os.rmdir, 'd/.'); fails('ENOTEMPTY', os.rmdir, 'd/..')
fails('EISDIR', os.unlink, 'd/.')
fails('EBUSY', os.rename, 'd/.', 'e')
`)
  },

  'a path longer than 4,095 bytes is refused, a deeper tree works step by step': (at) => {
    at.python(String.raw`
fails('ENAMETOOLONG', os.stat, 'd/' * 2048 + 'd')
fd = os.open('.', os.O_RDONLY); start = os.dup(fd)
for i in range(30):
    os.mkdir('n' * 200, dir_fd=fd); nxt = os.open('n' * 200, os.O_RDONLY, dir_fd=fd); os.close(fd); fd = nxt
f = os.open('deep', os.O_CREAT | os.O_WRONLY, dir_fd=fd); os.write(f, b'x'); os.close(f)
eq(os.stat('deep', dir_fd=fd).st_size, 1)
os.unlink('deep', dir_fd=fd)
for i in range(30):
    up = os.open('..', os.O_RDONLY, dir_fd=fd); os.close(fd); os.rmdir('n' * 200, dir_fd=up); fd = up
eq(os.fstat(fd).st_ino, os.fstat(start).st_ino)
`)
  },

  'inode numbers are unique and stay over rename and write': (at) => {
    const seen = new Set<bigint>()
    for (let i = 0; i < 200; i++) seen.add(inoOf(at.file(`f${i}`)))
    assert.is(seen.size, 200)
    const before = inoOf(at.path('f7'))
    renameSync(at.path('f7'), at.path('g7'))
    writeFileSync(at.path('g7'), 'more')
    assert.is(inoOf(at.path('g7')), before)
  },

  'a hard link is the same file, counted': (at) => {
    const one = at.file('one', 'text')
    mkdirSync(at.path('d'))
    linkSync(one, at.path('two'))
    linkSync(one, at.path('d/three'))
    assert.is(statSync(one).nlink, 3)
    assert.is(inoOf(at.path('d/three')), inoOf(one))
    writeFileSync(at.path('two'), 'changed')
    assert.is(textOf(at.path('d/three')), 'changed')
    unlinkSync(one)
    assert.is(statSync(at.path('two')).nlink, 2)
    unlinkSync(at.path('d/three'))
    assert.is(statSync(at.path('two')).nlink, 1)
    assert.is(textOf(at.path('two')), 'changed')
  },

  'link refuses a directory, a name that exists and a file that does not': (at) => {
    at.file('f')
    mkdirSync(at.path('d'))
    fails('EPERM', () => linkSync(at.path('d'), at.path('e')))
    fails('EEXIST', () => linkSync(at.path('f'), at.path('d')))
    fails('EEXIST', () => linkSync(at.path('f'), at.path('f')))
    fails('ENOENT', () => linkSync(at.path('none'), at.path('x')))
    fails('ENOENT', () => linkSync(at.path('f'), at.path('none/x')))
    fails('ENOTDIR', () => linkSync(at.path('f'), at.path('f/x')))
    assert.is(statSync(at.path('f')).nlink, 1)
  },

  'a symlink can be hard linked': (at) => {
    symlinkSync('anywhere', at.path('s'))
    linkSync(at.path('s'), at.path('t'))
    assert.is(lstatSync(at.path('t')).nlink, 2)
    assert.is(readlinkSync(at.path('t')), 'anywhere')
  },

  'a file takes a thousand links and gives them back': (at) => {
    const path = at.file('f', 'x')
    for (let i = 0; i < 1000; i++) linkSync(path, at.path(`l${i}`))
    assert.is(statSync(path).nlink, 1001)
    for (let i = 0; i < 1000; i++) unlinkSync(at.path(`l${i}`))
    assert.is(statSync(path).nlink, 1)
  },

  'readlink gives back what was written, to 4,095 bytes': (at) => {
    for (const length of [1, 59, 60, 61, 255, 256, 1023, 4094, 4095]) {
      const target = 'a/b.'.repeat(1024).slice(0, length)
      symlinkSync(target, at.path('s'))
      assert.is(readlinkSync(at.path('s')), target)
      assert.is(lstatSync(at.path('s')).size, length)
      unlinkSync(at.path('s'))
    }
    fails('ENAMETOOLONG', () => symlinkSync('a'.repeat(4096), at.path('s')))
    fails('ENOENT', () => symlinkSync('', at.path('s')))
    at.python(String.raw`
os.symlink(b'\xff\xfe\n/x', b'odd'); eq(os.readlink(b'odd'), b'\xff\xfe\n/x')
put('f'); fails('EINVAL', os.readlink, 'f'); fails('EINVAL', os.readlink, '.')
`)
  },

  'a symlink is followed, relative to where it lies': (at) => {
    mkdirSync(at.path('d'))
    at.file('f', 'outer')
    at.file('d/f', 'inner')
    symlinkSync('f', at.path('d/s'))
    symlinkSync('../f', at.path('d/up'))
    symlinkSync('d', at.path('dir'))
    symlinkSync(at.path('f'), at.path('d/absolute'))
    assert.is(textOf(at.path('d/s')), 'inner')
    assert.is(textOf(at.path('d/up')), 'outer')
    assert.is(textOf(at.path('dir/s')), 'inner')
    assert.is(textOf(at.path('d/absolute')), 'outer')
    renameSync(at.path('d'), at.path('e'))
    fails('ENOENT', () => statSync(at.path('dir/s')))
  },

  'dangling and circular symlinks say so': (at) => {
    symlinkSync('none', at.path('dangling'))
    symlinkSync('loop', at.path('loop'))
    symlinkSync('pong', at.path('ping'))
    symlinkSync('ping', at.path('pong'))
    fails('ENOENT', () => statSync(at.path('dangling')))
    fails('ELOOP', () => statSync(at.path('loop')))
    fails('ELOOP', () => statSync(at.path('ping')))
    fails('ELOOP', () => mkdirSync(at.path('loop/x')))
    fails('EEXIST', () => mkdirSync(at.path('dangling')))
    assert.ok(lstatSync(at.path('loop')).isSymbolicLink())
  },

  'removing, renaming and replacing a symlink leaves its target alone': (at) => {
    at.file('f', 'kept')
    symlinkSync('f', at.path('s'))
    renameSync(at.path('s'), at.path('t'))
    renameSync(at.file('g', 'new'), at.path('t'))
    assert.is(textOf(at.path('t')), 'new')
    assert.not.ok(lstatSync(at.path('t')).isSymbolicLink())
    symlinkSync('f', at.path('u'))
    unlinkSync(at.path('u'))
    assert.is(textOf(at.path('f')), 'kept')
  },

  'owner and times of a symlink are its own': (at) => {
    at.python(String.raw`
put('f'); os.symlink('f', 's'); before = os.stat('f')
os.chown('s', 12, 34, follow_symlinks=False); os.utime('s', ns=(1, 2), follow_symlinks=False)
l = os.lstat('s'); eq((l.st_uid, l.st_gid, l.st_mtime_ns), (12, 34, 2))
after = os.stat('f'); eq((after.st_uid, after.st_mtime_ns, after.st_ctime_ns), (before.st_uid, before.st_mtime_ns, before.st_ctime_ns))
os.chmod('s', 0o600); eq(stat.S_IMODE(os.stat('f').st_mode), 0o600); eq(stat.S_IMODE(os.lstat('s').st_mode), 0o777)
`)
  },
}
