// deadline: 120 s
import { request } from 'node:http'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startNode } from '../support/node-world.ts'

/** What became of one request: its status, or the code of the error. Every one has a connection of its own. */
function ask(home: string): Promise<number | string> {
  return new Promise((resolve) => {
    const sent = request(
      { socketPath: join(home, 'control.sock'), path: '/v1/status', agent: false },
      (answer) => {
        answer.resume()
        answer.on('end', () => resolve(answer.statusCode ?? 0))
        answer.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      },
    )
    sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    sent.end()
  })
}

test('a restart answers every request that reached the daemon', async () => {
  const world = await startNode({ mount: false })
  try {
    const seen = new Map<number | string, number>()
    for (let round = 0; round < 4; round += 1) {
      let restarted = false
      const upgrade = world.weft('upgrade').finally(() => {
        restarted = true
      })
      while (!restarted) {
        for (const outcome of await Promise.all([ask(world.home), ask(world.home)])) {
          seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
        }
      }
      await upgrade
      // At once, while the old daemon may still be there.
      await world.weft('status')
    }
    const outcomes = [...seen.keys()].sort()
    assert.ok(outcomes.includes(200), 'requests were answered')
    const unknown = outcomes.filter(
      (one) => one !== 200 && one !== 'ENOENT' && one !== 'ECONNREFUSED',
    )
    assert.equal(unknown, [], 'no request was left without an answer')
  } finally {
    await world.close()
  }
})

test.run()
