// deadline: 300 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hosts } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'

async function shell(host: Host, command: string): Promise<string> {
  return (await host.run('bash', '-ec', command)).trim()
}

const sums = (host: Host, point: string) =>
  shell(host, `cd ${point} && find . -type f | sort | xargs sha256sum`)

async function inSync(host: Host): Promise<string> {
  const { copies } = await host.ask<{ copies: { node: string; inSync: boolean }[] }>(
    '/v1/volumes/db',
  )
  const nodes = copies.filter((copy) => copy.inSync).map((copy) => copy.node)
  return nodes.sort().join(' ')
}

async function allInSync(host: Host): Promise<void> {
  const all = async () => (await inSync(host)) === 'node1 node2 node3'
  await until('all copies are in sync', all, 60_000)
}

/** Sequence of the last record before the first that the host still has: offset 40 of a journal file (docs/format.md). */
async function journalBegin(host: Host): Promise<number> {
  const first =
    'find /mnt/drive*/weft* -path "*/volumes/*" -name "*.journal" -size +0 | sort | head -1'
  return Number(await shell(host, `od -An -t u8 -j 40 -N 8 "$(${first})"`))
}

test('a node that was away until the journal was cut comes back in sync, and takes over with all data', async () => {
  const point = mkdtempSync(join(tmpdir(), 'weft-checkpoint-'))
  const lab = await hosts(3)
  try {
    // Host 1 has the coordinator; nobody takes it down.
    const [, a, b] = [lab.host(1), lab.host(2), lab.host(3)]
    await a.weft('volume', 'create', 'db', '--size', '1G', '--repl', '3')
    await a.weft('attach', 'db', point)
    await shell(
      a,
      `dd if=/dev/urandom of=${point}/large bs=1M count=20 conv=fsync status=none
       mkdir ${point}/many; for n in $(seq 100); do echo $n >${point}/many/$n; done
       sync ${point}/many/* ${point}/many`,
    )
    await b.kill9()
    await until('it is dropped', async () => (await inSync(a)) === 'node1 node2', 60_000)
    await shell(
      a,
      `dd if=/dev/urandom of=${point}/missed bs=1M count=8 conv=fsync status=none
       for n in $(seq 50); do echo $n >${point}/many/late-$n; done; sync ${point}/many/late-* ${point}/many`,
    )
    // New keys cut the journal at once, on all copies that are there.
    const refused = await a.tryWeft('key', 'rotate', 'db', '--reseal')
    assert.match(
      `${refused.stderr}${refused.stdout}`,
      /1 of the copies of volume db does not answer/,
    )
    const begin = await journalBegin(a)
    assert.ok(begin > 100, `the journal begins behind record ${begin}`)
    await shell(a, `echo behind the checkpoint >${point}/after; sync ${point}/after`)
    const before = await sums(a, point)
    await b.start()
    await allInSync(a)
    assert.ok((await journalBegin(b)) >= begin, 'it began at the checkpoint')
    await a.weft('key', 'rotate', 'db', '--reseal')
    await a.powerCut()
    await b.weft('attach', 'db', point)
    assert.is(await sums(b, point), before)
    await b.weft('fsck', 'db')
    await a.start()
    await allInSync(b)
  } finally {
    await lab.close()
    rmSync(point, { recursive: true })
  }
})

test.run()
