import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ino, ROOT_INO, type VolumeNumber } from '../../src/base/index.ts'
import { FuseSession, type SessionWorld } from '../../src/fuse/session.ts'
import * as wire from '../../src/fuse/wire/index.ts'
import { S_IFREG } from '../../src/meta/index.ts'
import { stagedHeaderBytes } from '../../src/store/index.ts'
import { create, read, VolumeFs, type VolumeFsWorld } from '../../src/vfs/index.ts'
import { SimulatedMachine } from '../store/simulated-machine.ts'
import * as kernel from '../support/fuse-requests.ts'

const NUMBER = 1 as VolumeNumber
const O_APPEND = 0o2000
const [OWN, OTHERS] = [11, 12]

/** What asks a volume for something: whichever kernel, through one session. */
class Asking {
  fs: VolumeFs
  readonly world: VolumeFsWorld & { mount: number }

  constructor({ volume, world }: VolumeFs) {
    this.world = { ...world, mount: OWN }
    this.fs = new VolumeFs(volume, this.world, true)
  }

  /** The daemon is another one, its memory new. */
  nextLife(): void {
    this.fs = new VolumeFs(this.fs.volume, this.world, true)
  }

  append(mount: number, ino: Ino, unique: bigint, text: string, isResent = false): void {
    this.world.mount = mount
    const bits = isResent ? unique | (1n << 63n) : unique
    const head = { unique: bits }
    const frame = kernel.write(kernel.nodeId(0, ino), 0, 0, Buffer.from(text), O_APPEND, 0, head)
    const buffer = Buffer.concat([frame, Buffer.alloc(stagedHeaderBytes)])
    const session = new FuseSession({
      volume: () => this.fs,
      absent: () => undefined,
      namespace: null,
      exclusive: NUMBER,
      locks: null,
      isFar: () => false,
      holds: () => true,
      caching: { validMs: () => 0, pages: () => 0, changed: () => {} },
    } as unknown as SessionWorld)
    wire.decodeHeader(buffer, frame.length, session.header)
    const end = isResent ? session.handleAgain(buffer) : session.handle(buffer)
    assert.ok(end > 0)
  }

  text(ino: Ino): string {
    this.fs.enter()
    const out = Buffer.alloc(100)
    return out.toString('latin1', 0, read(this.fs, ino, 0, out.length, out, 0))
  }
}

test('a WRITE that comes again is executed once, also when one of another kernel came between, and a daemon died', async () => {
  for (const dies of [false, true]) {
    const machine = await SimulatedMachine.make(1)
    try {
      const asking = new Asking(machine.life.fs)
      const creation = { mode: S_IFREG | 0o644, umask: 0 }
      const caller = { uid: 0, gid: 0, pid: 1 }
      const name = Buffer.from('log')
      const { ino } = create(asking.fs, null, caller, ROOT_INO, name, creation)
      asking.append(OWN, ino, 100n, 'own ')
      asking.append(OTHERS, ino, 7n, 'theirs ')
      if (dies) {
        machine.life.engine.follow()
        await machine.turns(20)
        asking.nextLife()
      }
      asking.append(OWN, ino, 100n, 'own ', true)
      assert.is(asking.text(ino), 'own theirs ')
      // One of the same number that was not executed.
      asking.append(OTHERS, ino, 100n, 'more ', true)
      assert.is(asking.text(ino), 'own theirs more ')
    } finally {
      await machine.close()
    }
  }
})

test.run()
