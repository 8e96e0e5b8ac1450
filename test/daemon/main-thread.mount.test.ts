import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startNode, until } from '../support/node-world.ts'

test('an error that nobody catches ends the daemon, and its mounts go on with the next', async () => {
  const planted = mkdtempSync(join(tmpdir(), 'weft-planted-'))
  const preload = join(planted, 'preload.mjs')
  writeFileSync(preload, "process.on('SIGUSR2', () => { throw new Error('planted') })\n")
  const world = await startNode({ env: { NODE_OPTIONS: `--import=${pathToFileURL(preload)}` } })
  try {
    const file = join(await world.volume('v'), 'f')
    writeFileSync(file, 'before')
    const first = world.daemonPid()
    process.kill(first, 'SIGUSR2')
    await until('another daemon runs', () => ![0, first].includes(world.daemonPid()))
    assert.is(readFileSync(file, 'utf8'), 'before')
    writeFileSync(file, 'after')
    await world.ready()
    assert.match(world.complaints().join('\n'), /Error: planted/)
  } finally {
    await world.close()
    rmSync(planted, { recursive: true })
  }
})

test.run()
