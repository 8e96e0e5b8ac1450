import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/index.ts'
import { FixedDrives, makeTag } from '../../src/provision/index.ts'
import {
  everyProvisionerCases,
  givingProvisionerCases,
  type ProvisionerBench,
} from '../conformance/provisioner.ts'
import { seeded } from '../support/seeded.ts'
import { FakeFrame } from './fake-frame.ts'

const cluster = 'c'.repeat(32)
const nodes = { here: 'a'.repeat(32) as NodeId, there: 'b'.repeat(32) as NodeId }

function bench(): ProvisionerBench {
  const frame = new FakeFrame(4, () => ({ class: 3, sizeBytes: 100 }))
  const random = seeded(1)
  return {
    here: frame.provisioner(nodes.here),
    there: frame.provisioner(nodes.there),
    tag: (of) => makeTag({ cluster, node: nodes[of] }, random),
    async close() {},
  }
}

for (const { name, run } of [...everyProvisionerCases, ...givingProvisionerCases]) {
  test(`a frame in memory: ${name}`, async () => await run(bench()))
}

for (const { name, run } of everyProvisionerCases) {
  test(`fixed drives: ${name}`, async () =>
    await run({ ...bench(), here: new FixedDrives(), there: new FixedDrives() }))
}

test('fixed drives: nothing is free, and a request is refused with what to do instead', async () => {
  const fixed = new FixedDrives()
  assert.equal(await fixed.free(), [])
  const error = await fixed.reserve('weft-x', '/bay').then(
    () => null,
    (thrown: Error) => thrown,
  )
  assert.is((error as { code?: string } | null)?.code, 'ENOTSUP')
  assert.match(error?.message ?? '', /weft drive add.*weft synergy connect/)
})

test.run()
