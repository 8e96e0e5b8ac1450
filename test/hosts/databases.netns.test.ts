// deadline: 600 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Databases } from '../support/dying-nodes.ts'
import { sleep } from '../support/node-world.ts'

test('databases on a volume of three copies lose no commit when the node under them dies, again and again', () =>
  Databases.with(async (databases) => {
    for (let death = 0; death < 3; death++) {
      await databases.work()
      await databases.die()
    }
    await databases.work()
    await databases.stop()
    await databases.check()
  }))

/** Longer than a lease of 10 s less a tenth, shorter than what an owner waits before it gives its volume up. */
const AWAY_MS = 10_500

test('databases run on while the lease of their node lapses and comes back', () =>
  Databases.with(async (databases) => {
    const { lab, host } = databases
    const others = lab.hosts.filter((one) => one.number !== host.number)
    await databases.work()
    const before = databases.ledgers.map(({ committed }) => committed)
    await Promise.all(others.map((one) => one.pause()))
    await sleep(AWAY_MS)
    const stalled = databases.ledgers.map(
      ({ committed }, index) => committed - (before[index] ?? 0),
    )
    await Promise.all(others.map((one) => one.resume()))
    assert.ok(Math.max(...stalled) < 50, `rows committed on one copy: ${stalled}`)
    await databases.work()
    assert.not.match(databases.postgres.log(), /PANIC|FATAL|could not (read|write|fsync|open)/)
    await databases.stop()
    await databases.check()
  }))

test.run()
