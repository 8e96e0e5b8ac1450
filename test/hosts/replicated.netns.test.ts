// alone: it measures how long a lease is used, and calls to a tenth of a second
// deadline: 400 s
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

/** Lease, and what a take-over behind it takes (issue 3: 2 s), and as much again for a slow machine. */
const TAKE_OVER_MS = 14_000
const LEASE_MS = 10_000
/** An owner counts a tenth less than a term, from the sending; what is beyond is this test's own slowness. */
const ANSWERS_MS_MAX = 0.9 * LEASE_MS + 500

interface World {
  readonly lab: Lab
  /** Host 1 has the coordinator; nobody takes it down. */
  readonly keeper: Host
  readonly a: Host
  readonly b: Host
  /** Where the volume is attached, on whichever host. */
  readonly point: string
}

const shared = new SharedLab(3)
/** Of the test that runs. */
let volume = ''

/** Three hosts, and a volume with a copy on each, attached on the second. */
async function withVolume(work: (world: World) => Promise<void>): Promise<void> {
  const point = mkdtempSync(join(tmpdir(), 'weft-replicated-'))
  volume = shared.name('db')
  try {
    await shared.with(async (lab) => {
      const [keeper, a, b] = [lab.host(1), lab.host(2), lab.host(3)]
      await a.weft('volume', 'create', volume, '--size', '1G', '--repl', '3')
      await a.weft('attach', volume, point)
      await work({ lab, keeper, a, b, point })
      for (const host of [a, b]) await host.tryWeft('detach', point)
    })
  } finally {
    rmSync(point, { recursive: true })
  }
}

async function copies(host: Host): Promise<string> {
  const { copies: all } = await host.ask<{ copies: { node: string; inSync: boolean }[] }>(
    `/v1/volumes/${volume}`,
  )
  return all
    .filter((copy) => copy.inSync)
    .map((copy) => copy.node)
    .sort()
    .join(' ')
}

/** The network is found again in a few seconds; a copy then follows for ten before it is taken in. */
async function allInSync(host: Host): Promise<void> {
  const all = async () => (await copies(host)) === 'node1 node2 node3'
  await until('all copies are in sync', all, 60_000)
}

/** What only the daemon can answer: its kernel keeps no xattr. */
const askFor = (point: string) => `getfattr --absolute-names --only-values -n user.v ${point}/log`

/** The first in the lab: of volumes that the others own, which stand still here, ls says that they do not answer. */
test('without a lease an owner lets calls wait, but not those of its root, and goes on when it has one again', () =>
  withVolume(async ({ keeper, a, b, point }) => {
    await shell(a, `touch ${point}/log; setfattr -n user.v -v old ${point}/log; sync ${point}/log`)
    await Promise.all([keeper.pause(), b.pause()])
    const sinceMs = performance.now()
    const at = (ms: number) => new Promise((go) => setTimeout(go, sinceMs + ms - performance.now()))
    try {
      await at(LEASE_MS - 800)
      const made = a.spawn(['mkdir', `${point}/made`])
      const asked = a.spawn(['bash', '-c', askFor(point)], { stdio: ['ignore', 'pipe', 'inherit'] })
      let value = ''
      asked.stdout?.on('data', (bytes) => {
        value += String(bytes)
      })
      const over = [made, asked].map((child) => new Promise((done) => child.once('close', done)))
      // Timed inside: to enter a host takes a while.
      const calls = [
        `stat ${point}`,
        `df ${point}`,
        'ls -l /mnt/weft',
        `stat /mnt/weft/${volume}`,
        `df /mnt/weft/${volume}`,
      ]
      const script = [
        'ms() { date +%s%3N; }',
        ...calls.map((call) => `t=$(ms); ${call} >/dev/null; echo "$(($(ms) - t)) ms: ${call}"`),
        `${askFor(point)} & sleep 0.2; kill -9 $!; t=$(ms); wait $! || true; echo "$(($(ms) - t)) ms: killed"`,
      ]
      for (const line of (await shell(a, script.join('\n'))).split('\n')) {
        assert.ok(Number.parseInt(line, 10) < (line.endsWith('killed') ? 1000 : 100), line)
      }
      assert.is(made.exitCode, null, 'what is made waits')
      assert.is(value, '', 'what is read waits')
      await Promise.all([keeper.resume(), b.resume()])
      await Promise.all(over)
      assert.is(made.exitCode, 0)
      assert.is(value, 'old')
      await shell(a, `sync ${point}/made; ls -d ${point}/made`)
    } finally {
      for (const host of [keeper, b]) if (host.state === 'paused') await host.resume()
    }
  }))

test('a volume is attached where its owner died, with all that was fsynced, and the dead one comes back as a copy', () =>
  withVolume(async ({ a, b, point }) => {
    const before = await fill(a, point, 20)
    await a.powerCut()
    const sinceMs = performance.now()
    await b.weft('attach', volume, point)
    const tookMs = performance.now() - sinceMs
    assert.ok(tookMs < TAKE_OVER_MS, `${Math.round(tookMs)} ms`)
    assert.is(await sums(b, point), before)
    await shell(b, `echo more >>${point}/log; sync ${point}/log`)
    await a.start()
    await allInSync(b)
    await b.weft('fsck', volume)
    const metrics = await b.weft('debug', 'metrics')
    for (const line of [
      new RegExp(`^weft_volume_copies_in_sync\\{volume="${volume}"\\} 3$`, 'm'),
      new RegExp(`^weft_volume_copy_lag_records\\{volume="${volume}",node="node2"\\} \\d+$`, 'm'),
      new RegExp(`^weft_volume_commit_seconds_count\\{volume="${volume}"\\} [1-9]`, 'm'),
      /^weft_peer_up\{node="node2"\} 1$/m,
      /^weft_peer_rtt_seconds\{node="node2"\} 0\.\d+$/m,
      /^weft_peer_path\{node="node2",lane="control",path="tcp"\} 1$/m,
      /^weft_peer_bytes_total\{node="node2",direction="out"\} [1-9]/m,
    ])
      assert.match(metrics, line)
  }))

