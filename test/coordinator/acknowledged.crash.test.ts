import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openEmbeddedCoordinator } from '../../src/coordinator/index.ts'

/** Told by the writer after each answer: this key has at least this version and this number as its value. */
interface Acknowledged {
  readonly key: string
  readonly version: number
  readonly count: number
}

const KEYS = 5

/** The child: counts up on a few keys for ever, telling its parent what was acknowledged, until it is killed. */
async function write(dir: string): Promise<never> {
  const coordinator = await openEmbeddedCoordinator(dir)
  for (let round = 0; ; round++) {
    const key = `key/${round % KEYS}`
    const now = await coordinator.get(key)
    const count = Number(now?.value.toString() ?? 0) + 1
    const both = await coordinator.transaction([
      { key, expected: now?.version ?? 0, value: Buffer.from(String(count)) },
      {
        key: `${key}/twin`,
        expected: (await coordinator.get(`${key}/twin`))?.version ?? 0,
        value: Buffer.from(String(count)),
      },
    ])
    assert.ok(both.ok)
    process.send?.({ key, version: both.versions[0], count })
  }
}

async function writeUntilKilled(dir: string, messages: number): Promise<Map<string, Acknowledged>> {
  const acknowledged = new Map<string, Acknowledged>()
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), ['write', dir], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  let received = 0
  child.on('message', (message) => {
    const told = message as Acknowledged
    acknowledged.set(told.key, told)
    if (++received === messages) child.kill('SIGKILL')
  })
  const signal = await new Promise((resolve) => child.once('exit', (_, by) => resolve(by)))
  assert.is(signal, 'SIGKILL', 'the writer must die by our hand, in the middle of its work')
  assert.ok(received >= messages)
  return acknowledged
}

if (process.argv[2] === 'write') {
  await write(process.argv[3] ?? '')
} else {
  test('every acknowledged change is there after kill -9 of the writer, whole, ten times over', async () => {
    const base = mkdtempSync(join(tmpdir(), 'weft-coordinator-crash-'))
    const dir = join(base, 'coordinator')
    try {
      for (let round = 0; round < 10; round++) {
        const acknowledged = await writeUntilKilled(dir, 40 + round * 7)
        const coordinator = await openEmbeddedCoordinator(dir)
        try {
          assert.is(acknowledged.size, KEYS)
          for (const { key, version, count } of acknowledged.values()) {
            const entry = await coordinator.get(key)
            const twin = await coordinator.get(`${key}/twin`)
            assert.ok(
              entry && entry.version >= version,
              `${key}: version ${entry?.version}, acknowledged ${version}`,
            )
            assert.ok(Number(entry.value.toString()) >= count)
            assert.is(
              twin?.value.toString(),
              entry.value.toString(),
              'a transaction is there whole or not at all',
            )
            assert.is(twin?.version, entry.version)
          }
        } finally {
          await coordinator.close()
        }
      }
    } finally {
      rmSync(base, { recursive: true, force: true })
    }
  })

  test.run()
}
