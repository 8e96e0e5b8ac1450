import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, run, sleep, startNode } from '../support/node-world.ts'

/** Of a daemon's life: one that served for less counts as a crash loop to the keeper (fuse/keeper.ts, SERVED_MS). */
const SERVED_MS = 1100
const KILL_AFTER_MS = [0, 20, 60, 150, 300]

/** Calls of another process: one that hangs is killed and fails the test. */
async function use(dir: string, file: string): Promise<void> {
  const script = `stat -f . && echo words > ${file} && grep -q words ${file} && ls -l && rm ${file}`
  const done = await run('sh', ['-c', `cd "$0" && ${script}`, dir], { timeoutMs: 20_000 })
  assert.is(done.code, 0, done.stderr)
}

interface Place {
  readonly point: string
  readonly path: string
  readonly body: object
  /** Where files can be made. */
  readonly dir: string
  readonly leave: readonly string[]
}

async function killed(world: NodeWorld, place: Place, afterMs: number, answered: boolean) {
  const { point, path, body, dir, leave } = place
  const asked = world.post(path, body)
  if (answered) assert.is(await asked, 200)
  // A call that is under way when the daemon dies.
  const waiting = answered ? run('stat', ['-f', point], { timeoutMs: 20_000 }) : null
  await sleep(afterMs)
  await world.kill9()
  await asked
  await world.ready()
  const what = `killed ${afterMs} ms after the mount was ${answered ? 'answered' : 'asked for'}`
  if (answered) assert.is((await waiting)?.code, 0, what)
  if (!world.mounts().includes(point)) {
    assert.is(answered, false, `${what}: it is gone`)
    const again = await world.post(path, body)
    // The mount command of the life before may end only now, and its mount is in use then.
    assert.ok(again === 200 || world.mounts().includes(point), `${what}: once more: ${again}`)
  }
  await use(dir, `f${afterMs}`)
  const done = await world.tryWeft(...leave)
  assert.is(done.code, 0, `${what}: ${done.stderr}`)
  await sleep(SERVED_MS)
}

for (const answered of [false, true]) {
  const when = answered ? 'answered' : 'asked for'

  test(`a daemon killed right after the namespace mount was ${when} leaves one that works`, async () => {
    const world = await startNode({ mount: false })
    try {
      await world.weft('volume', 'create', 'vol', '--size', '1G')
      const { mnt } = world
      const body = { target: mnt, readOnly: false }
      const dir = join(mnt, 'vol')
      const place = { point: mnt, path: '/v1/mount', body, dir, leave: ['umount', mnt] }
      for (const ms of KILL_AFTER_MS) await killed(world, place, ms, answered)
      assert.not.match(world.log(), /"waitMs"/)
    } finally {
      await world.close()
    }
  })

  test(`a daemon killed right after an exclusive mount was ${when} leaves one that works`, async () => {
    const world = await startNode()
    try {
      await world.weft('volume', 'create', 'vol', '--size', '1G')
      const point = world.mkdir('own')
      const body = { target: point, volume: 'vol', readOnly: false }
      const place = { point, path: '/v1/attach', body, dir: point, leave: ['detach', point] }
      for (const ms of [0, 60, 300]) await killed(world, place, ms, answered)
      await use(join(world.mnt, 'vol'), 'after')
      assert.not.match(world.log(), /"waitMs"/)
    } finally {
      await world.close()
    }
  })
}

test.run()
