// deadline: 300 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeStatus } from '../../src/api/index.ts'
import { shell } from '../support/filled.ts'
import { hosts } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'

/** Drives that come and go on nodes with copies of a volume that is written all the time. */

interface Detail {
  readonly owner: string | null
  readonly copies: readonly { readonly node: string; readonly state: string }[]
}

/** Another owner, or the same one anew, takes longer than this: its lease has to be granted again. */
const WAIT_MS_MAX = 1500

const inspect = (host: Host) => host.ask<Detail>('/v1/volumes/v')

const pidOf = async (host: Host) => (await host.ask<NodeStatus>('/v1/status')).daemon.pid

const chunksOn = async (host: Host, dir: string) =>
  Number(await shell(host, `find ${dir}/chunks -type f -name '${'[0-9a-f]'.repeat(32)}' | wc -l`))

/** File after file, each with an fsync, until `stop` is there; prints how many, and how long the slowest took. */
const WRITER = (point: string) => `
n=0; longest=0
while [ ! -e /run/stop ]; do
  began=$(date +%s%3N)
  yes "file $n" | head -c 300000 | dd of=${point}/$n bs=1M iflag=fullblock conv=fsync status=none || exit 1
  took=$(( $(date +%s%3N) - began ))
  [ $took -gt $longest ] && longest=$took
  n=$((n + 1))
done
echo $n $longest`

async function untilAllInSync(host: Host): Promise<void> {
  await until(
    'every copy is in sync',
    async () => (await inspect(host)).copies.every(({ state }) => state === 'in sync'),
    60_000,
  )
}

test('the owner of a volume and a node with a copy take a drive, empty it and give it up while the volume is written, and no daemon begins anew', async () => {
  const point = mkdtempSync(join(tmpdir(), 'weft-live-'))
  const lab = await hosts(3, { size: '1G' })
  try {
    const [owner, member] = [lab.host(1), lab.host(2)]
    await owner.weft('volume', 'create', 'v', '--size', '2G', '--repl', '3')
    await owner.weft('attach', 'v', point)
    await untilAllInSync(owner)
    const lives = [await pidOf(owner), await pidOf(member)]
    const writing = shell(owner, WRITER(point))
    const das = '/mnt/drive1/das1'
    for (const host of [owner, member]) {
      await host.weft('drive', 'add', das, '--create')
      await until('chunks are on it', async () => (await chunksOn(host, das)) > 3, 60_000)
      await host.weft('drive', 'drain', 'das1')
      assert.is(await chunksOn(host, das), 0)
      await host.weft('drive', 'remove', 'das1')
    }
    await shell(owner, 'touch /run/stop')
    const [files = 0, longestMs = 0] = (await writing).trim().split(' ').map(Number)
    assert.equal([await pidOf(owner), await pidOf(member)], lives)
    assert.is((await inspect(owner)).owner, owner.name)
    assert.ok(files > 20)
    assert.ok(longestMs < WAIT_MS_MAX, `the slowest file took ${longestMs} ms`)
    await untilAllInSync(owner)
    const check = `for n in $(seq 0 ${files - 1}); do yes "file $n" | head -c 300000 | cmp - ${point}/$n || exit 1; done`
    await shell(owner, `echo 3 >/proc/sys/vm/drop_caches; ${check}`)
    assert.match(await owner.weft('scrub', 'v'), /everything is whole/)
    await owner.weft('detach', point)
    await member.weft('attach', 'v', point)
    await shell(member, check)
    await member.weft('detach', point)
  } finally {
    await lab.close()
    rmSync(point, { recursive: true })
  }
})

test.run()
