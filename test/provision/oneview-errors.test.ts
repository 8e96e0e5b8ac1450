import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  isNotEntitled,
  plain,
  refused,
  refusedAnswer,
} from '../../src/provision/oneview/appliance-errors.ts'
import { fixture } from './fixture.ts'

function answered(status: number, body: unknown) {
  return refusedAnswer({ status, body, header: () => '' }, 'oneview.attach', 'attach weft-a')
}

test('an error of the appliance is a sentence with what, why and what to do', () => {
  const error = answered(400, fixture('errors/error.UNRECOGNIZED_JSON_FIELD'))
  assert.is(error.code, 'EINVAL')
  assert.is(
    error.message,
    'oneview: cannot attach weft-a: Unrecognized JSON field. The field named sasLogicalJBODUri near line 1, column 1,607 is not a valid field in this JSON object.',
  )
  assert.match(`${error.subject.next}`, /^Check the valid fields/)
  assert.is(error.subject.errorCode, 'UNRECOGNIZED_JSON_FIELD')
})

test('links in the midst of a text become their names', () => {
  const { message } = fixture('errors/taskError.ServerNotOffWithCauseForNoServerChange')
  assert.match(plain(message), /cannot be applied because <location> is powered on/)
  assert.is(plain('Retry. {"name":"Learn more", "uri":"/doc#/x"}'), 'Retry.')
  assert.is(plain('{"name":"a \\"b\\"","uri":"/x"} is here'), 'a \\"b\\" is here')
  assert.is(plain('{"other":1} stays'), '{"other":1} stays')
})

test('a server that is on is told with its sections and the choices', () => {
  const told = fixture('errors/taskError.ServerNotOffWithCauseForNoServerChange')
  told.message = told.message.replace('* Firmware', '* Local storage\n* Boot mode')
  const error = refused({
    op: 'x',
    what: 'attach weft-a',
    status: 0,
    errors: [told],
    otherwise: '',
  })
  assert.is(error.code, 'EPERM')
  assert.is(error.subject.needsPowerOff, true)
  assert.equal(error.subject.sections, ['Local storage', 'Boot mode'])
  assert.match(
    error.message,
    /changes the sections Local storage, Boot mode .* only while the server is off/,
  )
  assert.match(
    `${error.subject.next}`,
    /at the next shutdown of this server change its profile in OneView, by hand/,
  )
})

test('the older text says the same, also when it is nested', () => {
  const message =
    'Some server profile attributes cannot be changed while the server hardware is powered on.'
  const error = answered(400, { errorCode: 'X', message: 'No.', nestedErrors: [{ message }] })
  assert.is(error.code, 'EPERM')
  assert.is(error.subject.needsPowerOff, true)
})

test('sections that weft does not touch are told as such', () => {
  const error = answered(400, fixture('errors/taskError.ServerNotOffWithCauseForNoServerChange'))
  assert.equal(error.subject.sections, ['Firmware'])
  assert.match(error.message, /weft changes nothing there/)
})

test('a code says more than the status', () => {
  const attached = { errorCode: 'DFRM_SAS_LOGICAL_JBOD_UNABLE_TO_DELETE_SP_EXISTS', message: 'No.' }
  assert.is(answered(400, attached).code, 'EBUSY')
  assert.is(answered(400, { errorCode: 'toString', message: 'No.' }).code, 'EINVAL')
  const serviced = answered(500, { message: 'Unable to reserve the SAS logical JBOD x.' })
  assert.equal([serviced.code, serviced.retry], ['EAGAIN', 'later'])
})

test('a status without a body is told all the same', () => {
  for (const [status, code] of [
    [404, 'ENOENT'],
    [409, 'EBUSY'],
    [412, 'ESTALE'],
    [500, 'EIO'],
    [418, 'EINVAL'],
  ] as const) {
    const error = answered(status, null)
    assert.is(error.code, code)
    assert.is(error.message, `oneview: cannot attach weft-a: it answers ${status}`)
    assert.ok(error.subject.next)
  }
})

test('a user who may not is told from a session that has ended', () => {
  assert.ok(isNotEntitled({ errorCode: 'INSUFFICIENT_PRIVILEGES', message: '' }))
  assert.ok(isNotEntitled({ message: 'User not authorized for this operation.' }))
  assert.not(isNotEntitled({ errorCode: 'AUTHN_INVALID_SESSION', message: 'The session is gone.' }))
  assert.not(isNotEntitled(null))
})

test.run()
