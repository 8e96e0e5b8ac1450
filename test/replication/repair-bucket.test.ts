import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { TokenBucket } from '../../src/replication/index.ts'
import { NodeClock, Timeline } from '../sim/timeline.ts'

const MIB = 2 ** 20
const rates = { bytesPerSecond: 8 * MIB, awaitedBytesPerSecond: 2 * MIB }

/** Milliseconds that `pieces` of a MiB take. */
async function timeOf(pieces: number, isAwaited: () => boolean): Promise<number> {
  const timeline = new Timeline()
  const bucket = new TokenBucket(new NodeClock(timeline, 1, 0), () => rates)
  let done = 0
  for (let n = 0; n < pieces; n++) void bucket.take(MIB, isAwaited).then(() => done++)
  while (done < pieces) await timeline.run(timeline.nowMs + 10)
  assert.is(bucket.takenBytes, pieces * MIB)
  return timeline.nowMs
}

test('what nobody waits for goes at its rate, and at a smaller one while callers wait', async () => {
  const idle = await timeOf(17, () => false)
  assert.ok(idle > 1900 && idle < 2300, `${idle} ms for 16 MiB behind the first`)
  const awaited = await timeOf(5, () => true)
  assert.ok(awaited > 1900 && awaited < 2300, `${awaited} ms for 4 MiB behind the first`)
})

test('callers that wait now and then are callers that wait', async () => {
  let asked = 0
  const ms = await timeOf(5, () => asked++ % 4 === 0)
  assert.ok(ms > 1900 && ms < 2300, `${ms} ms for 4 MiB behind the first`)
})

test('a piece larger than the bucket goes, and is paid for by the next', async () => {
  assert.ok((await timeOf(1, () => true)) < 50)
})

test.run()
