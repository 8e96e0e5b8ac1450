import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ino, ROOT_INO } from '../../src/base/index.ts'
import { S_IFREG } from '../../src/meta/index.ts'
import { stagedHeaderBytes, sweep } from '../../src/store/index.ts'
import { create, setattr, write } from '../../src/vfs/index.ts'
import { readTree } from './power-cut-writer.ts'
import { SimulatedMachine } from './simulated-machine.ts'
import { quietWork } from './volume-world.ts'

/** What power-cut.disk.test.ts found, each by itself. What of the unsynced is lost is up to the seed. */
const SEEDS = 24

async function bySeeds(work: (machine: SimulatedMachine) => Promise<void>): Promise<void> {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const machine = await SimulatedMachine.make(seed)
    try {
      await work(machine)
    } catch (error) {
      throw new Error(`seed ${seed}: ${error}`, { cause: error })
    } finally {
      await machine.close()
    }
  }
}

let unique = 0
const request = () => ({ uniqueLo: ++unique, uniqueHi: 0 })

function makeFile({ life: { fs } }: SimulatedMachine, name: string): Ino {
  const creation = { mode: S_IFREG | 0o644, umask: 0 }
  const caller = { uid: 0, gid: 0, pid: 1 }
  return create(fs, request(), caller, ROOT_INO, Buffer.from(name), creation).ino
}

function put({ life: { fs } }: SimulatedMachine, ino: Ino, bytes: Buffer): void {
  const buffer = Buffer.concat([Buffer.alloc(stagedHeaderBytes), bytes])
  const how = { append: false, killSetids: false }
  write(fs, request(), ino, 0, buffer, stagedHeaderBytes, bytes.length, how)
}

async function cut(machine: SimulatedMachine): Promise<void> {
  await machine.powerCut()
  machine.start()
}

test('a volume opens after a cut right behind a checkpoint, with records that nobody had synced', () =>
  bySeeds(async (machine) => {
    makeFile(machine, 'a')
    const { engine } = machine.life
    engine.follow()
    await machine.wait(engine.checkpoints.take((make) => engine.commit(make)))
    await cut(machine)
  }))

test('a write moves the times of a file whose attributes were set over writes that a cut took', () =>
  bySeeds(async (machine) => {
    const ino = makeFile(machine, 'a')
    await machine.wait(machine.life.engine.settle())
    for (let i = 0; i < 3; i++) put(machine, ino, Buffer.from('lost'))
    setattr(machine.life.fs, request(), ino, { mode: 0o600 })
    const { journal, shared } = machine.life.engine.volume
    journal.sync(shared.head)
    await cut(machine)
    machine.clock.advance(5000)
    put(machine, ino, Buffer.from('new'))
    const { mtime } = machine.life.fs.attributes(ino).inode
    assert.equal(mtime, machine.clock.now())
  }))

test('a view that was written since its orderly end is not used after a cut', () =>
  bySeeds(async (machine) => {
    makeFile(machine, 'a')
    await machine.shutDown('daemon')
    machine.start()
    makeFile(machine, 'b')
    machine.life.engine.follow()
    await cut(machine)
  }))

test('a sweep deletes no chunk whose last use a record has dropped that a cut may take back', () =>
  bySeeds(async (machine) => {
    const ino = makeFile(machine, 'a')
    const bytes = Buffer.alloc(100_000, 'kept ')
    put(machine, ino, bytes)
    await machine.wait(machine.life.engine.settle())
    await cut(machine)
    const { engine, fs } = machine.life
    assert.is(engine.figures().chunks, 1)
    setattr(fs, request(), ino, { size: 0 })
    engine.follow()
    await machine.wait(sweep([engine], machine.clock, quietWork))
    await cut(machine)
    const found = readTree(machine.life.fs).files.get(ino)
    assert.ok(found?.length === 0 || found?.equals(bytes), 'the file is as before or empty')
  }))

test.run()
