import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { byIdDir, dmiDir, HARDWARE, Hardware } from './lab-hardware.ts'
import { ipOf, type Switch } from './lab-switch.ts'
import { detached } from './loop-images.ts'
import {
  entering,
  hold,
  holderOf,
  inNetworkOf,
  isStopped,
  type Process,
  processesIn,
  release,
  signal,
} from './namespaces.ts'
import {
  askNode,
  type Ended,
  type MountPoint,
  mountPoints,
  PROGRAM,
  run,
  sh,
  until,
} from './node-world.ts'

/** What a person or a test did wrong with a lab, or what this machine lacks: one sentence that says what to do. */
export class LabError extends Error {}

/** Every host has these of its own: what the machine has there, no host can see. */
export const OWN_DIRECTORIES = ['/run', '/mnt', '/dev/shm'] as const
/** What an operator of the appliance needs to know, as seen inside: url, user, password, pin, certificate.pem. */
export const ONEVIEW = '/mnt/oneview'
/** First on the PATH inside. */
const BIN = '/run/bin'

const COMMAND_MS = 150_000
const BOOT_MS = 60_000
/** Shown with a command that failed. */
const LOG_LINES = 15

/**
 * `off`: no power, its drives are detached. `down`: it runs and its node does not.
 * `paused`: its node is stopped by SIGSTOP. `up`: its node has a keeper and a daemon.
 */
export type HostState = 'off' | 'down' | 'paused' | 'up'

export interface HostParts {
  /** Directory of the lab's state; its holders are named after it. */
  readonly lab: string
  readonly number: number
  /** How many the lab has. */
  readonly hosts: number
  /** Image files of its drives. */
  readonly images: readonly string[]
  /** Bytes of a new image, as truncate(1) reads them. */
  readonly size: string
  readonly wire: Switch
  /** Directory of the lab's appliance, which the host sees at `ONEVIEW`; null when it has none. */
  readonly oneview: string | null
}

/**
 * One machine of a lab, as a person has one: drives, an address, a name, and a node of weft with its namespace mounted.
 * Nothing is kept here: what a host is, its namespaces say, and every process can ask them.
 */
export class Host {
  readonly number: number
  readonly name: string
  readonly ip: string
  readonly rack: string
  /** As seen inside. */
  readonly mnt = '/mnt/weft'
  readonly home = '/mnt/drive1/weft'
  readonly hardware: Hardware
  readonly #place: string
  readonly #parts: HostParts

  constructor(parts: HostParts) {
    this.#parts = parts
    this.number = parts.number
    this.name = `node${parts.number}`
    this.ip = ipOf(parts.number)
    this.rack = `r${parts.number}`
    this.#place = join(parts.lab, this.name)
    this.hardware = new Hardware(parts.lab, this.name)
  }

  get state(): HostState {
    const holder = holderOf(this.#place)
    if (holder === null) return 'off'
    const node = this.#node(holder)
    if (node.length === 0) return 'down'
    return node.some(isStopped) ? 'paused' : 'up'
  }

  /** A command's standard output. @throws Error with what it printed when it does not exit 0 */
  async run(program: string, ...args: readonly string[]): Promise<string> {
    const done = await this.tryRun(program, ...args)
    if (done.code === 0) return done.stdout
    const words = [program, ...args].join(' ')
    const said = `${done.stderr}${done.stdout}\n${await this.#lastLogged()}`
    throw new Error(`${this.name}: ${words} ended with ${done.code}: ${said}`)
  }

  /** What its node logged last: the lab is gone when somebody reads of the failure. */
  async #lastLogged(): Promise<string> {
    const log = `${this.home}/log/keeper.log`
    return (await this.tryRun('tail', '-n', String(LOG_LINES), log)).stdout
  }

  async tryRun(program: string, ...args: readonly string[]): Promise<Ended> {
    const holder = this.#powered()
    const env = this.#environment(holder)
    return run('nsenter', entering(holder, [program, ...args]), { env, timeoutMs: COMMAND_MS })
  }

  weft(...args: readonly string[]): Promise<string> {
    return this.run('weft', ...args)
  }

  tryWeft(...args: readonly string[]): Promise<Ended> {
    return this.tryRun('weft', ...args)
  }

  /** What its node answers to a GET: cheap enough to be asked again and again. @param path such as /v1/status */
  ask<T>(path: string): Promise<T> {
    return askNode(`/proc/${this.#powered().pid}/root${this.home}/control.sock`, path)
  }

