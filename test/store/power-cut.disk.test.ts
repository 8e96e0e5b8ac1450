// deadline: 240 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ino, silentLog } from '../../src/base/index.ts'
import type { Disk, DiskHandle, SimulatedDisk } from '../../src/disk/index.ts'
import { fsckVolume, sweep } from '../../src/store/index.ts'
import { readTree, Writer } from './power-cut-writer.ts'
import { lying, PromiseBroken, SimulatedMachine } from './simulated-machine.ts'
import { quietWork } from './volume-world.ts'

/**
 * The whole store over a simulated disk whose power is cut at any call, by seed. WEFT_SEED repeats one run, WEFT_SEEDS
 * makes more of them.
 */
const SEEDS = Number(process.env.WEFT_SEEDS ?? 120)
const seeds = process.env.WEFT_SEED
  ? [Number(process.env.WEFT_SEED)]
  : Array.from({ length: SEEDS }, (_, index) => index + 1)
const CUTS = 3
const STEPS = 150
/** Writes, syncs and changes of names until the power goes, at most; more than the steps make is a cut at rest. */
const CALLS_MAX = [20, 200, 2000]
/** Seeds within which a disk that breaks its promises has to be found out. */
const LIE_SEEDS = 60

/** What the runs came to, so that a test that tries nothing is seen. */
const tried = {
  promises: 0,
  cuts: 0,
  idleCuts: 0,
  restarts: 0,
  chunks: 0,
  journalFiles: 0,
  resealed: 0,
}

/** @throws PromiseBroken when the volume is not what it has to be after a cut */
async function run(seed: number, lie?: (disk: SimulatedDisk) => Disk): Promise<void> {
  const machine = await SimulatedMachine.make(seed, lie)
  const { disk, random } = machine
  try {
    const writer = new Writer(machine)
    for (let cut = 0; cut < CUTS; cut++) {
      disk.powerOffAfter(random.below(CALLS_MAX[random.below(CALLS_MAX.length)] ?? 0))
      await writer.steps(STEPS)
      assert.equal(machine.failures, [], 'nothing fails while there is power')
      tried.cuts++
      if (!disk.off) tried.idleCuts++
      await machine.powerCut()
      machine.start()
      await check(machine, writer)
      if (random.below(3) > 0) continue
      tried.restarts++
      await machine.shutDown(random.below(2) === 0 ? 'daemon' : 'machine')
      machine.start()
      await check(machine, writer)
    }
    tried.promises += writer.manifest.promises
    tried.resealed += writer.resealed
  } finally {
    await machine.close()
  }
}

/** Every promise is kept, nothing is damaged, the totals are right, and the volume takes changes. */
async function check(machine: SimulatedMachine, writer: Writer): Promise<void> {
  const { engine, fs } = machine.life
  const { clock, random } = machine
  const found = readTree(fs)
  const broken = writer.manifest.broken(found)
  if (broken !== null) throw new PromiseBroken(broken)
  const world = { log: silentLog, clock, random }
  const { findings } = await machine.wait(
    fsckVolume(engine, { repair: false, acceptLoss: false }, world, quietWork),
  )
  const damage = findings.filter(({ severity }) => severity === 'damage')
  if (damage.length > 0) throw new PromiseBroken(`fsck: ${JSON.stringify(damage)}`)
  const { shared } = fs.volume
  const inos = new Set<Ino>(found.names.values())
  assert.is(shared.inodes, inos.size + 1, 'inodes are counted right')
  const used = [...inos].reduce((sum, ino) => sum + fs.inode(ino).bytes, 0)
  assert.is(shared.usedBytes, used, 'bytes are counted right')
  tried.chunks += engine.figures().chunks
  tried.journalFiles += engine.volume.journal.files().length
  if (random.below(3) === 0) await machine.wait(sweep([engine], clock, quietWork))
  writer.manifest.reset(found)
  clock.advance(2000)
  writer.touchAll()
}

test(`every promise is kept through ${CUTS} cuts in power, by ${seeds.length} seeds`, async () => {
  for (const seed of seeds) {
    try {
      await run(seed)
    } catch (error) {
      throw new Error(`WEFT_SEED=${seed}: ${error}`, { cause: error })
    }
  }
  console.log(JSON.stringify(tried))
  if (seeds.length < 10) return
  assert.ok(tried.promises > 2 * seeds.length, 'enough was promised')
  assert.ok(tried.chunks > seeds.length, 'chunks were there')
  assert.ok(tried.journalFiles > 3 * seeds.length, 'journal files were begun')
  assert.ok(tried.idleCuts > 0 && tried.idleCuts < tried.cuts, 'the power went at work and at rest')
  assert.ok(tried.restarts > 0, 'volumes were closed in order')
  assert.ok(tried.resealed > 0, 'old keys were dropped')
})

const nothing = () => undefined
const noSync = { fdatasync: nothing, fdatasyncAsync: async () => undefined }

/** Disks that do not do what Disk promises. */
const lies: Record<string, (disk: SimulatedDisk) => Disk> = {
  'an fdatasync that does nothing': (disk) => lying(disk, noSync),
  'an fdatasync that answers before it is done': (disk) =>
    lying(disk, {
      async fdatasyncAsync(handle) {
        disk.fdatasyncAsync(handle).catch(nothing)
      },
    }),
  'an fsync of a directory that does nothing': (disk) => lying(disk, { fsyncDirectory: nothing }),
  'chunks that are not synced': (disk) => {
    const chunks = new Set<DiskHandle>()
    return lying(disk, {
      open(path, mode) {
        const handle = disk.open(path, mode)
        if (path.includes('/chunks/')) chunks.add(handle)
        return handle
      },
      async fdatasyncAsync(handle) {
        if (!chunks.has(handle)) await disk.fdatasyncAsync(handle)
      },
    })
  },
  'a replacement of a file that is not synced': (disk) =>
    lying(disk, {
      replaceFile(path, bytes) {
        const handle = disk.open(`${path}.new`, 'create')
        disk.truncate(handle, 0)
        disk.write(handle, bytes, 0, bytes.length, 0)
        disk.close(handle)
        disk.rename(`${path}.new`, path)
        disk.fsyncDirectory(path.slice(0, path.lastIndexOf('/')))
      },
    }),
}

for (const [name, lie] of Object.entries(lies)) {
  test(`the same check finds out ${name}`, async () => {
    for (let seed = 1; seed <= LIE_SEEDS; seed++) {
      try {
        await run(seed, lie)
      } catch (error) {
        if (error instanceof PromiseBroken) return
        throw error
      }
    }
    assert.unreachable(`not within ${LIE_SEEDS} seeds`)
  })
}

test.run()
