import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { z } from 'zod'
import {
  decode,
  drive,
  driveEnclosure,
  errorBody,
  indexDrive,
  logicalJbod,
  page,
  serverHardware,
  serverProfile,
  task,
} from '../../src/provision/oneview/resources.ts'
import { thrownBy } from '../support/thrown.ts'
import { fixture } from './fixture.ts'

function allDecode(shape: z.ZodType, values: readonly unknown[], countMin: number): void {
  assert.ok(values.length >= countMin, `${values.length} bodies`)
  for (const value of values) assert.is(decode(shape, value, 'a body'), value)
}

test('server hardware of real appliances is read', () => {
  allDecode(serverHardware, [fixture('ServerHardware'), ...fixture('ServerHardwareList')], 20)
})

test('server profiles of real appliances are read', () => {
  allDecode(serverProfile, [fixture('ServerProfile'), ...fixture('ServerProfileList')], 3)
})

test('drive enclosures, their bays and drives are read', () => {
  const enclosures = [fixture('DriveEnclosure'), ...fixture('DriveEnclosureList')]
  allDecode(driveEnclosure, enclosures, 3)
  const drives = enclosures.flatMap(({ driveBays }) =>
    driveBays.map((bay: { drive: unknown }) => bay.drive),
  )
  allDecode(drive, drives, 120)
})

test('drives of the index are read, alone, in a list, in a page and in a tree', () => {
  const { members } = decode(page, fixture('DrivesByDriveEnclosure'), 'a page')
  const tree: { category: string }[] = fixture('DriveComposedIndexTrees.excerpt-resources')
  const inTree = tree.filter(({ category }) => category === 'drives')
  allDecode(indexDrive, [fixture('Drive'), ...fixture('Drives'), ...(members ?? []), ...inTree], 8)
})

test('logical JBODs are read in either spelling of their bays', () => {
  const old = fixture('SASLogicalJBODListForStorage')
  allDecode(logicalJbod, old, 2)
  const { logicalDriveBayUris, ...later } = old[0]
  later.driveBayUris = ['/rest/drive-enclosures/SN123100/drive-bays/a']
  allDecode(logicalJbod, [later], 1)
})

test('tasks are read as far as their fragments go, and an error of a task is an error body', () => {
  allDecode(task, [fixture('task.observed-fragment'), fixture('task.observed-fragment-2')], 2)
  const error = fixture('errors/taskError.ServerNotOffWithCauseForNoServerChange')
  allDecode(task, [{ taskState: 'Error', taskErrors: [error] }], 1)
  for (const name of [
    'errors/taskError.ServerNotOffWithCauseForNoServerChange',
    'errors/error.UNRECOGNIZED_JSON_FIELD',
    'errors/error.AUTHN_SESSION_CLIENT_LIMIT_CROSSED',
  ]) {
    assert.is(errorBody(fixture(name))?.errorCode, fixture(name).errorCode)
  }
})

test('a page whose next one is an empty text is the last', () => {
  assert.is(decode(page, fixture('ApplianceHealthStatus'), 'a page').nextPageUri, '')
})

test('sizes may be texts, as some clients send them', () => {
  const { localStorage } = fixture('ServerProfileBuiltFromTemplateToCreateASystem')
  const body = { ...fixture('ServerProfile'), localStorage }
  allDecode(serverProfile, [body], 1)
})

test('a body that is another thing is refused in words that name the field', async () => {
  const body = { ...fixture('ServerProfile'), localStorage: { sasLogicalJBODs: [{ id: 'one' }] } }
  const error = await thrownBy(() => decode(serverProfile, body, 'the server profile'))
  assert.is(error.code, 'EPROTO')
  assert.match(error.message, /the server profile: localStorage\.sasLogicalJBODs\.0\.id is not/)
  assert.is(errorBody('<html>'), null)
  assert.is(errorBody({}), null)
})

test.run()
