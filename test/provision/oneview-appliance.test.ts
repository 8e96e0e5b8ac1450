import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, sleep } from '../../src/base/index.ts'
import { listAll } from '../../src/provision/oneview/collections.ts'
import { serverProfile } from '../../src/provision/oneview/resources.ts'
import { followTask } from '../../src/provision/oneview/tasks.ts'
import { API_VERSION_MAX, pickVersion } from '../../src/provision/oneview/version.ts'
import { thrownBy } from '../support/thrown.ts'
import { fixture } from './fixture.ts'
import { lost, pageOf, refused, running, Script, scripted } from './script.ts'

const purpose = { op: 'oneview.try', what: 'try it' }
const profiles = { path: '/rest/server-profiles', what: 'server profiles', shape: serverProfile }
const DEAD = { status: 401, body: { errorCode: 'AUTHN_X', message: 'The session is not valid.' } }

test('the newest version that both speak is picked, and none in common is refused in words', async () => {
  assert.is(pickVersion({ currentVersion: 1200, minimumVersion: 120 }), 1200)
  assert.is(pickVersion({ currentVersion: 99_000, minimumVersion: 120 }), API_VERSION_MAX)
  const old = await thrownBy(() => pickVersion({ currentVersion: 600, minimumVersion: 120 }))
  assert.is(old.code, 'EPROTONOSUPPORT')
  assert.match(old.message, /API 120 to 600, weft 800 to \d+: the appliance is too old/)
  const young = await thrownBy(() =>
    pickVersion({ currentVersion: 99_000, minimumVersion: 90_000 }),
  )
  assert.match(young.message, /this weft is too old/)
})

test('one session serves all requests, and is logged out at the end', async () => {
  const { script, appliance, wire } = scripted()
  script.on('GET', '/rest/x', { body: {} })
  await Promise.all([1, 2, 3].map(() => appliance.get('/rest/x', purpose, running)))
  assert.is(script.of('POST', '/rest/login-sessions').length, 1)
  assert.equal(script.of('POST')[0]?.body, {
    userName: 'weft',
    password: 'secret',
    loginMsgAck: true,
  })
  for (const { headers } of script.of('GET', '/rest/x')) {
    assert.is(headers.auth, 'session-1')
    assert.is(headers['x-api-version'], '1200')
  }
  assert.not.ok('auth' in (script.of('GET', '/rest/version')[0]?.headers ?? {}))
  await appliance.close()
  assert.is(script.of('DELETE', '/rest/login-sessions')[0]?.headers.auth, 'session-1')
  assert.ok(wire.isClosed)
  assert.is((await thrownBy(() => appliance.get('/rest/x', purpose, running))).code, 'ECANCELED')
})

test('a login that is on its way when the node stops is waited for, and logged out of', async () => {
  const { script, appliance, wire } = scripted()
  await appliance.version(running)
  let isSent = false
  let answer = () => {}
  const send = wire.send.bind(wire)
  wire.send = async (request) => {
    const reply = await send(request)
    if (request.path !== '/rest/login-sessions' || request.method !== 'POST') return reply
    isSent = true
    await new Promise<void>((resolve, reject) => {
      answer = resolve
      request.signal.addEventListener('abort', () => reject(new FsError('ECANCELED', 'test')))
    })
    return reply
  }
  const logIn = appliance.logIn(running).catch(() => {})
  while (!isSent) await new Promise((resolve) => setImmediate(resolve))
  const closing = appliance.close()
  // This clock's two seconds are over at the next turn of the loop.
  for (let n = 0; n < 20; n++) await Promise.resolve()
  answer()
  await Promise.all([closing, logIn])
  const ended = script.of('DELETE', '/rest/login-sessions').map(({ headers }) => headers.auth)
  assert.equal(ended, ['session-1'])
})

test('a directory is named when there is one', async () => {
  const { script, appliance } = scripted(new Script(), { domain: 'corp' })
  await appliance.logIn(running)
  assert.is(script.of('POST')[0]?.body.authLoginDomain, 'corp')
})

