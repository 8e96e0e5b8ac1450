// deadline: 500 s
import { createInterface } from 'node:readline'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hosts, type Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { posixOn } from '../support/posix-on.ts'
import { SharedLab } from '../support/shared-lab.ts'
import { withVolumeOfThree } from '../support/volume-of-three.ts'

const LOCK = '/mnt/weft/db/lock'

/** Holds a lock until its input ends, then writes under it and syncs. */
const HOLD = `import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR, 0o644)
fcntl.lockf(fd, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.read()
os.pwrite(fd, b'held', 0)
os.fsync(fd)
print('written', flush=True)`

/** Holds a lock, through a descriptor that only reads, until its input ends. */
const FLOCK = `import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.read()
fcntl.flock(fd, fcntl.LOCK_UN)
print('unlocked', flush=True)`

/** Tries to get a lock for so many seconds. */
const trying = (flags: string, lock: string, got: string) => `import fcntl, os, sys, time
fd = os.open(sys.argv[1], ${flags})
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    try:
        ${lock}(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print(${got})
        break
    except BlockingIOError:
        time.sleep(0.1)
else:
    print('never')`
const TRY = trying('os.O_RDWR', 'fcntl.lockf', 'os.pread(fd, 4, 0).decode()')
/** As FLOCK takes it. */
const TRY_FLOCK = trying('os.O_RDONLY', 'fcntl.flock', "'got it'")

/** Waits for a lock that another has, again and again, and is woken by a signal each time. */
const WOKEN = `import fcntl, os, random, signal, sys
class Woken(Exception): pass
def wake(*_): raise Woken
signal.signal(signal.SIGALRM, wake)
fd = os.open(sys.argv[1], os.O_RDWR)
woken = 0
for n in range(200):
    signal.setitimer(signal.ITIMER_REAL, 0.004 + random.random() * 0.012)
    try: fcntl.lockf(fd, fcntl.LOCK_EX)
    except Woken: woken += 1
print(woken)`

/** The namespace mount's connection is cut, which closes and unlocks nothing; and then it is mounted anew. */
const ABORT = `number=$(mountpoint -d /mnt/weft | cut -d: -f2)
echo 1 >/sys/fs/fuse/connections/$number/abort
# The node may have been quicker.
umount -l /mnt/weft 2>/dev/null || ! mountpoint -q /mnt/weft
until weft mount /mnt/weft; do sleep 0.2; done`

class Holder {
  readonly #child: ReturnType<Host['spawn']>
  readonly #lines: AsyncIterator<string>