  /**
   * A program that runs on beside. The child is nsenter, which ends as the program does; the program itself is its only child.
   * It ends with the host at the latest.
   */
  spawn(words: readonly string[], options: SpawnOptions & { inside?: string } = {}): ChildProcess {
    const holder = this.#powered()
    const { inside, ...rest } = options
    const env = { ...this.#environment(holder), ...options.env }
    return spawn('nsenter', entering(holder, words, inside), { ...rest, env })
  }

  /** Power, unless it has some; then the node with its mount, unless it runs. @throws LabError while it is paused */
  async start(): Promise<void> {
    const state = this.state
    if (state === 'paused') {
      throw new LabError(`host ${this.number} is paused: scripts/lab resume ${this.number}`)
    }
    if (state === 'off') await this.#boot()
    if (state === 'up') return
    const mounts = mountPoints(this.#powered().pid).filter(({ type }) => type === 'fuse.weft')
    for (const { point } of mounts.reverse()) await this.run('umount', '-i', '-c', '-l', point)
    if (this.#parts.images.length > 1) {
      await this.weft('up')
      await this.#addDrives()
    }
    // Which starts the node, unless it runs.
    await this.weft('mount', this.mnt)
  }

  /** SIGKILL to keeper and daemon in one moment. Their mounts are dead; what was staged stays until `start`. */
  async kill9(): Promise<void> {
    // Stopped first: a keeper that lives an instant longer would start another daemon.
    signal(this.#running(), 'SIGSTOP')
    signal(this.#running(), 'SIGKILL')
    await until(`the node of ${this.name} is gone`, () => this.state === 'down')
  }

  /** SIGKILL to the daemon; its keeper starts another. */
  killDaemon(): void {
    for (const pid of this.processes('__daemon')) process.kill(pid, 'SIGKILL')
  }

  /** Keeper and daemon stand still; the kernel of the host goes on, and so do its connections. */
  async pause(): Promise<void> {
    const node = this.#running()
    signal(node, 'SIGSTOP')
    await until(`the node of ${this.name} stands still`, () => node.every(isStopped))
  }

  async resume(): Promise<void> {
    const node = this.#running()
    signal(node, 'SIGCONT')
    await until(`the node of ${this.name} goes on`, () => !node.some(isStopped))
  }

  /**
   * The power goes: not a packet leaves any more, what the drives' filesystems have not written out is lost (as XFS sees a
   * cut: FS_IOC_SHUTDOWN without a flush of its log), every process is gone, the drives are detached.
   * Source: man 8 xfs_io, shutdown; linux fs/xfs/xfs_fsops.c, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH.
   */
  async powerCut(): Promise<void> {
    this.#powered()
    await this.#parts.wire.unplug(this.number)
    const shutdown = this.#diskMounts().map((at) => `xfs_io -x -c shutdown ${quoted(at)} &`)
    await this.run('sh', '-c', `${shutdown.join(' ')} wait`)
    await this.end()
  }

  /** End every process, mount and loop device of it. A host without power is left as it is. */
  async end(): Promise<void> {
    await release(this.#place)
    const { images } = this.#parts
    await detached((file) => images.includes(file))
  }

  /**
   * Packets that it sends arrive so much later. Gone with its power.
   * @throws LabError when the kernel cannot
   */
  async delay(ms: number): Promise<void> {
    const words = ['tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'netem', 'delay', `${ms}ms`]
    try {
      await inNetworkOf(this.#powered(), words)
    } catch (error) {
      if (!/qdisc kind is unknown|No such file/.test(String(error))) throw error
      throw new LabError(
        'this kernel cannot delay packets: it has no netem; modprobe sch_netem, or boot one with CONFIG_NET_SCH_NETEM',
      )
    }
  }

  /** 0 without a delay. */
  async delayMs(): Promise<number> {
    const words = ['tc', '-j', 'qdisc', 'show', 'dev', 'eth0']
    const queues = JSON.parse(await inNetworkOf(this.#powered(), words)) as {
      kind: string
      options?: { delay?: { delay: number } }
    }[]
    const netem = queues.find(({ kind }) => kind === 'netem')
    return Math.round((netem?.options?.delay?.delay ?? 0) * 1000)
  }

  async noDelay(): Promise<void> {
    if (this.state === 'off' || (await this.delayMs()) === 0) return
    await inNetworkOf(this.#powered(), ['tc', 'qdisc', 'del', 'dev', 'eth0', 'root'])
  }

  async #boot(): Promise<void> {
    const { images, size, wire } = this.#parts
    for (const image of images) {
      if (existsSync(image)) continue
      await sh('truncate', ['--size', size, image])
      await sh('mkfs.xfs', ['-q', image])
    }
    this.hardware.make()
    const holder = await hold(this.#place)
    try {
      const script = this.#bootScript(mountPoints(holder.pid).filter(isForeign)).join('\n')
      await sh('nsenter', entering(holder, ['sh', '-euc', script]), { timeoutMs: BOOT_MS })
      await wire.connect(this.number, holder)
    } catch (error) {
      await this.end()
      throw error
    }
  }

  /** Its own directories come last but /mnt: images may lie in one of them. */
  #bootScript(foreign: readonly MountPoint[]): string[] {
    const { images, hosts, oneview } = this.#parts
    const drives = this.#drives()
    const machine = [[this.hardware.dir, HARDWARE], ...(oneview ? [[oneview, ONEVIEW]] : [])]
    const numbers = Array.from({ length: hosts }, (_, index) => index + 1)
    return [
      `hostname ${this.name}`,
      ...foreign.map(({ point }) => `umount -l ${quoted(point)}`),
      'mount -t tmpfs -o mode=755 lab /mnt',
      `mkdir ${[this.mnt, ...drives].join(' ')}`,
      ...images.map((image, index) => `mount -o loop ${quoted(image)} ${drives[index]}`),
      ...machine.map(([outside, inside]) => `mkdir ${inside} && mount --bind ${outside} ${inside}`),
      'mount -t tmpfs -o mode=755 lab /run',
      'mount -t tmpfs -o mode=1777 lab /dev/shm',
      `mkdir ${BIN}`,
      `printf '#!/bin/sh\nexec %s "$@"\n' ${quoted(`${quoted(process.execPath)} ${quoted(PROGRAM)}`)} >${BIN}/weft`,
      `chmod 755 ${BIN}/weft`,
      `echo 127.0.0.1 localhost >/run/hosts`,
      ...numbers.map((number) => `echo ${ipOf(number)} node${number} >>/run/hosts`),
      '[ ! -e /etc/hosts ] || mount --bind /run/hosts /etc/hosts',
    ]
  }

  async #addDrives(): Promise<void> {
    const more = this.#drives().slice(1)
    if (more.length === 0) return
    const { drives } = JSON.parse(await this.weft('drive', 'list', '--json')) as {
      drives: { dir: string }[]
    }
    const missing = more.filter((drive) => !drives.some(({ dir }) => dir === drive))
    for (const drive of missing) await this.weft('drive', 'add', drive)
  }

  #drives(): string[] {
    return this.#parts.images.map((_, index) => `/mnt/drive${index + 1}`)
  }

  /** Where XFS on its drives is mounted, also on those that came later. */
  #diskMounts(): string[] {
    return mountPoints(this.#powered().pid)
      .filter((mount) => mount.type === 'xfs' && isOnLoop(mount) && !holdsUs(mount))
      .map(({ point }) => point)
  }

  #powered(): Process {
    const holder = holderOf(this.#place)
    if (holder !== null) return holder
    throw new LabError(`host ${this.number} is off: scripts/lab start ${this.number}`)
  }

  /** Processes of its node. @param role `__keeper` or `__daemon` */
  processes(role: '__keeper' | '__daemon'): number[] {
    return processesIn(this.#powered()).filter((pid) => hasRole(pid, role))
  }

  #running(): number[] {
    const node = this.#node(this.#powered())
    if (node.length > 0) return node
    throw new LabError(`host ${this.number} runs no node: scripts/lab start ${this.number}`)
  }

  /** Keeper first: stopped before its daemon, it does not take the daemon's standing still for a death. */
  #node(holder: Process): number[] {
    const inside = processesIn(holder)
    return ['__keeper', '__daemon'].flatMap((role) => inside.filter((pid) => hasRole(pid, role)))
  }

  /** What processes inside are started with. After a cut of power the boot is another one, as on a real machine. */
  #environment(holder: Process): NodeJS.ProcessEnv {
    const machine = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')
    const boot = createHash('sha256').update(`${machine} ${holder.pid} ${holder.startTicks}`)
    return {
      ...process.env,
      PATH: `${BIN}:${process.env.PATH}`,
      HOSTNAME: this.name,
      WEFT_HOME: this.home,
      WEFT_BOOT_ID: boot.digest('hex').slice(0, 32),
      WEFT_LAB_RACK: this.rack,
      WEFT_BY_ID: byIdDir(HARDWARE),
      WEFT_DMI: dmiDir(HARDWARE),
    }
  }
}

function hasRole(pid: number, role: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes(role)
  } catch {
    return false // it went while we looked
  }
}

/** A copy of a mount keeps it from ending: of what others serve or have on a loop device, a host keeps none. */
function isForeign(mount: MountPoint): boolean {
  return !holdsUs(mount) && (mount.type.startsWith('fuse.') || isOnLoop(mount))
}

function isOnLoop({ source }: MountPoint): boolean {
  return source.startsWith('/dev/loop')
}

function holdsUs({ point }: MountPoint): boolean {
  return point === '/' || PROGRAM.startsWith(`${point}/`)
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}
