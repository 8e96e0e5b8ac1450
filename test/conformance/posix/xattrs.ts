import type { Area } from './place.ts'

const XATTRS = String.raw`
def acl(*entries):
    # struct posix_acl_xattr_header and _entry, linux include/uapi/linux/posix_acl_xattr.h
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', t, p, i) for t, p, i in entries)
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER, NONE = 1, 2, 4, 8, 16, 32, 0xffffffff
ACCESS, DEFAULT = 'system.posix_acl_access', 'system.posix_acl_default'
def mode(path): return stat.S_IMODE(os.stat(path).st_mode)
`

const area = (cases: Readonly<Record<string, string>>): Area =>
  Object.fromEntries(
    Object.entries(cases).map(([title, script]) => [
      title,
      (at) => {
        at.python(XATTRS + script)
      },
    ]),
  )

/** Attributes that any user may set. */
const userXattrs: Area = area({
  'an attribute is set, read, replaced, listed and removed': String.raw`
put('f'); os.mkdir('d')
for p in ('f', 'd'):
    os.setxattr(p, 'user.a', b'one'); os.setxattr(p, 'user.b', b'\0\xff\n'); os.setxattr(p, 'user.empty', b'')
    eq((os.getxattr(p, 'user.a'), os.getxattr(p, 'user.b'), os.getxattr(p, 'user.empty')), (b'one', b'\0\xff\n', b''))
    os.setxattr(p, 'user.a', b'other'); eq(os.getxattr(p, 'user.a'), b'other')
    eq(sorted(n for n in os.listxattr(p) if n.startswith('user.')), ['user.a', 'user.b', 'user.empty'])
    os.removexattr(p, 'user.a'); fails('ENODATA', os.getxattr, p, 'user.a'); fails('ENODATA', os.removexattr, p, 'user.a')
`,

  'XATTR_CREATE and XATTR_REPLACE keep their word': String.raw`
put('f'); os.setxattr('f', 'user.a', b'1', os.XATTR_CREATE); fails('EEXIST', os.setxattr, 'f', 'user.a', b'2', os.XATTR_CREATE)
fails('ENODATA', os.setxattr, 'f', 'user.b', b'2', os.XATTR_REPLACE); os.setxattr('f', 'user.a', b'3', os.XATTR_REPLACE)
eq(os.getxattr('f', 'user.a'), b'3'); eq(os.listxattr('f'), ['user.a'])
`,

  'a value may have 64 KiB, a name 255 bytes, and not one more': String.raw`
put('f'); os.setxattr('f', 'user.big', b'v' * 65536); eq(os.getxattr('f', 'user.big'), b'v' * 65536); os.removexattr('f', 'user.big')
fails('E2BIG', os.setxattr, 'f', 'user.big', b'v' * 65537)
os.setxattr('f', 'user.' + 'n' * 250, b'x'); eq(os.getxattr('f', 'user.' + 'n' * 250), b'x')
fails('ERANGE', os.setxattr, 'f', 'user.' + 'n' * 251, b'x')
`,

  'a buffer that is too small is told so, one of none is told the size': String.raw`
put('f'); os.setxattr('f', 'user.a', b'12345'); b = ctypes.create_string_buffer(10)
eq(c('getxattr', b'f', b'user.a', b, 0), 5); fails('ERANGE', c, 'getxattr', b'f', b'user.a', b, 4); eq(c('getxattr', b'f', b'user.a', b, 5), 5)
n = c('listxattr', b'f', b, 0); eq(n >= 7, True); fails('ERANGE', c, 'listxattr', b'f', b, 3)
`,

  'a hundred attributes stay apart': String.raw`
put('f')
for i in range(100): os.setxattr('f', f'user.n{i}', b'%d' % i * (i % 7))
eq(len([n for n in os.listxattr('f') if n.startswith('user.')]), 100)
for i in range(100): eq(os.getxattr('f', f'user.n{i}'), b'%d' % i * (i % 7))
for i in range(0, 100, 2): os.removexattr('f', f'user.n{i}')
eq(len(os.listxattr('f')), 50)
`,

  'attributes follow rename and hard link and end with the file': String.raw`
put('f'); os.setxattr('f', 'user.a', b'x'); os.link('f', 'g'); os.rename('f', 'h'); os.setxattr('g', 'user.b', b'y')
eq((os.getxattr('h', 'user.a'), os.getxattr('h', 'user.b')), (b'x', b'y')); os.unlink('g'); os.unlink('h'); put('h'); eq(os.listxattr('h'), [])
put('k'); fd = os.open('k', os.O_RDWR); os.setxattr('k', 'user.a', b'z'); os.unlink('k'); eq(os.getxattr(fd, 'user.a'), b'z')
`,

  'an attribute moves ctime alone': String.raw`
put('f'); a = os.stat('f'); tick(); os.setxattr('f', 'user.a', b'x'); b = os.stat('f'); eq((a.st_mtime_ns, a.st_ctime_ns < b.st_ctime_ns), (b.st_mtime_ns, True))
tick(); os.removexattr('f', 'user.a'); d = os.stat('f'); eq((b.st_mtime_ns, b.st_ctime_ns < d.st_ctime_ns), (d.st_mtime_ns, True))
`,

  'reading needs read, setting needs write permission': String.raw`
put('f'); os.setxattr('f', 'user.a', b'x'); os.chown('f', 2000, 2000); os.chmod('f', 0o604)
as_user(lambda: (eq(os.getxattr('f', 'user.a'), b'x'), fails('EACCES', os.setxattr, 'f', 'user.a', b'y'), fails('EACCES', os.removexattr, 'f', 'user.a')))
os.chmod('f', 0o602); as_user(lambda: (os.setxattr('f', 'user.a', b'y'), fails('EACCES', os.getxattr, 'f', 'user.a')))
`,

  'symlinks and special files take no user attributes': String.raw`
os.symlink('x', 's'); fails('EPERM', os.setxattr, 's', 'user.a', b'x', follow_symlinks=False); os.mkfifo('p'); fails('EPERM', os.setxattr, 'p', 'user.a', b'x')
put('f'); os.symlink('f', 't'); os.setxattr('t', 'user.a', b'1'); eq(os.getxattr('f', 'user.a'), b'1')
`,

  'cp --preserve and tar --xattrs carry attributes': String.raw`
import subprocess
put('f', b'x'); os.setxattr('f', 'user.a', b'carried'); subprocess.run(['cp', '-a', 'f', 'g'], check=True); eq(os.getxattr('g', 'user.a'), b'carried')
subprocess.run('tar --xattrs -cf t.tar f && mkdir out && tar --xattrs -xf t.tar -C out', shell=True, check=True); eq(os.getxattr('out/f', 'user.a'), b'carried')
`,
})

