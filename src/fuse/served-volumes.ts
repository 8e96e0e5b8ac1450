import { assert, background, FsError, type Log, type VolumeNumber } from '../base/index.ts'
import { LocalVolume } from '../store/index.ts'
import { VolumeFs, type VolumeFsWorld } from '../vfs/index.ts'
import type { AbsentVolume, OpenFile, ServedVolume, VolumeMessage } from './worker-protocol.ts'

export interface ServedVolumesWorld {
  readonly log: Log
  /** What the vfs of a volume is given. */
  readonly fs: (served: ServedVolume) => VolumeFsWorld
  readonly readOnly: boolean
  /** Descriptors open in a volume by those whom this thread serves. */
  readonly opens: (number: VolumeNumber) => readonly OpenFile[]
  /** How many locks are held on files of a volume, as far as this thread is asked for them. */
  readonly locks: (volume: VolumeFs) => number
}

/** The volumes that one thread has open, as the main thread tells it. */
export class ServedVolumes {
  readonly open = new Map<VolumeNumber, VolumeFs>()
  readonly absent = new Map<VolumeNumber, AbsentVolume>()
  readonly #world: ServedVolumesWorld

  constructor(world: ServedVolumesWorld) {
    this.#world = world
  }

  /**
   * @returns files that are open, of a volume that another thread is to answer for
   * @throws FsError EBUSY when files of a volume are open for writing, or locked, that is to be given up, and force is not used;
   *   when it goes on, only locked and nameless files are in the way
   */
  obey(message: VolumeMessage): readonly OpenFile[] {
    switch (message.kind) {
      case 'add':
        this.add(message.served)
        return []
      case 'absent':
        return this.#absent(message.volume)
      case 'remove':
        this.drop(message.number)
        this.absent.delete(message.number)
        return []
      case 'role': {
        const volume = this.open.get(message.number)
        if (volume?.writes) {
          if (!message.writes && !message.force) this.#refuseUsed(volume, message.goesOn ?? false)
          volume.giveUp()
        }
        this.drop(message.number)
        this.add({ opening: message.opening, writes: message.writes })
        return []
      }
      case 'keys': {
        const volume = this.open.get(message.number)
        assert(volume !== undefined, 'keys come for a volume that is served')
        volume.volume.keys.replace(message.keys)
        return []
      }
    }
  }

  add(served: ServedVolume): void {
    const { opening, writes } = served
    const volume = new LocalVolume(opening)
    this.absent.delete(opening.number)
    const orders = writes && !this.#world.readOnly
    this.open.set(opening.number, new VolumeFs(volume, this.#world.fs(served), orders))
  }

  drop(number: VolumeNumber): void {
    const volume = this.open.get(number)
    this.open.delete(number)
    if (!volume) return
    volume.close()
    // Its keys are wiped and the view's reader slot is free when this call returns.
    volume.volume.close().catch(background(this.#world.log, 'drop'))
  }

  /** Nothing stays open on drives that are none of this node any more. */
  lookAtDrives(): void {
    for (const { volume } of this.open.values()) volume.chunks.lookAtDrives()
  }

  #absent(absent: AbsentVolume): readonly OpenFile[] {
    const { number } = absent
    const volume = this.open.get(number)
    if (volume?.writes) volume.giveUp()
    const opens = this.#world.opens(number)
    this.drop(number)
    this.absent.set(number, absent)
    return opens
  }

  /** A volume with files open for writing, or locked, changes hands only by force: descriptors get EROFS then, locks are free. */
  #refuseUsed(volume: VolumeFs, goesOn: boolean): void {
    const { number, name } = volume.volume
    const opens = this.#world.opens(number)
    const open = opens.reduce((sum, { writers }) => sum + writers, 0)
    const nameless = opens.filter(({ ino }) => volume.orphans.has(ino)).length
    if (goesOn && nameless > 0) {
      throw new FsError('EBUSY', 'attach', {
        message: `deleted files of volume ${name} are still open (files: ${nameless}); end the programs that have them open`,
      })
    }
    if (!goesOn && open > 0) {
      throw new FsError('EBUSY', 'attach', {
        message: `volume ${name} is open for writing through the namespace mount (descriptors: ${open}); close them, or attach with --force: they can then only be read`,
      })
    }
    const locks = this.#world.locks(volume)
    if (locks > 0) {
      throw new FsError('EBUSY', 'attach', {
        message: `files of volume ${name} are locked through the namespace mount (locks: ${locks}); end the programs that hold them, or attach with --force: the locks are then gone`,
      })
    }
  }
}
