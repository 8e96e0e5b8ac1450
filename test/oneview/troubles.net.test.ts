import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, credentials, inFrame, pause, until } from './asking.ts'
import type { Body } from './fixtures.ts'
import { entryOf, newJbod, putEntries, SAS_SSD } from './storing.ts'

const DRIVES = [{ ...SAS_SSD, count: 4 }]
const JBODS = '/rest/sas-logical-jbods'

test('a task goes through its states, and stays to be read and found', () =>
  inFrame(
    { drives: DRIVES, knobs: { taskStepMs: 30 } },
    async ({ ask, list, simulator, ended }) => {
      const body = { name: 'mine', driveBayUris: [simulator.frame.drives[0]!.bayUri] }
      const { headers, body: first } = await ask('POST', JBODS, { body })
      assert.is(headers.location, first.uri)
      assert.equal([first.taskState, first.percentComplete], ['New', 0])
      assert.is((first.associatedResource as Body).resourceUri, null)
      const seen = new Set<string>()
      await until('it has ended', async () => {
        const task = (await ask('GET', String(first.uri))).body
        seen.add(String(task.taskState))
        return task.percentComplete === 100
      })
      assert.equal([...seen].at(-1), 'Completed')
      assert.ok(seen.has('Running'), [...seen].join())
      const other = await ask('POST', JBODS, { body })
      assert.is((await ended(other)).taskState, 'Error')
      const found = await list(
        `/rest/tasks?filter=${encodeURIComponent(`"taskState='Completed'"`)}`,
      )
      assert.equal(
        found.map(({ uri }) => uri),
        [first.uri],
      )
      const [newest] = await list('/rest/tasks?sort=created:descending&count=1')
      assert.is(newest!.uri, other.body.uri)
    },
  ))

test('where the task is may be told in different ways, or only by the body', () =>
  inFrame({ drives: DRIVES }, async ({ ask, simulator, ended }) => {
    const { uri } = simulator.frame.blade('blade1').profile!
    const put = async (location: 'absolute' | 'relative' | 'x-task-uri' | 'absent') => {
      simulator.knobs.location = location
      const { body } = await ask('GET', uri)
      const answer = await ask('PUT', uri, { body })
      await ended(answer)
      const { location: at, 'x-task-uri': other } = answer.headers
      return [at, other, answer.body.uri]
    }
    const [absolute, , first] = await put('absolute')
    assert.is(absolute, `${simulator.url}${first}`)
    const [relative, , second] = await put('relative')
    assert.is(relative, second)
    const [none, header, third] = await put('x-task-uri')
    assert.equal([none, header], [undefined, third])
    assert.equal((await put('absent')).slice(0, 2), [undefined, undefined])
  }))

test('the next requests that match are refused as told, and then no more', () =>
  inFrame({ drives: DRIVES }, async ({ ask, simulator }) => {
    const path = '/rest/server-hardware'
    simulator.knobs.inject({
      method: 'GET',
      path: /server-h/,
      times: 2,
      trouble: { what: 'status', status: 500 },
    })
    simulator.knobs.inject({
      path,
      trouble: { what: 'status', status: 401, errorCode: 'INSUFFICIENT_PRIVILEGES' },
    })
    assert.is((await ask('GET', '/rest/server-profiles')).status, 200)
    assert.is((await ask('GET', path)).status, 500)
    assert.is((await ask('GET', path)).status, 500)
    const denied = await ask('GET', path)
    assert.equal([denied.status, codeOf(denied)], [401, 'INSUFFICIENT_PRIVILEGES'])
    assert.is((await ask('GET', path)).status, 200)
    assert.equal(
      simulator.log.slice(-4).map(({ trouble }) => trouble),
      ['status', 'status', 'status', null],
    )
  }))

