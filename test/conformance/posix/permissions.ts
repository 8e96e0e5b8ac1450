import type { Area } from './place.ts'

const area = (cases: Readonly<Record<string, string>>): Area =>
  Object.fromEntries(
    Object.entries(cases).map(([title, script]) => [
      title,
      (at) => {
        at.python(MODES + script)
      },
    ]),
  )

const MODES = String.raw`
def mode(path): return stat.S_IMODE(os.stat(path).st_mode)
def own(path, uid, gid, bits): os.chown(path, uid, gid); os.chmod(path, bits)
def allowed(call):
    try: call(); return True
    except PermissionError: return False
def opens(path, flags): os.close(os.open(path, flags))
`

/** Who may do what: mode bits, groups, sticky, setuid and setgid, root. */
export const permissions: Area = area({
  'owner, group and others each get their own three bits': String.raw`
put('f', b'#!/bin/true\n')
for bits in range(0, 0o1000, 0o13):
    own('f', 1000, 3000, bits)
    for uid, gid, shift in ((1000, 9, 6), (1001, 3000, 3), (1001, 9, 0)):
        mine = (bits >> shift) & 7
        def run():
            eq(allowed(lambda: opens('f', os.O_RDONLY)), bool(mine & 4), f'read {bits:o} {uid}:{gid}')
            eq(allowed(lambda: opens('f', os.O_WRONLY)), bool(mine & 2), f'write {bits:o} {uid}:{gid}')
            eq(os.access('f', os.X_OK), bool(mine & 1), f'execute {bits:o} {uid}:{gid}')
        as_user(run, uid, gid)
`,

  'a supplementary group counts as the group': String.raw`
put('f', b'x'); own('f', 0, 4242, 0o040)
as_user(lambda: fails('EACCES', get, 'f')); as_user(lambda: get('f'), groups=[7, 4242])
os.mkdir('d'); own('d', 0, 4242, 0o770); as_user(lambda: put('d/f'), groups=[4242]); as_user(lambda: fails('EACCES', put, 'd/g'))
`,

  'many supplementary groups are all seen': String.raw`
put('f', b'x'); own('f', 0, 5099, 0o040); as_user(lambda: get('f'), groups=list(range(5000, 5100)))
`,

  'a directory needs x to pass, r to list, w and x to change': String.raw`
os.mkdir('d'); put('d/f', b'x'); os.chmod('d/f', 0o666)
for bits in range(8):
    own('d', 1000, 1000, bits << 6); r, w, x = bits & 4, bits & 2, bits & 1
    def run():
        eq(allowed(lambda: os.listdir('d')), bool(r), f'list {bits}')
        eq(allowed(lambda: os.stat('d/f')), bool(x), f'stat {bits}')
        eq(allowed(lambda: get('d/f')), bool(x), f'open {bits}')
        eq(allowed(lambda: put('d/new')), bool(w and x), f'create {bits}')
        if w and x: os.unlink('d/new')
    as_user(run)
`,

  'a directory on the way that lets nobody pass hides what is below': String.raw`
os.makedirs('a/b'); put('a/b/f', b'x'); os.chmod('a', 0o700)
as_user(lambda: (fails('EACCES', os.stat, 'a/b/f'), fails('EACCES', os.stat, 'a/none'), fails('EACCES', os.mkdir, 'a/c'), fails('EACCES', os.chmod, 'a/b', 0)))
os.chmod('a', 0o755); as_user(lambda: get('a/b/f')); os.chmod('a', 0o700); as_user(lambda: fails('EACCES', get, 'a/b/f'))
`,

  'unlink and rename need the directory, not the file': String.raw`
os.mkdir('d'); own('d', 1000, 1000, 0o755); put('d/f'); put('d/g'); os.chmod('d/f', 0)
as_user(lambda: (os.rename('d/f', 'd/h'), os.unlink('d/h'), os.unlink('d/g')))
put('f'); own('f', 1000, 1000, 0o777); as_user(lambda: (fails('EACCES', os.unlink, 'f'), fails('EACCES', os.rename, 'f', 'd/f')))
`,

  'only the owner changes the mode': String.raw`
put('f'); own('f', 2000, 2000, 0o666)
as_user(lambda: fails('EPERM', os.chmod, 'f', 0o777)); as_user(lambda: os.chmod('f', 0o600), uid=2000); eq(mode('f'), 0o600)
`,

  'only root gives a file away; its owner may choose among own groups': String.raw`
put('f'); own('f', 1000, 1000, 0o644)
as_user(lambda: fails('EPERM', os.chown, 'f', 2000, -1)); as_user(lambda: fails('EPERM', os.chown, 'f', 0, -1))
as_user(lambda: fails('EPERM', os.chown, 'f', -1, 3000)); as_user(lambda: os.chown('f', -1, 3000), groups=[3000])
eq((os.stat('f').st_uid, os.stat('f').st_gid), (1000, 3000)); as_user(lambda: os.chown('f', 1000, -1))
as_user(lambda: fails('EPERM', os.chown, 'f', -1, 1001), uid=1001, gid=1001)
os.chown('f', 2**32 - 2, 2**31); eq((os.stat('f').st_uid, os.stat('f').st_gid), (2**32 - 2, 2**31))
`,

  'in a sticky directory only owners remove and rename': String.raw`
os.mkdir('t'); own('t', 5000, 5000, 0o1777); os.mkdir('t/d'); own('t/d', 1000, 1000, 0o777)
for n in 'abc': put('t/' + n); own('t/' + n, 1000, 1000, 0o666)
as_user(lambda: (fails('EPERM', os.unlink, 't/a'), fails('EPERM', os.rename, 't/a', 't/z'), fails('EPERM', os.rmdir, 't/d')), uid=1001)
def over(): put('t/mine'); fails('EPERM', os.rename, 't/mine', 't/a')
as_user(over, uid=1001)
as_user(lambda: (os.rename('t/a', 't/z'), os.unlink('t/b')))
as_user(lambda: (os.unlink('t/c'), os.rmdir('t/d')), uid=5000); eq(sorted(os.listdir('t')), ['mine', 'z'])
`,

  'moving a directory to another parent needs writing on the directory itself': String.raw`
for n in ('a', 'b'): os.mkdir(n); own(n, 1000, 1000, 0o777)
os.mkdir('a/d'); own('a/d', 2000, 2000, 0o755)
as_user(lambda: fails('EACCES', os.rename, 'a/d', 'b/d')); as_user(lambda: os.rename('a/d', 'a/e')); os.chmod('a/e', 0o777)
as_user(lambda: os.rename('a/e', 'b/d'))
`,

  'umask is taken off at open, mkdir and mknod': String.raw`
for mask in (0, 0o022, 0o077, 0o777):
    os.umask(mask); os.close(os.open('f', os.O_CREAT | os.O_WRONLY, 0o666)); os.mkdir('d', 0o777); os.mkfifo('p', 0o666)
    eq((mode('f'), mode('d'), mode('p')), (0o666 & ~mask, 0o777 & ~mask, 0o666 & ~mask)); os.unlink('f'); os.rmdir('d'); os.unlink('p')
`,

  'all twelve mode bits are kept': String.raw`
put('f'); os.mkdir('d')
for bits in (0, 0o7777, 0o4755, 0o2755, 0o1777, 0o6000, 0o111):
    for p in ('f', 'd'): os.chmod(p, bits); eq(mode(p), bits, p)
`,

  'a new file belongs to who made it': String.raw`
os.chmod('.', 0o777)
def make(): put('f'); os.mkdir('d'); os.symlink('x', 's'); os.mkfifo('p'); os.link('f', 'l')
as_user(make, uid=1234, gid=4321)
for p in 'fdspl': eq((os.lstat(p).st_uid, os.lstat(p).st_gid), (1234, 4321), p)
`,

  'a setgid directory gives its group, and its bit to directories': String.raw`
os.mkdir('d'); own('d', 0, 3000, 0o2777)
def make(): put('d/f', mode=0o644); os.mkdir('d/sub'); os.symlink('x', 'd/s')
as_user(make)
eq([os.lstat('d/' + n).st_gid for n in ('f', 'sub', 's')], [3000] * 3)
eq((mode('d/sub') & 0o2000, mode('d/f') & 0o2000), (0o2000, 0))
`,

  'setgid is not given to a file of a group one is not in': String.raw`
os.mkdir('d'); own('d', 0, 3000, 0o2777)
as_user(lambda: os.close(os.open('d/f', os.O_CREAT | os.O_WRONLY, 0o2775))); eq(mode('d/f') & 0o2000, 0)
put('g'); own('g', 1000, 3000, 0o755); as_user(lambda: os.chmod('g', 0o2755)); eq(mode('g'), 0o755)
as_user(lambda: os.chmod('g', 0o2755), groups=[3000]); eq(mode('g'), 0o2755)
`,

  'writing as a user takes setuid and setgid away': String.raw`
put('f', b'x'); own('f', 2000, 2000, 0o6777)
def write(): fd = os.open('f', os.O_WRONLY); os.write(fd, b'y'); os.close(fd)
as_user(write); eq(mode('f'), 0o777)
own('f', 2000, 2000, 0o6777); as_user(lambda: os.truncate('f', 0)); eq(mode('f'), 0o777)
own('f', 2000, 2000, 0o6777); as_user(lambda: os.close(os.open('f', os.O_WRONLY | os.O_TRUNC))) ; eq(mode('f') & 0o4000, 0)
own('f', 2000, 2000, 0o6777); write(); eq(mode('f'), 0o6777, 'root keeps them')
`,

  'changing the owner takes setuid and setgid away': String.raw`
put('f'); own('f', 1000, 1000, 0o6755); as_user(lambda: os.chown('f', -1, 1000)); eq(mode('f'), 0o755)
os.chmod('f', 0o6755); os.chown('f', 2000, 2000); eq(mode('f'), 0o755, 'by root')
os.mkdir('d'); own('d', 1000, 1000, 0o2755); os.chown('d', 2000, 2000); eq(mode('d'), 0o2755, 'directory')
`,

  'root passes every bit but executes only what somebody may': String.raw`
put('f', b'#!/bin/sh\nexit 0\n'); own('f', 1000, 1000, 0); get('f'); put('f', b'#!/bin/sh\nexit 0\n')
eq(os.access('f', os.X_OK), False); fails('EACCES', os.execv, './f', ['f']); os.chmod('f', 0o001); eq(os.access('f', os.X_OK), True)
os.mkdir('d'); own('d', 1000, 1000, 0); put('d/x'); eq(os.listdir('d'), ['x'])
`,

  'a script runs for whom its bits say': String.raw`
put('f', b'#!/bin/sh\nexit 7\n'); own('f', 1000, 1000, 0o500)
def run(): os.execv('./f', ['f'])
pid = child(lambda: (os.setgid(1000), os.setuid(1000), run())); join(pid, 7)
as_user(lambda: fails('EACCES', run), uid=1001, gid=1001)
`,

  'access answers for the real user': String.raw`
put('f'); own('f', 1000, 1000, 0o600)
def look(): eq([os.access('f', m) for m in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)], [True, False, False, False])
as_user(look, uid=1001, gid=1001)
as_user(lambda: eq([os.access('f', m) for m in (os.R_OK, os.W_OK, os.X_OK)], [True, True, False]))
`,

  'a change of mode holds at once for everybody': String.raw`
put('f', b'x'); os.chmod('f', 0o644)
for i in range(20):
    os.chmod('f', 0o600 if i % 2 else 0o644); as_user((lambda: fails('EACCES', get, 'f')) if i % 2 else (lambda: get('f')))
`,

  'an open file stays open when its mode goes': String.raw`
put('f', b'text'); own('f', 1000, 1000, 0o600)
def run():
    fd = os.open('f', os.O_RDWR); os.chmod('f', 0); eq(os.pread(fd, 10, 0), b'text'); os.pwrite(fd, b'T', 0); fails('EACCES', get, 'f')
as_user(run); eq(get('f'), b'Text')
`,
})
