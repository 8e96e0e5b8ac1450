import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { Turn } from '../../src/provision/turn.ts'
import { seeded } from '../support/seeded.ts'
import { HandClock } from './core-world.ts'

const step = (signal = new AbortController().signal) => ({ signal, progress() {} })

async function microtasks(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await Promise.resolve()
}

test('nobody gives back while somebody takes, one takes at a time, and each comes to its end, in whatever order they come', async () => {
  let asides = 0
  for (let seed = 1; seed <= 2000; seed++) {
    const random = seeded(seed)
    const turn = new Turn(new HandClock())
    const now = { in: 0, out: 0 }
    const ended: number[] = []
    const works = Array.from({ length: 8 }, async (_, n) => {
      await microtasks(random.below(30))
      const towards = random.below(2) === 0 ? 'in' : 'out'
      await turn.take('test', towards, step(), async ({ signal }) => {
        now[towards]++
        assert.ok(
          now.in <= 1 && (now.in === 0 || now.out === 0),
          `seed ${seed}: ${now.in} ${now.out}`,
        )
        try {
          for (let left = random.below(6); left > 0; left--) {
            await Promise.resolve()
            const keepsWaiting = towards === 'out' && turn.isTaking && !signal.aborted
            assert.not(keepsWaiting, `seed ${seed}: somebody who takes waits, and it goes on`)
            if (!signal.aborted) continue
            asides++
            // It takes a while to let go.
            await microtasks(random.below(10))
            throw new FsError('ECANCELED', 'test')
          }
        } finally {
          now[towards]--
        }
      })
      ended.push(n)
    })
    await Promise.all(works)
    assert.is(ended.length, 8)
    assert.not(turn.isBusy)
    assert.is(turn.underWay, null)
  }
  assert.ok(asides > 100, `${asides} stepped aside`)
})

test('who waits for its turn and gives up is told so, and is not begun', async () => {
  const turn = new Turn(new HandClock())
  let letGo = () => {}
  const taking = turn.take(
    'allocate',
    'in',
    step(),
    () => new Promise<void>((end) => (letGo = end)),
  )
  await new Promise((resolve) => setImmediate(resolve))
  const abort = new AbortController()
  const said: string[] = []
  const giving = turn
    .take(
      'release',
      'out',
      { signal: abort.signal, progress: (words) => said.push(words) },
      async () => {
        throw new Error('it was begun')
      },
    )
    .catch((error: FsError) => error.code)
  await new Promise((resolve) => setImmediate(resolve))
  assert.match(said[0] ?? '', /^waits for: allocate, since /)
  abort.abort()
  assert.is(await giving, 'ECANCELED')
  letGo()
  await taking
})

test('what fails is told, and one that steps aside for no reason of its own is not taken for failed', async () => {
  const turn = new Turn(new HandClock())
  const failing = turn.take('release', 'out', step(), async () => {
    throw new FsError('EIO', 'test')
  })
  assert.is(await failing.catch((error: FsError) => error.code), 'EIO')
  let lives = 0
  const giving = turn.take('release', 'out', step(), async ({ signal }) => {
    lives++
    while (lives === 1) {
      await new Promise((resolve) => setImmediate(resolve))
      signal.throwIfAborted()
    }
    return 'done'
  })
  await new Promise((resolve) => setImmediate(resolve))
  await turn.take('allocate', 'in', step(), async () => {})
  assert.is(await giving, 'done')
  assert.is(lives, 2)
})

test.run()