test('a session that has ended is begun anew, once, also when several requests meet it', async () => {
  const { script, appliance } = scripted()
  script.on('GET', '/rest/x', ({ headers }) => (headers.auth === 'session-1' ? DEAD : { body: 1 }))
  const answers = await Promise.all([1, 2].map(() => appliance.get('/rest/x', purpose, running)))
  assert.equal(
    answers.map(({ body }) => body),
    [1, 1],
  )
  assert.is(script.of('POST', '/rest/login-sessions').length, 2)
})

test('a session that ends at once again is not begun a third time', async () => {
  const { script, appliance } = scripted()
  script.on('GET', '/rest/x', DEAD)
  const error = await thrownBy(() => appliance.get('/rest/x', purpose, running))
  assert.is(error.code, 'EACCES')
  assert.is(script.of('POST', '/rest/login-sessions').length, 2)
})

test('who may not do a thing does not log in for it again', async () => {
  const { script, appliance } = scripted()
  const body = {
    errorCode: 'INSUFFICIENT_PRIVILEGES',
    message: 'User not authorized for this operation.',
  }
  script.on('GET', '/rest/x', { status: 401, body })
  const error = await thrownBy(() => appliance.get('/rest/x', purpose, running))
  assert.is(error.code, 'EPERM')
  assert.match(error.message, /cannot try it: User not authorized/)
  assert.is(script.of('POST', '/rest/login-sessions').length, 1)
})

test('a 401 against which a login does not help is not logged in against at each request, and no session is left behind', async () => {
  const { script, appliance } = scripted()
  const body = { errorCode: 'SOMETHING_NEW', message: 'No.' }
  script.on('GET', '/rest/x', { status: 401, body })
  script.on('GET', '/rest/y', { body: 1 })
  for (let times = 0; times < 5; times++) {
    await thrownBy(() => appliance.get('/rest/x', purpose, running))
    assert.is((await appliance.get('/rest/y', purpose, running)).body, 1)
  }
  assert.is(script.of('POST', '/rest/login-sessions').length, 2)
  const ended = script.of('DELETE', '/rest/login-sessions').map(({ headers }) => headers.auth)
  assert.equal(ended, ['session-1'])
  await appliance.close()
  assert.is(script.of('DELETE', '/rest/login-sessions').at(-1)?.headers.auth, 'session-2')
})

test('too many sessions are explained, and a login that failed is tried anew by the next request', async () => {
  const { script, appliance } = scripted()
  const body = fixture('errors/error.AUTHN_SESSION_CLIENT_LIMIT_CROSSED')
  script.on('GET', '/rest/x', { body: {} })
  script.series(
    'POST',
    '/rest/login-sessions',
    { status: 400, body },
    { body: { sessionID: 'session-9' } },
  )
  const error = await thrownBy(() => appliance.get('/rest/x', purpose, running))
  assert.equal([error.code, error.retry], ['EAGAIN', 'later'])
  assert.match(error.message, /cannot log in as weft: .* too many active sessions/)
  assert.match(`${error.subject.next}`, /log out of existing sessions/)
  await appliance.get('/rest/x', purpose, running)
  assert.is(script.of('GET', '/rest/x')[0]?.headers.auth, 'session-9')
})

test('a refused login is told as one, whatever its status, and not repeated', async () => {
  const { script, appliance } = scripted()
  script.on('POST', '/rest/login-sessions', {
    status: 400,
    body: { errorCode: 'NEW_CODE', message: 'No.' },
  })
  const error = await thrownBy(() => appliance.logIn(running))
  assert.equal([error.code, error.retry], ['EACCES', 'never'])
  assert.not.match(JSON.stringify([error.message, error.subject]), /secret/)
  assert.is(script.of('POST').length, 1)
})

test('a wrong password is not tried again at once, another one is', async () => {
  const script = new Script()
  const body = { errorCode: 'AUTHN_AUTH_FAIL', message: 'Wrong.' }
  script.on('POST', '/rest/login-sessions', (asked) =>
    asked.body.password === 'right' ? { body: { sessionID: 's' } } : { status: 400, body },
  )
  let password = 'wrong'
  const { appliance, clock } = scripted(script, { password: () => password })
  for (let i = 0; i < 3; i++) {
    assert.is((await thrownBy(() => appliance.logIn(running))).code, 'EACCES')
  }
  assert.is(script.of('POST').length, 1)
  await sleep(clock, 20 * 60_000)
  await thrownBy(() => appliance.logIn(running))
  assert.is(script.of('POST').length, 2)
  password = 'right'
  await appliance.logIn(running)
})

