import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ProtocolError } from '../../src/base/index.ts'
import {
  decodeRequest,
  type KeeperRequest,
  LineSplitter,
  lineCharsMax,
  RequestError,
} from '../../src/fuse/keeper-protocol.ts'

const requests: readonly KeeperRequest[] = [
  { id: 1, verb: 'mount', slot: 0, target: '/mnt/weft', source: 'weft', options: ['ro'] },
  { id: 2, verb: 'unmount', slot: 3, lazy: true },
  { id: 3, verb: 'bind', slot: 0, target: '/other', options: ['ro'] },
  { id: 4, verb: 'unbind', target: '/other', lazy: false },
  { id: 5, verb: 'mounted-state', slot: 0, info: { kind: 'namespace' } },
  { id: 6, verb: 'ended', slot: 0 },
  { id: 7, verb: 'restart', program: null },
  { id: 8, verb: 'restart', program: '/opt/weft/main.js' },
  { id: 9, verb: 'shutdown' },
  { id: 10, verb: 'ready' },
]

test('every request survives the way there', () => {
  for (const request of requests) assert.equal(decodeRequest(JSON.stringify(request)), request)
})

test('bad requests give RequestError alone, with the id when there was one', () => {
  const lines: readonly [string, number | null][] = [
    ['', null],
    ['nonsense', null],
    ['null', null],
    ['[1]', null],
    ['{"id":1.5,"verb":"ready"}', null],
    ['{"id":1}', 1],
    ['{"id":2,"verb":"toString"}', 2],
    ['{"id":3,"verb":"unmount","slot":"0"}', 3],
    ['{"id":4,"verb":"mount","slot":0,"target":"x","source":"weft","options":[]}', 4],
    ['{"id":5,"verb":"mount","slot":0,"target":"/x","source":"weft","options":[1]}', 5],
    ['{"id":6,"verb":"bind","slot":0,"target":"/a\\u0000","options":[]}', 6],
    ['{"id":6,"verb":"bind","slot":0,"target":"/a"}', 6],
    ['{"id":7,"verb":"restart","program":""}', 7],
  ]
  for (const [line, id] of lines) {
    try {
      decodeRequest(line)
      assert.unreachable(line)
    } catch (error) {
      assert.instance(error, RequestError, line)
      assert.is((error as RequestError).id, id, line)
    }
  }
})

test('truncated requests are refused or whole, never something else', () => {
  for (const request of requests) {
    const line = JSON.stringify(request)
    for (let end = 0; end < line.length; end++) {
      assert.throws(
        () => decodeRequest(line.slice(0, end)),
        (error: unknown) => error instanceof RequestError,
      )
    }
  }
})

test('lines come out whole however the stream is cut', () => {
  const lines: string[] = []
  const splitter = new LineSplitter((line) => lines.push(line))
  for (const piece of ['a', 'b\nc', '\n\n', 'd\ne']) splitter.feed(piece)
  assert.equal(lines, ['ab', 'c', 'd'])
})

test('an endless line is refused instead of kept', () => {
  const splitter = new LineSplitter(() => assert.unreachable())
  assert.throws(
    () => {
      for (let i = 0; i < 20; i++) splitter.feed('x'.repeat(lineCharsMax / 10))
    },
    (error: unknown) => error instanceof ProtocolError,
  )
})

test.run()
