import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, credentials, inFrame, pause } from './asking.ts'
import { Simulator } from './simulator.ts'

test('versions are told to anybody, without a session and without a version', () =>
  inFrame({ currentVersion: 1200, minimumVersion: 500 }, async ({ ask }) => {
    const headers = { auth: undefined, 'X-API-Version': undefined }
    const { status, body } = await ask('GET', '/rest/version', { headers })
    assert.is(status, 200)
    assert.equal(body, { currentVersion: 1200, minimumVersion: 500 })
  }))

test('a version that is missing, unknown, too new or too old is refused with 412', () =>
  inFrame({ currentVersion: 1200, minimumVersion: 500 }, async ({ ask }) => {
    for (const version of [undefined, 'new', '1100', '1600', '300', '']) {
      const answer = await ask('GET', '/rest/drive-enclosures', {
        headers: { 'X-API-Version': version },
      })
      assert.is(answer.status, 412, String(version))
      assert.match(String(answer.body.message), /^The specified API version is not valid/)
    }
    for (const version of ['500', '800', '1200']) {
      const answer = await ask('GET', '/rest/drive-enclosures', {
        headers: { 'X-API-Version': version },
      })
      assert.is(answer.status, 200, version)
    }
  }))

test('types are those of the version that was asked in', () =>
  inFrame({ currentVersion: 2400 }, async ({ ask }) => {
    const typeIn = async (version: string, path: string) => {
      const { body } = await ask('GET', path, { headers: { 'X-API-Version': version } })
      return (body.members as { type: string }[])[0]?.type
    }
    assert.is(await typeIn('800', '/rest/server-profiles'), 'ServerProfileV9')
    assert.is(await typeIn('1200', '/rest/server-profiles'), 'ServerProfileV11')
    assert.is(await typeIn('1600', '/rest/server-profiles'), 'ServerProfileV12')
    assert.is(await typeIn('2400', '/rest/server-profiles'), 'ServerProfileV12')
    assert.is(await typeIn('500', '/rest/server-hardware'), 'server-hardware-5')
  }))

test('whatever is not under /rest is a page for people, with 200', () =>
  inFrame({}, async ({ ask }) => {
    const { status, headers, text } = await ask('GET', '/rset/server-profiles')
    assert.is(status, 200)
    assert.match(headers['content-type'] ?? '', /^text\/html/)
    assert.match(text, /<html>/)
  }))

test('what is not there is 404, and the wrong method 405, both as JSON', () =>
  inFrame({}, async ({ ask }) => {
    assert.is((await ask('GET', '/rest/no-such-thing')).status, 404)
    assert.is((await ask('GET', '/rest/tasks/none')).status, 404)
    const jbod = await ask('GET', '/rest/sas-logical-jbods/none')
    assert.equal([jbod.status, codeOf(jbod)], [404, 'DFRM_SAS_LOGICAL_JBOD_NOT_FOUND'])
    assert.is((await ask('DELETE', '/rest/drive-enclosures')).status, 405)
    assert.is((await ask('GET', '/rest/tasks/%E0%A4%A')).status, 400)
  }))

test('a body that is no JSON is refused, and so are other media types and character sets', () =>
  inFrame({}, async ({ ask }) => {
    const path = '/rest/sas-logical-jbods'
    assert.is((await ask('POST', path, { text: '{' })).status, 400)
    const typed = { headers: { 'Content-Type': 'text/plain' }, text: '{}' }
    assert.is((await ask('POST', path, typed)).status, 415)
    const latin = { headers: { 'Accept-Charset': 'iso-8859-1' } }
    assert.is((await ask('GET', path, latin)).status, 406)
  }))

test('a single resource has its eTag as a header, and is not sent again to who has it', () =>
  inFrame({}, async ({ ask, simulator }) => {
    const { uri } = simulator.frame.blade('blade1').profile!
    const first = await ask('GET', uri)
    assert.is(first.headers.etag, first.body.eTag)
    const again = await ask('GET', uri, { headers: { 'If-None-Match': String(first.body.eTag) } })
    assert.equal([again.status, again.text], [304, ''])
  }))

