import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { examine, type Finding, type Machine, type Places } from '../../src/cli/doctor-checks.ts'
import { weft } from './fake-terminal.ts'

const PLACES: Places = { home: '/var/lib/weft', target: null }
const SHARED = '22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n'

/** A machine that has everything, less what a test takes away. */
function machine(change: Partial<Machine> & { files?: Record<string, string> } = {}): Machine {
  const files: Record<string, string> = {
    '/proc/filesystems': 'nodev\tfuse\n',
    '/proc/self/status': 'CapEff:\t000001ffffffffff\n',
    '/proc/self/mountinfo': SHARED,
    '/proc/swaps': 'Filename Type\n/dev/sdb1 partition\n',
    ...change.files,
  }
  return {
    uid: 0,
    nodeVersion: 'v20.20.2',
    release: '6.12.1-amd64',
    nowSeconds: 1_800_000_000,
    read: (path) => files[path] ?? null,
    exists: () => true,
    open: () => '',
    stat: () => ({ mode: 0o40700, uid: 0, isDirectory: true, mtimeSeconds: 1_799_999_000 }),
    freeBytes: () => 50 * 1024 ** 3,
    keeper: () => null,
    probe: async () => 'answers',
    ...change,
  }
}

test('a good machine has no complaint', async () => {
  const findings = await examine(machine(), PLACES)
  assert.equal(
    findings.filter((finding) => finding.level !== 'ok'),
    [],
  )
  assert.ok(findings.length >= 10)
})

test('each lack is found, with why it matters and the command that mends it', async () => {
  const weftMount = `${SHARED}30 22 0:40 / /mnt/a\\040b rw - fuse.weft weft rw\n`
  const table: [string, Finding['level'], RegExp, Machine, Places?][] = [
    ['node', 'fail', /nodejs/, machine({ nodeVersion: 'v18.19.0' })],
    ['kernel', 'fail', /linux-image/, machine({ release: '5.4.0' })],
    ['kernel', 'warn', /backports/, machine({ release: '6.1.0-18-amd64' })],
    [
      'fuse',
      'fail',
      /^modprobe fuse$/,
      machine({ open: () => 'ENOENT', files: { '/proc/filesystems': 'nodev\tproc\n' } }),
    ],
    ['fuse', 'fail', /mknod \/dev\/fuse/, machine({ open: () => 'ENOENT' })],
    ['fuse', 'fail', /chmod 666/, machine({ open: () => 'EACCES' })],
    ['rights', 'warn', /sudo/, machine({ uid: 1000, stat: () => null })],
    [
      'rights',
      'fail',
      /--cap-add SYS_ADMIN/,
      machine({ files: { '/proc/self/status': 'CapEff:\t00000000a80425fb\n' } }),
    ],
    [
      'tools',
      'fail',
      /apt-get install mount/,
      machine({ exists: (path) => !path.endsWith('/umount') }),
    ],
    ['tools', 'warn', /perl-base/, machine({ exists: (path) => !path.endsWith('/perl') })],
    [
      'tools',
      'fail',
      /apt-get install fuse3/,
      machine({ uid: 1000, stat: () => null, exists: (path) => !path.includes('fusermount') }),
    ],
    [
      'fstab',
      'warn',
      /^\/.*\/scripts\/launchers$/,
      machine({ exists: (path) => !path.endsWith('mount.fuse.weft') }),
    ],
    [
      'propagation',
      'warn',
      /^mount --make-rshared \/$/,
      machine({ files: { '/proc/self/mountinfo': SHARED.replace('shared:1 ', '') } }),
    ],
    [
      'propagation',
      'warn',
      /make-rshared \/mnt$/,
      machine({
        files: { '/proc/self/mountinfo': `${SHARED}23 22 0:21 / /mnt rw - tmpfs none rw\n` },
      }),
      { home: '/h', target: '/mnt/weft' },
    ],
    [
      'home',
      'fail',
      /^chmod 700/,
      machine({ stat: () => ({ mode: 0o40777, uid: 0, isDirectory: true, mtimeSeconds: 0 }) }),
    ],
    [
      'home',
      'warn',
      /^chmod 700/,
      machine({ stat: () => ({ mode: 0o40755, uid: 0, isDirectory: true, mtimeSeconds: 0 }) }),
    ],
    [
      'home',
      'fail',
      /^chown/,
      machine({ stat: () => ({ mode: 0o40700, uid: 33, isDirectory: true, mtimeSeconds: 0 }) }),
    ],
    [
      'home',
      'fail',
      /--home/,
      machine({ stat: () => ({ mode: 0o100600, uid: 0, isDirectory: false, mtimeSeconds: 0 }) }),
    ],
    ['space', 'fail', /free at least/, machine({ freeBytes: () => 1024 })],
    ['space', 'warn', /drive add/, machine({ freeBytes: () => 1024 ** 3 })],
    ['noswap', 'warn', /swapoff/, machine({ release: '6.1.0' })],
    ['clock', 'fail', /timedatectl/, machine({ nowSeconds: 1000 })],
    [
      'clock',
      'warn',
      /timedatectl/,
      machine({
        stat: () => ({ mode: 0o40700, uid: 0, isDirectory: true, mtimeSeconds: 1_900_000_000 }),
      }),
    ],
    [
      'mount',
      'fail',
      /umount -l \/mnt\/a b$/,
      machine({ files: { '/proc/self/mountinfo': weftMount }, probe: async () => 'dead' }),
    ],
    [
      'mount',
      'fail',
      /umount -l/,
      machine({ files: { '/proc/self/mountinfo': weftMount }, probe: async () => 'hangs' }),
    ],
  ]
  for (const [id, level, next, given, places] of table) {
    const finding = (await examine(given, places ?? PLACES)).find(
      (one) => one.id.split(' ')[0] === id && one.level !== 'ok',
    )
    assert.is(finding?.level, level, id)
    assert.match(finding?.next ?? '', next)
    assert.ok(finding?.why, id)
  }
})

test('a machine that tells nothing is survived', async () => {
  const blind = machine({ read: () => null, stat: () => null, freeBytes: () => null })
  const findings = await examine(blind, PLACES)
  assert.ok(findings.every((finding) => finding.level === 'ok' || (finding.why && finding.next)))
})

test('the command looks at this machine, aligned and in JSON, with each finding named', async () => {
  const text = await weft(['--home', '/nonexistent-weft', 'doctor'])
  assert.match(text.out, /^CHECK +RESULT +FOUND\nNode\.js +ok/)
  const json = await weft(['--home', '/nonexistent-weft', 'doctor', '--json'])
  const { ok, findings } = json.json() as { ok: boolean; findings: Finding[] }
  assert.is(json.exit, ok ? 0 : 1)
  assert.ok(findings.every((finding) => finding.id && finding.name && finding.level))
})

test.run()
