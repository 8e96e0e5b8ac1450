import { FsError, type NodeId, silentLog } from '../../src/base/index.ts'
import type { Disk, SimulatedDisk } from '../../src/disk/index.ts'
import {
  type AllocationTimes,
  type HostDrives,
  type Provisioner,
  Provisioning,
  type Step,
} from '../../src/provision/index.ts'
import { NodeClock, type Timeline } from '../sim/timeline.ts'
import type { Seeded } from '../support/seeded.ts'
import type { FakeFrame, Wire } from './fake-frame.ts'
import type { FakeHost } from './fake-host.ts'

export const CLUSTER = 'c1'.repeat(16)
/** Where each life keeps its files. */
export const HOME = '/home'

/** Rules that a life breaks on purpose. */
export interface Plants {
  readonly disk?: (disk: Disk) => Disk
  readonly host?: (host: HostDrives) => HostDrives
  readonly provisioner?: (provisioner: Provisioner) => Provisioner
  readonly times?: Partial<AllocationTimes>
}

/** How likely what goes wrong is, each as one in so many calls; 0 is never. */
export interface Chaos {
  readonly crash: number
  readonly lostAnswer: number
  readonly late: number
  readonly refused: number
}

export interface Machine {
  readonly timeline: Timeline
  readonly dice: Seeded
  readonly frame: FakeFrame
  readonly host: FakeHost
  readonly disk: SimulatedDisk
  readonly node: NodeId
  readonly plants: Plants
  readonly chaos: () => Chaos
  /** The daemon of this life is gone. */
  readonly onCrash: () => void
}

/** Shorter than the usual ones, so that much happens in an hour. */
const TIMES: AllocationTimes = { diskMs: 90_000, doubtMs: 10 * 60_000, avoidMs: 10 * 60_000 }
/** Longer than a caller waits, shorter than an answer is in doubt. */
const LATE_MS_MAX = 8 * 60_000
const LATENCY_MS = 2000
/** Tasks of the appliance survive whoever asked for them; what a daemon does on its own host ends with it. */
const TASKS: ReadonlySet<string> = new Set(['reserve', 'attach', 'detach', 'release'])
/** Looked at without changing anything: fails seldom, takes no time. */
const LOOKS: ReadonlySet<string> = new Set(['facts', 'held', 'free'])

/** One life of a daemon. After its crash nothing it awaits comes back, and nothing it asks for is done. */
export class Life implements Wire {
  readonly provisioning: Provisioning
  readonly #machine: Machine
  readonly #clock: NodeClock
  #ended = false

  constructor(machine: Machine) {
    this.#machine = machine
    this.#clock = new NodeClock(machine.timeline, 1, 0)
    const { plants, disk, host, frame, node, dice } = machine
    const same = <T>(one: T): T => one
    this.provisioning = new Provisioning({
      provisioner: (plants.provisioner ?? same)(frame.provisioner(node, this)),
      host: (plants.host ?? same)(host.life(this)),
      disk: (plants.disk ?? same)(this.#lent(disk)),
      directory: HOME,
      owner: { cluster: CLUSTER, node },
      clock: this.#clock,
      random: dice,
      log: silentLog,
      times: { ...TIMES, ...plants.times },
    })
  }

  get ended(): boolean {
    return this.#ended
  }

  step(): Step {
    return { signal: new AbortController().signal, progress() {} }
  }

  /** The power goes or the daemon is killed. */
  crash(): void {
    if (this.#ended) return
    this.#ended = true
    this.#clock.end()
    this.#machine.onCrash()
  }

  async pass<T>(op: string, signal: AbortSignal, effect: () => T): Promise<T> {
    const { dice, chaos, timeline } = this.#machine
    signal.throwIfAborted()
    await this.#unlessEnded()
    const { crash, lostAnswer, late, refused } = chaos()
    const happens = (oneIn: number) => oneIn > 0 && dice.below(oneIn) === 0
    if (LOOKS.has(op)) {
      if (happens(refused * 4)) throw new FsError('EAGAIN', `wire.${op}`, { op })
      return effect()
    }
    await this.sleep(dice.below(LATENCY_MS), signal)
    if (happens(crash)) {
      const how = dice.below(3)
      if (how === 0) quietly(effect)
      if (how === 1 && TASKS.has(op)) timeline.after(dice.below(LATE_MS_MAX), () => quietly(effect))
      this.crash()
      await this.#unlessEnded()
    }
    if (happens(refused)) throw new FsError('EAGAIN', `wire.${op}`, { op })
    if (TASKS.has(op) && happens(late)) {
      timeline.after(dice.below(LATE_MS_MAX), () => quietly(effect))
      throw new FsError('ETIMEDOUT', `wire.${op}`, { op })
    }
    const answer = effect()
    if (happens(lostAnswer)) throw new FsError('ETIMEDOUT', `wire.${op}`, { op })
    await this.sleep(dice.below(LATENCY_MS), signal)
    return answer
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.#unlessEnded()
    signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const aborted = () => {
        cancel()
        reject(new FsError('ECANCELED', 'wire'))
      }
      const cancel = this.#clock.after(ms, () => {
        signal.removeEventListener('abort', aborted)
        resolve()
      })
      signal.addEventListener('abort', aborted)
    })
  }

  /** The disk as this life has it: with it goes the life when the power goes, and after its end it reaches nothing. */
  #lent(disk: SimulatedDisk): Disk {
    return new Proxy(disk, {
      get: (target, name: keyof Disk) => {
        const call = (target[name] as (...args: unknown[]) => unknown).bind(target)
        return (...args: unknown[]) => {
          if (this.#ended) throw new FsError('EIO', name, { message: 'this life is over' })
          try {
            return call(...args)
          } finally {
            if (disk.off) this.crash()
          }
        }
      },
    })
  }

  async #unlessEnded(): Promise<void> {
    if (this.#ended) await new Promise<never>(() => {})
  }
}

/** What is done late is refused as anything else is, and nobody hears of it. */
function quietly(effect: () => unknown): void {
  try {
    effect()
  } catch (error) {
    if (!(error instanceof FsError)) throw error
  }
}
