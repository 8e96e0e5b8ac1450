import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { release } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Clock, codeOf } from '../base/index.ts'
import { keeperPid } from './keeper-lock.ts'
import { size } from './render.ts'

/** One thing that was looked at. */
export interface Finding {
  readonly id: string
  readonly name: string
  readonly level: 'ok' | 'warn' | 'fail'
  /** What was found. */
  readonly what: string
  /** What does not work because of it; empty when ok. */
  readonly why: string
  /** The command or act that mends it; empty when ok. */
  readonly next: string
}

/** What is asked of the machine. Tests give one that lacks things. */
export interface Machine {
  readonly uid: number
  readonly nodeVersion: string
  /** uname -r */
  readonly release: string
  readonly nowSeconds: number
  /** null when it cannot be read. */
  read(path: string): string | null
  exists(path: string): boolean
  /** '' when it opened for reading and writing, else the errno name. */
  open(path: string): string
  /** null when there is no such path. */
  stat(
    path: string,
  ): { mode: number; uid: number; isDirectory: boolean; mtimeSeconds: number } | null
  freeBytes(path: string): number | null
  keeper(home: string): number | null
  /** How a mount answers statfs, asked in a process of its own: a dead mount may never answer. */
  probe(mountPoint: string): Promise<'answers' | 'dead' | 'hangs'>
}

export interface Places {
  readonly home: string
  /** Where it shall be mounted; null looks at / alone. */
  readonly target: string | null
}

type Check = (machine: Machine, places: Places) => readonly Finding[] | Promise<readonly Finding[]>

const KERNEL_MIN = [5, 10] as const
const KERNEL_NOSWAP = [6, 4] as const
const KERNEL_RESEND = [6, 9] as const
const NODE_MIN = [20, 15] as const
/** Less than this and the journal has no room to breathe. */
const FREE_BYTES_FAIL = 128 * 1024 * 1024
const FREE_BYTES_WARN = 2 * 1024 * 1024 * 1024
/** 2026-01-01: this program is younger. */
const CLOCK_SECONDS_MIN = 1_767_225_600

/** Everything, in the order a person mends it. */
export async function examine(machine: Machine, places: Places): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const check of CHECKS) findings.push(...(await check(machine, places)))
  return findings
}

const CHECKS: readonly Check[] = [
  nodeVersion,
  kernel,
  fuseDevice,
  rights,
  mountHelper,
  propagation,
  home,
  freeSpace,
  noswap,
  clock,
  mounts,
]

function nodeVersion(machine: Machine): Finding[] {
  const found = machine.nodeVersion
  if (atLeast(found.replace(/^v/, ''), NODE_MIN)) return [ok('node', 'Node.js', found)]
  return [
    bad(
      'fail',
      'node',
      'Node.js',
      found,
      `weft needs ${NODE_MIN.join('.')} or newer`,
      'apt-get install nodejs, or https://nodejs.org/en/download',
    ),
  ]
}

function kernel(machine: Machine): Finding[] {
  const found = machine.release
  if (!atLeast(found, KERNEL_MIN)) {
    return [
      bad(
        'fail',
        'kernel',
        'kernel',
        found,
        `weft is made for ${KERNEL_MIN.join('.')} or newer`,
        'apt-get install linux-image-amd64, then reboot',
      ),
    ]
  }
  if (!atLeast(found, KERNEL_RESEND)) {
    const why = `below ${KERNEL_RESEND.join('.')} a call that the daemon was killed over cannot be asked for again: it fails with an error`
    return [
      bad(
        'warn',
        'kernel',
        'kernel',
        found,
        why,
        'works without; a newer kernel is in Debian backports: apt-get install -t bookworm-backports linux-image-amd64',
      ),
    ]
  }
  return [ok('kernel', 'kernel', found)]
}

