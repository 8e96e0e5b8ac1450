// deadline: 400 s
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { seeded } from '../support/seeded.ts'
import { SharedLab } from '../support/shared-lab.ts'
import { withVolumeOfThree } from '../support/volume-of-three.ts'
import { drawStep, type Step, TwinTrees } from '../vfs/twin-trees.ts'

/** WEFT_SEED repeats the random steps, WEFT_STEPS makes them more. */
const SEED = Number(process.env.WEFT_SEED ?? Math.floor(Math.random() * 1e9))
const STEPS = Number(process.env.WEFT_STEPS ?? 500)
const STEPS_BETWEEN_LOOKS = 50
const shared = new SharedLab(3)
/** Of the test that runs. */
let place = ''
/** What nodes say of a file that they hold open while another writes it is not what a single machine says. */
const THROUGH_DESCRIPTORS = ['open', 'pwrite', 'pread', 'ftruncate', 'fsync']
/** Asked of other nodes between the steps, so that their kernels have something to keep. */
const LOOKS = ['stat', 'list', 'read']

function withVolume(work: (lab: Lab) => Promise<void>): Promise<void> {
  const volume = shared.name('k')
  place = `/mnt/weft/${volume}`
  return withVolumeOfThree(shared, volume, work)
}

function shell(host: Host, command: string): Promise<string> {
  return host.run('bash', '-ec', `cd ${place}; ${command}`)
}

