import { existsSync, mkdirSync, watch } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, sh, sleep, startNode, until } from '../support/node-world.ts'

/** Of a daemon's life: one that served for less counts as a crash loop to the keeper (fuse/keeper.ts, SERVED_MS). */
const SERVED_MS = 1100
const KILLS = 4

interface Volumes {
  volumes: { name: string; state: string }[]
}

async function mustAllBeReady(world: NodeWorld): Promise<string[]> {
  const { volumes } = await world.json<Volumes>('volume', 'list')
  const bad = volumes.filter(({ state }) => state !== 'ready')
  assert.equal(bad, [], 'no volume is left half made')
  return volumes.map(({ name }) => name)
}

/** Kills the daemon in the moment in which the directory of a new volume's journal appears. */
async function killWhileMaking(world: NodeWorld, work: () => Promise<unknown>): Promise<void> {
  const pid = world.daemonPid()
  const watcher = watch(join(world.home, 'drives', 'default', 'volumes'))
  try {
    watcher.once('change', () => process.kill(pid, 'SIGKILL'))
    await work()
    await until('another daemon runs', () => ![0, pid].includes(world.daemonPid()))
  } finally {
    watcher.close()
  }
}

test('a volume whose making was cut short by kill -9 is taken away, and made when asked for again', async () => {
  const world = await startNode()
  try {
    const create = (name: string) => world.post('/v1/volumes', { name, size: '1G' })
    mkdirSync(join(world.home, 'drives', 'default', 'volumes'), { recursive: true })
    for (let kill = 0; kill < KILLS; kill += 1) {
      const name = `v${kill}`
      await sleep(SERVED_MS)
      let status: number | null = 0
      await killWhileMaking(world, async () => {
        status = await create(name)
      })
      assert.is(status, null, 'the daemon died before it answered')
      const names = await mustAllBeReady(world)
      if (!names.includes(name)) assert.is(await create(name), 200)
      await sh('sh', ['-c', 'echo x > "$0/f"', join(world.mnt, name)], { timeoutMs: 20_000 })
    }
    assert.is((await mustAllBeReady(world)).length, KILLS)
    await world.restart()
    for (let kill = 0; kill < KILLS; kill += 1) assert.ok(existsSync(join(world.mnt, `v${kill}/f`)))
    await world.fsck()
  } finally {
    await world.close()
  }
})

test.run()