function fuseDevice(machine: Machine): Finding[] {
  const code = machine.open('/dev/fuse')
  if (code === '') return [ok('fuse', '/dev/fuse', 'opens')]
  const known = /\bfuse\b/.test(machine.read('/proc/filesystems') ?? '')
  if (!known)
    return [
      bad(
        'fail',
        'fuse',
        '/dev/fuse',
        'the kernel has no FUSE loaded',
        'nothing can be mounted',
        'modprobe fuse',
      ),
    ]
  if (code === 'ENOENT') {
    const next =
      'mknod /dev/fuse c 10 229; in a container: docker run --device /dev/fuse --cap-add SYS_ADMIN'
    return [bad('fail', 'fuse', '/dev/fuse', 'is missing', 'nothing can be mounted', next)]
  }
  return [
    bad(
      'fail',
      'fuse',
      '/dev/fuse',
      `does not open (${code})`,
      'nothing can be mounted',
      'chmod 666 /dev/fuse, or run the command as root',
    ),
  ]
}

function rights(machine: Machine): Finding[] {
  if (machine.uid !== 0) {
    const why = 'the kernel driver needs root; without it weft uses fuse-native, with its limits'
    return [bad('warn', 'rights', 'rights', `user ${machine.uid}`, why, 'sudo weft doctor')]
  }
  // Bit 21 of the effective set. Source: linux include/uapi/linux/capability.h, CAP_SYS_ADMIN.
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(machine.read('/proc/self/status') ?? '')?.[1]
  const mayMount = effective === undefined || ((BigInt(`0x${effective}`) >> 21n) & 1n) === 1n
  if (mayMount) return [ok('rights', 'rights', 'root, may mount')]
  return [
    bad(
      'fail',
      'rights',
      'rights',
      'root without CAP_SYS_ADMIN',
      'mounting is not allowed here',
      'in a container: docker run --cap-add SYS_ADMIN --device /dev/fuse',
    ),
  ]
}

function mountHelper(machine: Machine): Finding[] {
  const isMissing = (tool: string) =>
    !['/usr/bin', '/bin', '/usr/sbin', '/sbin'].some((dir) => machine.exists(join(dir, tool)))
  const tools = ['mount', 'umount', 'flock'].filter(isMissing)
  if (tools.length > 0)
    return [
      bad(
        'fail',
        'tools',
        'tools',
        `${tools.join(', ')} not found`,
        'weft mounts with util-linux',
        'apt-get install mount util-linux',
      ),
    ]
  if (
    machine.uid !== 0 &&
    !['/usr/bin/fusermount3', '/usr/bin/fusermount', '/bin/fusermount'].some((path) =>
      machine.exists(path),
    )
  ) {
    return [
      bad(
        'fail',
        'tools',
        'tools',
        'fusermount not found',
        'mounting without root goes through it',
        'apt-get install fuse3',
      ),
    ]
  }
  const why =
    'mounts work, but every request waits for a wake-up: small files take about twice as long'
  const found = isMissing('perl')
    ? [bad('warn', 'tools', 'tools', 'perl not found', why, 'apt-get install perl-base')]
    : [ok('tools', 'tools', 'mount, umount, flock, perl')]
  const helper = ['/sbin/mount.fuse.weft', '/usr/sbin/mount.fuse.weft'].some((path) =>
    machine.exists(path),
  )
  if (helper) return [...found, ok('fstab', 'fstab', 'type fuse.weft is known')]
  const next = fileURLToPath(new URL('../../../scripts/launchers', import.meta.url))
  return [
    ...found,
    bad(
      'warn',
      'fstab',
      'fstab',
      '/sbin/mount.fuse.weft is missing',
      'a line of type fuse.weft in /etc/fstab, and mount -t fuse.weft, do not work',
      next,
    ),
  ]
}

