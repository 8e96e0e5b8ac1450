import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DiskInfo, DriveInfo } from '../../src/api/index.ts'
import { FrameOperator } from '../support/frame-operator.ts'
import { hosts, type Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { pids } from '../support/namespaces.ts'
import { sh, until } from '../support/node-world.ts'

const LAB = resolve(import.meta.dirname, '../../scripts/lab.js')
/** Of SAS SSDs, as the test names them by bay. */
const FRAME = {
  synergy: { drives: [{ count: 3, capacityGB: 1, media: 'SSD', interfaceType: 'SAS' }] },
} as const
const SIZE = '500M'
const BY_ID = '/mnt/hardware/by-id'

async function disks(host: Host): Promise<DiskInfo[]> {
  const all = JSON.parse(await host.weft('drive', 'list', '--all', '--json')) as {
    disks: DiskInfo[]
  }
  return all.disks.filter(({ link }) => link.startsWith(BY_ID))
}

async function driveNamed(host: Host, name: string): Promise<DriveInfo | undefined> {
  const { drives } = JSON.parse(await host.weft('drive', 'list', '--json')) as {
    drives: DriveInfo[]
  }
  return drives.find((drive) => drive.name === name)
}

async function links(host: Host): Promise<string[]> {
  return (await host.run('ls', BY_ID)).split('\n').filter((name) => name !== '')
}

/** Polled on its own: a task of the appliance may end before the host has seen what it did. */
async function seen(host: Host, count: number): Promise<void> {
  await until(`${host.name} sees ${count}`, async () => (await links(host)).length === 3 * count)
}

function claim(lab: Lab, bay: number) {
  const line = lab.appliance.audit().find((one) => one.bay === bay)
  if (line === undefined) throw new Error(`no drive in bay ${bay}`)
  return line
}

/** Loop devices on a file below, and processes that are told of a directory below. */
function leftOf({ name, images }: Lab): string[] {
  const loops = readdirSync('/sys/block').filter((device) => {
    const backing = join('/sys/block', device, 'loop/backing_file')
    return existsSync(backing) && readFileSync(backing, 'utf8').startsWith(`${images}/`)
  })
  const processes = pids().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`/run/weft-lab/${name}/`)
    } catch {
      return false // it went while we looked
    }
  })
  const paths = [images, join('/run/weft-lab', name)].filter((path) => existsSync(path))
  return [...loops, ...processes.map((pid) => `process ${pid}`), ...paths]
}

test('a drive that is zoned to a blade is a disk of that host alone, pulled when it is unzoned, and as it was when it is put back', async () => {
  const lab = await hosts(2, { size: SIZE, cluster: false, ...FRAME })
  try {
    const [a, b] = [lab.host(1), lab.host(2)]
    const operator = await FrameOperator.at(b, lab.appliance)
    const { serialNumber } = claim(lab, 2)
    const jbod = await operator.reserve(2, 'letters')
    assert.equal(await disks(a), [], 'reserved is not zoned')
    await operator.zone(a, [jbod])
    await seen(a, 1)
    const wwn = serialNumber.replace(/^S4601671(\d{4}).*$/, '5000cca03c61$1')
    assert.equal(await links(a), [
      `scsi-3${wwn}`,
      `scsi-SHPE_SAS_SSD_${serialNumber}`,
      `wwn-0x${wwn}`,
    ])
    assert.equal(await links(b), [])
    const [disk, ...others] = await disks(a)
    assert.equal(others, [])
    assert.is(disk?.standing, 'free', disk?.why)
    assert.equal([disk?.wwn, disk?.serial, disk?.sizeBytes], [wwn, serialNumber, 1_000_001_536])
    assert.equal(await disks(b), [])
    await until('the audit has it', () => claim(lab, 2).seenBy.includes(a.name))
    assert.equal(claim(lab, 2).jbods, ['letters'])
    assert.equal(claim(lab, 2).blades, [a.name])

    await a.weft('drive', 'add', `${BY_ID}/wwn-0x${wwn}`, '--class', '3')
    const is = (state: string) =>
      until(
        `the drive is ${state}`,
        async () => (await driveNamed(a, serialNumber))?.state === state,
        40_000,
      )
    await is('ok')
    await a.weft('volume', 'create', 'v', '--cos', '3', '--size', '100M')
    await a.run(
      'sh',
      '-c',
      'seq 1000000 >/mnt/weft/v/numbers; sync /mnt/weft/v/numbers /mnt/weft/v',
    )
    const sum = await a.run('md5sum', '/mnt/weft/v/numbers')

    await operator.zone(a, [])
    await seen(a, 0)
    await is('gone')
    assert.is.not((await a.tryRun('sh', '-c', 'echo x >/mnt/weft/v/x; sync /mnt/weft/v/x')).code, 0)
    await operator.zone(a, [jbod])
    await is('ok')
    assert.is(await a.run('md5sum', '/mnt/weft/v/numbers'), sum)
    assert.is((await disks(a))[0]?.standing, 'drive')

    await a.powerCut()
    await a.start()
    await is('ok')
    assert.is(await a.run('md5sum', '/mnt/weft/v/numbers'), sum, 'its disks are there after a cut')
    for (const host of lab.hosts) await host.weft('fsck')
  } finally {
    await lab.close()
  }
  await until('nothing is left', () => leftOf(lab).length === 0, 2000).catch(() => {})
  assert.equal(leftOf(lab), [])
})

