import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { JobInfo, SynergyConnectRequest } from '../../src/api/index.ts'
import { silentLog, sleep, systemClock, systemRandom } from '../../src/base/index.ts'
import { setVolumeClass } from '../../src/daemon/class-verb.ts'
import { mustHaveRoom, mustHaveRoomFor } from '../../src/daemon/grow-for-volume.ts'
import { Jobs } from '../../src/daemon/jobs.ts'
import { policyControl } from '../../src/daemon/policy-verbs.ts'
import { NodeProvisioning } from '../../src/daemon/provisioning.ts'
import { synergyProblems } from '../../src/daemon/synergy-problems.ts'
import { synergyControl } from '../../src/daemon/synergy-verbs.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { openNodeIdentity } from '../../src/volumes/index.ts'
import { Simulator, type SimulatorOptions } from '../oneview/simulator.ts'
import { thrownBy } from '../support/thrown.ts'
import { MemoryHost } from './memory-host.ts'

/** The daemon's side against the simulated frame, over HTTPS; the host's disks are in memory. */

const UUID = '39374135-3436-584d-5138-323330305848'
const WHEN = '2026-01-02T03:04:05.000Z'

async function world(more: SimulatorOptions = {}) {
  const simulator = await Simulator.start({
    blades: [{ name: 'node1', uuid: UUID }],
    knobs: { jbodEditPower: 'online' },
    ...more,
  })
  const dir = mkdtempSync(join(tmpdir(), 'weft-frame-'))
  const home = join(dir, 'home')
  const dmiDir = join(dir, 'dmi')
  mkdirSync(dmiDir)
  writeFileSync(join(dmiDir, 'product_uuid'), `${UUID}\n`)
  const identity = openNodeIdentity(home, systemDisk, WHEN)
  const host = new MemoryHost()
  let logged = ''
  const note = (...line: unknown[]) => {
    logged += JSON.stringify(line)
  }
  const log = { ...silentLog, debug: note, info: note, warn: note, error: note }
  const clock = systemClock()
  const begin = (cluster: string | null = null) => {
    const provisioning = new NodeProvisioning({
      ...{ home, identity, cluster, dmiDir, host: () => host, disk: systemDisk },
      ...{ clock, random: systemRandom, log },
    })
    const jobs = new Jobs(() => WHEN)
    const synergy = synergyControl({ provisioning, jobs })
    const policy = policyControl(provisioning)
    const ended = async ({ id }: JobInfo): Promise<JobInfo> => {
      for (let tries = 0; jobs.get(id).state === 'running' && tries < 600; tries++)
        await sleep(clock, 50)
      return jobs.get(id)
    }
    const drives = [{ cos: 2 }] as never
    const create = (request: object) =>
      mustHaveRoom({ provisioning, jobs, drives, identity }, request, [identity.id])
    const record = { name: 'db', number: 1, copies: [{ node: identity.id }] }
    const GIB = 2 ** 30
    const resize = (sizeGiB: number, usedGiB: number, more: object = {}) => {
      const spec = { sizeBytes: 50 * GIB, cos: 2, cosFallback: false, ...more }
      return mustHaveRoomFor(
        { provisioning, jobs, drives, identity },
        { ...record, spec } as never,
        sizeGiB * GIB,
        usedGiB * GIB,
      )
    }
    /** @param others nodes that have a copy too */
    const setClass = async (storedGiB: number, orLower = false, others: string[] = []) => {
      const copies = [...record.copies, ...others.map((node) => ({ node }))]
      const stored = { record: { ...record, copies, spec: { cos: null } } }
      const classes: (number | null)[] = []
      const registry = {
        setCos: async (_: unknown, cos: number | null) => {
          classes.push(cos)
          return stored
        },
      }
      const engine = { call: async () => ({ storedBytes: storedGiB * GIB }) }
      const cluster = others.length > 0 ? { nameOf: (node: string) => node } : null
      const replicated = () => ({ candidates: async () => ({ found: [] }) })
      const here = { provisioning, jobs, drives: [], identity }
      await setVolumeClass(
        { ...here, registry, engine, cluster, replicated } as never,
        { stored, shared: {} } as never,
        { class: 2, orLower },
      )
      return classes
    }
    return { provisioning, jobs, synergy, policy, ended, create, resize, setClass }
  }
  return {
    ...{ simulator, home, begin, logged: () => logged },
    request: (more: Partial<SynergyConnectRequest> = {}): SynergyConnectRequest => ({
      ...{ url: simulator.url, user: simulator.user, pin: `sha256:${simulator.pin}` },
      password: Buffer.from(simulator.password),
      ...more,
    }),
    async close() {
      await simulator.close()
      rmSync(dir, { recursive: true })
    },
  }
}

