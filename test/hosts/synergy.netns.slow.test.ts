// deadline: 1200 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveInfo } from '../../src/api/index.ts'
import { ComparedFiles } from '../support/compared-files.ts'
import { hosts, type Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { sleep, until } from '../support/node-world.ts'

const FRAME = {
  synergy: { drives: [{ count: 6, capacityGB: 1, media: 'SSD', interfaceType: 'SAS' }] },
} as const
const POLICY = [
  ...['--on', '--grow-at', '70%', '--shrink-at', '35%', '--reserve', 'none'],
  ...['--max-drives', '5', '--budget', '100/day', '--cool-down', '1s'],
]
/** 4 MiB each time: a drive of the frame fills in a minute. */
const BETWEEN_STEPS_MS = 250
const GROW_MS_MAX = 240_000
/** Of what is written, so much stays to be compared. */
const KEPT_BYTES = 64 * 2 ** 20
/** What was deleted is reclaimed by and by. */
const SHRINK_MS_MAX = 300_000

/** Serial numbers of the frame's drives that the host sees; each is where the appliance says it is, and nobody else's. */
function drivesOf(lab: Lab, host: Host): string[] {
  return lab.appliance
    .audit()
    .filter(({ seenBy }) => seenBy.includes(host.name))
    .map(({ serialNumber }) => serialNumber)
}

async function usedBy(host: Host): Promise<string[]> {
  const { drives } = JSON.parse(await host.weft('drive', 'list', '--json')) as {
    drives: DriveInfo[]
  }
  return drives.filter(({ disk, state }) => disk !== null && state === 'ok').map(({ name }) => name)
}

/** Nothing is given twice, nothing is seen by others than it is attached to, and the host uses all that it has. */
async function accounted(lab: Lab, host: Host): Promise<void> {
  const audit = () => lab.appliance.audit().filter(({ jbods }) => jbods.length > 0)
  await until('what is taken is used, and what is used is taken', async () => {
    const taken = audit().map(({ serialNumber }) => serialNumber)
    return (
      taken.join() === drivesOf(lab, host).join() &&
      taken.join() === (await usedBy(host)).sort().join()
    )
  })
  for (const { jbods, blades, seenBy } of audit()) {
    assert.is(jbods.length, 1)
    assert.equal([blades, seenBy], [[host.name], [host.name]])
  }
}

/** Until the host has so many of the frame's drives. @throws Error with what the policy has done and would do now */
async function reach(
  host: Host,
  drives: number,
  count: () => number,
  ms: number,
  step: () => Promise<unknown>,
): Promise<void> {
  const endMs = Date.now() + ms
  try {
    while (count() !== drives) {
      if (Date.now() > endMs) throw new Error(`not within ${ms / 1000} s`)
      await step()
      await sleep(BETWEEN_STEPS_MS)
    }
  } catch (cause) {
    const said = [await host.weft('policy', 'log'), await host.weft('policy', 'plan')].join('\n')
    throw new Error(`on the way to ${drives} drives, at ${count()}: ${cause}\n${said}`, { cause })
  }
}

test('a pool takes drives out of the frame as it is written full, gives them back as it is emptied, and nobody notices', async () => {
  const lab = await hosts(2, { size: '1G', ...FRAME })
  try {
    const host = lab.host(1)
    const count = () => drivesOf(lab, host).length
    const [program = '', ...args] = lab.appliance.connectWords
    await host.run(program, ...args)
    await host.weft('synergy', 'allocate', '--class', '3', '--drives', '1')
    await until('the drive is used', async () => (await usedBy(host)).length === 1)
    await host.weft('volume', 'create', 'v', '--cos', '3', '--size', '500M')
    await host.weft('volume', 'resize', 'v', '4G')
    await host.weft('policy', 'set', ...POLICY)
    const files = new ComparedFiles(host, '/mnt/weft/v')
    try {
      await reach(host, 2, count, GROW_MS_MAX, () => files.write())
      await reach(host, 3, count, GROW_MS_MAX, () => files.write())
      await accounted(lab, host)
      const shrinking = async () => {
        if (files.bytes > KEPT_BYTES) await files.delete()
      }
      await reach(host, 2, count, SHRINK_MS_MAX, shrinking)
      await reach(host, 1, count, SHRINK_MS_MAX, shrinking)
      await files.compare()
      await accounted(lab, host)
    } finally {
      await files.close()
    }
    for (const one of lab.hosts) {
      await one.weft('fsck')
      const refused = await one.tryRun('grep', 'request answered EIO', `${one.home}/log/keeper.log`)
      assert.is(refused.stdout, '')
    }
    await host.weft('policy', 'set', '--off')
    await host.weft('volume', 'delete', 'v', '--force')
    for (const serial of drivesOf(lab, host)) await host.weft('synergy', 'release', serial)
    await until('the frame has all of its drives again', () =>
      lab.appliance.audit().every(({ jbods, seenBy }) => jbods.length + seenBy.length === 0),
    )
  } finally {
    await lab.close()
  }
})

test.run()