test('a drive goes to another host with what was written to it, unless its JBOD was erased', async () => {
  const lab = await hosts(2, { size: SIZE, cluster: false, ...FRAME })
  try {
    const [a, b] = [lab.host(1), lab.host(2)]
    const operator = await FrameOperator.at(a, lab.appliance)
    const [kept, erased] = [
      await operator.reserve(1, 'kept'),
      await operator.reserve(2, 'erased', { eraseData: true }),
    ]
    await operator.zone(a, [kept, erased])
    await seen(a, 2)
    for (const { path } of await disks(a)) await a.run('mkfs.ext4', '-q', '-L', 'letters', path)
    await operator.zone(a, [])
    await seen(a, 0)
    await operator.release(kept)
    await operator.release(erased)
    await operator.zone(b, [await operator.reserve(1, 'again'), await operator.reserve(2, 'anew')])
    await seen(b, 2)
    assert.equal(await links(a), [])
    const standings = (await disks(b)).map(({ serial, standing }) => [serial, standing])
    assert.equal(
      new Map(standings as [string, string][]),
      new Map([
        [claim(lab, 1).serialNumber, 'unusable'],
        [claim(lab, 2).serialNumber, 'free'],
      ]),
    )
  } finally {
    await lab.close()
  }
})

test('a person turns knobs and is told whom drives belong to; an appliance that is killed leaves nothing behind', async () => {
  const lab = await hosts(1, { size: SIZE, cluster: false, ...FRAME })
  try {
    const host = lab.host(1)
    const operator = await FrameOperator.at(host, lab.appliance)
    const jbod = await operator.reserve(1, 'letters')
    await byHand(lab, 'knob', 'jbodEditPower', 'off-required')
    let isZoned = false
    await until('it wants the server off', async () => {
      try {
        await operator.zone(host, isZoned ? [] : [jbod])
        isZoned = !isZoned
        return false
      } catch (error) {
        return /power/i.test(String(error))
      }
    })
    await byHand(lab, 'knob', 'jbodEditPower', 'online')
    await until('it does not', () =>
      operator.zone(host, [jbod]).then(
        () => true,
        () => false,
      ),
    )
    await seen(host, 1)
    const line =
      /S46016710000J4524YPT {2}frame 1 bay 1 {2}1 GB SAS SSD {2}JBOD letters, attached to node1, seen by node1/
    await until('it is told', async () => line.test(await byHand(lab)))
    assert.match(await byHand(lab), /3 drives, 2 free[\s\S]*--pin sha256:[0-9a-f]{64}/)
    assert.match(
      await byHand(lab, 'knob', 'appearence').catch(String),
      /no knob appearence: there are .*appearance/,
    )

    assert.ok(lab.appliance.isUp)
    for (const pid of pids().filter((one) => isSimulatorOf(lab, one))) process.kill(pid, 'SIGKILL')
    await until('it is gone', () => !lab.appliance.isUp)
    assert.match(await byHand(lab), /appliance gone/)
  } finally {
    await lab.close()
  }
  await until('nothing is left', () => leftOf(lab).length === 0, 2000).catch(() => {})
  assert.equal(leftOf(lab), [])
})

function byHand({ name }: Lab, ...words: string[]): Promise<string> {
  return sh(process.execPath, [LAB, 'synergy', ...words, '--name', name])
}

function isSimulatorOf({ appliance }: Lab, pid: number): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')
    return words.includes(appliance.dir) && !words[0]?.endsWith('nsenter')
  } catch {
    return false // it went while we looked
  }
}

test.run()
