import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { seeded } from '../support/seeded.ts'
import { TAG, World } from './frame-world.ts'
import { running, silentStep } from './script.ts'

const ROUNDS = 150
const GARBAGE = [
  null,
  '',
  'x',
  -1,
  1e300,
  true,
  [],
  {},
  [null],
  ['/rest/x'],
  { uri: 7 },
  '/rest/\n',
  undefined,
]

/** One value somewhere inside is replaced, or the whole. */
function garbled(body: unknown, below: (end: number) => number): unknown {
  const isInside = typeof body === 'object' && body !== null && Object.keys(body).length > 0
  if (!isInside || below(12) === 0) return GARBAGE[below(GARBAGE.length)]
  const copy = (Array.isArray(body) ? [...body] : { ...body }) as Record<string, unknown>
  const keys = Object.keys(copy)
  const key = keys[below(keys.length)] as string
  copy[key] = garbled(copy[key], below)
  return copy
}

test('whatever an appliance answers, a result or an FsError comes out, and in the end', async () => {
  const random = seeded(17)
  let refused = 0
  for (let round = 0; round < ROUNDS; round++) {
    const world = new World().carryOut()
    world.addJbod(7)
    const { provisioner, script } = world
    // Every third answer, so that work gets far enough to meet the others.
    script.garble = (body) => (random.below(3) === 0 ? garbled(body, random.below) : body)
    const verbs = [
      () => provisioner.free(running),
      () => provisioner.held(running),
      () => provisioner.attach(TAG, silentStep),
      () => provisioner.detach(TAG, silentStep),
      () => provisioner.release(TAG, silentStep),
    ]
    try {
      await verbs[round % verbs.length]?.()
    } catch (error) {
      assert.instance(error, FsError, `round ${round}: ${(error as Error).stack}`)
      assert.ok((error as FsError).message.length < 10_000)
      refused++
    }
  }
  assert.ok(refused > ROUNDS / 4, `${refused} of ${ROUNDS} were refused`)
})

test.run()
