import { isBug, type NodeId } from '../../src/base/index.ts'
import { SimulatedDisk } from '../../src/disk/index.ts'
import type { ServiceClass } from '../../src/drives/index.ts'
import { Timeline } from '../sim/timeline.ts'
import { type Seeded, seeded } from '../support/seeded.ts'
import { FakeFrame, isHeldBy } from './fake-frame.ts'
import { type DiskFault, FakeChunks, FakeHost } from './fake-host.ts'
import { type Chaos, CLUSTER, HOME, Life, type Plants } from './sim-life.ts'

const MINUTE_MS = 60_000
const CHAOS_MINUTES = 30
/** Late requests have run out, and what was in doubt is not any more. */
const CALM_MS = 30 * MINUTE_MS
/** Reconciles, each some minutes after the other, within which everything has to rest. */
const ROUNDS_MAX = 6
const ROUND_MS = 20 * MINUTE_MS
/** Data comes for so long, then it goes for as long. */
const WAVE_MS = 8 * MINUTE_MS
const CLASS: ServiceClass = 3
/** Drives a day that the policy may move. */
const BUDGET = 8
const DRIVE_BYTES = 80
const FIXED_BYTES = 160

const QUIET: Chaos = { crash: 0, lostAnswer: 0, late: 0, refused: 0 }
const FAULTS: readonly DiskFault[] = ['late', 'never', 'wrong', 'two', 'bad', 'joins-then-fails']

/** What the runs came to, so that a test that tries nothing is seen. */
export interface Tried {
  crashes: number
  taken: number
  given: number
  policyActs: number
  lostRaces: number
  powerRefusals: number
  pulled: number
  silences: number
}

interface Node {
  readonly host: FakeHost
  readonly disk: SimulatedDisk
  life: Life | null
}

/** One to three nodes over one frame, by seed: an hour or two of everything going wrong, then calm, then what must hold. */
export class SimWorld {
  readonly tried: Tried = {
    crashes: 0,
    taken: 0,
    given: 0,
    policyActs: 0,
    lostRaces: 0,
    powerRefusals: 0,
    pulled: 0,
    silences: 0,
  }
  readonly #dice: Seeded
  readonly #timeline = new Timeline()
  readonly #frame: FakeFrame
  readonly #chunks = new FakeChunks()
  readonly #nodes: Node[] = []
  readonly #plants: Plants
  readonly #broken: string[] = []
  /** Put back what was pulled. */
  readonly #pulled: (() => void)[] = []
  #chaos: Chaos

