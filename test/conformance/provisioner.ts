import * as assert from 'uvu/assert'
import type { FreeDrive, Provisioner, Step } from '../../src/provision/index.ts'

/** What the suite is run on. Each case gets one of its own, with nothing held in it. */
export interface ProvisionerBench {
  /** Two nodes of one cluster that reach the same drives; at least two are free. */
  readonly here: Provisioner
  readonly there: Provisioner
  /** A tag of the node of `here`, or of `there`, that was not used before. */
  tag(of: 'here' | 'there'): string
  close(): Promise<void>
}

export interface ProvisionerCase {
  readonly name: string
  readonly run: (bench: ProvisionerBench) => Promise<void>
}

const step: Step = { signal: new AbortController().signal, progress() {} }

/** What somebody who gives nothing must do as well. */
export const everyProvisionerCases: readonly ProvisionerCase[] = [
  {
    name: 'nothing is held at first',
    async run({ here }) {
      assert.equal(await here.held(step.signal), [])
    },
  },
  {
    name: 'taking away and giving back what is not held is done at once',
    async run({ here, tag }) {
      const unknown = tag('here')
      await here.detach(unknown, step)
      await here.release(unknown, step)
      assert.equal(await here.held(step.signal), [])
    },
  },
  {
    name: 'it is closed twice without harm',
    async run({ here }) {
      await here.close()
      await here.close()
    },
  },
]

/** What somebody must do who gives drives. */
export const givingProvisionerCases: readonly ProvisionerCase[] = [
  {
    name: 'a free drive has all that it is known by',
    async run({ here }) {
      const free = await here.free(step.signal)
      assert.ok(free.length >= 2)
      assert.is(new Set(free.map(({ place }) => place)).size, free.length, 'a place is one drive')
      for (const { place, name, serial, sizeBytes, wwid } of free) {
        assert.ok(place !== '' && name !== '' && serial !== '' && sizeBytes > 0)
        assert.match(wwid, /^[0-9a-f]*$/)
      }
    },
  },
  {
    name: 'a reserved drive is held under its tag, before no host, and free for nobody',
    async run({ here, there, tag }) {
      const { place, mine } = await reserved(here, tag('here'))
      for (const one of [here, there]) {
        assert.ok(!(await placesFree(one)).includes(place))
        const held = await heldUnder(one, mine)
        assert.is(held?.place, place)
        assert.is(held?.state, 'reserved')
        assert.is(held?.isHere, false)
        assert.is(held?.trouble, '')
      }
    },
  },
  {
    name: 'reserving again under the same tag finds what was done',
    async run({ here, tag }) {
      const { place, mine, drive } = await reserved(here, tag('here'))
      const again = await here.reserve(mine, place, step)
      assert.is(again.serial, drive.serial)
      assert.is((await here.held(step.signal)).length, 1)
    },
  },
  {
    name: 'a drive that another has reserved is refused with EBUSY, and nothing is held for it',
    async run({ here, there, tag }) {
      const { place } = await reserved(here, tag('here'))
      const late = tag('there')
      assert.is(await codeOf(there.reserve(late, place, step)), 'EBUSY')
      assert.is(await heldUnder(there, late), null)
    },
  },
  {
    name: 'of two that reserve a drive at once one gets it',
    async run({ here, there, tag }) {
      const [drive] = await here.free(step.signal)
      const { place } = drive as FreeDrive
      const codes = await Promise.all([
        codeOf(here.reserve(tag('here'), place, step)),
        codeOf(there.reserve(tag('there'), place, step)),
      ])
      assert.equal(codes.sort(), ['', 'EBUSY'])
      assert.is((await here.held(step.signal)).length, 1)
    },
  },
  {
    name: 'an attached drive is before this host, for others before another; attaching again changes nothing',
    async run({ here, there, tag }) {
      const { mine } = await reserved(here, tag('here'))
      for (let times = 0; times < 2; times++) {
        const attached = await here.attach(mine, step)
        assert.is(attached.state, 'attached')
        assert.is(attached.isHere, true)
      }
      const seen = await heldUnder(there, mine)
      assert.is(seen?.state, 'attached')
      assert.is(seen?.isHere, false)
    },
  },
  {
    name: 'a detached drive is still held; detaching again changes nothing',
    async run({ here, tag }) {
      const { mine, place } = await reserved(here, tag('here'))
      await here.attach(mine, step)
      for (let times = 0; times < 2; times++) {
        await here.detach(mine, step)
        assert.is((await heldUnder(here, mine))?.state, 'reserved')
      }
      assert.ok(!(await placesFree(here)).includes(place))
    },
  },
  {
    name: 'a released drive is free again when the answer is there; releasing again changes nothing',
    async run({ here, there, tag }) {
      const { mine, place } = await reserved(here, tag('here'))
      await here.attach(mine, step)
      await here.detach(mine, step)
      for (let times = 0; times < 2; times++) {
        await here.release(mine, step)
        assert.is(await heldUnder(here, mine), null)
        assert.ok((await placesFree(there)).includes(place))
      }
    },
  },
  {
    name: 'a drive that is before a host is not given back',
    async run({ here, tag }) {
      const { mine } = await reserved(here, tag('here'))
      await here.attach(mine, step)
      assert.ok((await codeOf(here.release(mine, step))) !== '')
      assert.is((await heldUnder(here, mine))?.state, 'attached')
    },
  },
  {
    name: 'one tag is told from another: what is done to one leaves the other',
    async run({ here, tag }) {
      const [first, second] = [
        await reserved(here, tag('here')),
        await reserved(here, tag('here')),
      ] as const
      await here.attach(first.mine, step)
      await here.attach(second.mine, step)
      await here.detach(first.mine, step)
      await here.release(first.mine, step)
      const left = await here.held(step.signal)
      assert.equal(
        left.map(({ tag, state, isHere }) => ({ tag, state, isHere })),
        [{ tag: second.mine, state: 'attached', isHere: true }],
      )
    },
  },
  {
    name: 'what is begun with an aborted signal is not done',
    async run({ here, tag }) {
      const [drive] = await here.free(step.signal)
      const mine = tag('here')
      const aborted: Step = { signal: AbortSignal.abort(), progress() {} }
      assert.ok(await fails(here.reserve(mine, (drive as FreeDrive).place, aborted)))
      assert.is(await heldUnder(here, mine), null)
    },
  },
]

async function reserved(from: Provisioner, mine: string) {
  const [drive] = await from.free(step.signal)
  const { place } = drive as FreeDrive
  return { place, mine, drive: await from.reserve(mine, place, step) }
}

async function heldUnder(from: Provisioner, tag: string) {
  return (await from.held(step.signal)).find((one) => one.tag === tag) ?? null
}

async function placesFree(from: Provisioner): Promise<readonly string[]> {
  return (await from.free(step.signal)).map(({ place }) => place)
}

/** '' when it went well. */
async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => '',
    (error: { code?: string }) => error.code ?? 'no code',
  )
}

async function fails(work: Promise<unknown>): Promise<boolean> {
  return await work.then(
    () => false,
    () => true,
  )
}
