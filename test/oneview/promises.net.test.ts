import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFrame, until, type World } from './asking.ts'
import type { Body } from './fixtures.ts'
import { entryOf, SAS_SSD } from './storing.ts'

/** What the frame promises whatever is asked of it, and whatever becomes of the requests. */

const BLADES = ['blade1', 'blade2', 'blade3'] as const
const JBODS = '/rest/sas-logical-jbods'
const STEPS = 40

type Choose = (end: number) => number

/** Whole numbers below an end, the same for the same seed. */
function chooser(seed: number): Choose {
  let state = seed
  return (end) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) % Math.max(end, 1)
  }
}

/** A clumsy client: it makes, attaches and deletes what it happens to choose, and cares for no refusal. */
async function stumble(world: World, choose: Choose): Promise<void> {
  const { ask, list } = world
  const jbods = await list(JBODS)
  const jbod = jbods[choose(jbods.length)]
  const what = choose(3)
  if (what === 0) {
    const [enclosure] = (await list('/rest/drive-enclosures')) as [Body]
    const bays = enclosure.driveBays as { uri: string }[]
    const driveBayUris = [bays[choose(6)]!.uri, bays[choose(6)]!.uri]
    await ask('POST', JBODS, { body: { name: 'some', driveBayUris } })
  } else if (what === 1 && jbod !== undefined) {
    await ask('DELETE', String(jbod.uri), { headers: { 'If-Match': '*' } })
  } else {
    const blade = BLADES[choose(BLADES.length)]!
    const entries = jbod === undefined ? [] : [entryOf(1, jbod, { persistent: choose(2) === 0 })]
    const profiles = await list('/rest/server-profiles')
    const profile = profiles.find(({ name }) => name === blade)!
    const localStorage = { ...(profile.localStorage as Body), sasLogicalJBODs: entries }
    await ask('PUT', String(profile.uri), { body: { ...profile, localStorage } })
  }
}

/** After whatever cuts or refuses it, it goes on in a new session. */
async function client(world: World, choose: Choose): Promise<void> {
  for (let step = 0; step < STEPS; step++)
    await stumble(world, choose).catch(() => world.login().catch(() => undefined))
}

for (const seed of [1, 2, 3])
  test(`no drive is given twice, and hosts see what their blades have, under trouble of seed ${seed}`, () =>
    inFrame(
      {
        drives: [{ ...SAS_SSD, count: 6 }],
        blades: BLADES.map((name) => ({ name })),
        knobs: { jbodEditPower: 'online' },
      },
      async (world) => {
        const { simulator, list, login } = world
        const choose = chooser(seed)
        simulator.knobs.random(seed, 0.1)
        await Promise.all([1, 2, 3].map(() => client(world, choose)))
        simulator.knobs.random(seed, 0)
        await login()
        const tasks = () => list('/rest/tasks')
        await until('all tasks have ended', async () =>
          (await tasks()).every(({ percentComplete }) => percentComplete === 100),
        )
        const done = (await tasks()).filter(({ taskState }) => taskState === 'Completed')
        for (const name of ['Create', 'Update', 'Delete'])
          assert.ok(
            done.some((task) => task.name === name),
            `no ${name}`,
          )
        for (const claim of simulator.frame.audit()) {
          const words = JSON.stringify(claim)
          assert.ok(claim.jbods.length <= 1, words)
          assert.ok(claim.blades.length <= claim.jbods.length, words)
          assert.equal(claim.seenBy, claim.blades, words)
        }
      },
    ))

test.run()
