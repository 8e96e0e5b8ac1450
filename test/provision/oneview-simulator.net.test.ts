// deadline: 300 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Clock, FsError, type Log, systemClock } from '../../src/base/index.ts'
import type { Provisioner, Step } from '../../src/provision/index.ts'
import { openOneView } from '../../src/provision/oneview/index.ts'
import {
  everyProvisionerCases,
  givingProvisionerCases,
  type ProvisionerBench,
} from '../conformance/provisioner.ts'
import type { Trouble } from '../oneview/faults.ts'
import type { KnobValues } from '../oneview/knobs.ts'
import { Simulator } from '../oneview/simulator.ts'
import { seeded } from '../support/seeded.ts'

/** The client and the simulated appliance were written apart from each other, from the same facts. */

const PREFIX = 'weft-0123456789ab-'
const NODES = { here: 'aaaaaaaaaaaa', there: 'bbbbbbbbbbbb' } as const
const SEEDS = 12
const PAUSE_MS_MAX = 60_000
const log = { info() {}, warn() {}, error() {}, debug() {} } as unknown as Log
const step: Step = { signal: new AbortController().signal, progress() {} }

/** Pauses between two looks are short; limits, which are longer than any pause, stay. */
function impatient(): Clock {
  const clock = systemClock()
  const { after: later } = clock
  return { ...clock, after: (ms, work) => later(ms > PAUSE_MS_MAX ? ms : Math.min(ms, 20), work) }
}

const blades = [
  { name: 'here', uuid: '30303437-3034-4D32-3230-313131343752', serialNumber: 'SGH100X1A1' },
  { name: 'there', uuid: '30303437-3034-4D32-3230-313131343753', serialNumber: 'SGH100X1A2' },
]

class Bench implements ProvisionerBench {
  readonly sim: Simulator
  readonly here: Provisioner
  readonly there: Provisioner
  #tags = 0

  /** Serial numbers of drives that the appliance has erased. */
  readonly erased: readonly string[]

  static async open(currentVersion = 1600, knobs: Partial<KnobValues> = {}): Promise<Bench> {
    const online = { jbodEditPower: 'online', ...knobs } as Partial<KnobValues>
    const erased: string[] = []
    const onErased = ({ serialNumber }: { serialNumber: string }) => void erased.push(serialNumber)
    const sim = await Simulator.start({ blades, currentVersion, knobs: online, onErased })
    return new Bench(sim, erased)
  }

  constructor(sim: Simulator, erased: string[]) {
    this.sim = sim
    this.erased = erased
    this.here = this.#client(0)
    this.there = this.#client(1)
  }

  #client(blade: number): Provisioner {
    const { uuid = '', serialNumber: serial = '' } = blades[blade] ?? {}
    return openOneView({
      url: this.sim.url,
      user: this.sim.user,
      password: () => this.sim.password,
      pin: `sha256:${this.sim.pin}`,
      tagPrefix: PREFIX,
      dmi: { uuid, serial },
      clock: impatient(),
      log,
    })
  }

  readonly tag = (of: 'here' | 'there') =>
    `${PREFIX}${NODES[of]}-${(++this.#tags).toString(16).padStart(12, '0')}`

  async close(): Promise<void> {
    await this.here.close()
    await this.there.close()
    await this.sim.close()
  }
}

for (const version of [800, 1200, 1600]) {
  for (const { name, run } of [...everyProvisionerCases, ...givingProvisionerCases]) {
    test(`X-API-Version ${version}: ${name}`, async () => {
      const bench = await Bench.open(version)
      try {
        await run(bench)
      } finally {
        await bench.close()
      }
    })
  }
}

test('an appliance that wants the server off says so, and nothing is left behind', async () => {
  const bench = await Bench.open(1600, { jbodEditPower: 'off-required' })
  try {
    const [drive] = await bench.here.free(step.signal)
    const tag = bench.tag('here')
    await bench.here.reserve(tag, drive?.place ?? '', step)
    const refused = await bench.here.attach(tag, step).catch((error: unknown) => error)
    assert.is((refused as FsError).code, 'EPERM')
    assert.is((refused as FsError).subject.needsPowerOff, true)
    assert.match(
      (refused as FsError).message,
      /section Local storage .* only while the server is off/,
    )
    await bench.here.release(tag, step)
    assert.equal(await bench.here.held(step.signal), [])
  } finally {
    await bench.close()
  }
})

for (const patchAnswer of ['task', 'resource'] as const) {
  test(`a drive that was never ours is given back as it came, when PATCH is answered with a ${patchAnswer}`, async () => {
    const bench = await Bench.open(1600, { patchAnswer })
    try {
      const [kept, erased] = await bench.here.free(step.signal)
      for (const [drive, keepsData] of [
        [kept, true],
        [erased, false],
      ] as const) {
        const tag = bench.tag('here')
        await bench.here.reserve(tag, drive?.place ?? '', step)
        await bench.here.attach(tag, step)
        await bench.here.detach(tag, step)
        await bench.here.release(tag, step, { keepsData })
      }
      assert.equal(bench.erased, [erased?.serial])
      assert.equal(await bench.here.held(step.signal), [])
    } finally {
      await bench.close()
    }
  })
}

const TROUBLES: readonly Trouble[] = [
  { what: 'status', status: 409 },
  { what: 'status', status: 412 },
  { what: 'status', status: 500 },
  { what: 'status', status: 503 },
  { what: 'dropBefore' },
  { what: 'dropAfter' },
  { what: 'taskError', errorCode: 'Simulated' },
  { what: 'loseSessions' },
]

/** What is told to try again is tried again, as the core does between two looks. */
async function patiently<T>(verb: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await verb()
    } catch (error) {
      if (!(error instanceof FsError) || attempt > 20) throw error
    }
  }
}

test('drives come and go through the troubles that an appliance has, and the account is right', async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const bench = await Bench.open(1600)
    try {
      const dice = seeded(seed)
      const trouble = () => {
        const what = TROUBLES[dice.below(TROUBLES.length)] as Trouble
        const path = dice.below(2) === 0 ? '/rest/sas-logical-jbods' : '/rest/server-profiles'
        const method = dice.below(2) === 0 ? { method: 'GET' } : {}
        bench.sim.knobs.inject({ ...method, path, trouble: what })
      }
      for (let n = 0; n < 3; n++) {
        const from = dice.below(2) === 0 ? bench.here : bench.there
        const tag = bench.tag(from === bench.here ? 'here' : 'there')
        const drives = await patiently(() => from.free(step.signal))
        const drive = drives[dice.below(drives.length)]
        trouble()
        await patiently(() => from.reserve(tag, drive?.place ?? '', step))
        trouble()
        const attached = await patiently(() => from.attach(tag, step))
        assert.is(attached.state, 'attached', `seed ${seed}`)
        trouble()
        await patiently(() => from.detach(tag, step))
        trouble()
        await patiently(() => from.release(tag, step))
      }
      const held = await patiently(() => bench.here.held(step.signal))
      assert.equal(held, [], `seed ${seed}`)
      for (const row of bench.sim.frame.audit()) {
        assert.equal([row.blades, row.seenBy], [[], []], `seed ${seed}: ${row.serialNumber}`)
      }
    } finally {
      await bench.close()
    }
  }
})

test.run()
