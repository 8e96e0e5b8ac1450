import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DiskInfo, DriveInfo, SynergyStatus } from '../../src/api/index.ts'
import { FrameOperator } from '../support/frame-operator.ts'
import { hosts } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'

const FRAME = {
  synergy: { drives: [{ count: 3, capacityGB: 1, media: 'SSD', interfaceType: 'SAS' }] },
} as const

async function frameDisks(host: Host): Promise<DiskInfo[]> {
  const { disks } = JSON.parse(await host.weft('drive', 'list', '--all', '--json')) as {
    disks: DiskInfo[]
  }
  return disks.filter(({ link }) => link.startsWith('/mnt/hardware/by-id'))
}

test('disks that come from the frame with drives of others on them are not formatted, and go back as they came', async () => {
  const lab = await hosts(2, { size: '500M', cluster: false, ...FRAME })
  try {
    const [a, b] = [lab.host(1), lab.host(2)]
    const operator = await FrameOperator.at(a, lab.appliance)
    const both = [await operator.reserve(1, 'one'), await operator.reserve(2, 'two')]
    await operator.zone(a, both)
    await until('both are seen', async () => (await frameDisks(a)).length === 2)
    const serialAt = (bay: number) =>
      lab.appliance.audit().find((one) => one.bay === bay)?.serialNumber ?? ''
    const diskAt = async (bay: number) => {
      const found = (await frameDisks(a)).find(({ serial }) => serial === serialAt(bay))
      if (!found) throw new Error(`no disk of bay ${bay}`)
      return found
    }
    // One is a drive of another node, the other has a label that only a newer build reads.
    const newer = await diskAt(2)
    await a.run('mkfs.xfs', '-q', '-L', 'weft', newer.path)
    const write = `mount ${newer.path} /mnt/look && echo '{"version":99}' >/mnt/look/drive.json && echo letters >/mnt/look/letters && umount /mnt/look`
    await a.run('sh', '-c', `mkdir -p /mnt/look && ${write}`)
    await a.weft('drive', 'add', (await diskAt(1)).path, '--class', '3')
    await a.weft('down')
    await operator.zone(a, [])
    for (const jbod of both) await operator.release(jbod)

    const [program = '', ...args] = lab.appliance.connectWords
    await b.run(program, ...args)
    await b.weft('synergy', 'allocate', '--class', '3', '--drives', '1')
    const used = async () => {
      const { drives } = JSON.parse(await b.weft('drive', 'list', '--json')) as {
        drives: DriveInfo[]
      }
      return drives.filter(({ disk }) => disk !== null).map(({ name }) => name)
    }
    await until('the third is used', async () => (await used()).join() === serialAt(3))
    await until('it has no other', async () => {
      const { drives } = JSON.parse(await b.weft('synergy', 'status', '--json')) as SynergyStatus
      return (
        drives.map(({ serial, step }) => `${serial} ${step}`).join() === `${serialAt(3)} settled`
      )
    })
    const free = lab.appliance.audit().filter(({ jbods }) => jbods.length === 0)
    assert.equal(free.map(({ bay }) => bay).sort(), [1, 2])

    const again = [await operator.reserve(1, 'three'), await operator.reserve(2, 'four')]
    await operator.zone(a, again)
    await a.start()
    await until('both are back', async () => (await frameDisks(a)).length === 2)
    assert.is((await diskAt(1)).standing, 'drive')
    const read = `mount ${(await diskAt(2)).path} /mnt/look && cat /mnt/look/letters && umount /mnt/look`
    assert.is((await a.run('sh', '-c', read)).trim(), 'letters')
  } finally {
    await lab.close()
  }
})

test.run()
