import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveId } from '../../src/base/index.ts'
import type { DiskFacts } from '../../src/drives/disk-facts.ts'
import { classify, type Us } from '../../src/drives/index.ts'
import { driveOn, judgeDisk, judgeLabel, uuidOf } from '../../src/drives/judge-disk.ts'
import { type DriveLabel, signLabel } from '../../src/drives/label.ts'
import { nodeKeys } from './node-keys.ts'

const { nodeId, keys } = nodeKeys(1)
const theirs = nodeKeys(2)
const drive = '0123456789abcdef0123456789abcdef' as DriveId
const cluster = 'aa'.repeat(16)
const us: Us = { nodeId, keys, cluster, drives: new Set() }

const xfs = { type: 'xfs', offsetBytes: 0, label: 'weft', uuid: uuidOf(drive) }
const gpt = { type: 'gpt', offsetBytes: 512, label: '', uuid: '' }

function facts(more: Partial<DiskFacts> = {}, row: Partial<DiskFacts['row']> = {}): DiskFacts {
  return {
    row: {
      path: '/dev/sdb',
      name: 'sdb',
      device: '8:16',
      type: 'disk',
      sizeBytes: 480_103_981_056,
      model: '',
      serial: '',
      wwn: '',
      transport: 'sas',
      isRotational: false,
      isReadOnly: false,
      ...row,
    },
    identity: { wwn: '', serial: '', model: '' },
    links: [],
    media: 'ssd',
    partitions: [],
    mountedAt: [],
    uses: [],
    signatures: [],
    trouble: null,
    ...more,
  }
}

test('a disk with nothing on it is free', () => {
  assert.equal(judgeDisk(facts(), us), { kind: 'free' })
})

test('each reason why a disk is of no use is told, the worst first', () => {
  const cases: [DiskFacts, string, RegExp][] = [
    [facts({ trouble: { code: 'EIO', why: 'failing: it' } }), 'EIO', /^failing: it/],
    [facts({ uses: ['sdb is held by dm-0'], signatures: [gpt] }), 'EBUSY', /held by dm-0/],
    [facts({ uses: ['sdb is held by md0'], signatures: [xfs] }), 'EBUSY', /held by md0/],
    [facts({}, { isReadOnly: true }), 'EROFS', /read-only/],
    [facts({}, { sizeBytes: 1024 }), 'ENOSPC', /too small: 1024 bytes/],
    [facts({ partitions: ['sdb1'], signatures: [gpt] }), 'EEXIST', /sdb1; found: gpt at byte 512/],
    [facts({ signatures: [{ ...xfs, label: 'data' }] }), 'EEXIST', /xfs "data"/],
    [facts({ signatures: [xfs, gpt] }), 'EEXIST', /xfs "weft".*gpt/],
  ]
  for (const [disk, code, why] of cases) {
    const standing = judgeDisk(disk, us)
    if (!('kind' in standing) || standing.kind !== 'unusable')
      throw new Error(JSON.stringify(standing))
    assert.is(standing.code, code)
    assert.match(standing.why, why)
    assert.is(standing.isForceable, code === 'EEXIST')
  }
})

test('a drive the node knows needs no look at its label, any other does', () => {
  const disk = facts({ signatures: [xfs] })
  assert.is(driveOn(disk.signatures), drive)
  assert.equal(judgeDisk(disk, us), { ask: drive })
  assert.equal(judgeDisk(disk, { ...us, drives: new Set([drive]) }), {
    kind: 'drive',
    drive,
    mountedAt: null,
  })
  const mounted = facts({ signatures: [xfs], mountedAt: ['/a'], uses: ['sdb is mounted at /a'] })
  assert.equal(judgeDisk(mounted, us), { ask: drive })
  assert.equal(judgeDisk(mounted, { ...us, drives: new Set([drive]) }), {
    kind: 'drive',
    drive,
    mountedAt: '/a',
  })
})

test('the label says whose drive it is', () => {
  const disk = facts({ signatures: [xfs], mountedAt: ['/a'] })
  const label = {
    version: 2,
    id: drive,
    class: 2,
    createdAt: '2026-11-30T17:00:00.000Z',
    cluster,
    node: nodeId,
    nodeKey: keys.nodeKey,
    kind: 'block',
    wwn: '',
    serial: '',
    sizeBytes: 1,
  } as const
  const mine = { kind: 'drive', drive, mountedAt: '/a' }
  assert.equal(judgeLabel(disk, drive, signLabel(label, keys), us), mine)
  assert.equal(judgeLabel(disk, drive, signLabel({ ...label, cluster: null }, keys), us), mine)
  const other = { ...label, node: theirs.nodeId, nodeKey: theirs.keys.nodeKey }
  const foreign: [DriveLabel, RegExp][] = [
    [signLabel(other, theirs.keys), /node .*, in cluster aaaa/],
    [signLabel({ ...other, cluster: null }, theirs.keys), /in no cluster/],
    [
      signLabel({ ...label, cluster: 'bb'.repeat(16) }, keys),
      /this node when it was in cluster bb/,
    ],
    [{ ...signLabel(label, keys), serial: 'X' }, /not signed it/],
    [signLabel({ ...label, id: 'ee'.repeat(16) as DriveId }, keys), /copy by hand/],
  ]
  for (const [one, why] of foreign) {
    const standing = judgeLabel(disk, drive, one, us)
    if (standing.kind !== 'foreign-drive') throw new Error(JSON.stringify(standing))
    assert.match(standing.why, why)
    assert.is(standing.mountedAt, '/a')
  }
})

test('the class follows the kind of disk, and only falls by measurement', () => {
  const quick = { syncMs: 0.05, bytesPerSecond: 2e9, note: '' }
  const sas = { media: 'ssd', transport: 'sas' } as const
  const nvme = { media: 'nvme', transport: 'nvme' } as const
  const hdd = { media: 'hdd', transport: 'sas' } as const
  assert.is(classify(nvme, null), 3)
  assert.is(classify(sas, null), 3)
  assert.is(classify(hdd, null), 1)
  assert.is(classify({ media: 'ssd', transport: 'usb' }, quick), 1)
  assert.is(classify(nvme, quick), 3)
  assert.is(classify(sas, quick), 3)
  assert.is(classify(hdd, quick), 1)
  assert.is(classify(nvme, { ...quick, syncMs: 5 }), 2)
  assert.is(classify(nvme, { ...quick, bytesPerSecond: 300e6 }), 2)
  assert.is(classify(sas, { ...quick, syncMs: 20 }), 1)
  assert.is(classify(sas, { ...quick, bytesPerSecond: 50e6 }), 1)
})

test.run()
