import { existsSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { sleep, startNode, until } from './node-world.ts'
import { Crew, Database } from './under-kills.ts'

const CREW = ['small', 'append1', 'append2', 'stream', 'random', 'rename']
/** The keeper holds a daemon back that dies five times in ten seconds (fuse/keeper.ts); kills come just below that. */
const KILL_EVERY_MS = 2600

/**
 * Kill the daemon of a node again and again under writers on the namespace mount and on an exclusive one. Nobody may
 * notice: no call fails, and afterwards, and after a restart, all that was accepted is there, once.
 */
export async function killUnderLoad(kills: number): Promise<void> {
  const world = await startNode()
  try {
    const dirs = [await world.volume('shared'), await world.attached('own')]
    const crew = new Crew(world)
    for (const dir of dirs) crew.start(dir, CREW)
    const databases = existsSync('/usr/bin/sqlite3')
      ? dirs.map((dir) => new Database(world, dir))
      : []
    const counts = () => [...crew.steps(), ...databases.map(({ rows }) => rows)]
    await sleep(1500)
    for (let kill = 0; kill < kills; kill += 1) {
      const before = counts()
      // Now and then two in a row, the second before the daemon serves.
      const twice = kill % 4 === 2
      if (twice) await sleep(2 * KILL_EVERY_MS)
      await world.kill9()
      if (twice) await world.kill9()
      await sleep(twice ? 2 * KILL_EVERY_MS : KILL_EVERY_MS)
      await until(
        `after kill ${kill + 1} all go on`,
        () => {
          crew.assertAllRun()
          return counts().every((count, index) => count > (before[index] ?? 0))
        },
        30_000,
      )
    }
    await crew.stop()
    for (const database of databases) await database.stop()
    assert.ok(
      counts().every((count) => count >= kills),
      `every writer got something done: ${counts()}`,
    )
    crew.check()
    for (const [index, database] of databases.entries()) await database.check(dirs[index] ?? '')
    await world.restart()
    const [shared = '', own = ''] = dirs
    await world.weft('attach', 'own', own)
    crew.check()
    for (const [index, database] of databases.entries()) {
      await database.check([shared, own][index] ?? '')
    }
    assert.equal(world.complaints(), [], 'the node has no error to tell')
  } finally {
    await world.close()
  }
}
