// deadline: 300 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { calling, enough, untilEnough } from '../support/calling.ts'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'
import { SharedLab } from '../support/shared-lab.ts'
import { withVolumeOfThree } from '../support/volume-of-three.ts'

/**
 * Holds a file open and does as it is told, each time saying what errno it came to: write a word; fsync; look for data; make
 * a name beside the file; open the directory, fsync it and close it.
 */
const HOLDER = `import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
directory = os.path.dirname(sys.argv[1])
def do(verb, word):
    if verb == 'write': os.write(fd, word.encode())
    elif verb == 'fsync': os.fsync(fd)
    elif verb == 'seek': os.lseek(fd, 0, os.SEEK_DATA)
    elif verb == 'name': os.close(os.open(os.path.join(directory, word), os.O_WRONLY | os.O_CREAT, 0o644))
    else:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try: os.fsync(opened)
        finally: os.close(opened)
for line in sys.stdin:
    verb, _, word = line.strip().partition(' ')
    try:
        do(verb, word)
        print(0, flush=True)
    except OSError as error:
        print(error.errno, flush=True)`

/** Asks for a file by its name again and again, until it is told; says what fails. */
const calls = () => `${untilEnough}; do stat ${dir}/log 2>&1 >/dev/null; done`

class Holder {
  readonly #child: ReturnType<Host['spawn']>
  readonly #answers: AsyncIterator<string>

  constructor(host: Host, path: string) {
    this.#child = host.spawn(['python3', '-c', HOLDER, path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    assert.ok(this.#child.stdout)
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** @returns errno */
  async ask(line: string): Promise<number> {
    this.#child.stdin?.write(`${line}\n`)
    return Number((await this.#answers.next()).value)
  }
}

const shared = new SharedLab(3)
/** Of the test that runs. */
let volume = ''
let dir = ''

async function withVolume(work: (lab: Lab, point: string) => Promise<void>): Promise<void> {
  const point = mkdtempSync(join(tmpdir(), 'weft-fsync-'))
  volume = shared.name('db')
  dir = `/mnt/weft/${volume}`
  try {
    await withVolumeOfThree(shared, volume, (lab) => work(lab, point))
  } finally {
    rmSync(point, { recursive: true })
  }
}

test('fsync of a process that never died fails, once another owner has cut what it was answered', () =>
  withVolume(async (lab, point) => {
    const [a, b] = [lab.host(2), lab.host(3)]
    const holder = new Holder(a, `${dir}/log`)
    assert.is(await holder.ask('write kept'), 0)
    assert.is(await holder.ask('fsync'), 0)
    // The next life of the daemon goes on where this one was: nothing is lost, and nobody is told so.
    assert.is(await holder.ask('write  too'), 0)
    for (const pid of a.processes('__daemon')) process.kill(pid, 'SIGKILL')
    assert.is(await holder.ask('fsync'), 0, 'it waits while the other copies are asked')
    await lab.cut(a)
    assert.is(await holder.ask('write cut'), 0, 'answered, not synced')
    const namer = new Holder(a, `${dir}/log`)
    assert.is(await namer.ask('name cut'), 0, 'answered, not synced')
    await b.weft('attach', volume, point)
    const refused = await a.tryWeft('attach', volume, point)
    assert.is(refused.code, 9, 'not before it is known whose it is')
    assert.is((await b.run('cat', `${point}/log`)).trim(), 'kept too')
    await b.weft('detach', point)
    const failed = calling(a, calls())
    await lab.heal()
    await until(
      'it can be had again',
      async () => {
        return (await a.tryWeft('attach', volume, point)).code === 0
      },
      60_000,
    )
    await enough(a)
    assert.is(await failed, '', 'calls by name wait, and none fails')
    await a.weft('detach', point)
    assert.is((await a.run('cat', `${dir}/log`)).trim(), 'kept too')
    assert.is(await holder.ask('fsync'), 5, 'what it wrote is nowhere')
    assert.not.match(await a.run('ls', dir), 'cut')
    assert.is(await namer.ask('sync directory'), 5, 'nor is the name it made')
    assert.is(await namer.ask('sync directory'), 0, 'it is told once')
    assert.is(await new Holder(a, `${dir}/log`).ask('sync directory'), 0)
  }))

test('so it does when the daemon that answered was killed, and another owner is there before the next one', () =>
  withVolume(async (lab, point) => {
    const [a, b] = [lab.host(2), lab.host(3)]
    const namer = new Holder(a, `${dir}/log`)
    assert.is(await namer.ask('sync directory'), 0)
    await lab.cut(a)
    assert.is(await namer.ask('name cut'), 0, 'answered, not synced')
    for (const pid of a.processes('__daemon')) process.kill(pid, 'SIGKILL')
    await b.weft('attach', volume, point)
    await b.weft('detach', point)
    await lab.heal()
    assert.is(await namer.ask('sync directory'), 5, 'nobody knows what it had changed')
    assert.is(await namer.ask('sync directory'), 0)
    assert.not.match(await a.run('ls', dir), 'cut')
  }))

test('so it does on a node that used the volume through the owner', () =>
  withVolume(async (lab) => {
    const [owner, other] = [lab.host(2), lab.host(3)]
    const holders = ['first', 'second'].map((name) => new Holder(other, `${dir}/${name}`))
    for (const holder of holders) {
      assert.is(await holder.ask('write kept'), 0)
      assert.is(await holder.ask('fsync'), 0)
      assert.is(await holder.ask('sync directory'), 0)
    }
    const idle = new Holder(other, `${dir}/idle`)
    assert.is(await idle.ask('sync directory'), 0)
    await Promise.all(holders.map((holder, index) => holder.ask(`name made${index}`)))
    await Promise.all(holders.map((holder) => holder.ask('write cut')))
    const seeker = new Holder(other, `${dir}/first`)
    assert.is(await seeker.ask('seek'), 0)
    await owner.pause()
    assert.is(await seeker.ask('seek'), 5, 'its session ended before it was answered')
    const [first, second] = holders.map((holder) => holder.ask('fsync'))
    assert.is(await first, 5, 'what it wrote is nowhere')
    assert.is(await second, 5)
    for (const holder of holders) {
      assert.is(await holder.ask('sync directory'), 5, 'its name may be gone')
      assert.is(await holder.ask('sync directory'), 0, 'it is told once')
    }
    assert.is(await idle.ask('sync directory'), 0, 'who changed nothing is told nothing')
    await owner.resume()
  }))

test('what all of them have left is sound', () => shared.end())

test.run()
