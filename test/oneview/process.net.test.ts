import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from './asking.ts'
import type { Body } from './fixtures.ts'

/** The simulator as a process of its own, spoken to by what its directory says. */

const SCRIPT = resolve(import.meta.dirname, '../../scripts/oneview-sim.js')

interface Running {
  readonly dir: string
  readonly child: ChildProcess
  readonly ask: (method: string, path: string, body?: Body) => Promise<Body>
  readonly turn: (knobs: object) => void
  readonly events: () => Body[]
}

async function running(args: readonly string[], use: (running: Running) => Promise<void>) {
  const dir = mkdtempSync(join(tmpdir(), 'weft-oneview-'))
  const child = spawn(process.execPath, [SCRIPT, '--dir', dir, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const said = (name: string) => readFileSync(join(dir, name), 'utf8')
  let session = ''
  const ask: Running['ask'] = (method, path, body) =>
    new Promise((heard, reject) => {
      const headers = {
        'X-API-Version': '1600',
        'Content-Type': 'application/json',
        auth: session,
      }
      const options = { method, headers, agent: false, ca: said('certificate.pem') }
      const asked = request(new URL(path, said('url')), options, (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        answer.on('end', () => {
          const body = text.startsWith('{') ? JSON.parse(text) : {}
          heard({ httpStatus: answer.statusCode, ...body })
        })
      })
      asked.on('error', reject)
      asked.end(body === undefined ? undefined : JSON.stringify(body))
    })
  try {
    await until('it runs', () => existsSync(join(dir, 'url')))
    const login = { userName: said('user'), password: said('password'), loginMsgAck: true }
    session = String((await ask('POST', '/rest/login-sessions', login)).sessionID)
    await use({
      dir,
      child,
      ask,
      turn: (knobs) => writeFileSync(join(dir, 'knobs.json'), JSON.stringify(knobs)),
      events: () =>
        existsSync(join(dir, 'events.jsonl'))
          ? said('events.jsonl')
              .trimEnd()
              .split('\n')
              .map((line) => JSON.parse(line))
          : [],
    })
  } finally {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    rmSync(dir, { recursive: true, force: true })
  }
}

test('it has the blades and drives asked for, and tells what the hosts see', () =>
  running(
    ['--blade', 'name=host1,serialNumber=ONE', '--blade', 'name=host2', '--drives', '3'],
    async ({ ask, turn, events, dir }) => {
      assert.is(statSync(join(dir, 'password')).mode & 0o777, 0o600)
      assert.match(readFileSync(join(dir, 'pin'), 'utf8'), /^[0-9a-f]{64}$/)
      const hardware = (await ask('GET', '/rest/server-hardware')).members as Body[]
      assert.equal([hardware.length, hardware[0]!.serialNumber], [2, 'ONE'])
      const index = await ask('GET', '/rest/index/resources?category=drives')
      assert.is(index.total, 3)

      turn({ jbodEditPower: 'online' })
      const { members } = await ask('GET', '/rest/server-profiles')
      const [profile, other] = members as Body[]
      assert.equal([profile!.name, other!.name], ['host1', 'host2'])
      const entry = {
        id: 1,
        deviceSlot: 'Mezz 1',
        name: 'x',
        numPhysicalDrives: 1,
        driveMinSizeGB: 1200,
        driveMaxSizeGB: 1200,
        driveTechnology: 'SasHdd',
        eraseData: false,
        sasLogicalJBODUri: null,
      }
      const localStorage = { ...(profile!.localStorage as Body), sasLogicalJBODs: [entry] }
      // Refused until the knobs are turned.
      await until('a drive appears', async () => {
        await ask('PUT', String(profile!.uri), { ...profile, localStorage, eTag: '*' })
        return events().length > 0
      })
      const [{ at: _, ...event }] = events() as [Body]
      assert.equal(event, {
        event: 'zoned',
        blade: 'host1',
        serialNumber: 'S46016710000J4524YPT',
        wwid: '5000CCA03C610000',
        capacityGB: 1200,
        bay: 1,
      })
    },
  ))

test('knobs can be turned while it runs, and turned back', () =>
  running(['--blades', '3'], async ({ ask, turn }) => {
    const statusBecomes = (wanted: number) =>
      until(`it is ${wanted}`, async () => {
        const { httpStatus } = await ask('GET', '/rest/server-hardware')
        return httpStatus === wanted
      })
    await statusBecomes(200)
    turn({ faults: [{ path: 'server-h', times: 1000, trouble: { what: 'status', status: 500 } }] })
    await statusBecomes(500)
    turn({})
    await statusBecomes(200)
    turn({ failOverMs: 300 })
    await until('the other takes over', async () => {
      const { state } = await ask('GET', '/controller-state.json')
      return state === 'FAILOVER'
    })
    turn({ endSessions: true })
    await statusBecomes(401)
  }))

test('it ends with its input, and at SIGTERM', async () => {
  await running([], async ({ child }) => {
    child.stdin!.end()
    assert.equal(await once(child, 'exit'), [0, null])
  })
  await running([], async ({ child }) => {
    child.kill('SIGTERM')
    assert.equal(await once(child, 'exit'), [0, null])
  })
})

test.run()