test('a frame is connected when login and server are right, and its session ends with the node', async () => {
  const w = await world()
  const life = w.begin()
  try {
    const wrong = await thrownBy(life.synergy.connect(w.request({ password: Buffer.from('no') })))
    assert.is(wrong.code, 'EACCES')
    const pin = `sha256:${'0'.repeat(64)}`
    assert.is((await thrownBy(life.synergy.connect(w.request({ pin })))).code, 'EACCES')
    assert.is(life.provisioning.isConnected, false)
    const connected = await life.synergy.connect(w.request())
    assert.ok(connected.free.length > 0)
    assert.equal(connected.connection.trust, 'pin')
    const file = readFileSync(join(w.home, 'provision/connection.json'), 'utf8')
    for (const text of [file, w.logged(), JSON.stringify(await life.synergy.status())]) {
      assert.not(text.includes(w.simulator.password))
    }
  } finally {
    await life.provisioning.close()
    assert.is(w.simulator.sessions.count, 0)
    await w.close()
  }
})

test('a server that the appliance does not know is not connected', async () => {
  const w = await world({ blades: [{ name: 'other' }] })
  const life = w.begin()
  try {
    const error = await thrownBy(life.synergy.connect(w.request()))
    assert.is(error.code, 'ENODEV')
    assert.match(error.message, /no server of the appliance/)
  } finally {
    await life.provisioning.close()
    await w.close()
  }
})

test('a drive is taken, known in the next life, given back, and the frame forgotten only then', async () => {
  const w = await world()
  const first = w.begin()
  await first.synergy.connect(w.request())
  const { plan } = await first.synergy.allocate({ class: 2, drives: 1, plan: true })
  assert.match(plan[0] ?? '', /^take /)
  const { job } = await first.synergy.allocate({ class: 2, drives: 1, plan: false })
  const taken = await first.ended(job!)
  assert.is(taken.state, 'done', taken.error?.message)
  await first.provisioning.close()
  const life = w.begin()
  try {
    life.provisioning.start()
    const [drive, ...others] = (await life.synergy.status()).drives
    assert.is(drive?.step, 'settled')
    assert.equal(others, [])
    const busy = await thrownBy(life.synergy.logout({ force: false }))
    assert.is(busy.code, 'EBUSY')
    assert.ok(busy.message.includes(drive!.name))
    assert.is(
      (await thrownBy(life.synergy.release('nothing', { plan: false, lost: false }))).code,
      'ENOENT',
    )
    const going = await life.synergy.release(drive!.serial, { plan: false, lost: false })
    assert.is(going.id, drive!.id)
    const gone = await life.ended(going.job!)
    assert.is(gone.state, 'done', gone.error?.message)
    assert.equal((await life.synergy.status()).drives, [])
    assert.equal(await life.synergy.logout({ force: false }), { left: [] })
    assert.is((await life.synergy.status()).connection, null)
    assert.is(w.simulator.sessions.count, 0)
  } finally {
    await life.provisioning.close()
    await w.close()
  }
})

test('drives of one frame keep a node from connecting another, and a forced logout says what it leaves', async () => {
  const w = await world()
  const other = await world()
  const life = w.begin()
  try {
    await life.synergy.connect(w.request())
    const { job } = await life.synergy.allocate({ class: 2, drives: 1, plan: false })
    assert.is((await life.ended(job!)).state, 'done')
    assert.is((await thrownBy(life.synergy.connect(other.request()))).code, 'EBUSY')
    await life.synergy.connect(w.request())
    const { left } = await life.synergy.logout({ force: true })
    assert.is(left.length, 1)
    await life.provisioning.use((room) => room.status())
    assert.match(synergyProblems(life.provisioning)[0]?.what ?? '', /not connected/)
  } finally {
    await life.provisioning.close()
    await other.close()
    await w.close()
  }
})

test('drives that were taken before the node joined a cluster are known when the frame is connected again', async () => {
  const w = await world()
  const alone = w.begin()
  await alone.synergy.connect(w.request())
  const { job } = await alone.synergy.allocate({ class: 2, drives: 1, plan: false })
  assert.is((await alone.ended(job!)).state, 'done')
  const [drive] = (await alone.synergy.status()).drives
  await alone.synergy.logout({ force: true })
  await alone.provisioning.close()
  const member = w.begin('c'.repeat(32))
  try {
    await member.synergy.connect(w.request())
    const going = await member.synergy.release(drive!.id, { plan: false, lost: false })
    const gone = await member.ended(going.job!)
    assert.is(gone.state, 'done', gone.error?.message)
    await member.synergy.connect(w.request())
  } finally {
    await member.provisioning.close()
    await w.close()
  }
})

test('another life does not begin before the one before it has ended', async () => {
  const w = await world()
  const life = w.begin()
  try {
    await life.synergy.connect(w.request())
    let isEnded = false
    const before = life.provisioning.use(async (_room, signal) => {
      while (!signal.aborted) await sleep(systemClock(), 5)
      await sleep(systemClock(), 300)
      isEnded = true
    })
    await sleep(systemClock(), 20)
    const loggedOut = life.synergy.logout({ force: false })
    await sleep(systemClock(), 50)
    assert.is(await life.provisioning.use(() => isEnded), true)
    await Promise.all([loggedOut, before])
    assert.is(w.simulator.sessions.count, 0)
  } finally {
    await life.provisioning.close()
    await w.close()
  }
})