test('a connection that is cut before has done nothing, one that is cut after has done it', () =>
  inFrame({ drives: DRIVES }, async ({ ask, simulator }) => {
    const create = (place: number) =>
      ask('POST', JBODS, {
        body: { name: `j${place}`, driveBayUris: [simulator.frame.drives[place]!.bayUri] },
      }).then(
        () => 'answered',
        (error) => error.code,
      )
    simulator.knobs.inject({ method: 'POST', path: JBODS, trouble: { what: 'dropBefore' } })
    assert.is(await create(0), 'ECONNRESET')
    simulator.knobs.inject({ method: 'POST', path: JBODS, trouble: { what: 'dropAfter' } })
    assert.is(await create(1), 'ECONNRESET')
    await until('the second is there', () => simulator.frame.jbods.size === 1)
    assert.equal(
      [...simulator.frame.jbods.values()].map(({ name }) => name),
      ['j1'],
    )
    assert.equal(
      simulator.log.slice(-2).map(({ status }) => status),
      [0, 0],
    )
  }))

test('a task can be told to fail, and then nothing was done', () =>
  inFrame({ drives: DRIVES }, async (world) => {
    const { work, ask, simulator } = world
    const jbod = await newJbod(world, 'mine', [0])
    const errorCode = 'DFRM_SAS_LOGICAL_JBOD_UNABLE_TO_DELETE_ZONE'
    simulator.knobs.inject({ method: 'DELETE', trouble: { what: 'taskError', errorCode } })
    const headers = { 'If-Match': '*' }
    assert.is(codeOf(await work('DELETE', String(jbod.uri), { headers })), errorCode)
    assert.is((await ask('GET', String(jbod.uri))).body.state, 'Configured')
    assert.is((await work('DELETE', String(jbod.uri), { headers })).taskState, 'Completed')
  }))

test('answers can be slow, one or all', () =>
  inFrame({}, async ({ ask, simulator }) => {
    const timed = async () => {
      const startMs = performance.now()
      await ask('GET', '/rest/version')
      return performance.now() - startMs
    }
    simulator.knobs.inject({ trouble: { what: 'slow', ms: 100 } })
    assert.ok((await timed()) > 95)
    simulator.knobs.answerMs = 60
    assert.ok((await timed()) > 55)
  }))

test('during a fail-over all is 503 but the controller state, and tasks and sessions live on', () =>
  inFrame({ drives: DRIVES, knobs: { taskStepMs: 20 } }, async ({ ask, simulator, ended }) => {
    const body = { name: 'mine', driveBayUris: [simulator.frame.drives[0]!.bayUri] }
    const created = await ask('POST', JBODS, { body })
    simulator.knobs.failOver(700)
    assert.is((await ask('GET', String(created.body.uri))).status, 503)
    assert.is(
      (await ask('POST', '/rest/login-sessions', { body: credentials(simulator) })).status,
      503,
    )
    assert.is((await ask('GET', '/controller-state.json')).body.state, 'FAILOVER')
    await until('it is over', async () => (await ask('GET', '/rest/tasks')).status === 200)
    assert.is((await ask('GET', '/controller-state.json')).body.state, 'OK')
    assert.is((await ended(created)).taskState, 'Completed')
  }))

test('a session may be lost in the middle of a task, which ends all the same', () =>
  inFrame({ drives: DRIVES, knobs: { tasksThatLoseSessions: 1 } }, async (world) => {
    const { ask, simulator, login, ended } = world
    const body = { name: 'mine', driveBayUris: [simulator.frame.drives[0]!.bayUri] }
    const created = await ask('POST', JBODS, { body })
    await until('it is lost', async () => {
      const { status } = await ask('GET', String(created.body.uri))
      return status === 401
    })
    await login()
    assert.is((await ended(created)).taskState, 'Completed')
  }))

test('trouble drawn from a seed is the same again with the same seed', async () => {
  const drawn = async (seed: number) => {
    let troubles: (string | null)[] = []
    await inFrame({}, async ({ ask, simulator }) => {
      simulator.knobs.random(seed, 0.5)
      for (let i = 0; i < 30; i++) await ask('GET', '/rest/version').catch(() => undefined)
      simulator.knobs.random(seed, 0)
      assert.is((await ask('GET', '/rest/version')).status, 200)
      troubles = simulator.log.map(({ trouble }) => trouble)
    })
    return troubles
  }
  const first = await drawn(7)
  assert.equal(await drawn(7), first)
  assert.not.equal(await drawn(8), first)
  assert.ok(new Set(first).size > 3, first.join())
})

