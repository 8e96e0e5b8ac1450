import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MIB = 1024 * 1024

/** Sparse images as loop devices, with a by-id directory that gives them the names of real disks. Close it in `finally`. */
export class LoopDrives {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), 'weft-loop-drives-')))
  readonly byIdDir = join(this.dir, 'by-id')
  /** Loop devices attached, by the name of their image. */
  readonly #attached = new Map<string, string>()
  readonly #mounted = new Set<string>()

  constructor() {
    chmodSync(this.dir, 0o755)
    mkdirSync(this.byIdDir)
  }

  /** A directory of the bench's own where the test mounts something: it comes off at the end. */
  mountPoint(name: string): string {
    const at = join(this.dir, name)
    mkdirSync(at, { recursive: true })
    this.#mounted.add(at)
    return at
  }

  /**
   * Plug a disk in; its image is made at the first time and keeps what is written to it.
   * @param links names below by-id; they go when the disk is unplugged
   * @returns the loop device's path
   */
  plug(
    name: string,
    links: readonly string[],
    options: { megabytes?: number; args?: readonly string[] } = {},
  ): string {
    const image = join(this.dir, `${name}.img`)
    if (!existsSync(image)) this.sh('truncate', '-s', `${(options.megabytes ?? 512) * MIB}`, image)
    const device = this.sh('losetup', '--find', '--show', ...(options.args ?? []), image).trim()
    this.#attached.set(name, device)
    for (const link of links) symlinkSync(device, join(this.byIdDir, link))
    return device
  }

  unplug(name: string, links: readonly string[]): void {
    const device = this.#attached.get(name)
    if (device === undefined) throw new Error(`${name} is not plugged in`)
    this.sh('losetup', '--detach', device)
    this.#attached.delete(name)
    for (const link of links) rmSync(join(this.byIdDir, link))
  }

  /** The image of a disk that a mount still holds, as one more device: what was pulled is put back under another name. */
  again(name: string): string {
    const device = this.sh('losetup', '--find', '--show', join(this.dir, `${name}.img`)).trim()
    const before = this.#attached.get(name)
    if (before !== undefined) this.#attached.set(`${name} before`, before)
    this.#attached.set(name, device)
    return device
  }

  sh(program: string, ...args: readonly string[]): string {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }

  close(): void {
    for (const at of this.#mounted) this.try('umount', at)
    for (const device of this.#attached.values()) this.try('losetup', '--detach', device)
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** As `sh`; '' when it fails, because the test got no further, or has done it itself. */
  try(program: string, ...args: readonly string[]): string {
    try {
      return this.sh(program, ...args)
    } catch {
      return ''
    }
  }
}