/** Mounts made after a container started reach it only where the mount they lie under is shared. Source: man 7 mount_namespaces. */
function propagation(machine: Machine, places: Places): Finding[] {
  const table = tableOf(machine)
  const wanted = places.target ?? '/'
  const under = table.filter(
    (entry) =>
      wanted === entry.mountPoint ||
      wanted.startsWith(entry.mountPoint === '/' ? '/' : `${entry.mountPoint}/`),
  )
  const nearest = under.toSorted((a, b) => a.mountPoint.length - b.mountPoint.length).at(-1)
  if (nearest === undefined)
    return [
      bad(
        'warn',
        'propagation',
        'propagation',
        '/proc/self/mountinfo tells nothing',
        'containers may not see mounts',
        'run the command on the host',
      ),
    ]
  if (nearest.shared) return [ok('propagation', 'propagation', `${nearest.mountPoint} is shared`)]
  const why = 'containers that run already do not see what is mounted there later'
  return [
    bad(
      'warn',
      'propagation',
      'propagation',
      `${nearest.mountPoint} is private`,
      why,
      `mount --make-rshared ${nearest.mountPoint}`,
    ),
  ]
}

function home(machine: Machine, places: Places): Finding[] {
  const { home } = places
  const stat = machine.stat(home)
  if (stat === null) return [ok('home', 'home', `${home} will be made by weft up`)]
  if (!stat.isDirectory)
    return [
      bad(
        'fail',
        'home',
        'home',
        `${home} is not a directory`,
        'keys and journal live there',
        'weft --home DIR up',
      ),
    ]
  if (stat.uid !== machine.uid)
    return [
      bad(
        'fail',
        'home',
        'home',
        `${home} belongs to user ${stat.uid}, you are ${machine.uid}`,
        'its owner could read the keys',
        `chown -R ${machine.uid} ${home}, or run as that user`,
      ),
    ]
  if ((stat.mode & 0o077) !== 0)
    return [
      bad(
        (stat.mode & 0o022) === 0 ? 'warn' : 'fail',
        'home',
        'home',
        `${home} has mode ${(stat.mode & 0o7777).toString(8)}`,
        'others can look into it',
        `chmod 700 ${home}`,
      ),
    ]
  return [ok('home', 'home', `${home}, mode 700`)]
}

function freeSpace(machine: Machine, places: Places): Finding[] {
  let path = places.home
  while (machine.stat(path) === null && path !== '/') path = dirname(path)
  const free = machine.freeBytes(path)
  if (free === null)
    return [
      bad(
        'warn',
        'space',
        'free space',
        `${path} does not say`,
        'a full drive stops writers',
        `df ${path}`,
      ),
    ]
  if (free < FREE_BYTES_FAIL)
    return [
      bad(
        'fail',
        'space',
        'free space',
        `${size(free)} at ${path}`,
        'too little for a journal',
        `free at least ${size(FREE_BYTES_WARN)}, or weft --home DIR on another disk`,
      ),
    ]
  if (free < FREE_BYTES_WARN)
    return [
      bad(
        'warn',
        'space',
        'free space',
        `${size(free)} at ${path}`,
        'writers soon get "no space left"',
        'weft drive add DIR, on another disk',
      ),
    ]
  return [ok('space', 'free space', `${size(free)} at ${path}`)]
}

/** Source: Documentation/filesystems/tmpfs.rst, option noswap, since Linux 6.4. */
function noswap(machine: Machine): Finding[] {
  const swaps = (machine.read('/proc/swaps') ?? '')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.split(/\s/)[0] ?? '')
  if (atLeast(machine.release, KERNEL_NOSWAP))
    return [ok('noswap', 'swap', 'staged writes are kept out of it')]
  if (swaps.length === 0) return [ok('noswap', 'swap', 'there is none')]
  const why = `below kernel ${KERNEL_NOSWAP.join('.')} staged writes may reach it in clear`
  return [
    bad(
      'warn',
      'noswap',
      'swap',
      `on ${swaps.join(', ')}`,
      why,
      'swapoff -a, or encrypt the swap device',
    ),
  ]
}

function clock(machine: Machine, places: Places): Finding[] {
  const now = machine.nowSeconds
  const text = new Date(now * 1000).toISOString()
  const next = 'timedatectl set-ntp true, or: date -s "YYYY-MM-DD HH:MM:SS"'
  if (now < CLOCK_SECONDS_MIN)
    return [
      bad(
        'fail',
        'clock',
        'clock',
        text,
        'it stands before this program was made; files would get wrong times',
        next,
      ),
    ]
  const changed = machine.stat(places.home)?.mtimeSeconds ?? 0
  if (changed > now + 300)
    return [
      bad(
        'warn',
        'clock',
        'clock',
        text,
        `${places.home} was changed later than that: the clock went back`,
        next,
      ),
    ]
  return [ok('clock', 'clock', text)]
}