/** What every filesystem of ours has: trusted and security attributes, POSIX ACLs. */
export const xattrs: Area = {
  ...Object.fromEntries(
    Object.entries(userXattrs).map(([title, run]) => [
      title,
      (at) => {
        if (at.options.userXattrs) return run(at)
        at.python("put('f'); fails('EOPNOTSUPP', os.setxattr, 'f', 'user.a', b'x')")
      },
    ]),
  ),
  ...area({
    'trusted attributes are for root, seen and set by nobody else': String.raw`
put('f'); os.setxattr('f', 'trusted.a', b'x'); eq(os.getxattr('f', 'trusted.a'), b'x'); os.chown('f', 1000, 1000)
as_user(lambda: (eq(os.listxattr('f'), []), fails('ENODATA', os.getxattr, 'f', 'trusted.a'), fails('EPERM', os.setxattr, 'f', 'trusted.a', b'y')))
os.symlink('f', 's'); os.setxattr('s', 'trusted.l', b'l', follow_symlinks=False); eq(os.listxattr('s', follow_symlinks=False), ['trusted.l'])
`,

    'an attribute of an unknown kind is refused': String.raw`
put('f'); fails('EOPNOTSUPP', os.setxattr, 'f', 'nonsense.a', b'x'); fails('EOPNOTSUPP', os.setxattr, 'f', 'a', b'x')
`,

    'a write takes file capabilities away': String.raw`
# struct vfs_cap_data revision 2: CAP_NET_BIND_SERVICE permitted and effective
cap = struct.pack('<IIIII', 0x02000001, 1 << 10, 0, 0, 0)
put('f', b'x'); os.chmod('f', 0o777); os.setxattr('f', 'security.capability', cap); eq(os.getxattr('f', 'security.capability'), cap)
fd = os.open('f', os.O_WRONLY); os.write(fd, b'y'); os.close(fd); fails('ENODATA', os.getxattr, 'f', 'security.capability')
os.setxattr('f', 'security.capability', cap); os.chown('f', 1000, 1000); fails('ENODATA', os.getxattr, 'f', 'security.capability')
`,

    'an ACL admits a named user and keeps others out': String.raw`
put('f', b'x'); os.chmod('f', 0o600)
os.setxattr('f', ACCESS, acl((USER_OBJ, 6, NONE), (USER, 4, 1000), (GROUP_OBJ, 0, NONE), (MASK, 7, NONE), (OTHER, 0, NONE)))
as_user(lambda: (get('f'), fails('EACCES', os.open, 'f', os.O_WRONLY))); as_user(lambda: fails('EACCES', get, 'f'), uid=1001, gid=1001)
eq(mode('f'), 0o670, 'the group bits show the mask')
`,

    'an ACL admits a named group, to what the mask allows': String.raw`
put('f', b'x'); e = lambda mask: acl((USER_OBJ, 6, NONE), (GROUP_OBJ, 0, NONE), (GROUP, 6, 3000), (MASK, mask, NONE), (OTHER, 0, NONE))
os.setxattr('f', ACCESS, e(6)); as_user(lambda: (get('f'), os.close(os.open('f', os.O_RDWR))), groups=[3000])
os.setxattr('f', ACCESS, e(4)); as_user(lambda: (get('f'), fails('EACCES', os.open, 'f', os.O_RDWR)), groups=[3000])
os.setxattr('f', ACCESS, e(0)); as_user(lambda: fails('EACCES', get, 'f'), groups=[3000])
`,

    'chmod changes the mask, and the ACL shows it': String.raw`
put('f'); os.setxattr('f', ACCESS, acl((USER_OBJ, 6, NONE), (USER, 7, 1000), (GROUP_OBJ, 4, NONE), (MASK, 7, NONE), (OTHER, 0, NONE)))
os.chmod('f', 0o640); got = os.getxattr('f', ACCESS)
eq(got, acl((USER_OBJ, 6, NONE), (USER, 7, 1000), (GROUP_OBJ, 4, NONE), (MASK, 4, NONE), (OTHER, 0, NONE)))
`,

    'an ACL that says no more than the mode is the mode': String.raw`
put('f'); os.setxattr('f', ACCESS, acl((USER_OBJ, 7, NONE), (GROUP_OBJ, 5, NONE), (OTHER, 1, NONE)))
eq(mode('f'), 0o751); fails('ENODATA', os.getxattr, 'f', ACCESS)
`,

    'a default ACL is inherited by what is made below': String.raw`
os.mkdir('d'); os.chmod('d', 0o777)
dfl = acl((USER_OBJ, 7, NONE), (USER, 5, 1000), (GROUP_OBJ, 5, NONE), (MASK, 7, NONE), (OTHER, 0, NONE)); os.setxattr('d', DEFAULT, dfl)
os.umask(0o077); os.close(os.open('d/f', os.O_CREAT | os.O_WRONLY, 0o666)); os.mkdir('d/sub', 0o777)
eq(mode('d/f'), 0o660, 'the default ACL stands in for umask'); eq(mode('d/sub'), 0o770)
eq(os.getxattr('d/sub', DEFAULT), dfl); fails('ENODATA', os.getxattr, 'd/f', DEFAULT)
eq(os.getxattr('d/f', ACCESS), acl((USER_OBJ, 6, NONE), (USER, 5, 1000), (GROUP_OBJ, 5, NONE), (MASK, 6, NONE), (OTHER, 0, NONE)))
as_user(lambda: get('d/f')); as_user(lambda: fails('EACCES', get, 'd/f'), uid=1001, gid=1001)
os.close(os.open('d/g', os.O_CREAT | os.O_WRONLY, 0o600)); as_user(lambda: fails('EACCES', get, 'd/g'))
`,

    'an ACL is removed, and only its owner sets it': String.raw`
os.mkdir('d'); a = acl((USER_OBJ, 7, NONE), (USER, 7, 1000), (GROUP_OBJ, 5, NONE), (MASK, 7, NONE), (OTHER, 5, NONE))
os.setxattr('d', ACCESS, a); os.setxattr('d', DEFAULT, a); eq({ACCESS, DEFAULT} <= set(os.listxattr('d')), True)
as_user(lambda: fails('EPERM', os.setxattr, 'd', ACCESS, a)); os.removexattr('d', DEFAULT); os.removexattr('d', ACCESS); eq(os.listxattr('d'), [])
put('f'); fails('EACCES', os.setxattr, 'f', DEFAULT, a); fails('EINVAL', os.setxattr, 'f', ACCESS, b'\2\0\0\0xyz'); fails('EOPNOTSUPP', os.setxattr, 'f', ACCESS, b'\3\0\0\0')
fails('EINVAL', os.setxattr, 'f', ACCESS, acl((USER_OBJ, 7, NONE), (USER, 7, 1000), (GROUP_OBJ, 5, NONE), (OTHER, 5, NONE)))
`,
  }),
}
