import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type CopiesNode, CopiesWorld, sleep, until } from './copies-world.ts'

const CHUNK_BYTES = 100_000

type Three = [CopiesNode, CopiesNode, CopiesNode]

/** Three nodes with a copy each, at least two of them in sync; the first one owns the volume. */
async function withOwner(work: (world: CopiesWorld, nodes: Three) => Promise<void>): Promise<void> {
  const world = new CopiesWorld(3, 2)
  try {
    await world.open()
    const nodes = world.nodes as Three
    await nodes[0].call('lead', { deadlineMs: 10_000 })
    await work(world, nodes)
  } finally {
    await world.close()
  }
}

/** Every record and chunk that `writer` was told to be durable is in the copy of `node`. */
async function mustHave(node: CopiesNode, writer: CopiesNode): Promise<void> {
  const tags = await node.call('tags', {})
  for (const { seq, tag } of writer.acknowledged) {
    assert.is(tags[seq], tag, `node ${node.index} lacks acknowledged record ${seq}`)
  }
  const chunks = writer.acknowledged.flatMap(({ chunk }) => chunk ?? [])
  assert.ok(chunks.length > 0, 'there were chunks')
  assert.is(await node.call('whole', { chunks, chunkBytes: CHUNK_BYTES }), chunks.length)
}

const acknowledges = (node: CopiesNode, more: number) => {
  const wanted = node.acknowledged.length + more
  return until(
    `node ${node.index} acknowledges ${more} more`,
    () => node.acknowledged.length >= wanted,
  )
}

test('after kill -9 of the owner another node takes over with every acknowledged record and chunk', async () => {
  await withOwner(async (world, [first, second, third]) => {
    first.stream(CHUNK_BYTES)
    await acknowledges(first, 60)
    await first.kill()
    const { epoch } = await second.call('lead', { deadlineMs: 15_000 })
    assert.ok(epoch > 1)
    assert.not(world.isMember(first))
    await mustHave(second, first)
    await mustHave(third, first)
    second.stream(CHUNK_BYTES)
    await acknowledges(second, 20)
    // What the killed one may have behind its last acknowledgement gives way to the new owner's log.
    await first.start()
    await world.introduce()
    await until('the copy of the killed owner is a member again', () => world.isMember(first))
    await acknowledges(second, 10)
    await second.kill()
    await first.call('lead', { deadlineMs: 15_000 })
    for (const node of [first, third]) {
      await mustHave(node, first)
      await mustHave(node, second)
    }
  })
})

test('a replica that is killed is left behind, and taken in again when it has caught up', async () => {
  await withOwner(async (world, [first, , third]) => {
    first.stream(CHUNK_BYTES)
    await acknowledges(first, 30)
    await third.kill()
    await until('the killed one is no member', () => !world.isMember(third))
    await acknowledges(first, 30)
    await third.start()
    await world.introduce()
    await until('it is a member again', () => world.isMember(third))
    await acknowledges(first, 10)
    await first.kill()
    await mustHave(third, first)
  })
})

test('a node whose drive was wiped has no copy, and a new one of it is another copy', async () => {
  await withOwner(async (world, [first, second, third]) => {
    first.stream(CHUNK_BYTES)
    await acknowledges(first, 10)
    await third.kill()
    third.wipe()
    await third.start()
    await world.introduce()
    const asked = { copy: third.copy, node: third.node }
    const refused = { kind: 'refused', why: 'otherCopy' }
    assert.equal(await first.call('ask', asked), refused)
    await until('it is no member', () => !world.isMember(third))
    third.copy = 'cf'.repeat(16) as typeof third.copy
    await third.call('create', { copy: third.copy })
    assert.equal(await second.call('ask', asked), refused)
    const made = { copy: third.copy, node: third.node }
    assert.equal(await second.call('ask', made), { kind: 'state', why: null })
    await sleep(500)
    assert.is(world.recorded.inSync.length, 2, 'nobody takes it for the copy that is gone')
  })
})

test.run()