async function mounts(machine: Machine, places: Places): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const { mountPoint } of tableOf(machine).filter((entry) => entry.type === 'fuse.weft')) {
    const state = await machine.probe(mountPoint)
    if (state === 'answers')
      findings.push(ok(`mount ${mountPoint}`, 'mount', `${mountPoint} answers`))
    else
      findings.push(
        bad(
          'fail',
          `mount ${mountPoint}`,
          'mount',
          `${mountPoint} ${state === 'dead' ? 'has no server' : 'does not answer'}`,
          'programs that use it get errors, or wait',
          `weft status; without a node: umount -l ${mountPoint}`,
        ),
      )
  }
  const pid = machine.keeper(places.home)
  findings.push(
    ok(
      'running',
      'node',
      pid === null ? `none runs on ${places.home}` : `runs on ${places.home}, keeper pid ${pid}`,
    ),
  )
  return findings
}

interface MountLine {
  readonly mountPoint: string
  readonly type: string
  readonly shared: boolean
}

/** Source: man 5 proc_pid_mountinfo; optional fields stand between the seventh and the dash. */
function tableOf(machine: Machine): MountLine[] {
  return (machine.read('/proc/self/mountinfo') ?? '').split('\n').flatMap((line) => {
    const words = line.split(' ')
    const dash = words.indexOf('-', 6)
    if (dash < 0) return []
    const mountPoint = (words[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    )
    return [
      {
        mountPoint,
        type: words[dash + 1] ?? '',
        shared: words.slice(6, dash).some((word) => word.startsWith('shared:')),
      },
    ]
  })
}

function atLeast(version: string, least: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  return major > least[0] || (major === least[0] && minor >= least[1])
}

function ok(id: string, name: string, what: string): Finding {
  return { id, name, level: 'ok', what, why: '', next: '' }
}

function bad(
  level: 'warn' | 'fail',
  id: string,
  name: string,
  what: string,
  why: string,
  next: string,
): Finding {
  return { id, name, level, what, why, next }
}

const PROBE_MS_MAX = 2000

export function systemMachine(clock: Clock): Machine {
  return {
    uid: process.getuid?.() ?? -1,
    nodeVersion: process.version,
    release: release(),
    nowSeconds: clock.now().sec,
    read(path) {
      try {
        return readFileSync(path, 'utf8')
      } catch {
        return null
      }
    },
    exists: existsSync,
    open(path) {
      try {
        closeSync(openSync(path, 'r+'))
        return ''
      } catch (error) {
        return codeOf(error) || 'EIO'
      }
    },
    stat(path) {
      try {
        const found = statSync(path)
        return {
          mode: found.mode,
          uid: found.uid,
          isDirectory: found.isDirectory(),
          mtimeSeconds: found.mtimeMs / 1000,
        }
      } catch {
        return null
      }
    },
    freeBytes(path) {
      try {
        const found = statfsSync(path)
        return found.bavail * found.bsize
      } catch {
        return null
      }
    },
    keeper: keeperPid,
    probe: (mountPoint) => probe(mountPoint, clock),
  }
}

function probe(mountPoint: string, clock: Clock): Promise<'answers' | 'dead' | 'hangs'> {
  return new Promise((resolve) => {
    const child = spawn('stat', ['-f', '--', mountPoint], { stdio: 'ignore' })
    const cancel = clock.after(PROBE_MS_MAX, () => {
      child.kill('SIGKILL')
      child.unref()
      resolve('hangs')
    })
    child.on('error', () => {
      cancel()
      resolve('dead')
    })
    child.on('exit', (code) => {
      cancel()
      resolve(code === 0 ? 'answers' : 'dead')
    })
  })
}
