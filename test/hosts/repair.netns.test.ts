// deadline: 600 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fill, shell, sums } from '../support/filled.ts'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'
import { SharedLab } from '../support/shared-lab.ts'

/** Longer than the set takes to be changed (3 s), so that waiting can be seen. */
const GRACE_SECONDS = 6

interface Copies {
  readonly id: string
  readonly owner: string | null
  readonly copies: readonly {
    readonly node: string
    readonly inSync: boolean
    readonly state: string
  }[]
  readonly repair: { readonly doing: string } | null
  readonly problems: readonly { readonly what: string; readonly why: string }[]
}

interface World {
  readonly lab: Lab
  /** Owns the volume; host 1 has the coordinator. */
  readonly owner: Host
  readonly point: string
}

const shared = new SharedLab(4)
/** Of the test that runs. */
let volume = ''

/** Four hosts and a volume with copies on three of them, attached on the second. */
async function withVolume(work: (world: World) => Promise<void>): Promise<void> {
  const point = mkdtempSync(join(tmpdir(), 'weft-repair-'))
  volume = shared.name('db')
  try {
    await shared.with(async (lab) => {
      const owner = lab.host(2)
      await owner.weft('cluster', 'repair', '--grace', `${GRACE_SECONDS}s`)
      await owner.weft('volume', 'create', volume, '--size', '1G', '--repl', '3')
      await owner.weft('attach', volume, point)
      await work({ lab, owner, point })
      for (const host of lab.hosts) await detached(host, point)
      // Those that follow mend theirs only, unless a host is off that has a copy.
      if (lab.hosts.every(({ state }) => state === 'up')) await deleted(lab)
    })
  } finally {
    rmSync(point, { recursive: true })
  }
}

/** Its last user lets go of the volume; a host that has lost its power has let go already. */
async function detached(host: Host, point: string): Promise<void> {
  if (host.state !== 'up') return
  const { mounts } = await host.ask<{ mounts: { target: string }[] }>('/v1/mounts')
  if (mounts.some(({ target }) => target === point)) await host.weft('detach', point)
}

async function deleted(lab: Lab): Promise<void> {
  const { owner: name } = await inspect(lab.host(1))
  const owner = lab.hosts.find((host) => host.name === name)
  await owner?.weft('volume', 'delete', volume, '--force')
}

async function inspect(host: Host): Promise<Copies> {
  return await host.ask<Copies>(`/v1/volumes/${volume}`)
}

const inSync = ({ copies }: Copies) =>
  copies
    .filter((copy) => copy.inSync)
    .map((copy) => copy.node)
    .sort()

/** Another node with a copy than the owner's and the coordinator's, and the node without one. */
async function placesOf({ lab, owner }: World): Promise<{ holder: Host; spare: Host }> {
  const nodes = (await inspect(owner)).copies.map(({ node }) => node)
  const holder = lab.hosts.find(({ name, number }) => number > 2 && nodes.includes(name))
  const spare = lab.hosts.find(({ name }) => !nodes.includes(name))
  assert.ok(holder && spare, nodes.join())
  return { holder, spare }
}

/** The first in the lab: every chunk there is one of its volume. */
test('a byte that flips on a drive of another node is found, mended and reported', () =>
  withVolume(async (world) => {
    const { owner, point } = world
    const before = await fill(owner, point, 40)
    const { holder } = await placesOf(world)
    assert.match(await owner.weft('scrub', volume), /everything is whole/)
    // In the middle of a chunk file of its own, as a drive would do it.
    const flip = (host: Host) =>
      shell(
        host,
        `f=$(find /mnt/drive1 -path '*/chunks/*' -type f -size +2M | head -n 1)
         printf 'flip' | dd of=$f bs=1 seek=1000000 conv=notrunc status=none; sync $f; basename $f`,
      )
    const chunk = await flip(holder)
    const found = await holder.tryWeft('scrub', volume)
    assert.is(found.code, 0, found.stderr)
    assert.match(
      found.stdout,
      new RegExp(`node ${holder.name}: chunk ${chunk}: its checksum differs \\(mended`),
    )
    const status = await owner.weft('status')
    assert.match(
      status,
      new RegExp(`1 damaged in its copy on node ${holder.name}, 0 of them not mended`),
    )
    // And one of the owner's own drive, found by a reader, who waits until it is had from another copy.
    await flip(owner)
    await owner.run('sh', '-c', 'echo 3 >/proc/sys/vm/drop_caches')
    await owner.weft('detach', point)
    await owner.weft('attach', volume, point)
    assert.is(await sums(owner, point), before)
    assert.match(await owner.weft('scrub', volume), /damaged|whole|mended/)
    assert.match(await owner.weft('fsck', volume), /everything is whole/)
  }))

