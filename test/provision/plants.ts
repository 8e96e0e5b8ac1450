import { codeOf, FsError } from '../../src/base/index.ts'
import type { Disk } from '../../src/disk/index.ts'
import type { HostDrives, Provisioner } from '../../src/provision/index.ts'
import type { Plants } from './sim-life.ts'

/** Each breaks one rule of this room; a simulation that does not notice is of no use. */

function instead<T extends object>(target: T, replaced: Partial<T>): T {
  return new Proxy(target, {
    get: (from, name: string & keyof T) => {
      const value = replaced[name] ?? from[name]
      return typeof value === 'function' ? value.bind(from) : value
    },
  })
}

/** A drive is reserved before that is on disk. */
export const skipsIntent: Plants = {
  disk: (disk) =>
    instead<Disk>(disk, {
      replaceFile(path, bytes) {
        const file = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>
        const { allocations } = file
        if (Array.isArray(allocations)) {
          file.allocations = allocations.filter(({ step }) => step !== 'reserve')
        }
        disk.replaceFile(path, Buffer.from(JSON.stringify(file)))
      },
    }),
}

/** A drive is detached because it was drained, whatever is on it. */
export const skipsVerify: Plants = {
  host: (host) => instead<HostDrives>(host, { async verify() {} }),
}

/** A tag is forgotten when nothing is held under it, though an answer is outstanding. */
export const forgetsDoubt: Plants = { times: { doubtMs: 0 } }

/** A reserve without an answer counts as one that was refused. */
export const takesLostAnswerForRefusal: Plants = {
  provisioner: (provisioner) =>
    instead<Provisioner>(provisioner, {
      async reserve(tag, place, step) {
        try {
          return await provisioner.reserve(tag, place, step)
        } catch (error) {
          if (codeOf(error) !== 'ETIMEDOUT') throw error
          throw new FsError('EBUSY', 'plant', { tag })
        }
      },
    }),
}

/** A drive goes out of the frame's hands while the pool still has it. */
export const skipsTakeOut: Plants = {
  host: (host) =>
    instead<HostDrives>(host, {
      async facts(signal) {
        const { drives, ...others } = await host.facts(signal)
        return { ...others, drives: drives.filter(({ state }) => state !== 'drained') }
      },
    }),
}