  constructor(seed: number, plants: Plants) {
    this.#dice = seeded(seed)
    this.#plants = plants
    const below = (end: number) => this.#dice.below(end)
    this.#frame = new FakeFrame(4 + below(6), () => ({
      class: CLASS,
      sizeBytes: DRIVE_BYTES * (1 + below(2)),
    }))
    this.#frame.nowMs = () => this.#timeline.nowMs
    this.#frame.eraseMs = below(3) === 0 ? below(12) * MINUTE_MS : 0
    this.#frame.onDetach = ({ serial, host }) => this.#detached(serial, host)
    this.#chaos = {
      crash: [0, 20, 60][below(3)] ?? 0,
      lostAnswer: [0, 15, 40][below(3)] ?? 0,
      late: [0, 20, 60][below(3)] ?? 0,
      refused: [0, 10, 30][below(3)] ?? 0,
    }
    const count = 1 + below(3)
    const hosts: FakeHost[] = []
    for (let index = 0; index < count; index++) hosts.push(this.#makeHost(index, hosts))
    for (const host of hosts) {
      const disk = new SimulatedDisk()
      disk.mkdir(HOME)
      this.#nodes.push({ host, disk, life: null })
    }
  }

  /** @throws Error with every promise that was broken */
  async run(): Promise<void> {
    for (const node of this.#nodes) this.#start(node)
    for (let minute = 0; minute < CHAOS_MINUTES && this.#broken.length === 0; minute++) {
      for (const node of this.#nodes) this.#minuteOf(node)
      await this.#wait(MINUTE_MS)
    }
    await this.#calmDown()
    await this.#rest()
    this.#check()
    if (this.#broken.length > 0) throw new Error([...new Set(this.#broken)].join('\n'))
  }

  #makeHost(index: number, hosts: readonly FakeHost[]): FakeHost {
    const id = `${index + 1}`.repeat(32) as NodeId
    const host = new FakeHost(id, this.#frame, this.#chunks, hosts)
    host.addFixed(CLASS, FIXED_BYTES)
    host.overlooks = () => this.#dice.below(4) === 0
    for (const { serial } of this.#frame.drives) {
      const fault = FAULTS[this.#dice.below(FAULTS.length * 3)]
      if (fault) host.faults.set(serial, fault)
    }
    return host
  }

  #start(node: Node): void {
    const { host, disk } = node
    if (this.#chaos !== QUIET && this.#dice.below(4) === 0)
      disk.powerOffAfter(this.#dice.below(200))
    let hasCrashed = false
    const onCrash = () => {
      hasCrashed = true
      this.#crashed(node)
    }
    try {
      node.life = new Life({
        ...{ timeline: this.#timeline, dice: this.#dice, frame: this.#frame, host, disk },
        ...{ node: host.node, plants: this.#plants, chaos: () => this.#chaos, onCrash },
      })
      const budget = `${BUDGET}/day`
      const ready = `${this.#dice.below(3)}`
      node.life.provisioning.setPolicy({ enabled: true, coolDown: '2m', budget, ready })
    } catch (error) {
      if (!hasCrashed) throw error
    }
  }

  #crashed(node: Node): void {
    this.tried.crashes++
    node.life = null
    node.disk.powerCut(this.#dice)
    this.#timeline.after(this.#dice.below(5 * MINUTE_MS), () => {
      if (!node.life) this.#start(node)
    })
  }

  #minuteOf(node: Node): void {
    const { life, host } = node
    this.#load(host)
    if (this.#dice.below(40) === 0) {
      this.#frame.power = this.#frame.power === 'online' ? 'off-required' : 'online'
    }
    if (this.#dice.below(60) === 0) this.#failDrive()
    if (this.#dice.below(40) === 0) this.#pull()
    if (this.#dice.below(30) === 0) {
      host.silent = host.silent.length > 0 ? [] : ['another node']
      this.tried.silences++
    }
    if (!life) return
    const { provisioning } = life
    this.#watch(provisioning.tick(life.step()))
    if (life.ended) return
    const choice = this.#dice.below(24)
    if (choice === 0) {
      const drives = 1 + this.#dice.below(2)
      this.#watch(provisioning.allocate({ class: CLASS, drives }, life.step()))
    } else if (choice === 1) {
      const all = provisioning.status().allocations
      const one = all[this.#dice.below(Math.max(1, all.length))]
      if (one) this.#watch(provisioning.release(one.tag, life.step()))
    } else if (choice === 2) {
      this.#watch(provisioning.ensureRoom(this.#dice.below(200), CLASS, life.step()))
    } else if (choice === 4) {
      this.#watch(provisioning.prepare({ class: CLASS, drives: 1 }, life.step()))
    } else if (choice === 3) {
      this.#watch(provisioning.reconcile({ retryPower: true }, life.step()))
    }
  }

  /** Data comes in waves, so that the pool grows and shrinks. */
  #load(host: FakeHost): void {
    const rising = Math.floor(this.#timeline.nowMs / WAVE_MS) % 2 === 0
    for (let times = this.#dice.below(4); times > 0; times--) {
      const [drive] = rising ? host.roomy().slice(-1 - this.#dice.below(2)) : []
      if (drive) this.#chunks.write(drive.serial)
      if (rising) continue
      const all = this.#chunks.all()
      const gone = all[this.#dice.below(Math.max(1, all.length))]
      if (gone) this.#chunks.delete(gone[0])
    }
  }

  #failDrive(): void {
    const drive = this.#frame.drives[this.#dice.below(this.#frame.drives.length)]
    if (drive && drive.host === null) drive.trouble = drive.trouble === '' ? 'predictive fail' : ''
  }

  /** A person takes a drive away from its host at the appliance, in use or not, or its path breaks; and puts it back later. */
  #pull(): void {
    const drive = this.#frame.drives[this.#dice.below(this.#frame.drives.length)]
    const host = this.#nodes.find((one) => one.host.node === drive?.host)?.host
    if (!drive || !host) return
    this.tried.pulled++
    const { tag } = drive
    const isByHand = this.#dice.below(2) === 0
    if (isByHand) drive.host = null
    if (host.bySerial(drive.serial)) host.away.add(drive.serial)
    this.#pulled.push(() => {
      host.away.delete(drive.serial)
      if (drive.tag !== tag || drive.host !== null) return
      drive.host = host.node
      host.deleted.delete(drive.serial)
    })
    this.#timeline.after(this.#dice.below(10 * MINUTE_MS), () => this.#pulled.shift()?.())
  }

  /** What it throws may happen, but for a bug. */
  #watch(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (isBug(error)) this.#broken.push(`a bug: ${(error as Error).stack}`)
    })
  }

  /** A drive leaves its host: nothing may need it, and no pool have it. */
  #detached(serial: string, host: NodeId | null): void {
    const needed = this.#chunks.on(serial)
    if (needed.length > 0) this.#broken.push(`${serial} detached with chunks ${needed} on it`)
    for (const node of this.#nodes) {
      if (node.host.bySerial(serial)) this.#broken.push(`${serial} detached while in a pool`)
      if (node.host.node === host) node.host.deleted.delete(serial)
    }
  }

  async #calmDown(): Promise<void> {
    this.#note()
    this.#chaos = QUIET
    this.#frame.power = 'online'
    for (const putBack of this.#pulled.splice(0)) putBack()
    for (const node of this.#nodes) {
      node.host.silent = []
      node.host.overlooks = () => false
      node.host.faults.clear()
      node.host.addFixed(CLASS, 10_000)
      node.disk.powerOffAfter(Number.POSITIVE_INFINITY)
      node.life?.provisioning.setPolicy({ enabled: false })
    }
    await this.#wait(CALM_MS)
    for (const node of this.#nodes) node.life?.provisioning.setPolicy({ enabled: false })
  }

  async #rest(): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      for (const { life } of this.#nodes) {
        if (!life) this.#broken.push('a daemon did not come up again')
        else this.#watch(life.provisioning.reconcile({ retryPower: true }, life.step()))
      }
      await this.#wait(ROUND_MS)
    }
  }

  /** What was just asked for has its first turn before the clock is looked at. */
  async #wait(ms: number): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    await this.#timeline.run(this.#timeline.nowMs + ms)
  }

  #note(): void {
    for (const { life } of this.#nodes) {
      const { tried } = this
      for (const { what, act } of life?.provisioning.policyLog() ?? []) {
        if (what === 'began') tried.policyActs++
        if (what === 'ended' && act === 'grow') tried.taken++
        if (what === 'ended' && act === 'shrink') tried.given++
      }
    }
    this.tried.lostRaces = this.#frame.refusals.busy
    this.tried.powerRefusals = this.#frame.refusals.power
  }

  /** Nothing leaked, nothing assigned twice, nothing lost, everything at rest. */
  #check(): void {
    const broken = this.#broken
    for (const node of this.#nodes) {
      const { host, life } = node
      broken.push(...host.violations)
      // One that failed and moved nothing is not charged.
      const moved = (life?.provisioning.policyLog() ?? []).reduce((sum, { what, drives }) => {
        return sum + (what === 'began' ? drives : what === 'failed' && drives === 0 ? -1 : 0)
      }, 0)
      if (moved > BUDGET) broken.push(`the policy moved ${moved} drives in a day`)
      const status = life?.provisioning.status()
      if (status?.underWay) broken.push(`still under way: ${JSON.stringify(status.underWay)}`)
      for (const { is, words } of status?.reconciled?.findings ?? []) {
        if (is !== 'trouble') broken.push(`not at rest: ${is}: ${words}`)
      }
      const settled = new Set<string>()
      const ready = new Set<string>()
      for (const one of status?.allocations ?? []) {
        if (one.step === 'ready') ready.add(one.serial)
        else if (one.step !== 'settled') broken.push(`not at rest: ${JSON.stringify(one)}`)
        settled.add(one.tag)
      }
      const held = this.#frame.drives.filter((drive) => isHeldBy(drive, CLUSTER, host.node))
      for (const { tag, serial, host: before } of held) {
        if (!settled.delete(tag ?? '')) broken.push(`leaked: ${serial} is held, nobody knows why`)
        if (before !== host.node) broken.push(`${serial} is in use, but not before its host`)
        const isDrive = host.bySerial(serial)?.tag === tag
        if (isDrive === ready.has(serial)) broken.push(`${serial} is held, but is no drive`)
      }
      for (const tag of settled) broken.push(`${tag} is in use, but not held`)
    }
    const serials = this.#nodes.flatMap(({ host }) => [...host.drives.values()])
    const counts = new Map<string, number>()
    for (const { serial, tag } of serials) {
      if (tag !== null) counts.set(serial, (counts.get(serial) ?? 0) + 1)
    }
    for (const [serial, count] of counts) if (count > 1) broken.push(`${serial} is in two pools`)
    const there = new Set(serials.map(({ serial }) => serial))
    for (const [chunk, serial] of this.#chunks.all()) {
      if (!there.has(serial)) broken.push(`chunk ${chunk} is lost`)
    }
  }
}
