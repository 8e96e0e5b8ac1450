import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { run, sh, sleep, startNode } from '../support/node-world.ts'

/** Of a daemon's life: one that served for less counts as a crash loop to the keeper (fuse/keeper.ts, SERVED_MS). */
const SERVED_MS = 1100
const KILLS = 4

interface Volumes {
  volumes: { name: string; state: string }[]
}

/** How long a command takes here; kills are spread over that. */
async function timed(...command: [string, string]): Promise<number> {
  const began = performance.now()
  await sh(command[0], [command[1]])
  return performance.now() - began
}

test('mkdir and rmdir at the root succeed once, whenever the daemon is killed meanwhile', async () => {
  const world = await startNode()
  try {
    const at = (name: string) => join(world.mnt, name)
    await sh('mkdir', [at('first')])
    const mkdirMs = await timed('mkdir', at('second'))
    const rmdirMs = await timed('rmdir', at('second'))
    for (let kill = 0; kill < KILLS; kill += 1) {
      const name = `v${kill}`
      for (const [verb, ms] of [
        ['mkdir', mkdirMs],
        ['rmdir', rmdirMs],
      ] as const) {
        await sleep(SERVED_MS)
        const asked = run(verb, [at(name)], { timeoutMs: 30_000 })
        await sleep((ms * (kill + 1)) / KILLS)
        await world.kill9()
        const { code, stderr } = await asked
        const when = `${verb} killed in part ${kill + 1} of ${KILLS} of ${Math.round(ms)} ms`
        assert.is(code, 0, `${when}: ${stderr}`)
        const seen = await run('stat', [at(name)], { timeoutMs: 20_000 })
        assert.is(seen.code === 0, verb === 'mkdir', `${when}: ${seen.stderr}`)
        if (verb === 'mkdir') {
          await sh('sh', ['-c', 'echo x > "$0/f" && rm "$0/f"', at(name)], { timeoutMs: 20_000 })
        }
      }
    }
    const { volumes } = await world.json<Volumes>('volume', 'list')
    assert.equal(
      volumes.map(({ name, state }) => `${name} ${state}`),
      ['first ready'],
    )
    await world.fsck()
  } finally {
    await world.close()
  }
})

test.run()