/** Requests that the kernel of a host has made of weft. */
async function requestsOf(host: Host, ...ops: readonly string[]): Promise<number> {
  const metrics = await host.weft('debug', 'metrics')
  return metrics
    .split('\n')
    .filter((line) =>
      ops.some((op) => line.startsWith('weft_fuse_requests_total{') && line.includes(`op="${op}"`)),
    )
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

test(`${STEPS} random steps, each on a random node, do what they do on one machine, seed ${SEED}`, async () => {
  const model = mkdtempSync(join(tmpdir(), 'weft-model-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1g,mode=755', 'tmpfs', model])
  try {
    await withVolume((lab) => randomSteps(lab, model))
  } finally {
    execFileSync('umount', ['-l', model])
    rmdirSync(model)
  }
})

async function randomSteps(lab: Lab, model: string): Promise<void> {
  const trees = lab.hosts.map(
    (host) => new TwinTrees(model, place, (words) => host.spawn(words, { stdio: 'pipe' })),
  )
  const { below: draw } = seeded(SEED)
  const drawn = (isMeant: (op: string) => boolean): Step => {
    for (;;) {
      const step = drawStep(draw)
      if (isMeant(step[0])) return step
    }
  }
  const recent: string[] = []
  const doOn = async (index: number, step: Step) => {
    recent.push(`node${index + 1} ${JSON.stringify(step)}`)
    if (recent.length > 60) recent.shift()
    const difference = await trees[index]?.do(step)
    if (difference !== '') throw new Error(`${difference}, after\n${recent.join('\n')}`)
  }
  try {
    for (let n = 1; n <= STEPS; n++) {
      await doOn(
        draw(3),
        drawn((op) => !THROUGH_DESCRIPTORS.includes(op)),
      )
      for (let look = draw(4); look > 0; look--) {
        await doOn(
          draw(3),
          drawn((op) => LOOKS.includes(op)),
        )
      }
      if (n % STEPS_BETWEEN_LOOKS !== 0) continue
      for (const index of trees.keys()) await doOn(index, ['compare'])
    }
  } finally {
    for (const tree of trees) tree.close()
  }
}

test('a kernel elsewhere answers what it knows itself, and shows every change of other nodes at once', () =>
  withVolume(async (lab) => {
    const [first, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    await shell(owner, 'mkdir d; for i in $(seq 50); do echo $i >d/$i; done')
    await shell(other, 'ls -l d')
    const asked = ['LOOKUP', 'GETATTR', 'STATX', 'READDIRPLUS', 'READDIR']
    const before = await requestsOf(other, ...asked)
    await shell(other, 'for n in 1 2 3 4 5; do stat d/* >/dev/null; done')
    const after = await requestsOf(other, ...asked)
    assert.ok(after - before < 60, `${after - before} requests for 250 files`)

    const setUp =
      'rm -rf d; mkdir d; for i in $(seq 10); do echo $i >d/$i; done; ln d/4 d/four; mkdir d/sub'
    const changes: [change: string, look: string, seen: string][] = [
      ['chmod 600 d/1', 'stat -c %a d/1', '600'],
      ['echo more >>d/2', 'stat -c %s d/2', '7'],
      ['truncate -s 0 d/3', 'stat -c %s d/3; cat d/3', '0'],
      ['ln d/5 d/five', 'stat -c %h d/5 d/five', '2\n2'],
      ['rm d/four', 'stat -c %h d/4; test ! -e d/four', '1'],
      ['mv d/5 d/five', 'test ! -e d/5; cat d/five', '5'],
      ['echo new >d/new; mv d/new d/6', 'cat d/6', 'new'],
      ['rmdir d/sub', 'test ! -e d/sub; stat -c %h d', '2'],
      ['chown 7:8 d/7', 'stat -c %u:%g d/7', '7:8'],
      ['setfacl -m u:9:r d/8', 'getfacl -ncp d/8 | grep user:9', 'user:9:r--'],
      ['touch -d @1000 d/9', 'stat -c %Y d/9', '1000'],
      ['rm d/10', 'test ! -e d/10; echo gone', 'gone'],
    ]
    for (const [change, look, seen] of changes) {
      for (const by of [first, owner]) {
        await shell(owner, setUp)
        // It knows what is there, and what is not.
        await shell(other, 'ls -l d >/dev/null; stat d/five d/new 2>/dev/null || true')
        await shell(by, change)
        assert.is((await shell(other, look)).trim(), seen, `${change} on ${by.name}`)
      }
    }
  }))

const FSTAT = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print(os.fstat(fd).st_size, flush=True)
for line in sys.stdin: print(os.fstat(fd).st_size, flush=True)
`

test('a descriptor shows what others wrote; changes wait for a node that says nothing no longer than its grants', () =>
  withVolume(async (lab) => {
    const [first, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    await shell(owner, 'echo 1 >f')
    const watching = other.spawn(['python3', '-c', FSTAT, `${place}/f`], { stdio: 'pipe' })
    const { stdin, stdout } = watching
    assert.ok(stdin && stdout)
    const lines = createInterface(stdout)[Symbol.asyncIterator]()
    const size = async () => Number((await lines.next()).value)
    assert.is(await size(), 2)
    for (let bytes = 4; bytes <= 20; bytes += 2) {
      await shell(bytes % 4 === 0 ? first : owner, 'echo 1 >>f')
      stdin.write('\n')
      assert.is(await size(), bytes)
    }
    await other.pause()
    const begunMs = performance.now()
    await shell(owner, 'echo 1 >>f')
    const waitedMs = performance.now() - begunMs
    await other.resume()
    assert.ok(waitedMs < 8000, `waited ${waitedMs} ms`)
    stdin.write('\n')
    assert.is(await size(), 22)
    stdin.end()
  }))

test("what the owner's daemon had granted when it was killed, the next one waits for", () =>
  withVolume(async (lab) => {
    const [first, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    await shell(owner, 'echo 1 >f')
    for (let bytes = 4; bytes <= 8; bytes += 2) {
      await Promise.all([first, other].map((host) => shell(host, 'stat -c %s f')))
      const { daemon } = JSON.parse(await owner.weft('status', '--json')) as {
        daemon: { pid: number }
      }
      await owner.run('kill', '-9', String(daemon.pid))
      await shell(owner, 'echo 1 >>f')
      for (const host of [first, other]) {
        assert.is((await shell(host, 'stat -c %s f')).trim(), String(bytes))
      }
    }
  }))

test('what all of them have left is sound', () => shared.end())

test.run()
