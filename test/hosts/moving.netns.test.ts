// deadline: 360 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { VolumeDetail } from '../../src/api/index.ts'
import { calling, enough, untilEnough } from '../support/calling.ts'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'
import { SharedLab } from '../support/shared-lab.ts'

/** Calls by name alone, one after the other, until it is told; says what fails, and at the end how often it was done. */
const CALLS = `n=0
${untilEnough}; do
  mkdir $1/d-$2 && stat $1/d-$2 >/dev/null && mv $1/d-$2 $1/e-$2 && sync $1 && rmdir $1/e-$2 && n=$((n + 1)) || echo after $n
done 2>&1
echo done $n`

/** Works through descriptors that were opened before the first move, and through some that nothing is done with until the last. */
const DESCRIPTORS = `
import os, sys, time
root, who = sys.argv[1:]
def opened(name, flags): return os.open(f'{root}/{name}', flags | os.O_CREAT, 0o644)
own = opened(f'own-{who}', os.O_RDWR)
log = opened('log', os.O_WRONLY | os.O_APPEND)
read = opened('bytes', os.O_RDONLY)
idle = opened(f'idle-{who}', os.O_RDWR)
idle_read = opened('bytes', os.O_RDONLY)
os.write(idle, b'before')
expected = os.pread(read, 1 << 20, 0)
n = 0
open(f'{root}/ready-{who}', 'w').close()
while not os.path.exists('/run/enough'):
    os.pwrite(own, b'%08d' % n, 8 * n)
    os.write(log, b'%s %d\\n' % (who.encode(), n))
    os.fsync(own)
    at = 4096 * (n % 256)
    assert os.pread(read, 4096, at) == expected[at:at + 4096], 'read something else'
    n += 1
os.fsync(log)
assert os.pread(own, 8 * n, 0) == b''.join(b'%08d' % i for i in range(n)), 'own file'
assert os.pread(idle, 16, 0) == b'before', 'idle file'
os.pwrite(idle, b'after', 6)
os.fsync(idle)
assert os.read(idle_read, 1 << 20) == expected, 'idle reader'
os.ftruncate(own, 8)
for fd in (own, log, read, idle, idle_read): os.close(fd)
print('done', n)
`

