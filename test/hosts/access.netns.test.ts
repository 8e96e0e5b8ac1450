// deadline: 500 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'
import { SharedLab } from '../support/shared-lab.ts'
import { withVolumeOfThree } from '../support/volume-of-three.ts'

const shared = new SharedLab(3)
/** Of the test that runs. */
let volume = ''
let place = ''
/** Lease, what a take-over behind it takes, and as much again for a slow machine. */
const TAKE_OVER_MS = 20_000

interface World {
  readonly lab: Lab
  /** Host 1 has the coordinator; nobody takes it down. */
  readonly keeper: Host
  readonly owner: Host
  readonly other: Host
}

function withVolume(work: (world: World) => Promise<void>): Promise<void> {
  volume = shared.name('db')
  place = `/mnt/weft/${volume}`
  return withVolumeOfThree(shared, volume, (lab) =>
    work({ lab, keeper: lab.host(1), owner: lab.host(2), other: lab.host(3) }),
  )
}

async function shell(host: Host, command: string): Promise<string> {
  return (await host.run('bash', '-ec', `cd ${place}; ${command}`)).trim()
}

/** Something that runs beside the test has come so far as to make this file. */
async function thereIs(host: Host, name: string): Promise<void> {
  await until(
    `${name} is there`,
    async () => (await shell(host, 'ls')).split('\n').includes(name),
    20_000,
  )
}

async function python(host: Host, program: string, ...words: string[]): Promise<string> {
  return (await host.run('python3', '-c', program, ...words)).trim()
}

const APPEND = `
import os, sys
path, who = sys.argv[1:]
fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
for n in range(200): os.write(fd, b'%s %03d\\n' % (who.encode(), n))
os.fsync(fd)
`

const COUNT = `
import fcntl, os, sys
path, kind = sys.argv[1:]
lock = fcntl.lockf if kind == 'fcntl' else fcntl.flock
fd = os.open(path, os.O_CREAT | os.O_RDWR)
for _ in range(30):
    lock(fd, fcntl.LOCK_EX)
    number = int(os.pread(fd, 20, 0) or b'0')
    os.pwrite(fd, b'%d' % (number + 1), 0)
    lock(fd, fcntl.LOCK_UN)
`

/** Makes the same names on all hosts at once: of each name one is made, and all find it. */
const SAME_NAMES = `
import os, sys
root, who = sys.argv[1:]
made = 0
for n in range(60):
    try:
        os.close(os.open(f'{root}/{n}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)); made += 1
    except FileExistsError: pass
    with open(f'{root}/all{n}', 'a') as f: f.write(who + '\\n')
print(made)
`

const UNLINKED = `
import os, sys
path = sys.argv[1]
fd = os.open(path, os.O_CREAT | os.O_RDWR)
os.write(fd, bytes(64 << 20))
os.fsync(fd)
os.unlink(path)
open(path + '.unlinked', 'w').close()
while not os.path.exists(path + '.go'): pass
print(len(os.pread(fd, 64 << 20, 0)) >> 20)
`

// First: of files that were opened in a life of the daemon before nobody knows who has them open.
test('a file that was deleted on the owner, and is open there when another node comes, is there until it is closed', () =>
  withVolume(async ({ owner, other }) => {
    const reading = python(owner, UNLINKED, `${place}/file`)
    await thereIs(owner, 'file.unlinked')
    assert.match(await shell(other, 'ls'), /unlinked/)
    await shell(other, 'touch file.go')
    assert.is(await reading, '64')
    await until('its space is free', async () => {
      await shell(other, 'touch other')
      return Number(await shell(other, 'df --output=used -BM . | tail -1 | tr -d M')) < 60
    })
  }))

test('what one node has written and closed, the others open, names and bytes', () =>
  withVolume(async ({ keeper, owner, other }) => {
    await shell(
      other,
      'mkdir -p a/b; echo from3 >a/b/c; dd if=/dev/urandom of=large bs=1M count=8 status=none',
    )
    assert.is(await shell(owner, 'cat a/b/c; echo from2 >>a/b/c'), 'from3')
    assert.is(await shell(keeper, 'cat a/b/c; mv a/b/c d; ln d e; rm -r a'), 'from3\nfrom2')
    assert.is(await shell(other, 'ls; stat -c %h d'), 'd\ne\nlarge\n2')
    const sum = await shell(other, 'sha256sum large')
    for (const host of [keeper, owner]) assert.is(await shell(host, 'sha256sum large'), sum)
    // An open file is read on, whoever takes its name away.
    const read = shell(owner, 'exec 3<e; >reading; sleep 2; cat <&3')
    await thereIs(owner, 'reading')
    await shell(other, 'rm d e')
    assert.is(await read, 'from3\nfrom2')
  }))

test('appends of three nodes interleave and overwrite nothing; of each name one is made', () =>
  withVolume(async ({ keeper, owner, other }) => {
    const all = [keeper, owner, other]
    await Promise.all(all.map((host) => python(host, APPEND, `${place}/log`, host.name)))
    const lines = (await shell(other, 'cat log')).split('\n')
    assert.is(lines.length, 600)
    for (const { name } of all) {
      const own = lines.filter((line) => line.startsWith(`${name} `))
      assert.equal(own, [...own].sort(), `${name} wrote in its order`)
      assert.is(own.length, 200)
    }
    await shell(owner, 'mkdir names')
    const made = await Promise.all(
      all.map((host) => python(host, SAME_NAMES, `${place}/names`, host.name)),
    )
    assert.is(
      made.reduce((sum, count) => sum + Number(count), 0),
      60,
    )
    assert.is(await shell(keeper, 'ls names | wc -l; cat names/all* | wc -l'), '120\n180')
  }))

