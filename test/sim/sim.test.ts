// deadline: 300 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SimCluster, type SimOptions } from './cluster.ts'
import * as plants from './plants.ts'

const usual: SimOptions = {
  nodes: 3,
  repl: 3,
  minimum: 2,
  steps: 600,
  leases: true,
  plants: {},
}
const SECONDS = 10

/** As many seeds as fit into the time, from a new one on each day. */
async function runMany(options: SimOptions): Promise<void> {
  const first = Math.floor(Date.now() / 86_400_000) * 10_000
  const untilMs = performance.now() + 1000 * SECONDS
  let [seed, acknowledgements] = [first, 0]
  for (; performance.now() < untilMs; seed++) {
    const cluster = new SimCluster(seed, options)
    try {
      await cluster.run()
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`)
    }
    acknowledgements += cluster.checks.acknowledgements
  }
  console.log(`    seeds ${first} to ${seed - 1}: ${acknowledgements} acknowledgements`)
  assert.ok(acknowledgements > 0)
}

test('no schedule breaks a promise', () => runMany(usual))

test('nothing acknowledged rests on a lease', () => runMany({ ...usual, leases: false }))

test('two copies, of which one is enough', () =>
  runMany({ ...usual, nodes: 2, repl: 2, minimum: 1 }))

test('what was on a lost drive is made anew', () => runMany({ ...usual, drives: true }))

test('a seed is the same run each time', async () => {
  const seen: unknown[] = []
  for (let again = 0; again < 2; again++) {
    const { checks, coordinator, timeline } = await ran(new SimCluster(5, usual))
    seen.push([checks.acknowledgements, checks.reads, coordinator.recorded, timeline.nowMs])
  }
  assert.equal(seen[0], seen[1])
})

async function ran(cluster: SimCluster): Promise<SimCluster> {
  await cluster.run()
  return cluster
}

/** Where each was caught last; a change of the code moves that, so the search goes on for a while. */
interface Caught {
  readonly seed: number
  readonly leases: boolean
  readonly drives?: boolean
}
const CAUGHT: Record<keyof typeof plants, Caught> = {
  acceptsOldEpoch: { seed: 65, leases: false },
  appendsAfterPromise: { seed: 50_548, leases: false },
  countsNewMemberLate: { seed: 20, leases: false },
  cutsBeforeCheckpointIsOnSet: { seed: 2, leases: false },
  cutsByLength: { seed: 21, leases: false },
  deletesBeforeNamingIsCommitted: { seed: 68, leases: false },
  forgetsChunksOfCheckpoint: { seed: 3, leases: false },
  hidesLostDrive: { seed: 6, leases: false, drives: true },
  keepsEpochOverRestart: { seed: 82, leases: false },
  namesChunkOfOldSet: { seed: 160, leases: false },
  recordsSetBelowMinimum: { seed: 1, leases: false },
  servesBeforeSetIsRecorded: { seed: 1, leases: false },
  skipsLeaseCheck: { seed: 146, leases: true },
  skipsSync: { seed: 1, leases: false },
  takesLostAnswerForRefusal: { seed: 10, leases: false },
  wipedCopyVotes: { seed: 6, leases: false },
}
const SEARCHED = 1500

for (const [name, { seed, leases, drives = false }] of Object.entries(CAUGHT)) {
  test(`a planted bug is caught: ${name}`, async () => {
    const options = { ...usual, leases, drives, plants: plants[name as keyof typeof plants] }
    for (let n = seed; n < seed + SEARCHED; n++) {
      try {
        await new SimCluster(n, options).run()
      } catch {
        return
      }
    }
    assert.unreachable(`${name} in ${SEARCHED} seeds from ${seed} on`)
  })
}

test.run()
