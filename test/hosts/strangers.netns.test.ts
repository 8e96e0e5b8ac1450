// deadline: 300 s
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { until } from '../support/node-world.ts'
import { SharedLab } from '../support/shared-lab.ts'

const PORT = 9338
const CONNECTIONS = 10_000
const GROWN_MIB_MAX = 300

const shared = new SharedLab(3)
/** Of the test that runs. */
let volume = ''

async function withVolume(work: (lab: Lab, a: Host, point: string) => Promise<void>) {
  const point = mkdtempSync(join(tmpdir(), 'weft-strangers-'))
  volume = shared.name('db')
  try {
    await shared.with(async (lab) => {
      const a = lab.host(2)
      await a.weft('volume', 'create', volume, '--size', '1G', '--repl', '3')
      await a.weft('attach', volume, point)
      await work(lab, a, point)
    })
  } finally {
    rmSync(point, { recursive: true })
  }
}

/** Opens so many connections, sends garbage, the beginning of a greeting, or nothing, and holds what is not closed. */
const CROWD = `import os, resource, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
held, refused = [], 0
for n in range(count):
    s = socket.socket()
    s.settimeout(5)
    try:
        s.connect((host, port))
        if n % 4 == 1: s.send(os.urandom(1 + n % 200))
        if n % 4 == 2: s.send(bytes([96, 0, 0]) + os.urandom(96))
        if n % 4 == 3: s.send(b'\\xff\\xff\\xff' + os.urandom(64))
    except OSError: refused += 1
    held.append(s)
print('held', len(held), 'refused', refused, flush=True)
sys.stdin.read()`

function residentMiB(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  return Number(kib) / 1024
}

test('a node that ten thousand connections are opened to goes on with its members, within bounds', () =>
  withVolume(async (lab, a, point) => {
    const [pid = 0] = a.processes('__daemon')
    const before = residentMiB(pid)
    const words = ['python3', '-c', CROWD, a.ip, `${PORT}`, `${CONNECTIONS}`]
    const crowd = lab.host(3).spawn(words, { stdio: ['pipe', 'pipe', 'inherit'] })
    let said = ''
    crowd.stdout?.on('data', (text) => {
      said += text
    })
    const closed = new Promise((resolve) => crowd.once('close', resolve))
    let most = 0
    let written = 0
    await until(
      'all have been opened',
      async () => {
        const line = `for n in 1 2 3; do echo $n >>${point}/log; sync ${point}/log; done`
        await a.run('bash', '-ec', line)
        written += 3
        most = Math.max(most, residentMiB(pid))
        return said.includes('held')
      },
      120_000,
    )
    assert.match(said, new RegExp(`held ${CONNECTIONS}`))
    await a.run('bash', '-ec', `echo last >>${point}/log; sync ${point}/log`)
    assert.ok(written > 3)
    assert.ok(most - before < GROWN_MIB_MAX, `grew from ${before} to ${most} MiB`)
    assert.is(a.processes('__daemon')[0], pid, 'it is the same life')
    crowd.stdin?.end()
    await closed
    await a.run('bash', '-ec', `echo after >>${point}/log; sync ${point}/log`)
  }))

test('a copy that stops answering in mid-transfer is dropped, and is taken in again with all it missed', () =>
  withVolume(async (lab, a, point) => {
    const b = lab.host(3)
    const copy = `dd if=/dev/urandom of=${point}/large bs=1M count=48 conv=fsync status=none`
    const writes = a.spawn(['bash', '-ec', `${copy}; sha256sum <${point}/large`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let sum = ''
    writes.stdout?.on('data', (text) => {
      sum += text
    })
    const over = new Promise<number | null>((resolve) => writes.once('close', resolve))
    // Not before bytes of it have arrived there.
    const arrived = async () => Number(await b.run('du', '-sm', '/mnt/drive1').then(parseInt))
    const atFirst = await arrived()
    await until('some of it has arrived', async () => (await arrived()) > atFirst + 4)
    await b.pause()
    assert.is(await over, 0, 'fsync returns without the one that is silent')
    await b.resume()
    await until(
      'it is in sync again',
      async () => {
        const { copies } = await a.ask<{ copies: { inSync: boolean }[] }>(`/v1/volumes/${volume}`)
        return copies.every(({ inSync }) => inSync)
      },
      90_000,
    )
    await a.weft('detach', point)
    await b.weft('attach', volume, point)
    assert.is(await b.run('bash', '-c', `sha256sum <${point}/large`), sum)
  }))

test('what all of them have left is sound', () => shared.end())

test.run()