test('a spare is filled for a node that does not return, and holds every byte', () =>
  withVolume(async (world) => {
    const { owner, point } = world
    const before = await fill(owner, point, 40)
    const { holder, spare } = await placesOf(world)
    const { id } = await inspect(owner)
    const left = () => shell(holder, `find /mnt/drive1 -path '*/volumes/${id}/*'`)
    assert.is.not(await left(), '')
    await holder.powerCut()
    // Degraded, and said so: which copy, and that it may return.
    await until('it waits for the node', async () => {
      const { repair, problems } = await inspect(owner)
      const isSaid = problems.some(({ what }) => /2 of 3 copies/.test(what))
      return isSaid && repair?.doing.includes(`node ${holder.name} does not answer`)
    })
    assert.match(await owner.weft('status'), new RegExp(`volume ${volume}: 2 of 3 copies in sync`))
    await shell(owner, `echo more >>${point}/log; sync ${point}/log`)
    await until(
      'the spare is in sync',
      async () => inSync(await inspect(owner)).includes(spare.name),
      90_000,
    )
    await until('the dead copy is given up', async () => {
      const { copies, problems } = await inspect(owner)
      return (
        copies.length === 3 &&
        !copies.some(({ node }) => node === holder.name) &&
        problems.length === 0
      )
    })
    const after = await sums(owner, point)
    assert.is.not(after, before)
    await owner.weft('detach', point)
    await spare.weft('attach', volume, point)
    assert.is(await sums(spare, point), after)
    await spare.weft('fsck', volume)
    // What the dead one still had goes once it is back: its record says so.
    await holder.start()
    await until('its old copy is deleted', async () => (await left()) === '')
  }))

test('a volume whose owner is gone and that nobody uses is taken over and mended', () =>
  withVolume(async (world) => {
    const { owner, point, lab } = world
    const before = await fill(owner, point, 40)
    const { holder, spare } = await placesOf(world)
    await owner.powerCut()
    await until(
      'a member owns it and the spare is in sync',
      async () => {
        const { owner: name, copies } = await inspect(lab.host(1))
        const isMended = copies.some(({ node, inSync: is }) => node === spare.name && is)
        return name !== owner.name && isMended && !copies.some(({ node }) => node === owner.name)
      },
      120_000,
    )
    await holder.weft('attach', volume, point)
    assert.is(await sums(holder, point), before)
  }))

test('a node that returns in time goes on with its copy, and none is made elsewhere', () =>
  withVolume(async (world) => {
    const { owner, point } = world
    await fill(owner, point, 40)
    const { holder, spare } = await placesOf(world)
    const names = inSync(await inspect(owner))
    await owner.weft('cluster', 'repair', '--grace', '5m')
    await holder.powerCut()
    await until('it is out of the set', async () => inSync(await inspect(owner)).length === 2)
    await shell(owner, `echo more >>${point}/log; sync ${point}/log`)
    await holder.start()
    await until(
      'it is in sync again',
      async () => inSync(await inspect(owner)).length === 3,
      60_000,
    )
    assert.equal(inSync(await inspect(owner)), names)
    assert.not.ok((await inspect(owner)).copies.some(({ node }) => node === spare.name))
  }))

test('more and fewer copies while a volume is used, and another owner', () =>
  withVolume(async (world) => {
    const { owner, point, lab } = world
    const before = await fill(owner, point, 40)
    const { spare, holder } = await placesOf(world)
    await owner.weft('volume', 'repl', volume, '4')
    assert.equal(inSync(await inspect(owner)).length, 4)
    await owner.weft('volume', 'repl', volume, '2')
    const two = await inspect(owner)
    assert.is(two.copies.length, 2)
    assert.ok(inSync(two).includes(owner.name), 'the own copy stays')
    const refused = await lab.host(1).tryWeft('volume', 'repl', volume, '5')
    assert.match(refused.stderr, /5 copies need 5 nodes/)
    await owner.weft('detach', point)
    const names = two.copies.map(({ node }) => node)
    const target = [spare, holder].find(({ name }) => !names.includes(name)) as Host
    const none = await owner.tryWeft('volume', 'move', volume, target.name)
    assert.match(none.stderr, /has no copy on node .*--copy/s)
    await owner.weft('volume', 'move', volume, target.name, '--copy')
    await until('it is owned there with two copies', async () => {
      const { owner: name, copies } = await inspect(target)
      return (
        name === target.name && copies.length === 2 && inSync(await inspect(target)).length === 2
      )
    })
    await target.weft('attach', volume, point)
    assert.is(await sums(target, point), before)
  }))

/** The last one: the lab has a host less. */
test('a node is emptied while its volume is used, then removed', () =>
  withVolume(async (world) => {
    const { owner, point } = world
    await fill(owner, point, 40)
    const { holder, spare } = await placesOf(world)
    const refused = await owner.tryWeft('node', 'remove', holder.name)
    assert.match(refused.stderr, /node drain/)
    assert.match(await owner.weft('node', 'drain', holder.name, '--plan'), /MiB to copy.*3 in sync/)
    assert.equal((await inspect(owner)).copies.length, 3)
    const writer = shell(
      owner,
      `for n in $(seq 40); do echo $n >>${point}/log; sync ${point}/log; sleep 0.5; done`,
    )
    await owner.weft('node', 'drain', holder.name)
    const { copies } = await inspect(owner)
    assert.equal(copies.map(({ node }) => node).includes(holder.name), false)
    assert.ok(inSync(await inspect(owner)).includes(spare.name))
    await writer
    await owner.weft('node', 'remove', holder.name)
    const before = await sums(owner, point)
    await owner.weft('detach', point)
    await spare.weft('attach', volume, point)
    assert.is(await sums(spare, point), before)
    await spare.weft('fsck', volume)
  }))

test('what all of them have left is sound', () => shared.end())

test.run()
