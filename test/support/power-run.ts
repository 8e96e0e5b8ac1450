import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { LoopDisk } from './loop-disk.ts'
import { NodeWorld, sh, sleep, until } from './node-world.ts'
import { Crew, Database } from './under-kills.ts'

/** A writer that was let go late writes into the bare directory once the mount is gone. */
const NONEMPTY = '--nonempty'

const PROMISES_MIN = 5
const NOISE = ['-name', 'stream*', '-o', '-name', 'rename*', '-o', '-name', 'random*']

/**
 * Cut the power of a whole node under writers: what the drive had not written out is gone, and so is everything in
 * memory. Every file whose fsync, and that of its parent, had returned must be whole on the next start, in every round.
 */
export async function cutPower(rounds: number, seconds: number): Promise<void> {
  const disk = await LoopDisk.make()
  const world = new NodeWorld({ home: join(disk.at, 'home') })
  const own = world.mkdir('own')
  try {
    await world.up()
    await world.weft('mount', world.mnt)
    const shared = await world.volume('shared')
    await world.weft('volume', 'create', 'own')
    const checks: (() => Promise<void>)[] = []
    for (let round = 0; round < rounds; round += 1) {
      await world.weft('attach', 'own', own, NONEMPTY)
      const crew = new Crew(world, `round${round}`)
      const noise = new Crew(world, `noise${round}`)
      for (const dir of [shared, own]) {
        crew.start(dir, [`promised${2 * round}`, `promised${2 * round + 1}`])
        noise.start(dir, [`stream${round}`, `rename${round}`, `random${round}`])
      }
      const databases = existsSync('/usr/bin/sqlite3')
        ? [shared, own].map((dir) => new Database(world, dir, `rows${round}.db`))
        : []
      await sleep(seconds * 1000)
      await until('every writer has promises to keep', () =>
        [...crew.steps(), ...databases.map(({ rows }) => rows)].every(
          (count) => count >= PROMISES_MIN,
        ),
      )
      crew.assertAllRun()
      noise.assertAllRun()
      await world.killAll(() => disk.cut())
      await crew.kill()
      await noise.kill()
      for (const database of databases) await database.kill()
      world.forgetBoot()
      await disk.powerOn()
      world.setEnv('WEFT_BOOT_ID', randomBytes(16).toString('hex'))
      await world.up()
      await world.weft('mount', world.mnt)
      checks.push(async () => {
        crew.check()
        for (const [index, database] of databases.entries()) {
          await database.check([shared, own][index] ?? '')
        }
      })
      await world.weft('attach', 'own', own, NONEMPTY)
      for (const check of checks) await check()
      // Without this the power would not have been cut: what nobody synced in the last moment cannot all be there.
      assert.ok(noise.wrong().length > 0, 'something unsynced is lost')
      await world.fsck()
      assert.equal(world.complaints(), [], 'the node has no error to tell')
      // Nobody looks at it any more, and with that of every round the drive would be full.
      for (const dir of [shared, own]) {
        await sh('find', [
          dir,
          '-maxdepth',
          '1',
          '(',
          ...NOISE,
          ')',
          '-exec',
          'rm',
          '-rf',
          '{}',
          '+',
        ])
      }
      await world.weft('detach', own)
    }
    await world.restart()
    await world.weft('attach', 'own', own, NONEMPTY)
    for (const check of checks) await check()
  } finally {
    try {
      await world.close()
    } finally {
      await disk.close()
    }
  }
}
