import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, hexId, silentLog, type VolumeId } from '../../src/base/index.ts'
import { Probes, type ProbeTarget, type Unprobed } from '../../src/daemon/probes.ts'
import { HandClock } from '../cluster/world.ts'

const ID = hexId<VolumeId>('a'.repeat(32))

/** One volume, whose probes do what the test says. */
class World {
  readonly clock = new HandClock()
  readonly probes: Probes
  /** Of the probes that were begun: what ends each. */
  readonly begun: { end(): void; fail(error: unknown): void }[] = []
  committed = 10
  life = 'epoch 1'
  unprobed: Unprobed['why'] | null = null
  waitsFor = 'copy on node2'
  isDoubtful = false

  constructor() {
    const look = (): (ProbeTarget | Unprobed)[] => {
      if (this.unprobed) return [{ volume: ID, why: this.unprobed }]
      return [
        {
          volume: ID,
          life: this.life,
          kind: 'commit',
          run: () =>
            new Promise<void>((end, fail) => {
              this.begun.push({ end, fail })
            }),
          waitsFor: () => this.waitsFor,
          isDoubtful: () => this.isDoubtful,
          committed: () => this.committed,
        },
      ]
    }
    this.probes = new Probes({ look, clock: this.clock, log: silentLog })
  }

  get found() {
    return this.probes.of(ID)
  }

  /** Time goes on, second by second. */
  async pass(seconds: number): Promise<void> {
    for (let n = 0; n < seconds; n++) {
      this.clock.advance(1000)
      await settled()
    }
  }

  async end(n: number, error?: unknown): Promise<void> {
    const one = this.begun[n]
    assert.ok(one, `probe ${n} was begun`)
    if (error === undefined) one.end()
    else one.fail(error)
    await settled()
  }

  /** As status asks. @returns ms that it waited */
  async ask(tookMs = 2): Promise<number> {
    const { clock } = this
    const begunMs = clock.monotonicMs()
    const count = this.begun.length
    let over = false
    const asked = this.probes.fresh().then(() => {
      over = true
    })
    await settled()
    clock.advance(tookMs)
    for (const one of this.begun.slice(count)) one.end()
    await settled()
    while (!over && clock.monotonicMs() - begunMs < 60_000) {
      clock.advance(10)
      await settled()
    }
    assert.ok(over, 'status has an end')
    await asked
    return clock.monotonicMs() - begunMs
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

test('a probe that comes back is told with what it took, and when', async () => {
  const world = new World()
  assert.is(world.found.state, 'unknown')
  assert.is(await world.ask(2), 2)
  assert.equal(world.found, {
    state: 'ok',
    kind: 'commit',
    ms: 2,
    succeededAt: '2026-11-28T00:00:00.002Z',
    succeededSeconds: 0,
    forSeconds: 0,
    waitsFor: '',
    code: '',
    why: '',
  })
})

test('a probe that hangs keeps status for less than a second, and is told with what it waits for', async () => {
  const world = new World()
  await world.ask()
  await world.pass(10)
  const hung = world.probes.fresh()
  await settled()
  assert.is(world.begun.length, 2)
  assert.is(world.found.state, 'ok', 'it has just begun')
  world.clock.advance(900)
  await hung
  assert.is(world.found.state, 'silent')
  await world.pass(11)
  const { state, forSeconds, waitsFor } = world.found
  assert.equal(
    { state, forSeconds, waitsFor },
    { state: 'silent', forSeconds: 11, waitsFor: 'copy on node2' },
  )
  assert.ok((await world.ask()) < 1000)
  assert.is(world.begun.length, 2, 'no second one beside it')
  await world.end(1)
  assert.is(world.found.state, 'ok')
  assert.ok((world.found.ms ?? 0) >= 11_900)
})

test('one that is not older than ten seconds is not made anew for who asks', async () => {
  const world = new World()
  await world.ask()
  await world.pass(9)
  await world.ask()
  assert.is(world.begun.length, 1)
  await world.pass(1)
  await world.ask()
  assert.is(world.begun.length, 2)
  world.isDoubtful = true
  await world.pass(1)
  await world.ask()
  assert.is(world.begun.length, 3, 'a copy is silent: what was so a second ago may be otherwise')
})

for (const [code, why] of [
  ['ENOSPC', 'no drive has room'],
  ['EAGAIN', 'its lease has run out'],
  ['EIO', 'copy c on node 2 does not give back what it has confirmed'],
] as const) {
  test(`a probe that fails with ${code} is told so, whatever commits, until one succeeds`, async () => {
    const world = new World()
    const asked = world.probes.fresh()
    await world.end(0, new FsError(code, 'probe', { message: why }))
    await asked
    await world.pass(2)
    world.committed++
    const { state, code: told, why: words, forSeconds } = world.found
    assert.equal(
      { state, told, words, forSeconds },
      { state: 'failed', told: code, words: why, forSeconds: 2 },
    )
    await world.ask()
    assert.is(world.begun.length, 2, 'whoever asks again hears what is so now')
    assert.is(world.found.state, 'ok')
    assert.is(world.found.code, '')
  })
}

test('a locked volume is not probed, and says so; so does one that was locked on its owner', async () => {
  const world = new World()
  world.unprobed = 'locked'
  world.probes.start()
  await world.pass(100)
  assert.is(await world.ask(), 2, 'nobody waits for it')
  assert.is(world.begun.length, 0)
  assert.is(world.found.state, 'locked')
  assert.is(world.found.kind, null)
  world.unprobed = null
  const asked = world.probes.fresh()
  await world.end(0, new FsError('ENOKEY', 'probe', {}))
  await asked
  assert.is(world.found.state, 'locked')
  world.probes.close()
})

test('at rest a volume is probed every thirty seconds, and not while programs commit', async () => {
  const world = new World()
  world.probes.start()
  for (let n = 0; n < 90; n++) {
    await world.pass(1)
    for (const one of world.begun) one.end()
  }
  assert.is(world.begun.length, 3)
  for (let n = 0; n < 90; n++) {
    world.committed++
    await world.pass(1)
  }
  assert.is(world.begun.length, 3)
  assert.is(world.found.succeededSeconds, 0, 'a commit is a success')
  await world.pass(30)
  assert.is(world.begun.length, 4)
  world.probes.close()
  await world.pass(100)
  assert.is(world.begun.length, 4, 'closed, it begins no more')
})

test('one that fails is made again in thirty seconds, although programs commit', async () => {
  const world = new World()
  world.probes.start()
  await world.pass(1)
  await world.end(0, new FsError('EIO', 'probe', {}))
  for (let n = 0; n < 31; n++) {
    world.committed++
    await world.pass(1)
  }
  assert.is(world.begun.length, 2)
  world.probes.close()
})

test('what ends behind a change of owner says nothing of the next life', async () => {
  const world = new World()
  const asked = world.probes.fresh()
  await settled()
  world.life = 'epoch 2'
  await world.ask()
  assert.is(world.begun.length, 2)
  await world.end(0, new FsError('EIO', 'probe', { message: 'epoch 1 of this node is past' }))
  await asked
  assert.is(world.found.state, 'ok')
  world.unprobed = 'unused'
  await world.ask()
  assert.is(world.found.state, 'unused')
})

test.run()