test('an owner that is cut off acknowledges nothing more, and its kernel never writes again', () =>
  withVolume(async ({ lab, keeper, a, b, point }) => {
    await shell(a, `touch ${point}/log; setfattr -n user.v -v old ${point}/log`)
    const before = await fill(a, point, 20)
    const answers = answeredUntil(a, `while ${askFor(point)} >/dev/null; do date +%s%3N; done`)
    await lab.cut(a)
    const cutMs = Date.now()
    // Accepted by its kernel, on its way to nobody.
    const syncs = `for n in 1 2 3 4 5 6; do sync ${point}/log && exit 7; done; exit 1`
    const late = a.spawn(['bash', '-c', `echo late >>${point}/log; ${syncs}`])
    const ended = new Promise<number | null>((resolve) => late.on('exit', resolve))
    await b.weft('attach', volume, point)
    assert.is(await sums(b, point), before)
    assert.is(await ended, 1, 'no fsync of the one that was cut off succeeds, nor the next')
    const answeredMs = (await answers) - cutMs
    assert.ok(answeredMs > LEASE_MS / 2, `answered for ${answeredMs} ms: the lease was not used`)
    assert.ok(answeredMs < ANSWERS_MS_MAX, `answered for ${answeredMs} ms, without a lease`)
    await lab.heal()
    await allInSync(b)
    assert.is(await sums(b, point), before)
    await standsDead(a, point)
    assert.match(await keeper.weft('volume', 'list'), new RegExp(`^${volume} .* node3$`, 'm'))
  }))

/** @param loop prints milliseconds since 1970 until nothing is answered any more @returns the last of them */
async function answeredUntil(host: Host, loop: string): Promise<number> {
  const child = host.spawn(['bash', '-c', loop], { stdio: ['ignore', 'pipe', 'ignore'] })
  let last = 0
  child.stdout?.on('data', (bytes) => {
    last = Number(String(bytes).trim().split('\n').at(-1))
  })
  await new Promise((resolve) => child.once('close', resolve))
  return last
}

/** The mount of a lost volume: nobody gets through it to what is below, before and after a start of the daemon. */
async function standsDead(host: Host, point: string): Promise<void> {
  for (const act of ['nothing', 'upgrade']) {
    if (act === 'upgrade') await host.weft('upgrade')
    for (const call of [`cat ${point}/log`, `echo new >${point}/new`, `mkdir ${point}/new`]) {
      const { code, stderr } = await host.tryRun('bash', '-c', call)
      assert.is(code, 1, call)
      assert.match(stderr, /Transport endpoint is not connected|Software caused connection abort/)
    }
    assert.match(await host.weft('status'), new RegExp(`mount ${point} is dead`))
    const again = await host.tryWeft('attach', volume, point)
    assert.match(again.stderr, new RegExp(`weft detach ${point}`))
  }
  await host.weft('detach', point)
  assert.is(await shell(host, `ls -A ${point}`), '', 'nothing was written below')
  assert.not.match(await host.weft('status'), /is dead/)
}

test('an owner that stood still while another took its volume answers nothing of before', () =>
  withVolume(async ({ a, b, point }) => {
    await shell(a, `touch ${point}/log; setfattr -n user.v -v old ${point}/log; sync ${point}/log`)
    await a.pause()
    await b.weft('attach', volume, point)
    await shell(b, `setfattr -n user.v -v new ${point}/log; sync ${point}/log`)
    // Waiting in the kernel when the owner wakes up, before it has heard of anything.
    const asked = Array.from({ length: 4 }, () => a.tryRun('bash', '-c', askFor(point)))
    await new Promise((resolve) => setTimeout(resolve, 500))
    await a.resume()
    for (const { code, stdout } of await Promise.all(asked)) {
      assert.is(stdout, '')
      assert.is(code, 1)
    }
  }))

test('a volume that nobody uses moves to where it is attached, without waiting for a lease', () =>
  withVolume(async ({ a, b, point }) => {
    const before = await fill(a, point, 20)
    const refused = await b.tryWeft('attach', volume, point)
    assert.match(refused.stderr, /in use on node node2/)
    await a.weft('detach', point)
    const writer = a.spawn(['bash', '-c', `exec 3>>/mnt/weft/${volume}/log; echo open; sleep 4321`])
    await new Promise((resolve) => writer.stdout?.once('data', resolve))
    const busy = await b.tryWeft('attach', volume, point)
    assert.match(busy.stderr, /in use on node node2: .*open for writing/)
    const closed = new Promise((resolve) => writer.once('exit', resolve))
    await a.run('pkill', '-f', 'sleep 4321')
    await closed
    const sinceMs = performance.now()
    await b.weft('attach', volume, point)
    assert.ok(performance.now() - sinceMs < LEASE_MS / 2)
    assert.is(await sums(b, point), before)
  }))

test('what all of them have left is sound', () => shared.end())

test.run()
