import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { lifetimeOf } from '../../src/cli/cluster-words.ts'
import { type FakeNode, fakeNode } from '../api/fake-control.ts'
import { type Ran, weft } from './fake-terminal.ts'

async function inWorld(
  work: (run: (...words: string[]) => Promise<Ran>, node: FakeNode, dir: string) => Promise<void>,
): Promise<void> {
  const node = await fakeNode()
  const dir = mkdtempSync(join(tmpdir(), 'weft-cli-'))
  try {
    await work((...words) => weft(['--home', node.home, ...words], { cwd: dir }), node, dir)
  } finally {
    await node.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

test('cluster create says what it does, sends what was given and waits for the member', () =>
  inWorld(async (run, node) => {
    const words = ['--domain', 'rack=r1', '--listen', ':9000', '--name', 'node1']
    const made = await run('cluster', 'create', 'lab', ...words, '--advertise', '10.0.0.1:9000')
    assert.is(made.exit, 0, made.err)
    assert.match(made.err, /^making the cluster lab …$/m)
    assert.match(made.out, /^cluster lab, 2 nodes\ncoordinator on node node1: answers\n/)
    assert.match(made.out, /^node2 +down .* refused the connection$/m)
    assert.ok(
      node.calls.includes(
        'cluster.create {"name":"lab","node":"node1","domain":"rack=r1","listen":":9000","advertise":["10.0.0.1:9000"]}',
      ),
      node.calls.join('\n'),
    )
    const status = await run('status')
    assert.match(status.out, /^cluster lab, 2 nodes$/m)
    assert.match((await run('cluster', 'coordinator')).out, /^answers +yes$/m)
    const { nodes } = (await run('node', 'list', '--json')).json() as { nodes: { name: string }[] }
    assert.equal(
      nodes.map(({ name }) => name),
      ['node1', 'node2'],
    )
  }))

test('an invite is one line on standard output, and all words about it are on standard error', () =>
  inWorld(async (run, node) => {
    const made = await run('cluster', 'invite', '--uses', '3', '--expires', '12h')
    assert.is(made.out, 'weft1:line-of-an-invite\n')
    assert.match(made.err, /^invite e{32}: admits 3 nodes until .*; revoke it with weft cluster/)
    assert.is(node.calls.at(-1), 'cluster.invite {"uses":3,"lifetimeMs":43200000}')
    assert.match((await run('cluster', 'invites')).out, /^e{32} +live +1 +0 /m)
    const revoked = await run('cluster', 'invites', '--revoke', 'e'.repeat(32))
    assert.is(revoked.out, `invite ${'e'.repeat(32)} is revoked\n`)
    assert.is((await run('cluster', 'invites', '--revoke', 'e')).exit, 2)
    assert.is((await run('cluster', 'invite', '--uses', '0')).exit, 2)
    assert.is((await run('cluster', 'invite', '--expires', 'soon')).exit, 2)
  }))

test('join takes the line itself or a file, and what is neither is refused before anything is asked', () =>
  inWorld(async (run, node, dir) => {
    writeFileSync(join(dir, 'invite'), 'weft1:from-a-file\n')
    const joined = await run('cluster', 'join', './invite')
    assert.is(joined.exit, 0, joined.err)
    assert.ok(node.calls.includes('cluster.join {"invite":"weft1:from-a-file\\n"}'))
    await run('cluster', 'join', 'weft1:as-a-word', '--name', 'node7')
    assert.ok(node.calls.includes('cluster.join {"invite":"weft1:as-a-word","node":"node7"}'))

    const calls = node.calls.length
    const refused = await run('cluster', 'join', 'lab')
    assert.is(refused.exit, 2)
    assert.match(
      refused.err,
      /"lab" is no invite\n {2}next: give the line that weft cluster invite/,
    )
    assert.is((await run('cluster', 'join', './nothing')).exit, 4)
    assert.is(node.calls.length, calls)
  }))

test('node remove says who is gone, and a refusal comes with its words', () =>
  inWorld(async (run, node) => {
    assert.is(
      (await run('node', 'remove', 'node2', '--reason', 'sold')).out,
      'node node2 is removed\n',
    )
    assert.is(node.calls.at(-1), 'cluster.remove ["node2",{"reason":"sold"}]')
    node.failNext = new FsError('EHOSTUNREACH', 'coordinator', { message: 'it does not answer' })
    const refused = await run('node', 'remove', 'node2')
    assert.is(refused.exit, 9)
    assert.match(refused.err, /^weft node remove: it does not answer\n {2}next: /)
  }))

test('the coordinator is moved to where the words say, and half a command line is refused', () =>
  inWorld(async (run, node) => {
    const moved = await run('cluster', 'coordinator', 'migrate', 'etcd://h1:2379,h2:2379')
    assert.is(moved.out, 'the coordinator is at etcd://h1:2379,h2:2379, generation 2\n')
    assert.is(node.calls.at(-1), 'cluster.moveCoordinator "etcd://h1:2379,h2:2379"')
    const half = await run('cluster', 'coordinator', 'migrate')
    assert.is(half.exit, 2)
    assert.match(half.err, /TO is missing\n {2}next: weft cluster coordinator migrate etcd:/)
    assert.is((await run('cluster', 'coordinator', 'recall', 'x')).exit, 2)
  }))

test('a life of an invite is a whole number and a unit', () => {
  const given = { '30s': 30_000, '5m': 300_000, '1h': 3_600_000, '7d': 604_800_000 }
  for (const [text, ms] of Object.entries(given)) assert.is(lifetimeOf(text), ms)
  for (const text of ['', '0h', '1.5h', '1 h', 'h', '1w']) assert.throws(() => lifetimeOf(text))
})

test.run()