  constructor(host: Host, path: string, program = HOLD) {
    this.#child = host.spawn(['python3', '-c', program, path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    assert.ok(this.#child.stdout)
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  async says(): Promise<string | undefined> {
    return (await this.#lines.next()).value
  }

  /** Does what it does at the end. */
  end(): void {
    this.#child.stdin?.end()
  }
}

async function tries(host: Host, lock: string, seconds: number, program = TRY): Promise<string> {
  return (await host.run('python3', '-c', program, lock, `${seconds}`)).trim()
}

/** Reads a file, and once more under a lock when its input ends, through the same descriptor. */
const READ_AGAIN = `import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print(os.pread(fd, 9, 0).decode(), flush=True)
sys.stdin.read()
fcntl.lockf(fd, fcntl.LOCK_EX)
print(os.pread(fd, 9, 0).decode(), flush=True)`

/** Opens a file, locks it and closes it, again and again. */
const OPEN_AND_LOCK = `import fcntl, os, sys
for n in range(int(sys.argv[2])):
    fd = os.open(sys.argv[1], os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.close(fd)
print('closed')`

const shared = new SharedLab(3)

function withVolume(work: (lab: Lab, lock: string) => Promise<void>): Promise<void> {
  const volume = shared.name('db')
  return withVolumeOfThree(shared, volume, (lab) => work(lab, `/mnt/weft/${volume}/lock`))
}

test('a lock is held while the daemons at both ends die, and given back by its holder alone', () =>
  withVolume(async (lab, lock) => {
    const [third, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    const holder = new Holder(other, lock)
    assert.is(await holder.says(), 'locked')
    other.killDaemon()
    assert.is(await tries(third, lock, 20), 'never')
    owner.killDaemon()
    assert.is(await tries(third, lock, 20), 'never')
    holder.end()
    assert.is(await holder.says(), 'written', 'its session was there all the time')
    assert.is(await tries(third, lock, 20), 'held')
  }))

test('a session that has run out does not go on with the next daemons of both ends', () =>
  withVolume(async (lab, lock) => {
    const [third, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    const first = new Holder(other, lock)
    assert.is(await first.says(), 'locked')
    await other.pause()
    const second = new Holder(third, lock)
    assert.is(await second.says(), 'locked', 'the first has not been heard of for a term')
    owner.killDaemon()
    other.killDaemon()
    await other.resume()
    first.end()
    assert.is(await first.says(), undefined, 'it has no lock and cannot write')
    second.end()
    assert.is(await second.says(), 'written')
  }))

test('locks exclude across nodes while the owner has the volume attached, and after', () =>
  withVolume(async (lab, lock) => {
    const [third, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    const point = '/mnt/point'
    await owner.run('mkdir', '-p', point)
    await other.run('touch', lock)
    const open = other.spawn(['bash', '-c', 'exec 3<"$0"; read', lock], {
      stdio: ['pipe', 'inherit', 'inherit'],
    })
    // Another node uses it, whoever attaches it.
    await third.run('cat', lock)
    const volume = lock.split('/')[3] as string
    await owner.weft('attach', volume, point)
    const holder = new Holder(owner, lock, FLOCK)
    assert.is(await holder.says(), 'locked')
    assert.is(await tries(other, lock, 2, TRY_FLOCK), 'never')
    await owner.weft('detach', point)
    assert.is(await tries(other, lock, 2, TRY_FLOCK), 'never', 'detached')
    owner.killDaemon()
    assert.is(await tries(other, lock, 15, TRY_FLOCK), 'never', 'its daemon was killed')
    holder.end()
    assert.is(await holder.says(), 'unlocked')
    assert.is(await tries(other, lock, 10, TRY_FLOCK), 'got it')
    open.stdin?.end()
  }))

test('what is closed while the owner’s daemon is killed is locked no more', () =>
  withVolume(async (lab, lock) => {
    const [third, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    await other.run('touch', lock)
    const looping = other.run('python3', '-c', OPEN_AND_LOCK, lock, '4000')
    for (let kill = 0; kill < 3; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 1500))
      owner.killDaemon()
    }
    assert.is((await looping).trim(), 'closed')
    assert.is(await tries(third, lock, 5, TRY_FLOCK), 'got it')
  }))

test('who has got a lock reads what was written before, through a descriptor that was open all the time', () =>
  withVolume(async (lab, lock) => {
    const [third, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    const write = (host: Host, text: string) =>
      host.run('bash', '-c', 'printf "$0" | dd of="$1" conv=notrunc status=none', text, lock)
    await write(owner, 'older')
    const first = new Holder(owner, lock, READ_AGAIN)
    assert.is(await first.says(), 'older')
    await write(other, 'newer')
    owner.killDaemon()
    first.end()
    assert.is(await first.says(), 'newer', 'the next daemon orders the changes by itself')

    const second = new Holder(third, lock, READ_AGAIN)
    assert.is(await second.says(), 'newer')
    await write(owner, 'again')
    await third.weft('volume', 'move', lock.split('/')[3] as string, third.name)
    second.end()
    assert.is(await second.says(), 'again', 'the volume has come to its node')
  }))

test('what was locked through a mount that was aborted is free', () =>
  withVolume(async (lab, lock) => {
    const [third, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    await owner.run('touch', lock)
    // First while nobody else uses the volume; then the owner again, and one that is not.
    for (const [host, sees] of [
      [owner, null],
      [owner, third],
      [other, third],
    ] as const) {
      const holder = new Holder(host, lock, FLOCK)
      assert.is(await holder.says(), 'locked')
      if (sees) assert.is(await tries(sees, lock, 1, TRY_FLOCK), 'never')
      await host.run('bash', '-ec', ABORT)
      assert.is(await tries(third, lock, 5, TRY_FLOCK), 'got it')
      holder.end()
    }
  }))

test('what both have left is sound', () => shared.end())

test('a signal for one who waits for a lock costs nobody else on that node anything', async () => {
  const lab = await hosts(2)
  try {
    const [owner, other] = [lab.host(1), lab.host(2)]
    await owner.weft('volume', 'create', 'db', '--size', '1G', '--repl', '2')
    const holder = new Holder(owner, LOCK)
    assert.is(await holder.says(), 'locked')
    const bystander = new Holder(other, '/mnt/weft/db/bystander')
    assert.is(await bystander.says(), 'locked')
    assert.is((await other.run('python3', '-c', WOKEN, LOCK)).trim(), '200')
    bystander.end()
    assert.is(await bystander.says(), 'written')
    holder.end()
    assert.is(await holder.says(), 'written')
    assert.is(await tries(other, LOCK, 5), 'held')

    const reader = new Holder(owner, LOCK, FLOCK)
    assert.is(await reader.says(), 'locked')
    const point = '/mnt/point'
    await other.run('mkdir', point)
    const refused = await other.weft('attach', 'db', point).catch((error: Error) => error.message)
    assert.match(refused, /files of volume db are locked .*locks: 1/)
    reader.end()
    assert.is(await reader.says(), 'unlocked')
    await other.weft('attach', 'db', point)
    await other.weft('detach', point)
    // Which is not its owner any more.
    assert.match(await posixOn(owner, '/mnt/weft/db', 'locks:'), /^\d\d passed, 0 failed$/m)
  } finally {
    await lab.close()
  }
})

test.run()
