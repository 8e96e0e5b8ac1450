import { spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { Appliance, BLADES_MAX, type SynergyOptions } from './lab-appliance.ts'
import { joinCluster } from './lab-cluster.ts'
import { Host, LabError, OWN_DIRECTORIES } from './lab-host.ts'
import { HOSTS_MAX, Switch } from './lab-switch.ts'
import { detached, letGo } from './loop-images.ts'
import { release, startTicksOf } from './namespaces.ts'
import { PROGRAM } from './node-world.ts'

/** Labs by name, until the machine is started anew. */
const LABS = '/run/weft-lab'
const NAME = /^[a-z0-9][a-z0-9-]{0,47}$/
const SIZE = /^[1-9][0-9]*[MGT]$/
const IN_MEMORY = '/dev/shm'

export interface LabOptions {
  /** Default `lab`. */
  readonly name?: string
  /** Of each host; default 1. */
  readonly drives?: number
  /** Of each drive, as truncate(1) reads it; default 2G. Images are sparse. */
  readonly size?: string
  /** Directory for the images; default /dev/shm. */
  readonly store?: string
  /** One cluster of all hosts, the coordinator on the first; default true. */
  readonly cluster?: boolean
  /** A simulated frame with its appliance, each host a blade of it; default none. */
  readonly synergy?: SynergyOptions
  /** Told what has been done, one line each. */
  readonly progress?: (line: string) => void
}

/** <lab>/lab.json, written before anything is made: whoever finds it can end what it names. */
interface LabFile {
  readonly version: 1
  readonly hosts: number
  readonly drives: number
  readonly size: string
  /** There is a frame with an appliance. */
  readonly synergy: boolean
  /** Directory of the images, and of nothing else. */
  readonly images: string
  /** Every host has been up. */
  readonly whole: boolean
}

/**
 * A lab for one test, beside others. Close it in `finally`. What tests that were killed have left of theirs is ended first.
 * @throws Error; then nothing is left of it
 */
export async function hosts(count: number, options: Omit<LabOptions, 'name'> = {}): Promise<Lab> {
  for (const name of labNames()) {
    const [, pid, startTicks] = /^test-(\d+)-(\d+)-\d+$/.exec(name) ?? []
    // Another test may be at it in this moment, and then it need not be done.
    if (pid && startTicksOf(Number(pid)) !== startTicks) await Lab.end(name).catch(() => {})
  }
  const name = testLabName()
  try {
    return await Lab.up(count, { ...options, name })
  } catch (error) {
    await Lab.end(name).catch(() => {})
    throw error
  }
}

let named = 0

/** A name that no other process takes, and by which the lab of a test that was killed is known. */
export function testLabName(): string {
  named += 1
  return `test-${process.pid}-${startTicksOf(process.pid)}-${named}`
}

/** Hosts on one wire, and nothing of them to be seen from outside: neither their mounts, nor their network. */
export class Lab {
  readonly name: string
  readonly hosts: readonly Host[]
  readonly images: string
  readonly #wire: Switch
  readonly #appliance: Appliance | null

  private constructor(name: string, file: LabFile) {
    const lab = join(LABS, name)
    this.name = name
    this.images = file.images
    this.#wire = new Switch(join(lab, 'switch'))
    const { images } = file
    this.#appliance = file.synergy ? new Appliance({ lab, images, wire: this.#wire }) : null
    const oneview = this.#appliance?.dir ?? null
    const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1)
    this.hosts = numbers(file.hosts).map(
      (number) =>
        new Host({
          lab,
          number,
          hosts: file.hosts,
          images: numbers(file.drives).map((n) => join(images, `node${number}-drive${n}.img`)),
          size: file.size,
          wire: this.#wire,
          oneview,
        }),
    )
  }

  /**
   * So many hosts with running nodes in one cluster, each with the namespace mounted. What is left of a lab of this name that did not get whole,
   * or whose wire is gone, is ended first. @throws LabError; what stands by then stays, for a look and for `end`
   */
  static async up(count: number, options: LabOptions = {}): Promise<Lab> {
    const {
      name = 'lab',
      drives = 1,
      size = '2G',
      store = IN_MEMORY,
      cluster = true,
      synergy,
      progress = () => {},
    } = options
    if (!NAME.test(name))
      throw new LabError(`name ${name}: lower-case letters, digits and hyphens, at most 48`)
    wholeNumber('hosts', count, synergy ? BLADES_MAX : HOSTS_MAX)
    wholeNumber('drives', drives, 16)
    if (!SIZE.test(size))
      throw new LabError(`size ${size}: a number and M, G or T, such as 2G; XFS needs 300M`)
    const images = join(resolve(store), `weft-lab-${name}`)
    mustBeSeen('this checkout', PROGRAM, OWN_DIRECTORIES)
    mustBeSeen('Node', process.execPath, OWN_DIRECTORIES)
    mustBeSeen('the store', images, ['/mnt'])
    return withLock(name, async () => {
      const old = read(name)
      if (old?.whole && new Lab(name, old).#wire.isUp) {
        throw new LabError(
          `${name} is up already, with ${old.hosts} hosts: scripts/lab status shows them, scripts/lab down ends them`,
        )
      }
      if (await endUnlocked(name)) progress(`ended what was left of an earlier ${name}`)
      const file: LabFile = {
        version: 1,
        hosts: count,
        drives,
        size,
        synergy: synergy !== undefined,
        images,
        whole: false,
      }
      write(name, file)
      // Of this name before the machine was started anew, which forgets labs but no files.
      rmSync(images, { recursive: true, force: true })
      mkdirSync(images, { recursive: true, mode: 0o700 })
      progress(
        `${count} hosts, each with ${drives} drive${drives > 1 ? 's' : ''} of ${size}; images are in ${images}`,
      )
      const lab = new Lab(name, file)
      await lab.#wire.make()
      if (synergy) {
        await lab.appliance.start(lab.hosts, synergy)
        progress(
          `a frame of ${lab.appliance.audit().length} drives, its appliance at ${lab.appliance.url}`,
        )
      }
      const done = await Promise.allSettled(
        lab.hosts.map(async (host) => {
          await host.start()
          progress(`${host.name} is up: ${host.ip}, rack ${host.rack}`)
        }),
      )
      for (const result of done) if (result.status === 'rejected') throw result.reason
      if (cluster) await joinCluster(lab.hosts, progress)
      write(name, { ...file, whole: true })
      return lab
    })
  }

  /** @throws LabError when there is none of this name */
  static find(name = 'lab'): Lab {
    const file = read(name)
    if (file) return new Lab(name, file)
    throw new LabError(`no lab ${name}: scripts/lab up 3 makes one`)
  }

  /**
   * End every process, namespace, mount, loop device and image of a lab, whole or not.
   * @returns false when there was nothing
   */
  static end(name = 'lab'): Promise<boolean> {
    return withLock(name, () => endUnlocked(name))
  }

  /** @param number from 1. @throws LabError when there is no such host */
  host(number: number): Host {
    const host = this.hosts[number - 1]
    if (host) return host
    throw new LabError(
      `host ${number}: there are ${this.hosts.length}; scripts/lab status lists them`,
    )
  }

  /** @throws LabError when the lab has no frame */
  get appliance(): Appliance {
    if (this.#appliance) return this.#appliance
    throw new LabError(`${this.name} has no frame: scripts/lab up 3 --synergy makes a lab with one`)
  }

  get hasAppliance(): boolean {
    return this.#appliance !== null
  }

  /** Not a packet between the two any more, in both directions; without a second one, between the first and all others. */
  async cut(a: Host, b?: Host): Promise<void> {
    if (a.number === b?.number) throw new LabError(`host ${a.number}: cannot be cut from itself`)
    const others = b ? [b] : this.hosts
    await this.#wire.cut(
      others.filter((other) => other.number !== a.number).map((other) => [a.number, other.number]),
    )
  }

  /** Undo cuts and delays: of the whole lab, of one host, or the cut between two. */
  async heal(a?: Host, b?: Host): Promise<void> {
    const meant = [a, b].flatMap((host) => (host ? [host.number] : []))
    await this.#wire.heal((...pair) => meant.every((number) => pair.includes(number)))
    if (b) return
    for (const host of a ? [a] : this.hosts) await host.noDelay()
  }

  /** Pairs of numbers of hosts. */
  cuts(): Promise<[number, number][]> {
    return this.#wire.cuts()
  }

  /** Bytes that images can still grow by, all together. */
  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.images)
    return bavail * bsize
  }

  async close(): Promise<void> {
    await Lab.end(this.name)
  }
}

