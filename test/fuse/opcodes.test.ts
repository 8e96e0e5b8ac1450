import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  isAnswered,
  isOnce,
  OPCODE_COUNT,
  OPCODE_NAMES,
  OPCODES,
  opcodeName,
} from '../../src/fuse/opcodes.ts'

test('every opcode has a code of its own below the count, and its name by code', () => {
  const codes = Object.values(OPCODES).map((row) => row.code)
  assert.is(new Set(codes).size, codes.length)
  assert.is(Math.max(...codes), OPCODE_COUNT - 1)
  assert.is(OPCODE_NAMES.length, OPCODE_COUNT)
  for (const [name, row] of Object.entries(OPCODES)) assert.is(opcodeName(row.code), name)
})

test('only forgets, interrupts and the answer to a retrieve stay without an answer', () => {
  const silent = Object.entries(OPCODES)
    .filter(([, row]) => !isAnswered(row.code))
    .map(([name]) => name)
  assert.equal(silent, ['FORGET', 'INTERRUPT', 'NOTIFY_REPLY', 'BATCH_FORGET'])
})

test('a code the table does not know is answered, runs freely and has a name', () => {
  for (const code of [0, 7, 19, OPCODE_COUNT, 4096, 0xffffffff]) {
    assert.is(opcodeName(code), 'unknown')
    assert.is(isAnswered(code), true)
    assert.is(isOnce(code), false)
  }
})

test('what changes the filesystem is done once, what only looks may be done again', () => {
  for (const name of ['CREATE', 'RENAME2', 'UNLINK', 'WRITE', 'SETLK', 'SETATTR'] as const) {
    assert.ok(isOnce(OPCODES[name].code), name)
  }
  for (const name of ['LOOKUP', 'READ', 'GETATTR', 'READDIR', 'STATFS', 'FSYNC'] as const) {
    assert.not.ok(isOnce(OPCODES[name].code), name)
  }
})

test.run()
