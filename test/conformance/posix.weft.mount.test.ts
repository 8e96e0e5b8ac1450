// deadline: 300 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startNode } from '../support/node-world.ts'
import { posix } from './posix.ts'

/**
 * The suite on weft: a volume of the namespace mount and a volume attached for one node alone. One node serves all cases
 * of a kind, because that is how it is used; posix.tmpfs.test.ts proves that no case leans on another's leavings.
 */
const KINDS = {
  namespace: { exactHoles: true },
  // With writeback cache the kernel knows data that the server has not seen (place.ts, exactHoles).
  exclusive: { exactHoles: false },
}

for (const [kind, options] of Object.entries(KINDS)) {
  test(`every case holds on the ${kind} mount`, async () => {
    const world = await startNode()
    try {
      const dir = kind === 'namespace' ? await world.volume('v') : await world.attached('v')
      const failures: string[] = []
      const cases = posix(dir, options)
      for (const one of cases) {
        try {
          await one.run()
        } catch (error) {
          failures.push(`${one.name}\n${error instanceof Error ? error.message : String(error)}`)
        }
      }
      assert.ok(cases.length >= 120, `${cases.length} cases`)
      assert.is(failures.length, 0, `${failures.length} cases fail:\n${failures.join('\n\n')}`)
      assert.equal(world.complaints(), [], 'the node has no error to tell')
    } finally {
      await world.close()
    }
  })
}

test.run()
