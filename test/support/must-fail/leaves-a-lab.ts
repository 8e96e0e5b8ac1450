/** A file the test runner must report red: its tests are green but a lock of its lab and a loop device on an image are still there. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { testLabName } from '../hosts.ts'

test('attaches an image and forgets it', () => {
  const name = testLabName()
  mkdirSync('/run/weft-lab', { recursive: true })
  writeFileSync(`/run/weft-lab/${name}.lock`, '')
  const images = `/dev/shm/weft-lab-${name}`
  mkdirSync(images)
  const image = join(images, 'node1-drive1.img')
  writeFileSync(image, Buffer.alloc(1024 * 1024))
  execFileSync('losetup', ['--find', image])
  assert.ok(true)
})
test.run()
