// deadline: 400 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type {
  ClusterInfo,
  NodeStatus,
  RecoverPlan,
  VolumeDetail,
  VolumeInfo,
} from '../../src/api/index.ts'
import { hosts, type Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'

const SIZE = '500M'
const REFUSED = 5
const RECOVER = ['cluster', 'coordinator', 'recover'] as const

async function json<T>(host: Host, ...words: string[]): Promise<T> {
  return JSON.parse(await host.weft(...words, '--json')) as T
}

const shell = async (host: Host, command: string) => (await host.run('bash', '-ec', command)).trim()

const sums = (host: Host, point: string) =>
  shell(host, `cd ${point} && find . -type f | sort | xargs sha256sum`)

const fill = async (host: Host, point: string) => {
  await shell(
    host,
    `dd if=/dev/urandom of=${point}/large bs=1M count=9 conv=fsync status=none
     for n in $(seq 40); do echo $n >${point}/$n; done; sync ${point}/* ${point}`,
  )
  return await sums(host, point)
}

const volumesOf = async (host: Host) =>
  (await json<{ volumes: VolumeInfo[] }>(host, 'volume', 'list')).volumes.map(({ name }) => name)

const problemsOf = async (host: Host) =>
  (await json<NodeStatus>(host, 'status')).problems.map(({ what, why }) => `${what}: ${why}`)

const generationOf = async (host: Host) =>
  (await json<ClusterInfo>(host, 'cluster', 'status')).generation

async function eventually(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 160; tries++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  assert.unreachable(`not within 40 s: ${what}`)
}

async function inLab(work: (lab: Lab, point: string) => Promise<void>): Promise<void> {
  const point = mkdtempSync(join(tmpdir(), 'weft-recover-'))
  const lab = await hosts(3, { size: SIZE })
  try {
    await work(lab, point)
  } finally {
    await lab.close()
    rmSync(point, { recursive: true })
  }
}

test('with the first node and its drive gone for good, a member rebuilds the coordinator, and every byte is there', () =>
  inLab(async (lab, point) => {
    const [a, b, c] = [lab.host(1), lab.host(2), lab.host(3)]
    await b.weft('volume', 'create', 'db', '--size', '200M', '--repl', '3')
    await a.weft('volume', 'create', 'lone', '--size', '50M')
    await c.weft('volume', 'create', 'of-node3', '--size', '50M')
    await c.weft('volume', 'create', 'deleted')
    await c.weft('volume', 'delete', 'deleted', '--force')
    await shell(c, 'echo kept >/mnt/weft/of-node3/file; sync /mnt/weft/of-node3/file')
    // Owned and in use on the node that goes.
    await a.weft('attach', 'db', point)
    const before = await fill(a, point)
    assert.match(
      (await b.tryWeft(...RECOVER, '--plan')).stderr,
      /the coordinator \(node node1\) answers: it is not lost/,
    )
    await a.powerCut()
    rmSync(join(lab.images, 'node1-drive1.img'))

    await eventually('it is seen', async () =>
      (await problemsOf(b)).some((text) =>
        /the coordinator \(node node1\) does not answer, since 20/.test(text),
      ),
    )
    const plan = await json<RecoverPlan>(b, ...RECOVER, '--plan')
    assert.equal(
      [plan.node, plan.generation, [...plan.from].sort()],
      ['node2', 2, ['node2', 'node3']],
    )
    assert.equal(
      plan.silent.map(({ node }) => node),
      ['node1'],
    )
    assert.equal(plan.volumes.map(({ name }) => name).sort(), ['db', 'of-node3'])
    assert.equal(
      plan.refused.map(({ name, answering, needed }) => [name, answering, needed]),
      [['lone', 0, 1]],
    )
    assert.is(await generationOf(b), 1, 'a plan changes nothing')
    const unasked = await b.tryWeft(...RECOVER)
    assert.is(unasked.code, REFUSED)
    assert.match(unasked.stderr, /nothing was changed/)

    const said = await b.weft(...RECOVER, '--yes')
    assert.match(said, /the coordinator is on node node2, generation 2/)
    assert.match(said, /db: 2 of 3 copies/)
    assert.match(said, /refused: lone: 0 of its 1 copies answer, and 1 are needed/)
    for (const host of [b, c]) {
      await eventually('it is obeyed', async () => (await generationOf(host)) === 2)
    }
    await b.weft('attach', 'db', point)
    assert.is(await sums(b, point), before)
    await shell(b, `echo more >${point}/more; sync ${point}/more`)
    const { ownersNow } = await json<VolumeDetail>(b, 'volume', 'inspect', 'db')
    assert.equal([...ownersNow].sort(), ['node2', 'node3'])
    await eventually('the volume of node3 is open again', async () => {
      return (await c.tryRun('cat', '/mnt/weft/of-node3/file')).stdout === 'kept\n'
    })
    assert.equal((await volumesOf(c)).sort(), ['db', 'of-node3'])
    assert.is((await c.tryWeft('volume', 'create', 'lone')).code, REFUSED, 'its name stays taken')
    await c.weft('volume', 'create', 'deleted')
    const { volumes } = await json<{ volumes: VolumeInfo[] }>(c, 'volume', 'list')
    const numbers = volumes.map(({ number }) => number)
    assert.is(new Set(numbers).size, 3)
    for (const host of [b, c]) await host.weft('fsck')
  }))

test('the old coordinator comes back, is not obeyed and says so, and its volume is taken in', () =>
  inLab(async (lab, point) => {
    const [a, b, c] = [lab.host(1), lab.host(2), lab.host(3)]
    await b.weft('volume', 'create', 'db', '--size', '200M', '--repl', '3')
    await a.weft('volume', 'create', 'lone', '--size', '50M')
    await shell(a, 'echo kept >/mnt/weft/lone/file; sync /mnt/weft/lone/file')
    // Owned by a node that is left.
    await b.weft('attach', 'db', point)
    const before = await fill(b, point)
    await lab.cut(a)
    await eventually('it is seen', async () =>
      (await problemsOf(c)).some((text) => text.includes('the coordinator (node node1)')),
    )
    await c.weft(...RECOVER, '--yes')
    // Without a copy of its set and without the coordinator its owner has given it up, and the mount is dead.
    await eventually('it can be attached again', async () => {
      await b.tryWeft('detach', point)
      return (await b.tryWeft('attach', 'db', point)).code === 0
    })
    assert.is(await sums(b, point), before)
    await shell(b, `echo more >${point}/more; sync ${point}/more`)

    // It has not heard of it yet, and goes on alone.
    assert.is(await generationOf(a), 1)
    await a.weft('volume', 'create', 'unheard')
    await lab.heal()
    await eventually('it obeys the new one', async () => {
      return (
        a.state === 'up' &&
        (await a.tryWeft('cluster', 'status', '--json')).stdout.includes('"generation":2')
      )
    })
    await eventually('it says so', async () =>
      (await problemsOf(a)).some((text) => /generation 1, and generation 2 is obeyed/.test(text)),
    )
    assert.match(
      (await problemsOf(a)).join('\n'),
      /volume lone is on drives, and the coordinator does not know it/,
    )
    const taken = await a.weft(...RECOVER)
    assert.match(taken, /lone: 1 of 1 copies \(node1\)/)
    await eventually('its volume is open again', async () => {
      return (await a.tryRun('cat', '/mnt/weft/lone/file')).stdout === 'kept\n'
    })
    assert.equal((await volumesOf(b)).sort(), ['db', 'lone', 'unheard'])
    await until(
      'its copy is in sync again',
      async () => {
        const { copies } = await b.ask<{ copies: { inSync: boolean }[] }>('/v1/volumes/db')
        return copies.every(({ inSync }) => inSync)
      },
      60_000,
    )
    assert.match(await b.weft(...RECOVER), /lacks no volume/)
    for (const host of lab.hosts) await host.weft('fsck')
  }))

test.run()
