// deadline: 400 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fill, shell, sums } from '../support/filled.ts'
import { hosts, type Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'

/** Drives that are gone for good, of nodes that stay up and have another one. */

/** Long enough to be seen. */
const GRACE_SECONDS = 6
const MENDED_MS_MAX = 90_000
/** The first has the home, and is never lost here. */
const LOST = '/mnt/drive2'

interface Detail {
  readonly id: string
  readonly name: string
  readonly owner: string | null
  readonly copies: readonly {
    readonly id: string
    readonly node: string
    readonly state: string
    readonly why: string
  }[]
}

const inspect = (host: Host, volume: string) => host.ask<Detail>(`/v1/volumes/${volume}`)

async function withLab(work: (lab: Lab, point: string) => Promise<void>): Promise<void> {
  const point = mkdtempSync(join(tmpdir(), 'weft-lost-'))
  const lab = await hosts(3, { drives: 2, size: '1G' })
  try {
    await lab.host(1).weft('cluster', 'repair', '--grace', `${GRACE_SECONDS}s`)
    await work(lab, point)
  } finally {
    await lab.close()
    rmSync(point, { recursive: true })
  }
}

/** A volume on all hosts whose journals on these are, or are not, on the drive that is to be lost: where they go, its id decides. */
async function volumeWith(holders: readonly Host[], journalIsLost: boolean): Promise<string> {
  const [host] = holders
  assert.ok(host)
  for (let n = 1; n <= 16; n++) {
    const name = `${host.name}x${n}`
    await host.weft('volume', 'create', name, '--size', '500M', '--repl', '3')
    const { id } = await inspect(host, name)
    const there = holders.map(
      async (one) => (await one.tryRun('test', '-e', `${LOST}/volumes/${id}`)).code === 0,
    )
    if ((await Promise.all(there)).every((isThere) => isThere === journalIsLost)) return name
    await host.weft('volume', 'delete', name, '--force')
  }
  throw new Error('sixteen journals went to the same drive')
}

/** What XFS does when its disk goes away under it. Source: man 8 xfs_io, shutdown. */
async function lose(host: Host): Promise<void> {
  await host.run('xfs_io', '-x', '-c', 'shutdown', LOST)
}

async function untilAllInSync(host: Host, volume: string): Promise<void> {
  const areAll = async () => {
    const { copies } = await inspect(host, volume)
    return copies.length === 3 && copies.every(({ state }) => state === 'in sync')
  }
  await until('every copy is in sync', areAll, MENDED_MS_MAX).catch(async (cause: unknown) => {
    const status = await host.weft('status')
    throw new Error(`${JSON.stringify(await inspect(host, volume))}\n${status}`, { cause })
  })
}

test('chunks that lay on a lost drive are made anew on the node that lost it, whoever it is, and readers notice nothing', () =>
  withLab(async (lab, point) => {
    const [other, owner] = [lab.host(3), lab.host(2)]
    const volume = await volumeWith([owner, other], false)
    await owner.weft('attach', volume, point)
    const before = await fill(owner, point, 60)
    const count = (host: Host) => shell(host, `find ${LOST}/chunks -type f -size +1M | wc -l`)
    assert.ok(Number(await count(other)) > 0, 'the drive has chunks')

    await lose(other)
    await until('it is found to lack chunks', async () => {
      const { copies } = await inspect(owner, volume)
      return copies.some(({ node, state, why }) => {
        return node === other.name && state === 'incomplete' && /lacks \d+ chunks/.test(why)
      })
    })
    assert.match(await owner.weft('status'), new RegExp(`${volume}: 2 of 3 copies in sync`))
    await untilAllInSync(owner, volume)
    assert.match(await owner.weft('scrub', volume), /everything is whole/)

    assert.ok(Number(await count(owner)) > 0, 'the drive of the owner has chunks')
    await lose(owner)
    await owner.run('sh', '-c', 'echo 3 >/proc/sys/vm/drop_caches')
    assert.is(await sums(owner, point), before, 'read from other copies where it must be')
    await shell(owner, `dd if=/dev/urandom of=${point}/more bs=1M count=20 conv=fsync status=none`)
    await untilAllInSync(owner, volume)
    const after = await sums(owner, point)
    await owner.weft('detach', point)
    await other.weft('attach', volume, point)
    assert.is(await sums(other, point), after)
    assert.match(await owner.weft('scrub', volume), /everything is whole/)
    await other.weft('detach', point)
  }))

test('a copy whose journal was on a lost drive is made anew on another drive of that node; an owner that lost its own hands over', () =>
  withLab(async (lab, point) => {
    const [other, owner] = [lab.host(3), lab.host(2)]
    const volume = await volumeWith([other], true)
    await owner.weft('attach', volume, point)
    const before = await fill(owner, point, 20)
    const copyOf = async (host: Host) => {
      const { copies } = await inspect(owner, volume)
      return copies.find(({ node }) => node === host.name)?.id
    }
    const lost = await copyOf(other)
    await lose(other)
    const isMadeAnew = async () => ![undefined, lost].includes(await copyOf(other))
    await until('its node has another copy', isMadeAnew, MENDED_MS_MAX)
    await untilAllInSync(owner, volume)
    assert.is(await sums(owner, point), before)
    await owner.weft('detach', point)

    const second = await volumeWith([owner], true)
    await owner.run(
      'sh',
      '-c',
      `echo kept >/mnt/weft/${second}/file; sync /mnt/weft/${second}/file`,
    )
    assert.is((await inspect(owner, second)).owner, owner.name)
    await lose(owner)
    // Nobody uses it: whoever has lost it has another node own it.
    await until(
      'another node owns it',
      async () => {
        const { owner: name } = await inspect(lab.host(1), second)
        return name !== null && name !== owner.name
      },
      MENDED_MS_MAX,
    )
    await untilAllInSync(lab.host(1), second)
    for (const host of lab.hosts) {
      assert.is(await host.run('cat', `/mnt/weft/${second}/file`), 'kept\n', host.name)
    }
  }))

test.run()
