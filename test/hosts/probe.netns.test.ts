// deadline: 400 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeStatus, VolumeProbe } from '../../src/api/index.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'
import { withVolumeOfThree } from '../support/volume-of-three.ts'

/** Three hosts share two cores with whatever else runs: status itself waits for a probe for less than one second. */
const STATUS_MS_MAX = 8000
/** Without a sign of trouble a probe is made anew after ten seconds. */
const SEEN_MS_MAX = 20_000

async function statusOf(host: Host): Promise<NodeStatus> {
  const begunMs = performance.now()
  const status = JSON.parse(await host.weft('status', '--json')) as NodeStatus
  const tookMs = performance.now() - begunMs
  assert.ok(tookMs < STATUS_MS_MAX, `status took ${Math.round(tookMs)} ms`)
  return status
}

async function probeOf(host: Host): Promise<VolumeProbe> {
  const probe = (await statusOf(host)).volumes.find(({ name }) => name === 'db')?.probe
  assert.ok(probe)
  return probe
}

/** @returns the first that is so, and when it was, counted from the call */
async function untilProbe(
  what: string,
  host: Host,
  is: (probe: VolumeProbe) => boolean,
  msMax = SEEN_MS_MAX,
): Promise<VolumeProbe> {
  let found: VolumeProbe | null = null
  await until(
    what,
    async () => {
      found = await probeOf(host)
      return is(found)
    },
    msMax,
  )
  assert.ok(found)
  return found
}

const isOk = ({ state }: VolumeProbe) => state === 'ok'
const isSilent = ({ state }: VolumeProbe) => state === 'silent'

test('status says which copies a volume waits for, and when they are back', () =>
  withVolumeOfThree('db', async (lab) => {
    const [a, owner, c] = [lab.host(1), lab.host(2), lab.host(3)]
    const first = await untilProbe('it is probed', owner, isOk)
    assert.is(first.kind, 'commit')
    assert.ok((first.ms ?? 0) > 0)
    assert.match(await owner.weft('status'), /^ {2}db .* ok \d+(\.\d)? ms$/m)
    const metrics = await owner.weft('debug', 'metrics')
    assert.match(metrics, /^weft_volume_probe_seconds\{volume="db",kind="commit"\} \d/m)
    assert.match(metrics, /^weft_volume_probe_ok\{volume="db",kind="commit"\} 1$/m)
    const [, atSeconds] =
      /^weft_volume_probe_success_timestamp_seconds\{volume="db",kind="commit"\} (\S+)$/m.exec(
        metrics,
      ) ?? []
    assert.ok(Math.abs(Number(atSeconds) - Date.now() / 1000) < 60)
    // Of both others: with one silent the volume goes on without it, three seconds later.
    await Promise.all([a.pause(), c.pause()])
    try {
      const silent = await untilProbe('silence is told', owner, isSilent, 9000)
      assert.match(silent.waitsFor, /^copy on node[13](, copy on node[13])?$/)
      assert.match(await owner.weft('status'), /no answer for \d+ s: copy on node/)
    } finally {
      await Promise.all([a.resume(), c.resume()])
    }
    const back = await untilProbe('it is back', owner, isOk)
    assert.is(back.kind, 'commit', 'on the same owner')
    await owner.weft('fsck', 'db')
  }))

test('a copy that is paused for long is dropped, and probes go on without it', () =>
  withVolumeOfThree('db', async (lab) => {
    const [owner, c] = [lab.host(2), lab.host(3)]
    await untilProbe('it is probed', owner, isOk)
    await c.pause()
    try {
      await until(
        'two are left',
        async () => (await statusOf(owner)).volumes.some(({ inSync }) => inSync === 2),
        SEEN_MS_MAX,
      )
      await untilProbe('they answer', owner, isOk)
    } finally {
      await c.resume()
    }
  }))

test('an owner that is cut off has no probe acknowledged', () =>
  withVolumeOfThree('db', async (lab) => {
    const owner = lab.host(2)
    await untilProbe('it is probed', owner, isOk)
    const cutMs = Date.now()
    await lab.cut(owner)
    const cutForMs = Date.now() - cutMs
    let wasSilent = false
    await untilProbe(
      'it is given up',
      owner,
      ({ state, succeededAt }) => {
        wasSilent ||= state === 'silent'
        const sinceCutMs = succeededAt === null ? 0 : Date.parse(succeededAt) - cutMs
        assert.ok(sinceCutMs <= cutForMs, `acknowledged ${sinceCutMs} ms behind the cut`)
        return state !== 'ok' && state !== 'silent'
      },
      40_000,
    )
    assert.ok(wasSilent)
    await lab.heal()
    await until(
      'it is shown as on another node, or back',
      async () => ['unused', 'ok'].includes((await probeOf(owner)).state),
      40_000,
    )
  }))

test('a node that uses a volume through its owner is told when that does not answer', () =>
  withVolumeOfThree('db', async (lab) => {
    const [owner, user] = [lab.host(2), lab.host(3)]
    assert.is((await probeOf(user)).state, 'unused')
    await owner.run('sh', '-c', `echo x >${owner.mnt}/db/file`)
    const held = user.spawn(['sh', '-c', `exec 3<${user.mnt}/db/file; sleep 300`])
    try {
      const first = await untilProbe('it is used', user, isOk)
      assert.is(first.kind, 'call')
      await owner.pause()
      try {
        const silent = await untilProbe('silence is told', user, isSilent, 9000)
        assert.is(silent.waitsFor, 'node2, its owner')
      } finally {
        await owner.resume()
      }
      await untilProbe('it is back', user, isOk)
    } finally {
      held.kill()
    }
  }))

test('a drive that hangs is told, and when it goes on', () =>
  withVolumeOfThree('db', async (lab) => {
    const owner = lab.host(2)
    await untilProbe('it is probed', owner, isOk)
    await owner.run('fsfreeze', '-f', '/mnt/drive1')
    try {
      const silent = await untilProbe('silence is told', owner, isSilent)
      assert.is(silent.waitsFor, 'the drive of this node')
      await until('it is a problem', async () => {
        const { problems } = await statusOf(owner)
        const problem = problems.find(({ what }) => /^volume db: no answer for \d+ s/.test(what))
        return problem !== undefined && /dmesg/.test(problem.next)
      })
    } finally {
      await owner.run('fsfreeze', '-u', '/mnt/drive1')
    }
    await untilProbe('it is back', owner, isOk)
    await owner.weft('fsck', 'db')
  }))

test.run()
