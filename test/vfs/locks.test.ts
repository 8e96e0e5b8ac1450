import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Ino } from '../../src/base/index.ts'
import { F_RDLCK, F_WRLCK, type LockRequest, LockTable } from '../../src/vfs/index.ts'

const [A, B] = [1n, 2n]

function flock(owner: bigint, type: number): LockRequest {
  return {
    ino: 7 as Ino,
    owner,
    start: 0n,
    end: 2n ** 63n - 1n,
    type,
    pid: Number(owner),
    flock: true,
    file: Number(owner),
  }
}

test('two who share a flock and both want it exclusive do not wait for each other', () => {
  const table = new LockTable()
  const granted: bigint[] = []
  const wait = (owner: bigint) =>
    table.wait({
      key: `${owner}`,
      request: flock(owner, F_WRLCK),
      answer: () => granted.push(owner),
    })
  assert.ok(table.set(flock(A, F_RDLCK)))
  assert.ok(table.set(flock(B, F_RDLCK)))
  wait(A)
  assert.equal(granted, [], 'B shares it')
  wait(B)
  assert.equal(granted, [B], 'A has given back what it shared')
  table.release(7 as Ino, B, true)
  assert.equal(granted, [B, A])
})

test('a range that is refused another kind is kept', () => {
  const table = new LockTable()
  const range = (owner: bigint, type: number) => ({ ...flock(owner, type), flock: false })
  assert.ok(table.set(range(A, F_RDLCK)))
  assert.ok(table.set(range(B, F_RDLCK)))
  assert.not(table.set(range(A, F_WRLCK)))
  assert.ok(table.conflict(range(B, F_WRLCK)), 'A still has its own')
})

test('what was locked through an open file ends with it, whoever else has the file open', () => {
  const table = new LockTable()
  const range = (owner: bigint, file: number) => ({
    ...flock(owner, F_WRLCK),
    flock: false,
    file,
  })
  assert.ok(table.set(range(A, 5)))
  assert.not(table.releaseFile(7 as Ino, 6, () => true))
  assert.not(
    table.releaseFile(7 as Ino, 5, () => false),
    'the same number in another kernel',
  )
  assert.ok(table.conflict(range(B, 6)))
  assert.ok(table.releaseFile(7 as Ino, 5, () => true))
  assert.ok(table.set(range(B, 6)))
})

test.run()
