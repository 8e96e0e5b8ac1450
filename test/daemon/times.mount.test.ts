// deadline: 120 s
import {
  linkSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startNode } from '../support/node-world.ts'

test('times that a kernel with writeback keeps outlive the daemon and the mount', async () => {
  const w = await startNode()
  try {
    const there = await w.volume('v')
    const point = w.mkdir('exclusive')
    await w.weft('attach', 'v', point)
    const before = new Map<string, { mtimeNs: bigint; ctimeNs: bigint }>()
    const look = (dir: string, name: string) => {
      const { mtimeNs, ctimeNs } = statSync(join(dir, name), { bigint: true })
      return { mtimeNs, ctimeNs }
    }
    for (let i = 0; i < 30; i += 1) {
      writeFileSync(join(point, `f${i}`), `${i}`)
      if (i % 2 === 0) renameSync(join(point, `f${i}`), join(point, `g${i}`))
      const name = i % 2 === 0 ? `g${i}` : `f${i}`
      before.set(name, look(point, name))
      if (i === 20) {
        await w.kill9()
        await w.ready()
      }
    }
    for (const [name, times] of before) assert.equal(look(point, name), times, `${name} there`)
    await w.weft('detach', point)
    for (const [name, times] of before) assert.equal(look(there, name), times, `${name} detached`)
    await w.restart()
    for (const [name, times] of before) assert.equal(look(there, name), times, `${name} restarted`)
  } finally {
    await w.close()
  }
})

test('a file that is cut stays cut, while times of it alone are staged', async () => {
  const w = await startNode()
  try {
    const point = await w.attached('v')
    const [file, second, other] = ['file', 'second', 'other'].map((name) => join(point, name)) as [
      string,
      string,
      string,
    ]
    writeFileSync(file, Buffer.alloc(4096, 'a'))
    linkSync(file, second)
    writeFileSync(file, Buffer.alloc(4096, 'b'))
    writeFileSync(other, Buffer.alloc(75_000, 'c'))
    unlinkSync(second)
    truncateSync(other, 70_000) // too much for a record: what was staged until `other` was written is committed
    writeFileSync(file, 'short')
    assert.is(statSync(file).size, 5)
    assert.is(readFileSync(file, 'utf8'), 'short')
    await w.restart()
    assert.is(readFileSync(join(w.mnt, 'v', 'file'), 'utf8'), 'short')
  } finally {
    await w.close()
  }
})

test.run()
