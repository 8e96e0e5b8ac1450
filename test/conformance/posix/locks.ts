import type { Area } from './place.ts'

const LOCKS = String.raw`
R, W, U = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
# struct flock on 64-bit Linux: type, whence, start, len, pid
def flk(type, start=0, length=0): return struct.pack('hhqqi4x', type, 0, start, length, 0)
def lock(fd, type, start=0, length=0, wait=False): fcntl.fcntl(fd, fcntl.F_SETLKW if wait else fcntl.F_SETLK, flk(type, start, length))
def held(fd, type, start=0, length=0):
    t, _, s, l, pid = struct.unpack('hhqqi4x', fcntl.fcntl(fd, fcntl.F_GETLK, flk(type, start, length)))
    return None if t == U else (t, s, l, pid)
def refused(fd, type, start=0, length=0): fails('EAGAIN', lock, fd, type, start, length)
def elsewhere(call): join(child(call))
def rw(path='f'): return os.open(path, os.O_CREAT | os.O_RDWR)
class Other:
    # A second process that does what it is told, one call after another.
    def __init__(self):
        self.go, self.done = os.pipe(), os.pipe(); self.pid = None
    def start(self, *calls):
        def run():
            for call in calls: os.read(self.go[0], 1); call(); os.write(self.done[1], b'x')
            os.read(self.go[0], 1)
        self.pid = child(run); return self
    def step(self, wait=True):
        os.write(self.go[1], b'x')
        if wait: self.waited()
    def waited(self, seconds=10):
        import select
        if not select.select([self.done[0]], [], [], seconds)[0]: raise AssertionError('the other process does not answer')
        os.read(self.done[0], 1)
    def blocked(self, seconds=0.2):
        import select
        if select.select([self.done[0]], [], [], seconds)[0]: raise AssertionError('the other process was let through')
    def end(self): os.write(self.go[1], b'x'); join(self.pid)
`

const area = (cases: Readonly<Record<string, string>>): Area =>
  Object.fromEntries(
    Object.entries(cases).map(([title, script]) => [
      title,
      (at) => {
        at.python(LOCKS + script)
      },
    ]),
  )

