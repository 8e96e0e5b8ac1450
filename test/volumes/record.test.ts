import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError, type NodeId } from '../../src/base/index.ts'
import { copyOn, decodeRecord, decodeTombstone, encodeRecord } from '../../src/volumes/index.ts'
import { sample } from './sample-record.ts'

const hex = (digit: string) => digit.repeat(32)
const base64 = (bytes: number) => Buffer.alloc(bytes, 5).toString('base64')

/** Golden bytes of record version 1: this text must be readable for ever. */
const golden = `{"version":1,"generation":1,"id":"${hex('1')}","number":7,"name":"mysql_vol","epoch":3,"owner":"${hex('a')}","copies":[{"id":"${hex('c')}","node":"${hex('a')}","drive":"${hex('d')}"}],"inSync":["${hex('c')}"],"minimum":1,"released":[],"movingTo":null,"spec":{"name":"mysql_vol","sizeBytes":107374182400,"repl":1,"minimum":1,"cos":3,"spread":"node","nodes":null,"onLoss":"wait"},"keys":{"version":1,"keyringSealed":"${base64(113)}","newest":1,"slots":[{"id":1,"kind":"node","label":"node aaaaaaaa","publicKey":"${base64(32)}","sealed":"${base64(80)}","createdAt":"2026-11-23T00:00:00.000Z"}],"nextSlot":2},"state":"ready","createdAt":"2026-11-23T00:00:00.000Z"}`

function thrownBy(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return null
}

const altered = (change: object) => Buffer.from(JSON.stringify({ ...sample, ...change }))

test('record version 1 is these bytes, both ways', () => {
  assert.is(encodeRecord(sample).toString(), golden)
  assert.equal(decodeRecord(Buffer.from(golden)), sample)
})

test('a record of a newer build is refused with what to do', () => {
  const error = thrownBy(() => decodeRecord(altered({ version: 2, anything: 'else' })))
  assert.instance(error, FsError)
  assert.is((error as FsError).code, 'ENOTSUP')
  assert.is(
    (error as FsError).message,
    'written by a newer weft (record version 2, this build reads 1): run that build',
  )
  const keys = thrownBy(() => decodeRecord(altered({ keys: { ...sample.keys, version: 2 } })))
  assert.is((keys as FsError).code, 'ENOTSUP')
})

test('each field that is wrong makes the record CorruptError', () => {
  const wrong: readonly object[] = [
    { version: 0 },
    { version: '1' },
    { generation: 0 },
    { id: 'x' },
    { id: hex('A') },
    { number: 0 },
    { number: 2 ** 24 },
    { name: 'a/b' },
    { name: '.x' },
    { name: 'another' },
    { epoch: -1 },
    { epoch: 0.5 },
    { epoch: 0 },
    { owner: null },
    { copies: [] },
    { copies: [...sample.copies, ...sample.copies] },
    { inSync: [] },
    { inSync: [hex('e')] },
    { inSync: [...sample.inSync, ...sample.inSync] },
    { minimum: 2 },
    { spec: { ...sample.spec, sizeBytes: 1 } },
    { spec: { ...sample.spec, cos: 4 } },
    { spec: { ...sample.spec, more: 1 } },
    { keys: null },
    { keys: { ...sample.keys, slots: [] } },
    { state: 'gone' },
    { createdAt: 5 },
    { unknown: 'field' },
  ]
  for (const change of wrong) {
    assert.instance(
      thrownBy(() => decodeRecord(altered(change))),
      CorruptError,
      JSON.stringify(change),
    )
  }
})

test('garbage, truncation and changed bytes: only CorruptError or a newer version come out', () => {
  const whole = encodeRecord(sample)
  let state = 7
  const next = (bound: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
  let refused = 0
  const feed = (bytes: Buffer) => {
    for (const decode of [decodeRecord, decodeTombstone]) {
      const error = thrownBy(() => decode(bytes))
      if (error === null) continue
      refused++
      const declared =
        error instanceof CorruptError || (error instanceof FsError && error.code === 'ENOTSUP')
      assert.ok(declared, `${error} for ${bytes.toString('latin1').slice(0, 100)}`)
    }
  }
  for (let length = 0; length < whole.length; length++) feed(whole.subarray(0, length))
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.from(whole)
    for (let flips = next(3) + 1; flips > 0; flips--)
      bytes.writeUInt8(next(256), next(bytes.length))
    feed(bytes)
  }
  for (let round = 0; round < 500; round++)
    feed(Buffer.from(Array.from({ length: next(200) }, () => next(256))))
  for (const text of [
    'null',
    '[]',
    '1',
    '"x"',
    '{}',
    '{"version":1}',
    '{"version":1e999}',
    '[[[[',
    '{"__proto__":{"version":2}}',
  ])
    feed(Buffer.from(text))
  assert.ok(refused > 5000)
})

test('the copy of a node is found by the node', () => {
  assert.equal(copyOn(sample, hex('a') as NodeId), sample.copies[0])
  assert.is(copyOn(sample, hex('b') as NodeId), null)
})

test.run()
