import type { HostDrives, PoolDrive } from '../../src/provision/index.ts'

/** A host on which every disk appears at once, and every drive empties at once. */
export class MemoryHost implements HostDrives {
  #drives: PoolDrive[] = []

  facts: HostDrives['facts'] = async () => ({
    drives: this.#drives,
    others: [],
    silent: [],
  })

  waitForDisk: HostDrives['waitForDisk'] = async (disk) => ({
    ...disk,
    path: `/dev/${disk.serial}`,
  })

  makeDrive: HostDrives['makeDrive'] = async ({ serial, sizeBytes }, { tag, id, class: cos }) => {
    const bytes = { sizeBytes, usedBytes: 0, freeBytes: sizeBytes, moveBytes: 0 }
    const drive = { id, tag, serial, class: cos, state: 'ok' as const, ...bytes }
    this.#drives = [...this.#drives, drive]
    return drive.id
  }

  drain: HostDrives['drain'] = async (drive) => {
    this.#drives = this.#drives.map((one) =>
      one.id === drive ? { ...one, state: 'drained' } : one,
    )
  }

  verify: HostDrives['verify'] = async () => {}

  takeOut: HostDrives['takeOut'] = async (drive) => {
    this.#drives = this.#drives.filter(({ id }) => id !== drive)
  }

  deleteDevice: HostDrives['deleteDevice'] = async () => {}
}
