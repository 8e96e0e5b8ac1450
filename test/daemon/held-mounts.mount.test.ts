// alone: it makes a mount namespace, with copies of whatever others mount
// deadline: 120 s
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startNode } from '../support/node-world.ts'

/** What a container has: a copy of every mount, that the host's unmounts do not reach. */
async function container(...command: readonly string[]): Promise<ChildProcess> {
  const args = [
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    'echo; exec "$@"',
    'sh',
    ...command,
  ]
  const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => child.stdout?.once('data', resolve))
  return child
}

test('detach says who goes on using the volume, and down ends it there, too, with what was written', async () => {
  const w = await startNode()
  let holder: ChildProcess | null = null
  try {
    const point = await w.attached('v')
    holder = await container('sleep', '100')
    writeFileSync(join(point, 'f'), 'written')
    const said = await w.weft('detach', point)
    assert.match(said, `pid ${holder.pid} (sleep)`)
    const { mounts } = JSON.parse(await w.weft('status', '--json'))
    assert.ok(JSON.stringify(mounts).includes('exclusive'), 'it is in use, and status says so')
    await w.restart()
    assert.equal(w.complaints(), [], 'nobody is waited for until the end of patience')
    assert.match(w.log(), 'still in use, and ended')
    assert.is(readFileSync(join(w.mnt, 'v', 'f'), 'utf8'), 'written')
  } finally {
    holder?.kill('SIGKILL')
    await w.close()
  }
})

test.run()
