import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { blockDisks, locateDisk, type RunTool, type Tool, type Us } from '../../src/drives/index.ts'
import { runTool } from '../../src/drives/run-tool.ts'
import { nodeKeys } from './node-keys.ts'

/** A host as trees of files and recorded answers: what no test machine has, and what happens in the middle of looking. */

const { nodeId, keys } = nodeKeys(1)
const us: Us = { nodeId, keys, cluster: null, drives: new Set() }

function makeHost(answers: (tool: Tool, args: readonly string[]) => unknown) {
  const root = mkdtempSync(join(tmpdir(), 'weft-host-'))
  const write = (path: string, text: string | Buffer) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  const run: RunTool = async (tool, args) => {
    const answer = answers(tool, args)
    return typeof answer === 'string'
      ? { code: 1, stdout: '', stderr: answer }
      : { code: 0, stdout: JSON.stringify(answer), stderr: '' }
  }
  write('proc/self/mountinfo', '')
  write('proc/swaps', 'Filename Type Size Used Priority\n')
  const world = {
    run,
    byIdDir: join(root, 'by-id'),
    sysDir: join(root, 'sys'),
    procDir: join(root, 'proc'),
  }
  return { root, world, write, close: () => rmSync(root, { recursive: true }) }
}

function row(name: string, more: object = {}) {
  return {
    path: `/dev/${name}`,
    kname: name,
    'maj:min': `8:${name.charCodeAt(2)}`,
    type: 'disk',
    size: 480_103_981_056,
    model: null,
    serial: null,
    wwn: null,
    tran: 'sas',
    rota: false,
    ro: false,
    ...more,
  }
}

const nothingFound = { signatures: [] }

test('only disks are told, by what SCSI, sysfs and lsblk know of them', async () => {
  const names = ['sda', 'zram0', 'md0', 'dm-0', 'nbd0', 'sr0']
  const host = makeHost((tool) =>
    tool === 'lsblk'
      ? {
          blockdevices: [
            ...names.map((name) => row(name, { serial: '5002538a06d1c520' })),
            row('sdz', { size: 0 }),
            row('loop3', { type: 'loop' }),
            row('nvme0n1', { tran: 'nvme', serial: 'NV1', model: 'NVME' }),
          ],
        }
      : nothingFound,
  )
  try {
    const sda = 'sys/block/sda'
    host.write(`${sda}/device/wwid`, 'naa.5002538A06D1C520\n')
    host.write(`${sda}/device/model`, 'VO000480JWDAR   \n')
    host.write(`${sda}/device/vpd_pg80`, Buffer.from([0, 0x80, 0, 6, ...Buffer.from('S3NNX0')]))
    host.write('sys/block/nvme0n1/size', '1')
    const disks = await blockDisks(us, host.world)
    assert.equal(
      disks.map(({ name, wwn, serial, model, media }) => ({ name, wwn, serial, model, media })),
      [
        {
          name: 'sda',
          wwn: '5002538a06d1c520',
          serial: 'S3NNX0',
          model: 'VO000480JWDAR',
          media: 'ssd',
        },
        { name: 'nvme0n1', wwn: '', serial: 'NV1', model: 'NVME', media: 'nvme' },
      ],
    )
  } finally {
    host.close()
  }
})

test('what uses a disk or a partition of it is told', async () => {
  const names = ['sda', 'sdb', 'sdc', 'sdd', 'sde', 'sdf']
  const host = makeHost((tool, args) => {
    if (tool === 'lsblk') return { blockdevices: names.map((name) => row(name)) }
    if (args.includes('/dev/sdf')) return 'wipefs: error: /dev/sdf: Permission denied'
    return args.includes('/dev/sdd') ? 'wipefs: error: /dev/sdd: Input/output error' : nothingFound
  })
  try {
    host.write('sys/block/sda/sda1/partition', '1')
    host.write('sys/block/sda/sda1/dev', '8:1\n')
    host.write('proc/self/mountinfo', '30 1 8:1 / /boot rw - ext4 /dev/sda1 rw\n')
    host.write('sys/block/sdb/holders/dm-0', '')
    host.write('sys/block/sdc/size', '1')
    host.write('proc/swaps', 'Filename Type Size Used Priority\n/dev/sdc partition 1 0 -2\n')
    host.write('sys/block/sdd/size', '1')
    host.write('sys/block/sde/device/state', 'offline\n')
    host.write('sys/block/sdf/size', '1')
    const whys = (await blockDisks(us, host.world)).map(({ standing }) =>
      standing.kind === 'unusable' ? `${standing.code} ${standing.why}` : standing.kind,
    )
    assert.equal(whys, [
      'EBUSY in use: sda1 is mounted at /boot',
      'EBUSY in use: sdb is held by dm-0',
      'EBUSY in use: sdc is swap',
      'EIO failing: it cannot be read: wipefs: error: /dev/sdd: Input/output error',
      'EIO failing: the kernel says it is offline',
      'EACCES no right to look at it: only root has, unless a sandbox forbids it',
    ])
  } finally {
    host.close()
  }
})