function wholeNumber(what: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return
  throw new LabError(`${what} ${value}: a whole number from 1 to ${max}`)
}

/** A host has some directories of its own, which hide what the machine has there. */
function mustBeSeen(what: string, path: string, hidden: readonly string[]): void {
  const below = hidden.find((directory) => path.startsWith(`${directory}/`))
  if (below === undefined) return
  throw new LabError(
    `${what} is in ${path}, and every host has a ${below} of its own: move it elsewhere`,
  )
}

/** @returns false when there was nothing of it */
async function endUnlocked(name: string): Promise<boolean> {
  const lab = join(LABS, name)
  const file = read(name)
  await release(lab)
  if (file) {
    const isOurs = (image: string) => image.startsWith(`${file.images}/`)
    await letGo(isOurs)
    await detached(isOurs)
    rmSync(file.images, { recursive: true, force: true })
  }
  rmSync(lab, { recursive: true, force: true })
  return file !== null
}

/** A lab in this moment is the work of one process. @throws LabError while another one has it */
async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  const path = join(LABS, `${name}.lock`)
  mkdirSync(LABS, { recursive: true, mode: 0o755 })
  const fd = openSync(path, 'a', 0o600)
  try {
    // flock(1) locks what our descriptor stands for, which stays locked when it has ended, until we have.
    const { status } = spawnSync('flock', ['-n', '-x', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', fd],
    })
    const isThere = statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino
    if (status !== 0 || !isThere) {
      throw new LabError(`another process brings ${name} up or down: wait until it has ended`)
    }
    try {
      return await work()
    } finally {
      if (!existsSync(join(LABS, name))) rmSync(path)
    }
  } finally {
    closeSync(fd)
  }
}

function labNames(): string[] {
  if (!existsSync(LABS)) return []
  return readdirSync(LABS).filter((name) => NAME.test(name))
}

/** @returns null when there is none */
function read(name: string): LabFile | null {
  const path = join(LABS, name, 'lab.json')
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as LabFile) : null
}

function write(name: string, file: LabFile): void {
  const path = join(LABS, name, 'lab.json')
  mkdirSync(join(LABS, name), { recursive: true, mode: 0o755 })
  writeFileSync(`${path}.new`, `${JSON.stringify(file)}\n`)
  renameSync(`${path}.new`, path)
}