test('a version that the appliance no longer speaks is picked anew', async () => {
  const { script, appliance } = scripted()
  script.series('GET', '/rest/x', { status: 412 }, { body: {} })
  script.series(
    'GET',
    '/rest/version',
    ...[1200, 1000].map((currentVersion) => ({ body: { currentVersion, minimumVersion: 1 } })),
  )
  const error = await thrownBy(() => appliance.get('/rest/x', purpose, running))
  assert.equal([error.code, error.retry], ['EPROTONOSUPPORT', 'later'])
  await appliance.get('/rest/x', purpose, running)
  assert.is(script.of('GET', '/rest/x')[1]?.headers['x-api-version'], '1000')
})

test('an appliance that starts is waited for, and not for ever', async () => {
  const { script, appliance, clock } = scripted()
  script.on('GET', '/rest/x', { body: 1 })
  script.series(
    'GET',
    '/rest/version',
    refused,
    { status: 503 },
    { body: { currentVersion: 800, minimumVersion: 1 } },
  )
  assert.is((await appliance.get('/rest/x', purpose, running)).body, 1)
  script.on('GET', '/rest/x', { status: 503 })
  const before = clock.monotonicMs()
  const error = await thrownBy(() => appliance.get('/rest/x', purpose, running))
  assert.equal([error.code, error.retry], ['EAGAIN', 'later'])
  assert.match(error.message, /starting, failing over or overloaded/)
  const waitedMs = clock.monotonicMs() - before
  assert.ok(waitedMs >= 600_000 && waitedMs < 700_000, `${waitedMs} ms`)
})

test('a read whose connection broke is repeated, a write is not', async () => {
  const { script, appliance } = scripted()
  script.series('GET', '/rest/x', lost, { body: 1 })
  assert.is((await appliance.get('/rest/x', purpose, running)).body, 1)
  script.on('PUT', '/rest/x', lost)
  const write = { method: 'PUT', path: '/rest/x', body: {}, ifMatch: '7' } as const
  const error = await thrownBy(() => appliance.write(write, purpose, running))
  assert.is(error.subject.done, 'maybe')
  assert.is(script.of('PUT').length, 1)
  assert.is(script.of('PUT')[0]?.headers['if-match'], '7')
})

test('whoever gives up stops waiting at once', async () => {
  const { script, appliance } = scripted()
  const giving = new AbortController()
  script.on('GET', '/rest/x', () => {
    giving.abort()
    return { status: 503 }
  })
  const error = await thrownBy(() => appliance.get('/rest/x', purpose, giving.signal))
  assert.is(error.code, 'ECANCELED')
  assert.is(script.of('GET', '/rest/x').length, 1)
})

test('pages are followed to the last, whatever they were asked to be', async () => {
  const { script, appliance } = scripted()
  const [a, b, c] = fixture('ServerProfileList')
  script.on('GET', '/rest/server-profiles', ({ query }) =>
    query.get('start') === '0'
      ? pageOf([a, b], '/rest/server-profiles?start=2&count=2')
      : pageOf([c]),
  )
  const all = await listAll(appliance, profiles, running, { filter: `"name='x y'"` })
  assert.equal(
    all.map(({ uri }) => uri),
    [a.uri, b.uri, c.uri],
  )
  const [first] = script.of('GET', '/rest/server-profiles')
  assert.is(first?.query.get('count'), '-1')
  assert.is(first?.query.get('filter'), `"name='x y'"`)
})

test('pages that lead back to one another end in an error', async () => {
  const { script, appliance } = scripted()
  script.on('GET', '/rest/server-profiles', pageOf([], '/rest/server-profiles?start=2'))
  const error = await thrownBy(() => listAll(appliance, profiles, running))
  assert.match(error.message, /the pages of the server profiles do not end/)
  assert.is(script.of('GET', '/rest/server-profiles').length, 2)
})

