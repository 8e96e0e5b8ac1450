import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startNode, until } from '../support/node-world.ts'

test('what an exclusive mount wrote is read in the namespace after detach, of a file that was held open too', async () => {
  const w = await startNode()
  try {
    const path = join(await w.volume('shared', '--size', '64M'), 'f')
    writeFileSync(path, 'before\n')
    // It keeps the inode in the kernel, and with it the pages it has read.
    const reader = w.own(
      spawn('bash', ['-c', 'exec 3<"$0"; cat <&3; read -r line', path], {
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    )
    let said = ''
    reader.stdout?.on('data', (text: Buffer) => {
      said += text
    })
    await until('the reader has read', () => said === 'before\n')
    const point = w.mkdir('exclusive')
    await w.weft('attach', 'shared', point)
    writeFileSync(join(point, 'f'), 'after.\n')
    await w.weft('detach', point)
    assert.is(readFileSync(path, 'utf8'), 'after.\n')
    reader.kill('SIGKILL')
  } finally {
    await w.close()
  }
})

test('a volume with a file open for writing in the namespace is attached by force only', async () => {
  const w = await startNode()
  try {
    const path = join(await w.volume('shared', '--size', '64M'), 'f')
    const point = w.mkdir('exclusive')
    const open = openSync(path, 'w')
    try {
      const refused = await w.tryWeft('attach', 'shared', point)
      assert.is(refused.code, 5)
      assert.match(
        refused.stderr,
        /volume shared is open for writing through the namespace mount \(descriptors: 1\)/,
      )
      writeSync(open, 'still mine\n')
      await w.weft('attach', 'shared', point, '--force')
      assert.is(readFileSync(join(point, 'f'), 'utf8'), 'still mine\n')
      assert.throws(
        () => writeSync(open, 'no more\n'),
        (error: NodeJS.ErrnoException) => error.code === 'EROFS',
      )
    } finally {
      closeSync(open)
    }
    await w.weft('detach', point)
    await w.weft('attach', 'shared', point)
  } finally {
    await w.close()
  }
})

test('names made and removed on an exclusive mount are seen at once through the namespace', async () => {
  const w = await startNode()
  try {
    const there = await w.volume('shared', '--size', '64M')
    const point = w.mkdir('exclusive')
    await w.weft('attach', 'shared', point)
    for (let round = 0; round < 20; round += 1) {
      mkdirSync(join(point, `made-${round}`))
      assert.ok(readdirSync(there).includes(`made-${round}`), `round ${round}: listed`)
      assert.ok(existsSync(join(there, `made-${round}`)), `round ${round}: found`)
      rmdirSync(join(point, `made-${round}`))
      assert.is(existsSync(join(there, `made-${round}`)), false, `round ${round}: gone`)
    }
  } finally {
    await w.close()
  }
})

test.run()
