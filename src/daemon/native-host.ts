import { constants, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { access, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import type { MountInfo } from '../api/index.ts'
import { type Clock, codeOf, FsError, type Log, messageOf, type Random } from '../base/index.ts'
import {
  type FromWorker,
  fusermount,
  isNativeMount,
  NATIVE_LIMITS,
  NativeMount,
  runDirOf,
} from '../fuse/index.ts'
import type { EngineHost } from './engine-host.ts'
import type { Volumes } from './volumes.ts'

interface Kept {
  target: string
  readOnly: boolean
  since: string
}

export interface NativeHostWorld {
  home: string
  engine: EngineHost
  volumes: Volumes
  clock: Clock
  random: Random
  log: Log
  now(): string
  onMessage(message: Extract<FromWorker, { kind: 'damaged' }>): void
}

/**
 * The namespace mount through fuse-native: one at most, in this thread. No keeper can hold it, so it dies with the daemon; where
 * it was is remembered beside the staged writes, and the next daemon mounts it again.
 * Nothing here may touch the mount by a synchronous call: this thread would wait for itself.
 */
export class NativeHost {
  readonly #world: NativeHostWorld
  #mount: NativeMount | null = null
  #kept: Kept | null = null

  constructor(world: NativeHostWorld) {
    this.#world = world
  }

  /** What serves now; null when there is none, or somebody has unmounted it by hand. */
  get mount(): NativeMount | null {
    if (this.#mount?.ended) this.#forget()
    return this.#mount
  }

  /** Mount again what died with an earlier life of the daemon. */
  async restore(): Promise<void> {
    const path = this.#path()
    if (!existsSync(path)) return
    let kept: Kept | null = null
    try {
      kept = JSON.parse(readFileSync(path, 'utf8')) as Kept
      if (isNativeMount(kept.target)) await fusermount(kept.target, true)
      await this.#start(kept)
      this.#world.log.info({ op: 'mount', target: kept.target }, 'mounted again')
    } catch (error) {
      rmSync(path, { force: true })
      const fields = { op: 'mount', target: kept?.target, error: messageOf(error) }
      this.#world.log.error(fields, 'the mount of the daemon before is lost')
    }
  }

  /** @param target canonical @throws FsError ENOENT, ENOTDIR, EBUSY, ENOTEMPTY, EACCES, EIO */
  async start(target: string, readOnly: boolean): Promise<MountInfo> {
    if (this.mount) throw busy(`the namespace is mounted already, at ${this.#mount?.target}`)
    if (isNativeMount(target)) {
      if (!(await isDead(target))) throw busy(`${target} is already a mount of weft`)
      await fusermount(target, true)
    }
    await mustBeMountable(target)
    await mustHaveFuse()
    const kept = { target, readOnly, since: this.#world.now() }
    await this.#start(kept)
    writeFileSync(this.#path(), JSON.stringify(kept), { mode: 0o600 })
    return this.#info(kept)
  }

  list(): MountInfo[] {
    return this.mount && this.#kept ? [this.#info(this.#kept)] : []
  }

  async unmount(lazy: boolean): Promise<void> {
    await this.#mount?.unmount(lazy)
    this.#forget()
  }

  /** The node stops: in order if nobody stands in the mount, else out of the tree. */
  async end(): Promise<void> {
    if (!this.mount) return
    try {
      await this.unmount(false)
    } catch (error) {
      this.#world.log.warn({ op: 'umount', error: messageOf(error) }, 'unmounted lazily')
      await this.unmount(true)
    }
  }

  async #start(kept: Kept): Promise<void> {
    const { engine, volumes, random, clock, log } = this.#world
    const { port1, port2 } = new MessageChannel()
    await engine.connect(port2)
    const served = volumes.served()
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
    this.#mount = await NativeMount.start(kept.target, served.volumes, served.absent, {
      clock,
      log,
      mount: random.bytes(4).readUInt32LE(0),
      readOnly: kept.readOnly,
      tellEngine: (message) => port1.postMessage(message),
      sync: async (number) => {
        await engine.call('settle', { number })
      },
      makeVolume: async (name, mode) => {
        await volumes.create({ name }, { mode, ...owner })
      },
      removeVolume: async (name) => {
        await volumes.mustBeEmpty(volumes.find(name))
        await volumes.delete(name)
      },
      damaged: (volume, chunk, what) =>
        this.#world.onMessage({ kind: 'damaged', volume, chunk, what }),
    })
    this.#kept = kept
  }

  #forget(): void {
    this.#mount = null
    this.#kept = null
    rmSync(this.#path(), { force: true })
  }

  #info({ target, readOnly, since }: Kept): MountInfo {
    return {
      id: 'fuse-native',
      name: 'weft',
      target,
      kind: 'namespace',
      volume: null,
      readOnly,
      driver: 'fuse-native',
      notes: NATIVE_LIMITS,
      since,
    }
  }

  #path(): string {
    return join(runDirOf(this.#world.home), 'native-mount.json')
  }
}

function busy(message: string): FsError {
  return new FsError('EBUSY', 'mount', { message, next: 'weft status lists the mounts' })
}

async function isDead(target: string): Promise<boolean> {
  return await stat(target).then(
    () => false,
    (error: unknown) => codeOf(error) === 'ENOTCONN',
  )
}

/** libfuse 2 opens it itself before it asks fusermount (lib/mount.c, fuse_mount_sys). */
async function mustHaveFuse(): Promise<void> {
  try {
    await access('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch (cause) {
    const closed = codeOf(cause) === 'EACCES' || codeOf(cause) === 'EPERM'
    throw new FsError(closed ? 'EACCES' : 'ENODEV', 'mount', {
      cause,
      message: closed
        ? '/dev/fuse is closed to this user; run: chmod 666 /dev/fuse, as root'
        : '/dev/fuse is absent: the kernel has no fuse; run: modprobe fuse, as root',
    })
  }
}

/** What fusermount would refuse in fewer words. */
async function mustBeMountable(target: string): Promise<void> {
  let names: string[]
  try {
    names = await readdir(target)
  } catch (cause) {
    const code = codeOf(cause)
    const known = {
      ENOENT: 'does not exist',
      ENOTDIR: 'is not a directory',
      EACCES: 'is not yours to read',
    }
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EACCES') throw cause
    const act = code === 'ENOENT' ? `; run: mkdir -p ${target}` : ''
    const message = `mount point ${target} ${known[code]}${act}`
    throw new FsError(code, 'mount', { cause, message })
  }
  if (names.length > 0) {
    throw new FsError('ENOTEMPTY', 'mount', {
      message: `mount point ${target} is not empty, and fusermount hides nothing`,
      next: 'name an empty directory',
    })
  }
}
