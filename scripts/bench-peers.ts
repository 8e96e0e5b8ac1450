/**
 * The peers that weft on several nodes is measured beside, each with three copies: GlusterFS replica 3 and MooseFS goal 3, from Debian.
 * Both use the same three drives, XFS on loop devices in memory, and have a network namespace for themselves. All they keep lies
 * below the benchmark's directory, and they carry its mark, so that its cleaning ends them.
 */
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { base, environment, makeDrive, memoryStore, network, run } from './bench-place.ts'

const ADDRESS = '10.77.0.1'
const COPIES = [1, 2, 3] as const
const READY_MS_MAX = 60_000
const GLUSTER_WORK = join(base, 'glusterd')
/** What the program that was started last said. */
const SAID = join(base, 'said')
const MOOSEFS = join(base, 'moosefs-state')

const inside = ['nsenter', `--net=/run/netns/${network}`] as const

function inNetwork(...words: readonly string[]): string {
  const [program, ...args] = [...inside, ...words] as [string, ...string[]]
  return run(program, ...args)
}

/** For programs that stay: a pipe of ours would be waited for until they end. @throws when it does not end with 0 */
function startIn(...words: readonly string[]): void {
  const [program, ...args] = [...inside, ...words] as [string, ...string[]]
  const said = openSync(SAID, 'w')
  try {
    const { status, error } = spawnSync(program, args, {
      stdio: ['ignore', said, said],
      env: environment,
      timeout: READY_MS_MAX,
    })
    if (status === 0) return
    const why = error?.message ?? `exit ${status}\n${readFileSync(SAID, 'utf8')}`
    throw new Error(`${words.join(' ')}: ${why}`)
  } finally {
    closeSync(said)
  }
}

/** @throws what the last try threw */
async function untilReady(what: string, ready: () => boolean): Promise<void> {
  const untilMs = performance.now() + READY_MS_MAX
  for (;;) {
    let last: unknown
    try {
      if (ready()) return
    } catch (error) {
      last = error
    }
    if (performance.now() > untilMs) throw last ?? new Error(`${what} is not ready`)
    await new Promise((done) => setTimeout(done, 250))
  }
}

/** Drives and address of the peers. What is deleted keeps its memory, as on the hosts of a lab. */
export function peersPlace(driveBytes: number): void {
  run('ip', 'netns', 'add', network)
  run('ip', '-n', network, 'link', 'set', 'lo', 'up')
  run('ip', '-n', network, 'addr', 'add', `${ADDRESS}/32`, 'dev', 'lo')
  for (const copy of COPIES) makeDrive(`peers${copy}`, driveBytes, memoryStore, 'noatime')
}

const driveOf = (copy: number) => join(base, `drive-peers${copy}`)

/** @returns the directory where it is mounted */
export async function raiseGluster(): Promise<string> {
  const dir = join(base, 'gluster')
  mkdirSync(dir)
  mkdirSync(GLUSTER_WORK)
  mkdirSync('/var/log/glusterfs', { recursive: true })
  const settings = join(base, 'glusterd.vol')
  writeFileSync(
    settings,
    `volume management
  type mgmt/glusterd
  option working-directory ${GLUSTER_WORK}
  option transport-type socket
  option transport.socket.bind-address ${ADDRESS}
end-volume
`,
  )
  startIn('glusterd', '-f', settings, '-p', join(base, 'glusterd.pid'))
  const gluster = (...words: readonly string[]) => inNetwork('gluster', '--mode=script', ...words)
  await untilReady('glusterd', () => gluster('pool', 'list') !== '')
  const bricks = COPIES.map((copy) => `${ADDRESS}:${join(driveOf(copy), 'brick')}`)
  for (const copy of COPIES) mkdirSync(join(driveOf(copy), 'brick'))
  gluster('volume', 'create', 'bench', 'replica', '3', ...bricks, 'force')
  gluster('volume', 'start', 'bench')
  await untilReady('GlusterFS', () => {
    startIn('mount', '-t', 'glusterfs', `${ADDRESS}:/bench`, dir)
    return statfsSync(dir).blocks > 0
  })
  return dir
}

/** @returns the directory where it is mounted */
export async function raiseMooseFs(driveBytes: number): Promise<string> {
  const dir = join(base, 'moosefs')
  const master = join(MOOSEFS, 'master')
  mkdirSync(dir)
  mkdirSync(master, { recursive: true })
  const settings = (name: string, lines: readonly string[]) => {
    const path = join(MOOSEFS, name)
    writeFileSync(path, `${lines.join('\n')}\n`)
    return path
  }
  const user = ['WORKING_USER = root', 'WORKING_GROUP = root']
  writeFileSync(join(master, 'metadata.mfs'), 'MFSM NEW')
  const exports = settings('exports.cfg', ['* / rw,alldirs,admin,maproot=0:0', '* . rw'])
  const masterSettings = settings('master.cfg', [
    ...user,
    `DATA_PATH = ${master}`,
    `EXPORTS_FILENAME = ${exports}`,
    `TOPOLOGY_FILENAME = ${settings('topology.cfg', [])}`,
    ...['MATOML', 'MATOCS', 'MATOCL'].map((side) => `${side}_LISTEN_HOST = ${ADDRESS}`),
  ])
  startIn('mfsmaster', '-c', masterSettings, 'start')
  for (const copy of COPIES) {
    const state = join(MOOSEFS, `chunks${copy}`)
    const store = join(driveOf(copy), 'moosefs')
    mkdirSync(state)
    mkdirSync(store)
    const chunkServer = settings(`chunks${copy}.cfg`, [
      ...user,
      `DATA_PATH = ${state}`,
      `HDD_CONF_FILENAME = ${settings(`drives${copy}.cfg`, [store])}`,
      `MASTER_HOST = ${ADDRESS}`,
      `CSSERV_LISTEN_HOST = ${ADDRESS}`,
      `CSSERV_LISTEN_PORT = 943${copy}`,
      'HDD_LEAVE_SPACE_DEFAULT = 256MiB',
    ])
    startIn('mfschunkserver', '-c', chunkServer, 'start')
  }
  await untilReady('MooseFS', () => {
    if (!existsSync(join(dir, '.ready'))) {
      startIn('mfsmount', dir, '-H', ADDRESS)
      writeFileSync(join(dir, '.ready'), '')
    }
    return true
  })
  // A file has three copies once all three have told the master of their room.
  await untilReady('MooseFS with three drives', () => {
    const { blocks, bsize } = statfsSync(dir)
    return blocks * bsize > 2 * driveBytes
  })
  startIn('mfssetgoal', '-r', String(COPIES.length), dir)
  return dir
}

/** For the foot of the table. */
export function peerVersions(): string {
  const version = (name: string) =>
    /^Version: (.*)-/m.exec(run('dpkg-query', '-s', name))?.[1] ?? ''
  return `GlusterFS ${version('glusterfs-server')}, MooseFS ${version('moosefs-master')}`
}
