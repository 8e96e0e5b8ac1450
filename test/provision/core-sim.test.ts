// deadline: 300 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as plants from './plants.ts'
import type { Plants } from './sim-life.ts'
import { SimWorld, type Tried } from './sim-world.ts'

/**
 * Nodes over one frame, with everything going wrong, by seed. WEFT_SEED repeats one run, WEFT_SEEDS makes more or fewer.
 */
const SEEDS = Number(process.env.WEFT_SEEDS ?? 1000)
const seeds = process.env.WEFT_SEED
  ? [Number(process.env.WEFT_SEED)]
  : Array.from({ length: SEEDS }, (_, index) => index + 1)
/** Seeds within which a planted bug has to be found. */
const PLANT_SEEDS = 500

async function run(seed: number, planted: Plants = {}): Promise<Tried> {
  const world = new SimWorld(seed, planted)
  try {
    await world.run()
  } catch (error) {
    throw new Error(`WEFT_SEED=${seed}: ${error instanceof Error ? error.message : error}`)
  }
  return world.tried
}

test(`nothing leaks, nothing is assigned twice, nothing is lost, by ${seeds.length} seeds`, async () => {
  const all: Record<string, number> = {}
  for (const seed of seeds) {
    for (const [what, count] of Object.entries(await run(seed))) {
      all[what] = (all[what] ?? 0) + count
    }
  }
  console.log(JSON.stringify(all))
  if (seeds.length < 10) return
  for (const [what, count] of Object.entries(all)) assert.ok(count > 0, `${what} was tried`)
})

test('a seed is the same run each time', async () => {
  assert.equal(await run(7), await run(7))
})

for (const [name, planted] of Object.entries(plants)) {
  test(`a planted bug is caught: ${name}`, async () => {
    for (let seed = 1; seed <= PLANT_SEEDS; seed++) {
      const words = await run(seed, planted).then(
        () => '',
        (error: Error) => error.message,
      )
      if (words === '') continue
      console.log(`    ${name}: ${words.split('\n').slice(0, 2).join(' · ').slice(0, 160)}`)
      return
    }
    assert.unreachable(`not found within ${PLANT_SEEDS} seeds`)
  })
}

test.run()