/** Looks at the size of a file through one descriptor until it is told, and once more. */
const SIZE = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_CREAT, 0o644)
while not os.path.exists('/run/look'): os.fstat(fd)
print(os.fstat(fd).st_size)
`

/** Opens a file, and writes and reads it through that descriptor once it is told. */
const HELD = `
import os, sys, time
path = sys.argv[1]
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
os.write(fd, b'before')
os.fsync(fd)
open(path + '.ready', 'w').close()
while not os.path.exists('/run/enough'): time.sleep(0.1)
os.write(fd, b'after')
os.fsync(fd)
print(os.pread(fd, 100, 0).decode())
`

const ROUTE = ['node2', 'node3', 'node1', 'node3', 'node2', 'node1']

const shared = new SharedLab(3)

/** @param work gets the volume's name, and its directory on each host */
function withMovingVolume(
  work: (lab: Lab, all: readonly Host[], volume: string, root: string) => Promise<void>,
  spec = 'owner=stays,',
): Promise<void> {
  const volume = shared.name('db')
  return shared.with(async (lab) => {
    const all = [lab.host(1), lab.host(2), lab.host(3)]
    for (const host of all) await host.run('rm', '-f', '/run/enough', '/run/look')
    await lab.host(1).weft('volume', 'create', `${spec}name=${volume},size=512M,repl=3`)
    await work(lab, all, volume, `/mnt/weft/${volume}`)
  })
}

async function untilOwned(host: Host, volume: string, by: string): Promise<void> {
  await until(
    `${by} owns it`,
    async () => (await host.ask<VolumeDetail>(`/v1/volumes/${volume}`)).owner === by,
    60_000,
  )
}

async function moveTo(host: Host, volume: string, to: string): Promise<void> {
  await host.weft('volume', 'move', volume, to)
  await untilOwned(host, volume, to)
}

test('while a volume goes from node to node, no call by name fails on any of them', () =>
  withMovingVolume(async (lab, all, volume, root) => {
    const said = all.map((host) => calling(host, CALLS, root, host.name))
    for (const to of ROUTE) await moveTo(lab.host(1), volume, to)
    for (const host of all) await enough(host)
    for (const words of await Promise.all(said))
      assert.match(words.trim(), /^done [1-9]\d*$/, words)
    assert.is((await lab.host(1).run('ls', root)).trim(), '')
  }))

test('what is open goes on through it, for reading and for writing, at who had the volume, has it, and never had it', () =>
  withMovingVolume(async (lab, all, volume, root) => {
    const first = lab.host(1)
    await first.run('dd', 'if=/dev/urandom', `of=${root}/bytes`, 'bs=1M', 'count=1')
    const script = `exec python3 -c "$3" "$1" "$2" 2>&1`
    const said = all.map((host) => calling(host, script, root, host.name, DESCRIPTORS))
    await until(
      'all have begun',
      async () => (await first.run('ls', root)).split('ready-').length === 4,
      20_000,
    )
    const size = calling(first, `exec python3 -c "$2" "$1" 2>&1`, `${root}/size`, SIZE)
    await until('it is there', async () => (await first.run('ls', root)).includes('size'))
    for (const to of ROUTE) {
      await moveTo(first, volume, to)
      if (to !== 'node2') continue
      // The owner of before shows at once what is changed at the next.
      await lab.host(2).run('bash', '-c', `echo 12345 >>${root}/size`)
      await first.run('touch', '/run/look')
      assert.is((await size).trim(), '6')
    }
    for (const host of all) await enough(host)
    const words = await Promise.all(said)
    let lines = 0
    for (const word of words) {
      assert.match(word.trim(), /^done [1-9]\d*$/, word)
      lines += Number(word.trim().slice('done '.length))
    }
    assert.is(Number(await first.run('sh', '-c', `wc -l <${root}/log`)), lines, 'appended')
    assert.is((await first.run('sh', '-c', `cat ${root}/idle-*`)).trim(), 'beforeafter'.repeat(3))
  }))

test('what is open goes on also when daemons are killed between two moves: of who has the volume, had it, and never had it', () =>
  withMovingVolume(async (lab, all, volume, root) => {
    const script = `exec python3 -c "$2" "$1" 2>&1`
    const said = all.map((host) => calling(host, script, `${root}/held-${host.name}`, HELD))
    const first = lab.host(1)
    await until(
      'all have begun',
      async () => (await first.run('ls', root)).split('.ready').length === 4,
      20_000,
    )
    for (const to of ['node2', 'node3', 'node1']) {
      await moveTo(first, volume, to)
      for (const host of all) host.killDaemon()
      for (const host of all) await host.run('stat', root)
    }
    for (const host of all) await enough(host)
    assert.equal(
      (await Promise.all(said)).map((word) => word.trim()),
      ['beforeafter', 'beforeafter', 'beforeafter'],
    )
  }))

test('a volume goes to the node that alone uses it, and what is open there goes on', () =>
  withMovingVolume(async (lab, all, volume, root) => {
    const first = lab.host(1)
    const third = lab.host(3)
    await first.run('dd', 'if=/dev/urandom', `of=${root}/bytes`, 'bs=1M', 'count=1')
    const script = `exec python3 -c "$3" "$1" "$2" 2>&1`
    const said = calling(third, script, root, third.name, DESCRIPTORS)
    await untilOwned(first, volume, 'node3')
    for (const host of all) await enough(host)
    assert.match((await said).trim(), /^done [1-9]\d*$/)
  }, ''))

test('the lab ends, and what is left there is sound', () => shared.end())

test.run()