test('a host sees the drives that are zoned to its blade, after a while, and then no more', async () => {
  const events: string[] = []
  const tell =
    (what: string) =>
    ({ blade, drive }: { blade: { name: string }; drive: { bay: number } }) => {
      events.push(`${what} ${blade.name} ${drive.bay}`)
    }
  const options = { onZoned: tell('zoned'), onUnzoned: tell('unzoned') }
  const knobs = { jbodEditPower: 'online', appearanceMs: 400 } as const
  await inFrame({ drives: DRIVES, knobs, ...options }, async (world) => {
    const jbod = await newJbod(world, 'mine', [0, 2])
    await putEntries(world, [entryOf(1, jbod)])
    assert.equal(events, [])
    await until('both are there', () => events.length === 2)
    assert.equal(events, ['zoned blade1 1', 'zoned blade1 3'])
    await putEntries(world, [])
    assert.equal(world.simulator.frame.audit()[0]!.seenBy, ['blade1'])
    await until('both are gone', () => events.length === 4)
    assert.equal(events.slice(2), ['unzoned blade1 1', 'unzoned blade1 3'])
    assert.equal(world.simulator.frame.audit()[0]!.seenBy, [])
  })
})

test('a drive that is taken away before it appeared never appears', async () => {
  const events: string[] = []
  const see = () => {
    events.push('seen')
  }
  const knobs = { jbodEditPower: 'online', appearanceMs: 600 } as const
  await inFrame({ drives: DRIVES, knobs, onZoned: see, onUnzoned: see }, async (world) => {
    const jbod = await newJbod(world, 'mine', [0])
    await putEntries(world, [entryOf(1, jbod)])
    await putEntries(world, [])
    await pause(1500)
    assert.equal(events, [])
  })
})

test('a blade without power sees its drives when it is up', async () => {
  const events: string[] = []
  const options = {
    onZoned: ({ drive }: { drive: { bay: number } }) => {
      events.push(`zoned ${drive.bay}`)
    },
    onPower: ({ on }: { on: boolean }) => {
      events.push(on ? 'on' : 'off')
    },
  }
  await inFrame({ drives: DRIVES, ...options }, async (world) => {
    const { uri } = world.simulator.frame.blade('blade1')
    const power = (powerState: string, powerControl: string) =>
      world.work('PUT', `${uri}/powerState`, { body: { powerState, powerControl } })
    const jbod = await newJbod(world, 'mine', [0])
    await power('Off', 'PressAndHold')
    await putEntries(world, [entryOf(1, jbod)])
    await pause(20)
    assert.equal(events, ['off'])
    await power('On', 'MomentaryPress')
    await until('it is there', () => events.length === 3)
    assert.equal(events, ['off', 'on', 'zoned 1'])
  })
})

test('a drive may never appear, or another in its place', async () => {
  const events: string[] = []
  const see = ({ drive }: { drive: { bay: number } }) => {
    events.push(`${drive.bay}`)
  }
  const knobs = { jbodEditPower: 'online', appearance: 'never' } as const
  await inFrame({ drives: DRIVES, knobs, onZoned: see, onUnzoned: see }, async (world) => {
    const { simulator } = world
    const [a, b] = [await newJbod(world, 'a', [0]), await newJbod(world, 'b', [1])]
    await putEntries(world, [entryOf(1, a)])
    await pause(20)
    assert.equal(events, [])
    simulator.knobs.appearance = 'wrong'
    await putEntries(world, [entryOf(1, a), entryOf(2, b)])
    await until('one is there', () => events.length === 1)
    assert.equal(events, ['3'])
    assert.equal(
      simulator.frame.audit().map(({ seenBy }) => seenBy.length),
      [0, 0, 1, 0],
    )
    await putEntries(world, [])
    await until('it is gone', () => events.length === 2)
    assert.equal(events, ['3', '3'])
  })
})

test('there is no knob of a name that nobody knows', () =>
  inFrame({}, async ({ simulator }) => {
    assert.throws(() => simulator.knobs.set({ taskStep: 3 } as object), /no knob taskStep/)
  }))

test.run()