test('a disk that vanishes while it is looked at is left out', async () => {
  const host = makeHost((tool, args) => {
    if (tool === 'lsblk') return { blockdevices: [row('sda'), row('sdb')] }
    if (args.includes('/dev/sda')) rmSync(join(host.root, 'sys/block/sda'), { recursive: true })
    return nothingFound
  })
  try {
    host.write('sys/block/sda/size', '1')
    host.write('sys/block/sdb/size', '1')
    const disks = await blockDisks(us, host.world)
    assert.equal(
      disks.map(({ name }) => name),
      ['sdb'],
    )
  } finally {
    host.close()
  }
})

test('a missing program is named with its package', async () => {
  try {
    await runTool('mkfs.nothing' as Tool, [])
    assert.unreachable()
  } catch (error) {
    assert.instance(error, FsError)
    assert.is((error as FsError).code, 'ENOENT')
    assert.match((error as FsError).message, 'mkfs.nothing is not installed')
    assert.match(String((error as FsError).subject.next), 'apt install')
  }
})

test('a program that does not end is ended, by the deadline and by the signal', async () => {
  const root = mkdtempSync(join(tmpdir(), 'weft-fifo-'))
  const fifo = join(root, 'fifo')
  execFileSync('mkfifo', [fifo])
  // Waits for somebody to write its prototype, who never comes.
  const image = `file,name=${join(root, 'image')},size=400m`
  const endless = ['-N', '-p', fifo, '-d', image]
  try {
    const late = await runTool('mkfs.xfs', endless, { deadlineMs: 100 }).catch((e) => e)
    assert.is(late.code, 'ETIMEDOUT')
    const controller = new AbortController()
    const stopped = runTool('mkfs.xfs', endless, { signal: controller.signal })
    controller.abort()
    assert.is((await stopped.catch((e) => e)).code, 'ECANCELED')
    const before = await runTool('lsblk', [], { signal: controller.signal }).catch((e) => e)
    assert.is(before.code, 'ECANCELED')
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('the LED of a bay is switched where there is one, and a person is helped where there is none', () => {
  const host = makeHost(() => nothingFound)
  const disk = { name: 'sda', path: '/dev/sda', model: 'VO', serial: 'S3NNX0', wwn: '' }
  try {
    const code = (of: typeof disk) => {
      try {
        locateDisk(of, true, host.world)
      } catch (error) {
        return error as FsError
      }
      throw new Error('nothing was thrown')
    }
    assert.is(code(disk).code, 'ENODEV')
    host.write('sys/block/sda/device/state', 'running')
    const none = code(disk)
    assert.is(none.code, 'ENOTSUP')
    assert.match(none.message, 'Look for model VO, serial S3NNX0')
    host.write('sys/class/enclosure/0:0:9:0/Slot 05/locate', '0')
    const bay = join(host.root, 'sys/class/enclosure/0:0:9:0/Slot 05')
    symlinkSync(bay, join(host.root, 'sys/block/sda/device/enclosure_device:Slot 05'))
    assert.is(locateDisk(disk, true, host.world), 'Slot 05')
    assert.is(readFileSync(join(bay, 'locate'), 'utf8'), '1')
    locateDisk(disk, false, host.world)
    assert.is(readFileSync(join(bay, 'locate'), 'utf8'), '0')
    rmSync(join(bay, 'locate'))
    const refused = code(disk)
    assert.is(refused.code, 'EIO')
    assert.match(refused.message, 'bay Slot 05')
  } finally {
    host.close()
  }
})

test.run()