const TASK = '/rest/tasks/5F1EF0A3-77E1-4580-B7C7-FCF1D5A77BC2'

/** @returns what the one who waits was told */
async function following(
  script: Script,
  answer: Parameters<typeof answerOf>[0],
): Promise<string[]> {
  const told: string[] = []
  const { appliance, clock } = scripted(script)
  const step = { signal: running, progress: (words: string) => told.push(words) }
  await followTask(appliance, answerOf(answer), purpose, step, clock)
  return told
}

function answerOf({ status = 202, location = '', taskUri = '', body = null as unknown }) {
  return {
    status,
    body,
    header: (name: string) =>
      name === 'location' ? location : name === 'x-task-uri' ? taskUri : '',
  }
}

test('a task is followed to its end, wherever the answer names it', async () => {
  for (const answer of [
    { location: TASK },
    { location: `https://appliance${TASK}` },
    { taskUri: TASK },
    { body: { uri: TASK, taskState: 'New' } },
    { status: 200, body: { uri: TASK, taskState: 'New' } },
  ]) {
    const script = new Script().series(
      'GET',
      TASK,
      { body: { ...fixture('task.observed-fragment'), percentComplete: 40 } },
      { body: { name: 'Update', taskState: 'Completed', percentComplete: 100 } },
    )
    assert.equal(await following(script, answer), [
      'task "Update" of the appliance: 40 %',
      'task "Update" of the appliance: 100 %',
    ])
  }
})

test('what was done in the answer itself has no task to follow', async () => {
  const script = new Script()
  for (const status of [200, 201, 204]) assert.equal(await following(script, { status }), [])
  assert.is(script.asked.length, 0)
  const error = await thrownBy(() => following(script, { status: 202 }))
  assert.is(error.subject.done, 'maybe')
})

test('a task survives a lost connection, a dead session, an appliance that fails over and garbage', async () => {
  const script = new Script().series(
    'GET',
    TASK,
    { body: { taskState: 'Running' } },
    lost,
    refused,
    ...Array.from({ length: 80 }, () => ({ status: 503 })),
    DEAD,
    { body: { taskState: 7 } },
    { status: 500 },
    { body: { taskState: 'Warning' } },
  )
  await following(script, { location: TASK })
  assert.is(script.of('POST', '/rest/login-sessions').length, 2)
})

test('each end of a task is taken for what it is', async () => {
  for (const taskState of ['Error', 'Terminated', 'Killed']) {
    const script = new Script().on('GET', TASK, {
      body: { taskState, taskStatus: 'Unable to edit.' },
    })
    const error = await thrownBy(() => following(script, { location: TASK }))
    assert.is(error.message, 'oneview: cannot try it: Unable to edit.')
    assert.is(error.subject.done, 'no')
  }
  for (const taskState of ['Interrupted', 'Unknown']) {
    const script = new Script().on('GET', TASK, { body: { taskState } })
    const error = await thrownBy(() => following(script, { location: TASK }))
    assert.equal([error.code, error.subject.done], ['EIO', 'maybe'])
  }
})

test('a task that does not end, and one that is gone, leave open what they did', async () => {
  const endless = new Script().on('GET', TASK, {
    body: { taskState: 'Running', taskStatus: 'Applying' },
  })
  const error = await thrownBy(() => following(endless, { location: TASK }))
  assert.match(error.message, /still runs after 90 minutes \(Applying\)/)
  assert.is(error.subject.done, 'maybe')
  const gone = await thrownBy(() => following(new Script(), { location: TASK }))
  assert.equal([gone.code, gone.subject.done], ['ENOENT', 'maybe'])
})

test('the errors of a task are its message', async () => {
  const taskErrors = [fixture('errors/taskError.ServerNotOffWithCauseForNoServerChange')]
  const script = new Script().on('GET', TASK, { body: { taskState: 'Error', taskErrors } })
  const error = await thrownBy(() => following(script, { location: TASK }))
  assert.equal([error.code, error.subject.needsPowerOff], ['EPERM', true])
})

test.run()
