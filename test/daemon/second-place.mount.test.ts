import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, run, startNode, until } from '../support/node-world.ts'

interface Mounts {
  mounts: { target: string; kind: string; readOnly: boolean }[]
}

const write = (path: string) => run('sh', ['-c', 'echo x > "$0"', path], { timeoutMs: 20_000 })

async function readOnlyAt(world: NodeWorld, target: string): Promise<boolean | undefined> {
  const { mounts } = await world.json<Mounts>('status')
  return mounts.find((mount) => mount.target === target)?.readOnly
}

test('a second place of the namespace has the flags it was mounted with, and the first keeps its own', async () => {
  const world = await startNode()
  try {
    await world.volume('vol', '--size', '1G')
    const first = join(world.mnt, 'vol')
    const second = world.mkdir('second')
    writeFileSync(join(first, 'tool'), '#!/bin/sh\nexit 0\n', { mode: 0o755 })
    const said = await world.weft('mount', second, '-o', 'ro,noexec,nosuid,nodev')
    assert.match(said, /read-only/)
    const denied = await write(join(second, 'vol', 'f'))
    assert.is(denied.code, 2)
    assert.match(denied.stderr, /Read-only file system/)
    const tool = await run('sh', ['-c', '"$0"', join(second, 'vol', 'tool')])
    assert.is(tool.code, 126, tool.stderr)
    const line = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
    const options = line.find((one) => one.includes(` ${second} `))?.split(' ')[5] ?? ''
    for (const flag of ['ro', 'noexec', 'nosuid', 'nodev']) assert.ok(options.includes(flag), flag)
    assert.is((await write(join(first, 'f'))).code, 0)
    assert.is((await run(join(first, 'tool'), [])).code, 0)
    assert.is(await readOnlyAt(world, second), true)
    assert.is(await readOnlyAt(world, world.mnt), false)
    await world.kill9()
    assert.is(await readOnlyAt(world, second), true, 'the next daemon knows it too')
  } finally {
    await world.close()
  }
})

test('what only a whole filesystem can have is refused for a second place, and nothing is mounted', async () => {
  const world = await startNode()
  try {
    const second = world.mkdir('second')
    const refused = await world.tryWeft('mount', second, '-o', 'sync')
    assert.is(refused.code, 2, refused.stderr)
    assert.match(
      refused.stderr,
      /second place of the namespace at .*, and the option sync is of both/,
    )
    assert.equal(world.mounts(), [world.mnt])
  } finally {
    await world.close()
  }
})

test('a further place is one of the namespace also when its first place is gone', async () => {
  const world = await startNode()
  try {
    await world.volume('vol', '--size', '1G')
    const [second, third, fourth] = ['second', 'third', 'fourth'].map((name) => world.mkdir(name))
    await world.weft('mount', second ?? '', '-o', 'ro')
    await world.weft('umount', world.mnt)
    await world.weft('mount', third ?? '')
    assert.is((await write(join(third ?? '', 'vol', 'f'))).code, 0)
    assert.is((await run('umount', [second ?? ''])).code, 0)
    await until('it is gone', () => !world.mounts().includes(second ?? ''))
    await world.weft('mount', fourth ?? '')
    assert.is((await run('cat', [join(fourth ?? '', 'vol', 'f')])).stdout, 'x\n')
    for (const place of [third, fourth]) await world.weft('umount', place ?? '')
    assert.equal(world.mounts(), [])
  } finally {
    await world.close()
  }
})

test.run()