test('fcntl and flock locks exclude across nodes, and the next holder sees what the last one wrote', () =>
  withVolume(async ({ keeper, owner, other }) => {
    for (const kind of ['fcntl', 'flock']) {
      await Promise.all(
        [keeper, owner, other].map((host) => python(host, COUNT, `${place}/${kind}`, kind)),
      )
      assert.is(await shell(other, `cat ${kind}`), '90')
    }
  }))

test("when the owner's daemon is killed, other nodes' files stay open and what they wrote is there", () =>
  withVolume(async ({ owner, other }) => {
    const script = `
      exec 3>>log; >writing; for n in $(seq 40); do echo line $n >&3 || true; sleep 0.05; done; sync log`
    const writing = shell(other, script)
    await thereIs(owner, 'writing')
    owner.killDaemon()
    await writing
    const lines = (await shell(other, 'cat log')).split('\n')
    // One call that was in the middle of it may say that it does not know.
    assert.ok(lines.length >= 39, `${lines.length} lines`)
    assert.equal(new Set(lines).size, lines.length, 'no line twice')
  }))

test('when the daemon of a node is killed, what its own programs do and have open goes on: at the owner, and elsewhere', () =>
  withVolume(async ({ owner, other }) => {
    const writes = (name: string) =>
      `exec 3>>${name}; >${name}.started; for n in $(seq 60); do echo line $n >&3; mkdir ${name}.$n; sleep 0.05; done; sync ${name}`
    const all = [owner, other].map((host) => shell(host, writes(host.name)))
    for (const host of [owner, other]) await thereIs(host, `${host.name}.started`)
    other.killDaemon()
    await Promise.all(all.slice(1))
    owner.killDaemon()
    await all[0]
    for (const { name } of [owner, other]) {
      const lines = (await shell(other, `cat ${name}; ls -d ${name}.? ${name}.?? | wc -l`)).split(
        '\n',
      )
      assert.is(lines.pop(), '60')
      assert.equal(
        lines,
        Array.from({ length: 60 }, (_, n) => `line ${n + 1}`),
      )
    }
  }))

test('when the owner loses power, others go on by themselves; files that were open say EIO until they are opened anew', () =>
  withVolume(async ({ owner, other, keeper }) => {
    await shell(other, 'echo synced >kept; sync kept')
    const holding = shell(
      other,
      'exec 3<>open; echo lost >&3; >holding; sleep 4; cat kept; if echo more >&3; then echo taken; else echo refused; fi; if sync -d open; then :; fi; echo anew >open; cat open',
    )
    await thereIs(keeper, 'holding')
    await owner.powerCut()
    const cutMs = Date.now()
    assert.is(await shell(keeper, 'cat kept'), 'synced')
    assert.ok(Date.now() - cutMs < TAKE_OVER_MS, `${Date.now() - cutMs} ms`)
    assert.is(await holding, 'synced\nrefused\nanew')
  }))

test('a node that is cut off: its locks are free after a term, its open files say EIO, and it comes back', () =>
  withVolume(async ({ lab, owner, other }) => {
    const held = python(
      other,
      `
import fcntl, os, time
fd = os.open('${place}/lock', os.O_CREAT | os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX)
open('${place}/holding', 'w').close()
time.sleep(20)
try:
    os.pwrite(fd, b'late', 0); print('written')
except OSError as error: print(error.errno)
`,
    )
    await thereIs(owner, 'holding')
    await lab.cut(other)
    assert.is(
      await python(
        owner,
        `
import fcntl, os
fd = os.open('${place}/lock', os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX); os.pwrite(fd, b'mine', 0); print('locked')
`,
      ),
      'locked',
    )
    await lab.heal(other)
    assert.is(await held, '5')
    const why = await other.weft('why', `${place}/lock`)
    assert.match(why, /write answered EIO, of this file/)
    assert.match(why, /opened before its volume changed hands|did not answer|open it anew/)
    assert.is(await shell(other, 'cat lock'), 'mine')
  }))

test('a volume that another node writes is not attached, and attached it is read by the others', () =>
  withVolume(async ({ owner, other }) => {
    await owner.run('mkdir', '-p', '/mnt/attached')
    const writing = shell(other, 'exec 3>open; sleep 3')
    await thereIs(owner, 'open')
    const refused = await owner.weft('attach', volume, '/mnt/attached').catch(String)
    assert.match(refused, /open for writing/)
    await writing
    await shell(other, 'printf older >kept')
    // Its kernel has the pages, and is told to keep them; who has it open keeps them there whatever becomes of the name.
    const holding = other.spawn(['bash', '-c', 'exec 3<"$0"; read', `${place}/kept`], {
      stdio: ['pipe', 'inherit', 'inherit'],
    })
    for (const _ of [1, 2]) assert.is(await shell(other, 'cat kept'), 'older')
    await owner.weft('attach', volume, '/mnt/attached')
    await owner.run('bash', '-c', 'echo attached >/mnt/attached/file; sync /mnt/attached/file')
    assert.is(await shell(other, 'cat file'), 'attached')
    assert.match(await shell(other, 'echo no >file').catch(String), /Read-only file system/)
    await owner.run('bash', '-c', 'printf newer >/mnt/attached/kept')
    await owner.weft('detach', '/mnt/attached')
    assert.is(await shell(other, 'cat kept'), 'newer', 'opened anew it is as it was written')
    holding.stdin?.end()
    assert.is(await shell(other, 'echo yes >file; cat file'), 'yes')
  }))

test('what all of them have left is sound', () => shared.end())

test.run()