/** fcntl, open file description and flock locks, between processes. */
export const locks: Area = area({
  'an exclusive range lock keeps other processes out': String.raw`
fd = rw(); lock(fd, W, 10, 10); me = os.getpid()
def other():
    o = rw(); refused(o, W, 0, 0); refused(o, R, 15, 1); lock(o, W, 0, 10); lock(o, W, 20, 5)
    eq(held(o, W, 0, 0)[:3], (W, 10, 10)); eq(held(o, W, 12, 1)[3], me); eq(held(o, W, 30, 0), None)
elsewhere(other); lock(fd, U); elsewhere(lambda: lock(rw(), W))
`,

  'shared locks stand together and keep an exclusive one out': String.raw`
fd = rw(); lock(fd, R)
def other(): o = rw(); lock(o, R); refused(o, W)
elsewhere(other); eq(held(fd, W), None, 'own locks do not conflict'); lock(fd, W); elsewhere(lambda: refused(rw(), R))
`,

  'ranges are split, joined and changed by the same owner': String.raw`
fd = rw(); lock(fd, W, 0, 100); lock(fd, U, 40, 20)
def split(): o = rw(); refused(o, R, 39, 1); lock(o, W, 40, 20); refused(o, R, 60, 1)
elsewhere(split); lock(fd, W, 40, 20); elsewhere(lambda: refused(rw(), R, 50, 1)); lock(fd, R, 30, 40)
def down(): o = rw(); lock(o, R, 30, 40); refused(o, W, 30, 1); refused(o, R, 29, 1); refused(o, R, 70, 1)
elsewhere(down)
`,

  'a range may reach to the end of all offsets': String.raw`
fd = rw(); lock(fd, W, 2**62, 0)
def other(): o = rw(); refused(o, W, 2**63 - 2, 1); lock(o, W, 0, 2**62); eq(held(o, W, 0, 0)[1:3], (2**62, 0))
elsewhere(other)
`,

  'a waiting lock is woken when the holder lets go': String.raw`
fd = rw(); lock(fd, W); o = Other().start(lambda: lock(rw(), W, wait=True))
o.step(wait=False); o.blocked(); lock(fd, U); o.waited(); refused(fd, W); o.end(); lock(fd, W)
`,

  'a waiting lock is woken when the holder is killed': String.raw`
r, w = os.pipe()
def hold(): fd = rw(); lock(fd, W); os.write(w, b'x'); time.sleep(60)
pid = child(hold); os.read(r, 1); fd = rw(); o = Other().start(lambda: lock(rw(), W, wait=True)); o.step(wait=False); o.blocked()
os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); o.waited(); o.end()
`,

  'a waiting lock ends with the signal that interrupts it': String.raw`
fd = rw(); lock(fd, W); r, w = os.pipe()
def wait():
    signal.signal(signal.SIGUSR1, lambda *_: (_ for _ in ()).throw(InterruptedError(errno.EINTR, 'signal'))); o = rw(); os.write(w, b'x')
    fails('EINTR', lock, o, W, 0, 0, True)
pid = child(wait); os.read(r, 1); time.sleep(0.2); os.kill(pid, signal.SIGUSR1); join(pid)
def killed(): os.write(w, b'x'); lock(rw(), W, wait=True)
pid = child(killed); os.read(r, 1); time.sleep(0.2); os.kill(pid, signal.SIGKILL); end = time.monotonic() + 5
until(lambda: os.waitpid(pid, os.WNOHANG)[0], 'killed waiter is gone', 5); lock(fd, U); elsewhere(lambda: lock(rw(), W))
`,

  'closing any descriptor of the file lets the process lock go': String.raw`
fd = rw(); lock(fd, W); elsewhere(lambda: refused(rw(), W)); os.close(rw()); elsewhere(lambda: lock(rw(), W))
`,

  'a child does not inherit range locks, the parent keeps them': String.raw`
fd = rw(); lock(fd, W); elsewhere(lambda: refused(fd, W)); elsewhere(lambda: refused(rw(), W))
`,

  'an exclusive lock needs a writable descriptor, a shared one a readable': String.raw`
put('f'); fails('EBADF', lock, os.open('f', os.O_RDONLY), W); fails('EBADF', lock, os.open('f', os.O_WRONLY), R); lock(os.open('f', os.O_RDONLY), R)
`,

  'locks stay with the file over rename and unlink': String.raw`
fd = rw(); lock(fd, W); os.rename('f', 'g'); elsewhere(lambda: refused(rw('g'), W)); elsewhere(lambda: lock(rw('f'), W)); os.link('g', 'h'); elsewhere(lambda: refused(rw('h'), W))
`,

  'locks of an open file description belong to it and not to the process': String.raw`
F_OFD_GETLK, F_OFD_SETLK = 36, 37
a, b = rw(), rw(); ofd = lambda fd, t, s=0, l=0: fcntl.fcntl(fd, F_OFD_SETLK, flk(t, s, l))
ofd(a, W); fails('EAGAIN', ofd, b, W); os.close(os.dup(a)); fails('EAGAIN', ofd, b, R); elsewhere(lambda: fails('EAGAIN', ofd, rw(), R)); os.close(a); ofd(b, W)
`,

  'flock is exclusive or shared between open files': String.raw`
a, b = rw(), rw(); N = fcntl.LOCK_NB
fcntl.flock(a, fcntl.LOCK_EX); fails('EWOULDBLOCK', fcntl.flock, b, fcntl.LOCK_EX | N); fails('EWOULDBLOCK', fcntl.flock, b, fcntl.LOCK_SH | N)
elsewhere(lambda: fails('EWOULDBLOCK', fcntl.flock, rw(), fcntl.LOCK_SH | N))
fcntl.flock(a, fcntl.LOCK_SH); fcntl.flock(b, fcntl.LOCK_SH | N); fails('EWOULDBLOCK', fcntl.flock, a, fcntl.LOCK_EX | N)
fcntl.flock(b, fcntl.LOCK_UN); fcntl.flock(a, fcntl.LOCK_EX | N)
`,

  'flock lives until the last copy of the descriptor is closed': String.raw`
a = rw(); fcntl.flock(a, fcntl.LOCK_EX); d = os.dup(a); os.close(a); b = rw(); fails('EWOULDBLOCK', fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.close(d); fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
`,

  'a waiting flock is woken, and by the death of the holder too': String.raw`
o = Other().start(lambda: fcntl.flock(rw(), fcntl.LOCK_EX)); a = rw(); fcntl.flock(a, fcntl.LOCK_EX); o.step(wait=False); o.blocked(); os.close(a); o.waited(); o.end()
r, w = os.pipe()
def hold(): fcntl.flock(rw(), fcntl.LOCK_EX); fd = rw('g'); fcntl.flock(fd, fcntl.LOCK_EX); os.write(w, b'x'); time.sleep(60)
pid = child(hold); os.read(r, 1); b = rw('g'); fails('EWOULDBLOCK', fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); fcntl.flock(b, fcntl.LOCK_EX)
`,

  'flock and range locks do not meet': String.raw`
a = rw(); fcntl.flock(a, fcntl.LOCK_EX); elsewhere(lambda: lock(rw(), W)); lock(a, W)
def other(): o = rw(); refused(o, W); fails('EWOULDBLOCK', fcntl.flock, o, fcntl.LOCK_SH | fcntl.LOCK_NB)
elsewhere(other)
`,

  'a counter under a lock loses no step of any process': String.raw`
put('n', b'0')
def work():
    fd = rw('n')
    for _ in range(50):
        lock(fd, W, wait=True); v = int(os.pread(fd, 20, 0)); os.pwrite(fd, b'%d' % (v + 1), 0); lock(fd, U)
pids = [child(work) for _ in range(4)]
for pid in pids: join(pid)
eq(get('n'), b'200')
`,
})
