// deadline: 400 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeStatus, VolumeProbe } from '../../src/api/index.ts'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'
import { SharedLab } from '../support/shared-lab.ts'
import { withVolumeOfThree } from '../support/volume-of-three.ts'

/** Three hosts share two cores with whatever else runs: status itself waits for a probe for less than one second. */
/** Between the last answer of a copy and when it is noted, on a machine with more to do. */
const TOLD_MS = 1500
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

const shared = new SharedLab(3)

function withVolume(work: (lab: Lab, volume: string) => Promise<void>): Promise<void> {
  const volume = shared.name('db')
  return withVolumeOfThree(shared, volume, (lab) => work(lab, volume))
}

async function probeOf(host: Host, volume: string): Promise<VolumeProbe> {
  const probe = (await statusOf(host)).volumes.find(({ name }) => name === volume)?.probe
  assert.ok(probe)
  return probe
}

/** @returns the first that is so, and when it was, counted from the call */
async function untilProbe(
  what: string,
  host: Host,
  volume: string,
  is: (probe: VolumeProbe) => boolean,
  msMax = SEEN_MS_MAX,
): Promise<VolumeProbe> {
  let found: VolumeProbe | null = null
  await until(
    what,
    async () => {
      found = await probeOf(host, volume)
      return is(found)
    },
    msMax,
  )
  assert.ok(found)
  return found
}

const isOk = ({ state }: VolumeProbe) => state === 'ok'
const isSilent = ({ state }: VolumeProbe) => state === 'silent'

// The first: with other volumes of its node at work on that drive, who asks for status may wait for it too (docs/status.md).
test('a drive that hangs is told, and when it goes on', () =>
  withVolume(async (lab, volume) => {
    const owner = lab.host(2)
    await untilProbe('it is probed', owner, volume, isOk)
    await owner.run('fsfreeze', '-f', '/mnt/drive1')
    try {
      const silent = await untilProbe('silence is told', owner, volume, isSilent)
      assert.is(silent.waitsFor, 'the drive of this node')
      await until('it is a problem', async () => {
        const { problems } = await statusOf(owner)
        const problem = problems.find(({ what }) =>
          what.startsWith(`volume ${volume}: no answer for `),
        )
        return problem !== undefined && /dmesg/.test(problem.next)
      })
    } finally {
      await owner.run('fsfreeze', '-u', '/mnt/drive1')
    }
    await untilProbe('it is back', owner, volume, isOk)
    await owner.weft('fsck', volume)
  }))

test('status says which copies a volume waits for, and when they are back', () =>
  withVolume(async (lab, volume) => {
    const [a, owner, c] = [lab.host(1), lab.host(2), lab.host(3)]
    const first = await untilProbe('it is probed', owner, volume, isOk)
    assert.is(first.kind, 'commit')
    assert.ok((first.ms ?? 0) > 0)
    assert.match(
      await owner.weft('status'),
      new RegExp(`^ {2}${volume} .* ok \\d+(\\.\\d)? ms$`, 'm'),
    )
    const metrics = await owner.weft('debug', 'metrics')
    assert.match(
      metrics,
      new RegExp(`^weft_volume_probe_seconds\\{volume="${volume}",kind="commit"\\} \\d`, 'm'),
    )
    assert.match(
      metrics,
      new RegExp(`^weft_volume_probe_ok\\{volume="${volume}",kind="commit"\\} 1$`, 'm'),
    )
    const [, atSeconds] =
      new RegExp(
        `^weft_volume_probe_success_timestamp_seconds\\{volume="${volume}",kind="commit"\\} (\\S+)$`,
        'm',
      ).exec(metrics) ?? []
    assert.ok(Math.abs(Number(atSeconds) - Date.now() / 1000) < 60)
    // Of both others: with one silent the volume goes on without it, three seconds later.
    await Promise.all([a.pause(), c.pause()])
    try {
      const silent = await untilProbe('silence is told', owner, volume, isSilent, 9000)
      assert.match(silent.waitsFor, /^copy on node[13](, copy on node[13])?$/)
      assert.match(await owner.weft('status'), /no answer for \d+ s: copy on node/)
    } finally {
      await Promise.all([a.resume(), c.resume()])
    }
    const back = await untilProbe('it is back', owner, volume, isOk)
    assert.is(back.kind, 'commit', 'on the same owner')
    await owner.weft('fsck', volume)
  }))

test('a copy that is paused for long is dropped, and probes go on without it', () =>
  withVolume(async (lab, volume) => {
    const [owner, c] = [lab.host(2), lab.host(3)]
    await untilProbe('it is probed', owner, volume, isOk)
    await c.pause()
    try {
      await until(
        'two are left',
        async () =>
          (await statusOf(owner)).volumes.some((one) => one.name === volume && one.inSync === 2),
        SEEN_MS_MAX,
      )
      await untilProbe('they answer', owner, volume, isOk)
    } finally {
      await c.resume()
    }
  }))

test('an owner that is cut off has no probe acknowledged', () =>
  withVolume(async (lab, volume) => {
    const owner = lab.host(2)
    await untilProbe('it is probed', owner, volume, isOk)
    const cutMs = Date.now()
    await lab.cut(owner)
    const cutForMs = Date.now() - cutMs
    let wasSilent = false
    await untilProbe(
      'it is given up',
      owner,
      volume,
      ({ state, succeededAt }) => {
        wasSilent ||= state === 'silent'
        const sinceCutMs = succeededAt === null ? 0 : Date.parse(succeededAt) - cutMs
        assert.ok(sinceCutMs <= cutForMs + TOLD_MS, `acknowledged ${sinceCutMs} ms behind the cut`)
        return state !== 'ok' && state !== 'silent'
      },
      40_000,
    )
    assert.ok(wasSilent)
    await lab.heal()
    await until(
      'it is shown as on another node, or back',
      async () => ['unused', 'ok'].includes((await probeOf(owner, volume)).state),
      40_000,
    )
  }))

test('a node that uses a volume through its owner is told when that does not answer', () =>
  withVolume(async (lab, volume) => {
    const [owner, user] = [lab.host(2), lab.host(3)]
    assert.is((await probeOf(user, volume)).state, 'unused')
    await owner.run('sh', '-c', `echo x >${owner.mnt}/${volume}/file`)
    const held = user.spawn(['sh', '-c', `exec 3<${user.mnt}/${volume}/file; sleep 300`])
    try {
      const first = await untilProbe('it is used', user, volume, isOk)
      assert.is(first.kind, 'call')
      await owner.pause()
      try {
        const silent = await untilProbe('silence is told', user, volume, isSilent, 9000)
        assert.is(silent.waitsFor, 'node2, its owner')
      } finally {
        await owner.resume()
      }
      await untilProbe('it is back', user, volume, isOk)
    } finally {
      held.kill()
    }
  }))

test('the lab ends, and what is left there is sound', () => shared.end())

test.run()
