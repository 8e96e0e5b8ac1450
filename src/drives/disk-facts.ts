import { existsSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { FsError, messageOf } from '../base/index.ts'
import {
  type DiskIdentity,
  identityOfLinks,
  isIdentityLink,
  normalWwn,
  serialOfVpd80,
} from './disk-identity.ts'
import {
  LSBLK_COLUMNS,
  type LsblkRow,
  parseLsblk,
  parseWipefs,
  type Signature,
} from './disk-reports.ts'
import type { FullDiskWorld } from './disk-world.ts'
import { bytesIn, namesIn, textIn } from './kernel-text.ts'
import { type MountLine, parseMountinfo, unescapeOctal } from './mountinfo.ts'

/** What the machine says about one disk before anybody judges it. */
export interface DiskFacts {
  readonly row: LsblkRow
  readonly identity: DiskIdentity
  /** Paths below the by-id directory that name it. */
  readonly links: readonly string[]
  readonly media: 'hdd' | 'ssd' | 'nvme'
  /** Kernel names of its partitions. */
  readonly partitions: readonly string[]
  /** Where the top of the disk's own filesystem is mounted, as this process sees it. */
  readonly mountedAt: readonly string[]
  /** What uses the disk or a partition of it: 'sdb1 is mounted at /srv', 'sdb is held by dm-0', 'sdb2 is swap'. */
  readonly uses: readonly string[]
  readonly signatures: readonly Signature[]
  /** Why nothing can be said of it or done with it: broken, or no right to look. */
  readonly trouble: Trouble | null
}

export interface Trouble {
  readonly code: 'EIO' | 'EACCES'
  readonly why: string
}

/** Memory, arrays, mappings, optical and floppy drives, disks of other machines: block devices, but no disks of this host. */
const NOT_DISKS = /^(zram|ram|md|dm-|sr|fd|nbd|rbd|drbd)/
/** What the kernel says of a device that answers no more. Source: linux drivers/scsi/scsi_sysfs.c, drivers/nvme/host/sysfs.c */
const DEAD_STATES = new Set(['offline', 'transport-offline', 'deleting', 'dead'])
/** A disk that has not told its first and last blocks by then is failing. */
const WIPEFS_MS_MAX = 10_000
const AT_ONCE = 8

/**
 * All disks of the host, or the one at a path. A disk that vanishes meanwhile is left out.
 * @throws FsError ENOENT when lsblk or wipefs is not installed, EIO when lsblk answers nonsense
 */
export async function lookAtDisks(world: FullDiskWorld, path?: string): Promise<DiskFacts[]> {
  const listed = await world.run(
    'lsblk',
    ['--json', '--bytes', '--nodeps', '--output', LSBLK_COLUMNS, ...(path ? [path] : [])],
    { signal: world.signal },
  )
  // lsblk ends with 32 when the device named is not there.
  if (path && listed.code !== 0) return []
  if (listed.code !== 0) {
    throw new FsError('EIO', 'lsblk', { message: `lsblk cannot list the disks: ${listed.stderr}` })
  }
  const links = linksByDevice(world.byIdDir)
  const uses = readUses(world.procDir)
  const rows = parseLsblk(listed.stdout).filter((row) => isDisk(row, links))
  const facts: DiskFacts[] = []
  const left = rows.values()
  const worker = async () => {
    for (const row of left) {
      const found = await factsOf(row, links.get(row.path) ?? [], uses, world)
      if (existsSync(join(world.sysDir, 'block', row.name))) facts.push(found)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return facts.sort((a, b) => rows.indexOf(a.row) - rows.indexOf(b.row))
}

/** A loop device is a disk only where somebody has given it a disk's name, as the lab does. */
function isDisk(row: LsblkRow, links: ReadonlyMap<string, readonly string[]>): boolean {
  if (row.sizeBytes === 0 || NOT_DISKS.test(row.name)) return false
  return row.type === 'disk' || (row.type === 'loop' && links.has(row.path))
}

async function factsOf(
  row: LsblkRow,
  links: readonly string[],
  uses: Uses,
  world: FullDiskWorld,
): Promise<DiskFacts> {
  const sys = join(world.sysDir, 'block', row.name)
  const names = links.map((link) => basename(link))
  const partitions = namesIn(sys).filter((name) => existsSync(join(sys, name, 'partition')))
  const whole = { name: row.name, device: row.device, sys }
  const parts = partitions.map((name) => {
    const dir = join(sys, name)
    return { name, device: textIn(join(dir, 'dev')), sys: dir }
  })
  const state = textIn(join(sys, 'device/state'))
  const probed = await probe(row.path, world)
  return {
    row,
    links,
    identity: identityOf(row, names, sys),
    media: mediaOf(row, names),
    partitions,
    mountedAt: uses.mounts
      .filter(({ device, root }) => device === row.device && root === '/')
      .map(({ at }) => at),
    uses: [whole, ...parts].flatMap((piece) => usesOf(piece, uses)),
    signatures: probed.signatures,
    trouble: DEAD_STATES.has(state) ? failing(`the kernel says it is ${state}`) : probed.trouble,
  }
}

/** SCSI first: lsblk may give a disk's WWN as its serial number, page 0x80 has what is printed on the drive. */
function identityOf(row: LsblkRow, names: readonly string[], sys: string): DiskIdentity {
  const named = identityOfLinks(names)
  return {
    wwn: normalWwn(row.wwn) || normalWwn(textIn(join(sys, 'device/wwid'))) || named.wwn,
    serial: serialOfVpd80(bytesIn(join(sys, 'device/vpd_pg80'))) || row.serial || named.serial,
    model: row.model || textIn(join(sys, 'device/model')) || named.model,
  }
}

function mediaOf(row: LsblkRow, names: readonly string[]): DiskFacts['media'] {
  // A loop device has no interface of its own; the name it was given says which one it stands for.
  const isNamedNvme = row.type === 'loop' && names.some((name) => name.startsWith('nvme-'))
  if (row.transport === 'nvme' || row.name.startsWith('nvme') || isNamedNvme) return 'nvme'
  return row.isRotational ? 'hdd' : 'ssd'
}

async function probe(
  path: string,
  world: FullDiskWorld,
): Promise<Pick<DiskFacts, 'signatures' | 'trouble'>> {
  try {
    const { code, stdout, stderr } = await world.run('wipefs', ['--no-act', '--json', path], {
      signal: world.signal,
      deadlineMs: WIPEFS_MS_MAX,
    })
    if (code === 0) return { signatures: parseWipefs(stdout), trouble: null }
    if (/permission denied|not permitted/i.test(stderr)) {
      return {
        signatures: [],
        trouble: {
          code: 'EACCES',
          why: 'no right to look at it: only root has, unless a sandbox forbids it',
        },
      }
    }
    return { signatures: [], trouble: failing(`it cannot be read: ${stderr}`) }
  } catch (error) {
    if (!(error instanceof FsError) || error.code !== 'ETIMEDOUT') throw error
    return { signatures: [], trouble: failing(messageOf(error)) }
  }
}

function failing(why: string): Trouble {
  return { code: 'EIO', why: `failing: ${why}` }
}

interface Uses {
  readonly mounts: readonly MountLine[]
  /** Paths of devices that are swap. */
  readonly swaps: readonly string[]
}

function readUses(procDir: string): Uses {
  const mounts = parseMountinfo(textIn(join(procDir, 'self/mountinfo')))
  const swaps = textIn(join(procDir, 'swaps')).split('\n').slice(1)
  return { mounts, swaps: swaps.map((line) => unescapeOctal(line.split(/\s/)[0] ?? '')) }
}

/** A disk, or a partition of one. */
interface Piece {
  readonly name: string
  readonly device: string
  readonly sys: string
}

function usesOf({ name, device, sys }: Piece, { mounts, swaps }: Uses): string[] {
  const mounted = mounts.filter((line) => line.device === device)
  const holders = namesIn(join(sys, 'holders'))
  return [
    ...mounted.map(({ at }) => `${name} is mounted at ${at}`),
    ...holders.map((holder) => `${name} is held by ${holder}`),
    ...(swaps.includes(`/dev/${name}`) ? [`${name} is swap`] : []),
  ]
}

function linksByDevice(byIdDir: string): Map<string, string[]> {
  const links = new Map<string, string[]>()
  for (const name of namesIn(byIdDir).filter(isIdentityLink).sort()) {
    const link = join(byIdDir, name)
    try {
      const device = realpathSync(link)
      links.set(device, [...(links.get(device) ?? []), link])
    } catch {
      // the disk went away and its link is still there
    }
  }
  return links
}
