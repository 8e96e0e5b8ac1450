import { type Clock, type NodeId, silentLog } from '../../src/base/index.ts'
import { SimulatedDisk } from '../../src/disk/index.ts'
import {
  type AllocationTimes,
  Provisioning,
  type Step,
  usualTimes,
} from '../../src/provision/index.ts'
import { seeded } from '../support/seeded.ts'
import { FakeFrame, type Wire } from './fake-frame.ts'
import { FakeChunks, FakeHost } from './fake-host.ts'

export const CLUSTER = 'c1'.repeat(16)
export const NODE = '11'.repeat(16) as NodeId
export const OTHER = '22'.repeat(16) as NodeId
export const MINUTE_MS = 60_000

/** Time goes on only when it is told to, or when a fake sleeps. */
export class HandClock implements Clock {
  ms = 1_000_000

  now() {
    const wall = 1_700_000_000_000 + this.ms
    return { sec: Math.floor(wall / 1000), nsec: (wall % 1000) * 1_000_000 }
  }

  monotonicMs(): number {
    return this.ms
  }

  after(_ms: number, _call: () => void): () => void {
    return () => {}
  }
}

/** One node, all of whose calls go well unless `failures` says what the next call of that name throws. */
export class CoreWorld implements Wire {
  readonly clock = new HandClock()
  readonly disk = new SimulatedDisk()
  readonly frame: FakeFrame
  readonly host: FakeHost
  readonly chunks = new FakeChunks()
  readonly progress: string[] = []
  /** By the name of the call; the effect is done before it is thrown when `after`. */
  readonly failures = new Map<string, { readonly error: Error; readonly after?: boolean }>()
  /** Called before each call that changes something. */
  onCall: (op: string) => void = () => {}
  /** Waited for before each call. */
  before: (op: string) => Promise<void> = async () => {}
  /** Of the cluster, as far as is known. */
  members: readonly NodeId[] | null = null
  provisioning: Provisioning
  readonly #random = seeded(5)
  readonly #times: AllocationTimes

  constructor(drives = 4, times: Partial<AllocationTimes> = {}) {
    this.frame = new FakeFrame(drives, () => ({ class: 3, sizeBytes: 100 }))
    this.frame.nowMs = () => this.clock.ms
    this.host = new FakeHost(NODE, this.frame, this.chunks, [])
    this.host.addFixed(3, 100)
    this.disk.mkdir('/home')
    this.#times = { ...usualTimes, ...times }
    this.provisioning = this.restart()
  }

  /** A new life over what the old one left. */
  restart(): Provisioning {
    this.provisioning = new Provisioning({
      provisioner: this.frame.provisioner(NODE, this),
      host: this.host.life(this),
      disk: this.disk,
      directory: '/home',
      owner: { cluster: CLUSTER, node: NODE },
      members: () => this.members,
      clock: this.clock,
      random: this.#random,
      log: silentLog,
      times: this.#times,
    })
    return this.provisioning
  }

  step(signal = new AbortController().signal): Step {
    return { signal, progress: (words) => this.progress.push(words) }
  }

  async pass<T>(op: string, signal: AbortSignal, effect: () => T): Promise<T> {
    signal.throwIfAborted()
    await this.before(op)
    this.onCall(op)
    const failure = this.failures.get(op)
    this.failures.delete(op)
    if (failure && !failure.after) throw failure.error
    const answer = effect()
    if (failure) throw failure.error
    return answer
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    signal.throwIfAborted()
    this.clock.ms += ms
  }

  /** Fill a drive. */
  write(serial: string, chunks: number): void {
    for (let n = 0; n < chunks; n++) this.chunks.write(serial)
  }

  get fixedSerial(): string {
    return `F${NODE.slice(0, 4)}`
  }
}

/** What it throws, as code and message; fails when it does not throw. */
export async function thrown(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof Error)) throw new Error('it did not throw')
  return { code: (error as { code?: string }).code ?? '', message: error.message }
}
