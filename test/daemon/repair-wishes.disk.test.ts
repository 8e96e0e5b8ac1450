import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeId, silentLog, systemClock } from '../../src/base/index.ts'
import { openEmbeddedCoordinator } from '../../src/coordinator/index.ts'
import { defaultSettings, RepairWishes } from '../../src/daemon/repair-wishes.ts'

test('settings and nodes that are being emptied are the same for every node, and kept', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-wishes-'))
  const coordinator = await openEmbeddedCoordinator(directory)
  try {
    const wishes = () => new RepairWishes(coordinator, systemClock(), silentLog)
    const [here, there] = [wishes(), wishes()]
    assert.equal(here.settings, defaultSettings)
    await here.change({ graceMs: 5000 })
    await there.change({ bytesPerSecond: 2 ** 26 })
    assert.equal(there.settings, { graceMs: 5000, bytesPerSecond: 2 ** 26 })
    const [a, b] = ['a'.repeat(32) as NodeId, 'b'.repeat(32) as NodeId]
    await here.drain(a, true)
    await there.drain(b, true)
    await there.drain(b, true)
    assert.equal([...there.draining.keys()], [a, b])
    await here.drain(a, false)
    assert.equal([...here.draining.keys()], [b])
    const later = wishes()
    await later.refresh()
    assert.equal([...later.draining.keys()], [b])
    assert.is(later.settings.graceMs, 5000)
    // A record of a newer build is not guessed at: all stays as last known.
    await coordinator.compareAndSet(
      `repair/drain/${'c'.repeat(32)}`,
      0,
      Buffer.from('{"version":2}'),
    )
    const newer = wishes()
    await newer.refresh()
    assert.equal(newer.settings, defaultSettings)
  } finally {
    await coordinator.close()
    rmSync(directory, { recursive: true, force: true })
  }
})

test.run()