test('an appliance that attaches only with the server off is a problem that names the next step', async () => {
  const w = await world({ knobs: { jbodEditPower: 'off-required' } })
  const life = w.begin()
  try {
    await life.synergy.connect(w.request())
    const { job } = await life.synergy.allocate({ class: 2, drives: 1, plan: false })
    const ended = await life.ended(job!)
    assert.is(ended.error?.code, 'EPERM')
    assert.match(ended.error?.next ?? '', /weft synergy reconcile --retry-power/)
    const [problem] = synergyProblems(life.provisioning)
    assert.match(problem?.what ?? '', /waits for this server to be switched off/)
  } finally {
    await life.provisioning.close()
    await w.close()
  }
})

test('a volume that does not fit begins to grow, once, and has its room when that has ended', async () => {
  const w = await world()
  const life = w.begin()
  try {
    const volume = { name: 'db', size: '100G', cos: '2' }
    await life.create(volume)
    await life.synergy.connect(w.request())
    // Off, or a size that nobody said: as ever.
    await life.create(volume)
    await life.policy.set({ enabled: true, reserve: 'none' })
    await life.create({ name: 'db', cos: '2' })
    const growing = await thrownBy(life.create(volume))
    assert.is(growing.code, 'EAGAIN')
    const job = growing.subject.growing as JobInfo
    assert.equal(((await thrownBy(life.create(volume))).subject.growing as JobInfo).id, job.id)
    const ended = await life.ended(job)
    assert.is(ended.state, 'done', ended.error?.message)
    await life.create(volume)
    await life.create({ name: 'any', size: '100G' })
    await life.policy.set({ maxDrives: '1' })
    const full = await thrownBy(life.create({ name: 'any', size: '900T' }))
    assert.is(full.code, 'ENOSPC')
    assert.match(full.message, /this node has \d drives? of the frame already/)
  } finally {
    await life.provisioning.close()
    await w.close()
  }
})

test('a volume that is made larger has room for what it may come to hold, or grows for it', async () => {
  const w = await world()
  const life = w.begin()
  try {
    await life.synergy.connect(w.request())
    // Off: as ever.
    await life.resize(100, 0)
    await life.policy.set({ enabled: true, reserve: 'none' })
    await life.resize(50, 0)
    await life.resize(100, 100)
    await life.resize(100, 0, { cosFallback: true })
    const growing = await thrownBy(life.resize(100, 20))
    assert.is(growing.code, 'EAGAIN')
    assert.is(growing.op, 'volume.resize')
    assert.match(growing.message, /^volume db: 80 GiB do not fit on class 2/)
    const ended = await life.ended(growing.subject.growing as JobInfo)
    assert.is(ended.state, 'done', ended.error?.message)
    await life.resize(100, 20)
    await life.policy.set({ maxDrives: '1' })
    assert.is((await thrownBy(life.resize(900 * 1024, 0))).code, 'ENOSPC')
  } finally {
    await life.provisioning.close()
    await w.close()
  }
})

test('a class that has no room for a volume grows for it, where no other node lacks room too', async () => {
  const w = await world()
  const life = w.begin()
  try {
    await life.synergy.connect(w.request())
    assert.is((await thrownBy(life.setClass(0))).code, 'ENOSPC')
    await life.policy.set({ enabled: true, reserve: 'none' })
    assert.equal(await life.setClass(10, true), [2])
    const elsewhere = await thrownBy(life.setClass(10, false, ['node2']))
    assert.is(elsewhere.code, 'ENOSPC')
    assert.match(elsewhere.message, /node2 has 0 bytes free on drives of class 2/)
    assert.equal(
      life.jobs.list().filter(({ kind }) => kind === 'grow'),
      [],
    )
    const growing = await thrownBy(life.setClass(0))
    assert.is(growing.code, 'EAGAIN')
    assert.is(growing.op, 'volume.cos')
    const ended = await life.ended(growing.subject.growing as JobInfo)
    assert.is(ended.state, 'done', ended.error?.message)
    await life.policy.set({ maxDrives: '1' })
    const full = await thrownBy(life.setClass(900 * 1024))
    assert.is(full.code, 'ENOSPC')
    assert.match(full.message, /this node has \d drives? of the frame already/)
  } finally {
    await life.provisioning.close()
    await w.close()
  }
})

test('the check of an appliance looks at each point and leaves no session', async () => {
  const w = await world()
  const life = w.begin()
  try {
    await life.synergy.connect(w.request())
    await life.provisioning.use((room) => room.status())
    const before = w.simulator.sessions.count
    const checks = await life.synergy.check()
    assert.is(checks.length, 18)
    assert.ok(checks.every(({ id, name, seen }) => id && name && seen))
    assert.ok(w.simulator.sessions.count <= before + 1)
  } finally {
    await life.provisioning.close()
    await w.close()
  }
})

test.run()
