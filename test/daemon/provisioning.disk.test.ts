import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLog, systemClock, systemRandom } from '../../src/base/index.ts'
import { Jobs } from '../../src/daemon/jobs.ts'
import { policyControl } from '../../src/daemon/policy-verbs.ts'
import { NodeProvisioning } from '../../src/daemon/provisioning.ts'
import { storeConnection } from '../../src/daemon/synergy-connection.ts'
import { synergyControl } from '../../src/daemon/synergy-verbs.ts'
import { systemDisk } from '../../src/disk/index.ts'
import type { HostDrives } from '../../src/provision/index.ts'
import { openNodeIdentity } from '../../src/volumes/index.ts'
import { thrownBy } from '../support/thrown.ts'

const PASSWORD = Buffer.from('hunter2 hunter2')
const WHEN = '2026-01-02T03:04:05.000Z'

/** A home without a frame; the host's drives are not asked. */
function world() {
  const dir = mkdtempSync(join(tmpdir(), 'weft-provision-'))
  const home = join(dir, 'home')
  const dmiDir = join(dir, 'dmi')
  mkdirSync(dmiDir)
  writeFileSync(join(dmiDir, 'product_uuid'), '39374135-3436-584D-5138-323330305848\n')
  const identity = openNodeIdentity(home, systemDisk, WHEN)
  const refuse = async () => {
    throw new Error('the host was asked')
  }
  const host: HostDrives = {
    facts: async () => ({ drives: [], others: [], silent: [] }),
    waitForDisk: refuse,
    makeDrive: refuse,
    drain: refuse,
    verify: refuse,
    takeOut: refuse,
    deleteDevice: refuse,
  }
  const lines: string[] = []
  const log = { ...silentLog, warn: (line: object) => lines.push(JSON.stringify(line)) }
  const begin = () =>
    new NodeProvisioning({
      ...{ home, identity, cluster: null, dmiDir, host: () => host, disk: systemDisk },
      ...{ clock: systemClock(), random: systemRandom, log: log as never },
    })
  const provisioning = begin()
  const jobs = new Jobs(() => WHEN)
  return {
    ...{ home, identity, provisioning, begin, lines },
    synergy: synergyControl({ provisioning, jobs }),
    policy: policyControl(provisioning),
    async close() {
      await provisioning.close()
      rmSync(dir, { recursive: true })
    },
  }
}

test('a home without a frame opens nothing and makes no file, and says how to connect one', async () => {
  const w = world()
  try {
    w.provisioning.start()
    assert.is(w.provisioning.known, null)
    assert.not(existsSync(join(w.home, 'provision')))
    for (const work of [
      w.synergy.free(null),
      w.synergy.allocate({ class: 2, drives: 1, plan: false }),
      w.synergy.release('x', { plan: true, lost: false }),
      w.synergy.logout({ force: false }),
      w.synergy.check(),
    ]) {
      const error = await thrownBy(work)
      assert.is(error.code, 'ENODEV')
      assert.match(String(error.subject.next), /^weft synergy connect https:/)
    }
    assert.is((await w.synergy.status()).connection, null)
  } finally {
    await w.close()
  }
})

test('the policy can be set before a frame is connected, and is there in the next life', async () => {
  const w = world()
  const again = w.begin()
  try {
    const set = await w.policy.set({ enabled: true, growAt: '80%', coolDown: '1h' })
    assert.is(set.enabled, true)
    assert.is(set.coolDownSeconds, 3600)
    assert.match(
      set.words,
      /^policy on: grow at 80 %.*; no frame is connected, so nothing is taken/,
    )
    assert.not.match((await w.policy.set({ enabled: false })).words, /no frame/)
    await w.policy.set({ enabled: true })
    assert.is((await thrownBy(w.policy.set({ growAt: '80', shrinkAt: '79' }))).code, 'EINVAL')
    const { growAtPercent, enabled } = await policyControl(again).show()
    assert.equal({ growAtPercent, enabled }, { growAtPercent: 80, enabled: true })
    assert.equal(await w.policy.plan(), [])
    assert.is((await w.policy.log()).at(0)?.name, 'set settings')
  } finally {
    await again.close()
    await w.close()
  }
})

test('what cannot be connected is said at once, and nothing of it is stored', async () => {
  const w = world()
  // A port that nobody listens on.
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  try {
    const connect = (url: string, pin?: string) =>
      thrownBy(w.synergy.connect({ url, user: 'weft', password: PASSWORD, pin }))
    assert.is((await connect('http://composer')).code, 'EINVAL')
    assert.is((await connect('https://composer', 'sha256:12')).code, 'EINVAL')
    const away = await connect(`https://127.0.0.1:${port}`)
    assert.is(away.code, 'EHOSTUNREACH')
    assert.match(away.message, /no connection to/)
    assert.is(w.provisioning.isConnected, false)
    const files = existsSync(join(w.home, 'provision'))
      ? readdirSync(join(w.home, 'provision'))
      : []
    assert.not(files.includes('connection.json'))
    assert.not(w.lines.join('').includes(PASSWORD.toString()))
  } finally {
    await w.close()
  }
})

test('a connection that another node sealed is a problem with a next step, and can be forgotten', async () => {
  const w = world()
  const other = world()
  try {
    const connection = {
      ...{ url: 'https://127.0.0.1:1', user: 'weft', domain: null, ca: null, pin: null },
      cluster: 'c'.repeat(32),
    }
    const { publicKey } = other.identity.keys.box
    storeConnection(join(w.home, 'provision'), systemDisk, connection, PASSWORD, publicKey)
    const next = w.begin()
    try {
      assert.is(next.isConnected, true)
      assert.is((await thrownBy(next.check(new AbortController().signal))).code, 'EHOSTUNREACH')
      assert.equal(await next.logout(false), [])
      assert.is(next.isConnected, false)
      assert.is(next.connection(), null)
    } finally {
      await next.close()
    }
  } finally {
    await other.close()
    await w.close()
  }
})

test.run()
