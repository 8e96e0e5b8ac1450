import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkAppends, checkLocks, checkRegisters, type Operation } from './checker.ts'

const op = (
  kind: Operation['kind'],
  value: string | null,
  start: number,
  end: number | null,
  ok = true,
): Operation => ({ client: 'c', key: 'k', kind, value, start, end, ok })
const write = (value: string | null, start: number, end: number | null, ok = true) =>
  op('write', value, start, end, ok)
const read = (value: string | null, start: number, end: number) => op('read', value, start, end)

test('what one filesystem can have said is let through', () => {
  const fine: Operation[][] = [
    [read(null, 1, 2)],
    [write('a', 1, 2), read('a', 3, 4)],
    [write('a', 1, 9), read(null, 2, 3), read('a', 4, 5)],
    [write('a', 1, 9), write('b', 2, 8), read('a', 10, 11)],
    [write('a', 1, 2), write('b', 3, 4, false), read('a', 5, 6)],
    [write('a', 1, 2), write('b', 3, 4, false), read('b', 5, 6)],
    [write('a', 1, 2), write('b', 3, null, false), read('a', 5, 6), read('b', 7, 8)],
    [write('a', 1, 2), write(null, 3, 4), write('a', 5, 6), read('a', 7, 8)],
  ]
  for (const history of fine) assert.equal(checkRegisters(history), [])
})

test('a lost write, a stale read, a word out of nowhere and one of a failed write that comes late are found', () => {
  const wrong: [RegExp, Operation[]][] = [
    [/older than/, [write('a', 1, 2), read(null, 3, 4)]],
    [/older than/, [write('a', 1, 2), write('b', 3, 4), read('a', 5, 6)]],
    [/nobody wrote/, [write('a', 1, 2), read('b', 3, 4)]],
    [/nobody wrote/, [read('a', 1, 2), write('a', 3, 4)]],
    [/older than/, [write('a', 1, 2, false), write('b', 3, 4), read('a', 5, 6)]],
    [/older than/, [write('a', 1, 2), write(null, 3, 4), read('a', 5, 6)]],
  ]
  for (const [why, history] of wrong) {
    const found = checkRegisters(history)
    assert.is(found.length, 1)
    assert.match(found[0] ?? '', why)
  }
})

test('two holders of one lock at one time are found', () => {
  const section = (client: string, start: number, end: number) => ({ client, start, end })
  assert.equal(checkLocks([section('a', 1, 2), section('b', 2, 3), section('a', 4, 5)]), [])
  assert.is(checkLocks([section('b', 3, 6), section('a', 1, 4)]).length, 1)
})

test('lines that are lost, torn, doubled or out of order are found', () => {
  const line = (client: string, n: number, ok = true) => ({ client, line: `${client} ${n}`, ok })
  const appends = [line('a', 1), line('b', 1, false), line('a', 2)]
  assert.equal(checkAppends(appends, 'a 1\na 2\n'), [])
  assert.equal(checkAppends(appends, 'b 1\na 1\na 2\n'), [])
  assert.match(checkAppends(appends, 'a 1\n').join(), /a 2 was acknowledged/)
  assert.match(checkAppends(appends, 'a 1\na 2\na\n').join(), /nobody appended a$/)
  assert.match(checkAppends(appends, 'a 1\na 2\na 2\n').join(), /2 times/)
  assert.match(checkAppends(appends, 'a 2\na 1\n').join(), /before/)
})

test.run()
