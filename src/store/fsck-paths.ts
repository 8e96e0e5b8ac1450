import { CorruptError, type Ino, ROOT_INO } from '../base/index.ts'
import { type Dirent, decodeDirents, decodeInode, keys } from '../meta/index.ts'
import type { LocalVolume } from './local-volume.ts'
import { turn, type Work } from './work.ts'

/** Where a name stands. */
export interface NamePlace {
  parent: Ino
  name: Buffer
}

const BUCKETS_PER_TURN = 1000
const DEPTH_MAX = 4096

/**
 * Names of inodes, found by looking through the directories: an inode does not know its names. One pass for many.
 */
export class Paths {
  readonly #volume: LocalVolume
  readonly #names = new Map<Ino, NamePlace[]>()
  readonly #directories = new Map<Ino, string | null>()

  constructor(volume: LocalVolume) {
    this.#volume = volume
  }

  /** Find all names of these inodes. */
  async learn(inos: Iterable<Ino>, work: Work): Promise<void> {
    const wanted = new Set<Ino>()
    for (const ino of inos) if (!this.#names.has(ino)) wanted.add(ino)
    if (wanted.size === 0) return
    for (const ino of wanted) this.#names.set(ino, [])
    const { view } = this.#volume
    const end = Buffer.of(keys.KIND.dirent + 1)
    let start = Buffer.of(keys.KIND.dirent)
    // Between turns others change the view: each turn is a range of its own.
    for (let more = true; more; ) {
      more = false
      let count = 0
      for (const [key, value] of view.readable(start, end)) {
        if (++count > BUCKETS_PER_TURN) {
          start = Buffer.from(key)
          more = true
          break
        }
        for (const { ino, name } of direntsIn(value)) {
          if (!wanted.has(ino)) continue
          this.#names.get(ino)?.push({ parent: keys.inoOfKey(key), name: Buffer.from(name) })
        }
      }
      await turn(work)
    }
  }

  names(ino: Ino): readonly NamePlace[] {
    return this.#names.get(ino) ?? []
  }

  /** One path of an inode that was learnt, null when it has no name. */
  path(ino: Ino): string | null {
    if (ino === ROOT_INO) return '/'
    const [place] = this.names(ino)
    if (!place) return this.directory(ino)
    const above = this.directory(place.parent)
    const name = place.name.toString('utf8')
    return above === null ? name : `${above === '/' ? '' : above}/${name}`
  }

  /** Path of a directory, by the parents that inodes name. */
  directory(ino: Ino, depth = 0): string | null {
    if (ino === ROOT_INO) return '/'
    const known = this.#directories.get(ino)
    if (known !== undefined) return known
    this.#directories.set(ino, null)
    const parent = this.#parentOf(ino)
    const name = parent > 0 && depth < DEPTH_MAX ? this.#nameIn(parent as Ino, ino) : null
    const above = name ? this.directory(parent as Ino, depth + 1) : null
    const path = name && above !== null ? `${above === '/' ? '' : above}/${name}` : null
    this.#directories.set(ino, path)
    return path
  }

  #parentOf(ino: Ino): number {
    try {
      const value = this.#volume.view.get(keys.inodeKey(ino))
      return value ? decodeInode(value).parent : 0
    } catch (error) {
      if (error instanceof CorruptError) return 0
      throw error
    }
  }

  #nameIn(parent: Ino, ino: Ino): string | null {
    const start = keys.startOfIno(keys.KIND.dirent, parent)
    const end = keys.endOfIno(keys.KIND.dirent, parent)
    for (const [, value] of this.#volume.view.readable(start, end)) {
      for (const entry of direntsIn(value)) {
        if (entry.ino === ino) return entry.name.toString('utf8')
      }
    }
    return null
  }
}

/** None where the bucket is damaged: that is told for itself. */
function direntsIn(value: Buffer): Dirent[] {
  try {
    return decodeDirents(value)
  } catch (error) {
    if (error instanceof CorruptError) return []
    throw error
  }
}
