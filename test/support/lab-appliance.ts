import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { AuditLine } from '../oneview/audit-file.ts'
import type { KnobsFile } from '../oneview/knobs-file.ts'
import type { DriveSpec } from '../oneview/model.ts'
import { type Host, LabError, ONEVIEW } from './lab-host.ts'
import { APPLIANCE_NUMBER, ipOf, type Switch } from './lab-switch.ts'
import { entering, hold, holderOf, type Process, processesIn } from './namespaces.ts'
import { until } from './node-world.ts'

const SIMULATOR = resolve(import.meta.dirname, '../../scripts/oneview-sim.js')
const START_MS_MAX = 20_000

/** Device bays of a frame that are left beside its drive enclosure. */
export const BLADES_MAX = 10

export interface SynergyOptions {
  /** What the frame holds; default `USUAL_DRIVES`. */
  readonly drives?: readonly DriveSpec[]
  /** How the appliance behaves from the start, beside `USUAL_KNOBS`. */
  readonly knobs?: KnobsFile
}

/** Eight of each class of service: 3, 2 and 1. Images are sparse. */
export const USUAL_DRIVES: readonly DriveSpec[] = [
  { count: 8, capacityGB: 1, media: 'SSD', interfaceType: 'SAS' },
  { count: 8, capacityGB: 1, media: 'SSD', interfaceType: 'SATA' },
  { count: 8, capacityGB: 1, media: 'HDD', interfaceType: 'SAS' },
]

/** Drives come and go while servers run. */
export const USUAL_KNOBS: KnobsFile = { jbodEditPower: 'online' }

export interface ApplianceParts {
  /** Directory of the lab's state. */
  readonly lab: string
  /** Directory that gets the images of the frame's drives. */
  readonly images: string
  readonly wire: Switch
}

/**
 * The simulated frame of a lab and its OneView appliance: a blade for each host, cabled to it, and a process on the lab's wire that
 * ends with the namespaces it runs in. What it gave to whom it only keeps in memory, and the power of a blade is its idea alone: the host
 * runs on.
 */
export class Appliance {
  /** url, pin, user, password, certificate.pem, knobs.json, audit.json, events.jsonl, log; hosts see it at `ONEVIEW`. */
  readonly dir: string
  readonly #parts: ApplianceParts

  constructor(parts: ApplianceParts) {
    this.#parts = parts
    this.dir = join(parts.lab, 'oneview')
  }

  /** @throws LabError with what it said when it does not serve */
  async start(hosts: readonly Host[], options: SynergyOptions): Promise<void> {
    const { lab, images, wire } = this.#parts
    mkdirSync(this.dir, { recursive: true })
    this.turn({ ...USUAL_KNOBS, ...options.knobs })
    const holder = await hold(this.dir, false)
    await wire.connect(APPLIANCE_NUMBER, holder)
    const child = this.#run(holder, [
      ...['--dir', this.dir, '--lab', lab, '--images', images, '--stay'],
      ...['--listen', ipOf(APPLIANCE_NUMBER), '--port', '443'],
      ...hosts.flatMap((host) => ['--blade', bladeOf(host)]),
      ...(options.drives ?? USUAL_DRIVES).flatMap((drive) => ['--drive', pairsOf(drive)]),
    ])
    let ended = ''
    child.on('error', (error) => {
      ended = error.message
    })
    child.on('exit', (code, by) => {
      ended = `it ended with ${by ?? code}`
    })
    const serves = () => {
      if (ended) throw new LabError(`the appliance does not serve: ${ended}: ${this.#said('log')}`)
      return existsSync(join(this.dir, 'url'))
    }
    await until('the appliance serves', serves, START_MS_MAX)
  }

  /** It goes on when this process ends. */
  #run(holder: Process, words: readonly string[]): ChildProcess {
    const log = openSync(join(this.dir, 'log'), 'a', 0o600)
    const node = [process.execPath, '--enable-source-maps', SIMULATOR]
    const child = spawn('nsenter', entering(holder, [...node, ...words]), {
      detached: true,
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    child.unref()
    return child
  }

  get isUp(): boolean {
    const holder = holderOf(this.dir)
    return holder !== null && processesIn(holder).length > 0
  }

  get url(): string {
    return this.#said('url')
  }

  get user(): string {
    return this.#said('user')
  }

  get password(): string {
    return this.#said('password')
  }

  /** SHA-256 of its certificate, in hex. */
  get pin(): string {
    return this.#said('pin')
  }

  /** PEM. */
  get certificate(): string {
    return this.#said('certificate.pem')
  }

  /** What to type on a host so that its node takes drives of this frame. */
  get connectWords(): string[] {
    const who = ['--user', this.user, '--password-file', join(ONEVIEW, 'password')]
    return ['weft', 'synergy', 'connect', this.url, ...who, '--pin', `sha256:${this.pin}`]
  }

  /** Whom each drive of the frame belongs to, as it was a moment ago. */
  audit(): AuditLine[] {
    return JSON.parse(this.#said('audit.json')) as AuditLine[]
  }

  knobs(): KnobsFile {
    return JSON.parse(this.#said('knobs.json')) as KnobsFile
  }

  /** In place of all that was turned before; it notices within a moment. */
  turn(knobs: KnobsFile): void {
    writeFileSync(join(this.dir, 'knobs.json'), `${JSON.stringify(knobs, null, 2)}\n`)
  }

  #said(name: string): string {
    return readFileSync(join(this.dir, name), 'utf8')
  }
}

function bladeOf({ name, hardware: { uuid, serialNumber } }: Host): string {
  return pairsOf({ name, uuid, serialNumber })
}

/** As the simulator reads them: name=value,name=value */
function pairsOf(values: object): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value}`)
    .join(',')
}
