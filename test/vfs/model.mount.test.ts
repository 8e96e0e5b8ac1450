// deadline: 300 s
import { execFileSync } from 'node:child_process'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, startNode } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'
import { drawStep, type Step, TwinTrees } from './twin-trees.ts'

/**
 * Random steps on weft and on a tmpfs, which is the model: every answer and every tree has to be alike, through remounts,
 * deaths of the daemon and fsck. WEFT_SEED repeats a run, WEFT_STEPS makes it longer.
 */
const steps = Number(process.env.WEFT_STEPS ?? 1600)
const seed = Number(process.env.WEFT_SEED ?? Math.floor(Math.random() * 1e9))
const STEPS_BETWEEN_EVENTS = 120
const STEPS_UNDER_KILL = 20

interface Bed {
  readonly world: NodeWorld
  readonly dir: string
  remount(): Promise<void>
}

async function namespaceBed(): Promise<Bed> {
  const world = await startNode()
  const dir = await world.volume('v')
  return { world, dir, remount: () => world.restart() }
}

async function exclusiveBed(): Promise<Bed> {
  const world = await startNode()
  const dir = await world.attached('v')
  return {
    world,
    dir,
    async remount() {
      await world.restart()
      await world.weft('attach', 'v', dir)
    },
  }
}

function tmpfs(world: NodeWorld): string {
  const dir = world.mkdir('model')
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1g,mode=755', 'tmpfs', dir])
  return dir
}

for (const [kind, make] of Object.entries({ namespace: namespaceBed, exclusive: exclusiveBed })) {
  test(`${steps} random steps on the ${kind} mount do what they do on tmpfs, seed ${seed}`, async () => {
    const { world, dir, remount } = await make()
    const model = tmpfs(world)
    const trees = new TwinTrees(model, dir)
    const recent: Step[] = []
    const draw = seeded(seed).below
    let n = 0
    const next = async () => {
      const step = drawStep(draw)
      const at = ++n
      recent.push(step)
      if (recent.length > 400) recent.shift()
      const difference = await trees.do(step)
      if (difference !== '') {
        throw new Error(`seed ${seed}, step ${at}, ${JSON.stringify(step)}: ${difference}`)
      }
    }
    const alike = async (when: string) => {
      const difference = await trees.compare()
      if (difference === '') return
      const last = recent.map((step) => JSON.stringify(step).replace(/([nx])\1{99,}/, '$1…'))
      const what = `seed ${seed}, after step ${n}, ${when}: ${difference}`
      // Twice: a log is mostly cut in its middle.
      throw new Error(`${what}\nlast steps:\n${last.join('\n')}\n${what}`)
    }
    try {
      while (n < steps) {
        for (let i = draw(2 * STEPS_BETWEEN_EVENTS); i >= 0; i -= 1) await next()
        await alike('before anything happened')
        switch (draw(4)) {
          case 0: {
            await trees.closeHandles()
            await remount()
            await alike('after a remount')
            break
          }
          case 1: {
            // Steps are on their way while the daemon dies.
            const under = Array.from({ length: STEPS_UNDER_KILL }, () => next())
            const all = Promise.all(under)
            all.catch(() => {}) // awaited below
            await world.kill9()
            await all
            await alike('after the daemon was killed')
            break
          }
          case 2:
            await world.fsck()
            break
          default:
        }
      }
      await trees.closeHandles()
      await remount()
      await alike('at the end')
      await world.fsck()
      // Several deaths within seconds are this test's doing, and the keeper says so.
      const complaints = world.complaints().filter((line) => !line.includes('"op":"crash"'))
      assert.equal(complaints, [], 'the node has no error to tell')
    } finally {
      trees.close()
      execFileSync('umount', ['-l', model])
      await world.close()
    }
  })
}

test.run()
