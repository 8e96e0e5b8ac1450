// deadline: 400 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Clients } from '../history/clients.ts'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { sleep, until } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'
import { SharedLab } from '../support/shared-lab.ts'

/** WEFT_SEED runs one again; what processes and network make of it differs from run to run. */
const SEED = Number(process.env.WEFT_SEED ?? Date.now() % 1_000_000)
const PER_HOST = 2

const shared = new SharedLab(3)
/** Of the test that runs. */
let volume = ''

function withLab(work: (lab: Lab) => Promise<void>): Promise<void> {
  volume = shared.name('h')
  return shared.with(async (lab) => {
    await lab.host(2).weft('volume', 'create', volume, '--size', '1G', '--repl', '3')
    await work(lab)
  })
}

let lives = 0

function startClients(clients: Clients, on: readonly Host[], dir: string): void {
  lives += 1
  const all = on.flatMap((host) =>
    Array.from({ length: PER_HOST }, (_, index) => ({
      host,
      name: `n${host.number}c${index}l${lives}`,
    })),
  )
  const names = all.map(({ name }) => name)
  for (const [index, { host, name }] of all.entries()) {
    clients.start(host, name, dir, SEED + index, names)
  }
}

async function goesOn(clients: Clients, what: string): Promise<void> {
  const before = clients.done
  await until(`clients go on ${what}`, () => clients.done > before + 20, 90_000)
}

test('clients on every node, through the namespace: nothing acknowledged is lost, nothing old is read, locks exclude', () =>
  withLab(async (lab) => {
    console.log(`    WEFT_SEED=${SEED}`)
    const clients = new Clients()
    const dir = `/mnt/weft/${volume}`
    startClients(clients, lab.hosts, dir)
    await goesOn(clients, 'at first')
    const dice = seeded(SEED)
    const [first, owner, other] = [lab.host(1), lab.host(2), lab.host(3)]
    const faults: [string, () => Promise<void>][] = [
      ['after a node that does not own it was cut off', () => cutFor(lab, other, 3000)],
      ['after the owner was cut off for less than its lease', () => cutFor(lab, owner, 4000)],
      ['after the owner was cut off for longer', () => cutFor(lab, owner, 18_000)],
      ['after a node stood still', () => stillFor(first, 2000 + dice.below(3000))],
      ['after the owner stood still', () => stillFor(owner, 4000)],
      ['after the daemons died, one by one', () => daemonsDie(lab.hosts)],
      ['after the volume went from node to node', () => goesAround(first, dice)],
    ]
    for (const [what, fault] of faults) {
      await fault()
      await goesOn(clients, what)
    }
    await clients.stop()
    assert.ok(clients.done > 200, `${clients.done} operations`)
    assert.equal(await clients.wrong(first, dir), [])
  }))

async function cutFor(lab: Lab, host: Host, ms: number): Promise<void> {
  await lab.cut(host)
  await sleep(ms)
  await lab.heal()
}

async function stillFor(host: Host, ms: number): Promise<void> {
  await host.pause()
  await sleep(ms)
  await host.resume()
}

/** Each is begun anew by its keeper before the next one dies. */
async function daemonsDie(all: readonly Host[]): Promise<void> {
  for (const host of all) {
    for (const pid of host.processes('__daemon')) process.kill(pid, 'SIGKILL')
    await sleep(6000)
  }
}

/** Locks that clients hold are in the way most of the time: what has not gone is asked to go elsewhere. */
async function goesAround(from: Host, dice: ReturnType<typeof seeded>): Promise<void> {
  let moves = 0
  for (let move = 0; move < 6; move++) {
    const to = `node${1 + dice.below(3)}`
    const asked = await from.tryWeft('volume', 'move', volume, to, '--no-wait')
    // It may be there already, or look for an owner at this very moment.
    if (asked.code === 0) moves++
    else console.log(`    not moved to ${to}: ${asked.stderr.split('\n')[0]}`)
    await sleep(2000 + dice.below(4000))
  }
  assert.ok(moves > 0, 'a move was taken on')
  await from.tryWeft('volume', 'move', volume, 'node1', '--stop')
}

test('clients of an exclusive mount that dies and is attached elsewhere: nothing acknowledged is lost', () =>
  withLab(async (lab) => {
    console.log(`    WEFT_SEED=${SEED}`)
    const point = mkdtempSync(join(tmpdir(), 'weft-history-'))
    try {
      const clients = new Clients()
      let at = lab.host(2)
      await at.weft('attach', volume, point)
      for (let death = 0; death < 2; death++) {
        startClients(clients, [at], point)
        await goesOn(clients, 'where it is attached')
        const next = lab.host(at.number === 2 ? 3 : 2)
        await at.powerCut()
        await next.weft('attach', volume, point)
        await at.start()
        at = next
      }
      startClients(clients, [at], point)
      await goesOn(clients, 'at last')
      await clients.stop()
      assert.equal(await clients.wrong(at, point), [])
    } finally {
      rmSync(point, { recursive: true, force: true })
    }
  }))

test('what all of them have left is sound', () => shared.end())

test.run()
