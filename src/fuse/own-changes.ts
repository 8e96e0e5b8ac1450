import type { Ino } from '../base/index.ts'

/** So many inodes are remembered before all that asked earlier count as asked too early. */
const TOUCHED_MAX = 8192

/** What a change touches: these inodes, or any there is. */
export type Inodes = readonly Ino[] | 'any'

/**
 * Which inodes changes of one kernel touch, and when: an answer that was asked for before a change ended may be older than
 * the change.
 */
export class OwnChanges {
  /** Of each inode: changes under way, and the time when the last one ended. */
  readonly #inodes = new Map<Ino, { underWay: number; endedAt: number }>()
  #underWay = 0
  #ofAnyUnderWay = 0
  /** Counts changes that ended. */
  #now = 0
  /** What was asked for before may be older than a change of any inode. */
  #since = 0

  /** A time by count, not by a clock. */
  get now(): number {
    return this.#now
  }

  /** @returns the time it begins */
  begin(inos: Inodes): number {
    this.#underWay++
    if (inos === 'any') this.#ofAnyUnderWay++
    else for (const ino of inos) this.#inode(ino).underWay++
    return this.#now
  }

  /** @returns whether no other change has touched any of the inodes since `began` */
  end(inos: Inodes, began: number): boolean {
    const endedBefore = this.#now
    const endedAt = ++this.#now
    this.#underWay--
    let isAlone = began >= this.#since && this.#ofAnyUnderWay === (inos === 'any' ? 1 : 0)
    if (inos === 'any') {
      this.#ofAnyUnderWay--
      isAlone &&= this.#underWay === 0 && endedBefore === began
      this.#since = endedAt
    } else for (const ino of inos) isAlone = this.#end(ino, began, endedAt) && isAlone
    if (this.#underWay === 0 && this.#inodes.size > TOUCHED_MAX) {
      this.#inodes.clear()
      this.#since = endedAt
    }
    return isAlone
  }

  #end(ino: Ino, began: number, endedAt: number): boolean {
    const inode = this.#inode(ino)
    const isAlone = inode.underWay === 1 && inode.endedAt <= began
    inode.underWay--
    inode.endedAt = endedAt
    return isAlone
  }

  /** Whether what was asked for at that time shows every change of the inode. */
  isQuiet(ino: Ino, asked: number): boolean {
    if (this.#ofAnyUnderWay > 0 || asked < this.#since) return false
    const inode = this.#inodes.get(ino)
    return !inode || (inode.underWay === 0 && inode.endedAt <= asked)
  }

  #inode(ino: Ino): { underWay: number; endedAt: number } {
    let inode = this.#inodes.get(ino)
    if (!inode) {
      inode = { underWay: 0, endedAt: 0 }
      this.#inodes.set(ino, inode)
    }
    return inode
  }
}