test('a session is needed, and the name and password to have one', () =>
  inFrame({}, async ({ ask, simulator }) => {
    const path = '/rest/server-hardware'
    assert.is((await ask('GET', path, { headers: { auth: undefined } })).status, 401)
    assert.is((await ask('GET', path, { headers: { auth: 'wrong' } })).status, 401)
    const wrong = { ...credentials(simulator), password: 'guessed' }
    const denied = await ask('POST', '/rest/login-sessions', { body: wrong })
    assert.equal([denied.status, codeOf(denied)], [400, 'AUTHN_AUTH_FAIL'])
  }))

test('a session can be renewed, and ends with the logout', () =>
  inFrame({}, async ({ ask }) => {
    const again = await ask('PUT', '/rest/login-sessions')
    assert.is(again.status, 200)
    const headers = { auth: String(again.body.sessionID) }
    assert.is((await ask('DELETE', '/rest/login-sessions', { headers })).status, 204)
    assert.is((await ask('GET', '/rest/server-hardware', { headers })).status, 401)
    const twice = await ask('DELETE', '/rest/login-sessions', { headers })
    assert.equal([twice.status, codeOf(twice)], [400, 'AUTHN_LOGOUT_FAILED'])
  }))

test('one address can have so many sessions and no more; another address has its own', () =>
  inFrame({ sessionLimit: 2 }, async ({ ask, simulator }) => {
    const login = (from?: string) =>
      ask('POST', '/rest/login-sessions', {
        body: credentials(simulator),
        ...(from === undefined ? {} : { from }),
      })
    assert.is((await login()).status, 200)
    const denied = await login()
    assert.is(denied.status, 400)
    assert.is(codeOf(denied), 'AUTHN_SESSION_CLIENT_LIMIT_CROSSED')
    assert.equal(denied.body.data, { clientip: '127.0.0.1' })
    assert.is((await login('127.0.0.2')).status, 200)
    assert.is((await ask('DELETE', '/rest/login-sessions')).status, 204)
    assert.is((await login()).status, 200)
  }))

test('a session that nobody uses ends, and one in use does not', () =>
  inFrame({ sessionIdleMs: 1000 }, async ({ ask }) => {
    for (let i = 0; i < 6; i++) {
      await pause(250)
      assert.is((await ask('GET', '/rest/server-hardware')).status, 200)
    }
    await pause(1200)
    assert.is((await ask('GET', '/rest/server-hardware')).status, 401)
  }))

test('where there is a login banner it has to be acknowledged', () =>
  inFrame({}, async ({ ask, simulator }) => {
    simulator.knobs.loginBanner = true
    const { loginMsgAck: _, ...silent } = credentials(simulator)
    const denied = await ask('POST', '/rest/login-sessions', { body: silent })
    assert.is(codeOf(denied), 'AUTHN_LOGIN_MESSAGE_ACKNOWLEDGMENT_REQUIRED')
    const body = credentials(simulator)
    assert.is((await ask('POST', '/rest/login-sessions', { body })).status, 200)
  }))

test('the log has every request, and neither password nor session', () =>
  inFrame({ password: 'very-secret' }, async ({ ask, simulator }) => {
    const { body } = await ask('PUT', '/rest/login-sessions')
    await ask('GET', '/rest/tasks?count=3')
    assert.equal(simulator.log.at(-1), {
      method: 'GET',
      path: '/rest/tasks?count=3',
      status: 200,
      trouble: null,
    })
    assert.is(simulator.log.length, 3)
    const text = JSON.stringify(simulator.log)
    assert.not.match(text, /very-secret/)
    assert.not.match(text, String(body.sessionID))
  }))

test('the pin is that of the certificate, and a port that is taken is an error', async () => {
  const simulator = await Simulator.start()
  try {
    const { raw } = new X509Certificate(readFileSync(simulator.certificate))
    assert.is(simulator.pin, createHash('sha256').update(raw).digest('hex'))
    const error = await Simulator.start({ port: simulator.port }).catch((thrown) => thrown)
    assert.is(error.code, 'EADDRINUSE')
  } finally {
    await simulator.close()
  }
})

test.run()
