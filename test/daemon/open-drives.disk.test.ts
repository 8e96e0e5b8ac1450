import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DriveId, type NodeId, silentLog } from '../../src/base/index.ts'
import { addDirectory, takeBack } from '../../src/daemon/add-drive.ts'
import {
  forgetFailure,
  noteFailure,
  readDriveList,
  unlistDrive,
  writeDriveList,
} from '../../src/daemon/drive-list.ts'
import { type DriveOwner, openDrives } from '../../src/daemon/open-drives.ts'
import type { LabelKeys, RunTool } from '../../src/drives/index.ts'

const chunk = 'ab'.repeat(16)

/** A home with two directories as drives, and the chunk files that are put on them by hand. */
async function world() {
  const root = mkdtempSync(join(tmpdir(), 'weft-open-'))
  const home = join(root, 'home')
  mkdirSync(home)
  const owner: DriveOwner = {
    home,
    node: 'a1'.repeat(16) as NodeId,
    cluster: null,
    keys: {} as LabelKeys,
    disks: {},
  }
  const start = async () => (await openDrives(owner, silentLog, () => {})).drives
  await start()
  const [first, second] = [join(home, 'drives/default'), join(root, 'das1')]
  addDirectory(owner, second, 2, {})
  return {
    owner,
    start,
    first,
    second,
    names: () => (readDriveList(home)?.drives ?? []).map(({ dir }) => dir),
    version: () => JSON.parse(readFileSync(join(home, 'drives.json'), 'utf8')).version,
    put(dir: string, path: string, bytes = 'bytes') {
      mkdirSync(join(dir, path, '..'), { recursive: true })
      writeFileSync(join(dir, path), bytes)
    },
    close: () => rmSync(root, { recursive: true }),
  }
}

test('what was written to a drive after it had been found empty brings it back to the list, and stays', async () => {
  for (const path of [
    `chunks/ab/${chunk}`,
    `volumes/${chunk}/0000000001.journal`,
    `quarantine/${chunk}`,
  ]) {
    const { owner, start, first, second, put, names, close } = await world()
    try {
      await start()
      unlistDrive(owner.home, second)
      put(second, path)
      // Of another length: not the same.
      put(first, path, 'byte')
      const drives = await start()
      assert.equal(
        drives.map(({ dir }) => dir),
        [first, second],
        path,
      )
      assert.equal(names(), [first, second])
      assert.equal(readDriveList(owner.home)?.leaving, [])
      assert.is(readFileSync(join(second, path), 'utf8'), 'bytes')
    } finally {
      close()
    }
  }
})

test('what a drive that is taken out could not let go of, and others have, does not bring it back', async () => {
  const { owner, start, first, second, put, names, close } = await world()
  try {
    unlistDrive(owner.home, second)
    for (const dir of [first, second]) put(dir, `chunks/ab/${chunk}`)
    put(second, `quarantine/${chunk}`)
    put(first, `quarantine/${chunk}.1`)
    put(second, `chunks/arriving/${chunk}`, 'half')
    await start()
    assert.equal(names(), [first])
    assert.equal(readDriveList(owner.home)?.leaving, [])
    assert.not(existsSync(join(second, 'drive.json')))
  } finally {
    close()
  }
})

test('a drive that failed is failing in later lives, until a person says that it is sound', async () => {
  const { owner, start, second, version, close } = await world()
  try {
    assert.is(version(), 1)
    noteFailure(owner.home, second, { why: 'it answered EIO', at: '2026-11-30T10:00:00.000Z' })
    noteFailure(owner.home, second, { why: 'and again', at: '2026-11-30T11:00:00.000Z' })
    assert.is(version(), 3)
    for (let life = 0; life < 2; life++) {
      const [ok, failed] = await start()
      assert.is(ok?.state, 'ok')
      assert.is(failed?.state, 'failing')
      assert.match(String(failed?.failure), `10:00:00.000Z: it answered EIO`)
      assert.match(String(failed?.failure), `weft drive add ${second}`)
    }
    assert.is(await takeBack(owner, { dir: join(second, 'other') }), null)
    assert.is((await takeBack(owner, { dir: second }))?.dir, second)
    assert.is(version(), 1, 'an older build reads it again')
    assert.not(forgetFailure(owner.home, second))
    const states = (await start()).map(({ state }) => state)
    assert.equal(states, ['ok', 'ok'])
  } finally {
    close()
  }
})

test('the disks of the host are looked at once for all drives that are to be mounted', async () => {
  const { owner, first, close } = await world()
  try {
    const disks = ['c1', 'c2', 'c3'].map((two) => {
      const drive = two.repeat(16) as DriveId
      const nothing = { wwn: '', serial: '', model: '', tag: null, measured: null }
      const dir = join(owner.home, 'drives', drive)
      return { dir, disk: { drive, ...nothing }, failed: null, givenUp: [] }
    })
    const drives = [{ dir: first, disk: null, failed: null, givenUp: [] }, ...disks]
    writeDriveList(owner.home, { drives, leaving: [] })
    const ran: string[] = []
    const run: RunTool = async (tool) => {
      ran.push(tool)
      return { code: 0, stdout: '{"blockdevices":[]}', stderr: '' }
    }
    const opened = await openDrives({ ...owner, disks: { run } }, silentLog, () => {})
    assert.is(opened.missing.length, 3)
    assert.equal(ran, ['lsblk'])
  } finally {
    close()
  }
})

test.run()
