import type { Ino } from '../../src/base/index.ts'

/** A tree as it is found: names by `<inode of the directory>/<name>`, and the bytes of every file. */
export interface Tree {
  readonly names: ReadonlyMap<string, Ino>
  readonly files: ReadonlyMap<Ino, Buffer>
}

interface FileHistory {
  versions: { step: number; bytes: Buffer }[]
  /** Steps whose record comes behind these many versions. */
  flushes: { step: number; versions: number }[]
}

/**
 * What a volume may look like after a cut in power: every step a writer has begun since the last promise, and what was
 * promised at least. An fsync that returned promises the bytes of its file, and every change of names, that had been answered
 * before it was asked (design §6.2).
 *
 * Names come as the log has them: all up to some step. The bytes of each file are those of one moment, whole writes in
 * their order, not older than the promise, nor than a rename, link or truncate of it that is there.
 */
export class Manifest {
  #step = 0
  #trees: { step: number; names: ReadonlyMap<string, Ino> }[] = []
  #files = new Map<Ino, FileHistory>()
  /** Promises kept so far, for the test to see that there were some. */
  promises = 0

  constructor(tree: Tree) {
    this.reset(tree)
  }

  /** All of this is on stable storage. */
  reset({ names, files }: Tree): void {
    this.#step++
    this.#trees = [{ step: this.#step, names: new Map(names) }]
    this.#files = new Map()
    for (const [ino, bytes] of files) {
      this.#files.set(ino, { versions: [{ step: this.#step, bytes }], flushes: [] })
    }
  }

  /** The step a promise made now would cover. */
  get step(): number {
    return this.#step
  }

  get names(): ReadonlyMap<string, Ino> {
    return this.#last().names
  }

  /** Null for a directory. */
  bytesOf(ino: Ino): Buffer | null {
    return this.#files.get(ino)?.versions.at(-1)?.bytes ?? null
  }

  bytes(ino: Ino): Buffer {
    const bytes = this.bytesOf(ino)
    if (!bytes) throw new Error(`inode ${ino} is no file of the manifest`)
    return bytes
  }

  /** A step that is about to change names. @param flushed files whose bytes go to the journal before */
  renames(change: (names: Map<string, Ino>) => void, flushed: readonly Ino[] = []): void {
    this.#step++
    const names = new Map(this.names)
    change(names)
    this.#trees.push({ step: this.#step, names })
    for (const ino of flushed) this.#flushed(ino)
  }

  /** A step that is about to change the bytes of a file. @param logged by a record of its own, as truncate does */
  writes(ino: Ino, bytes: Buffer, logged = false): void {
    this.#step++
    let file = this.#files.get(ino)
    if (!file) {
      file = { versions: [], flushes: [] }
      this.#files.set(ino, file)
    }
    file.versions.push({ step: this.#step, bytes })
    if (logged) this.#flushed(ino)
  }

  /** @param ino the file whose bytes are promised with all names; null for the bytes of all files */
  promise(step: number, ino: Ino | null): void {
    this.promises++
    this.#trees = since(this.#trees, step)
    for (const [one, file] of this.#files) {
      if (ino !== null && one !== ino) continue
      const before = file.versions.length
      file.versions = since(file.versions, step)
      const gone = before - file.versions.length
      file.flushes = file.flushes
        .map((flush) => ({ ...flush, versions: flush.versions - gone }))
        .filter(({ versions }) => versions > 1)
    }
  }

  /** @returns what is wrong with a tree found after a cut, null when it is one of those that may be */
  broken({ names, files }: Tree): string | null {
    const tree = this.#trees.find((one) => sameNames(one.names, names))
    if (!tree) return this.#namesBroken(names)
    for (const [ino, bytes] of files) {
      const file = this.#files.get(ino)
      if (!file) return `inode ${ino} was never made`
      const { versions, flushes } = file
      const flush = flushes.filter(({ step }) => step <= tree.step).at(-1)
      const first = flush ? flush.versions - 1 : 0
      const at = versions.findIndex((version) => version.bytes.equals(bytes))
      const last = versions.map((version) => version.bytes.equals(bytes)).lastIndexOf(true)
      if (last >= first) continue
      const sizes = versions.map((version) => version.bytes.length).join(', ')
      const what = at < 0 ? 'none of them' : `number ${at}, older than ${first}`
      return `inode ${ino} has ${bytes.length} bytes; promised was one of ${versions.length} versions (${sizes} bytes), it is ${what}`
    }
    return null
  }

  #namesBroken(names: ReadonlyMap<string, Ino>): string {
    const said = (tree: ReadonlyMap<string, Ino>) => {
      const lost = [...tree].filter(([name, ino]) => names.get(name) !== ino)
      const more = [...names].filter(([name, ino]) => tree.get(name) !== ino)
      return `without ${JSON.stringify(lost)}, with ${JSON.stringify(more)}`
    }
    const [first] = this.#trees
    return `the names are none of ${this.#trees.length} trees; from the promised one they differ: ${said(first?.names ?? new Map())}; from the last: ${said(this.names)}`
  }

  #flushed(ino: Ino): void {
    const file = this.#files.get(ino)
    file?.flushes.push({ step: this.#step, versions: file.versions.length })
  }

  #last() {
    const last = this.#trees.at(-1)
    if (!last) throw new Error('a manifest has a tree')
    return last
  }
}

/** The one in force at a step, and those after it. */
function since<T extends { step: number }>(list: T[], step: number): T[] {
  const after = list.findIndex((one) => one.step > step)
  const at = (after < 0 ? list.length : after) - 1
  return list.slice(Math.max(0, at))
}

function sameNames(one: ReadonlyMap<string, Ino>, other: ReadonlyMap<string, Ino>): boolean {
  return one.size === other.size && [...one].every(([name, ino]) => other.get(name) === ino)
}
