import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { background, codeOf, type DriveId, FsError, sleep } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import {
  type BlockDisk,
  blockDisks,
  type Drive,
  diskSequence,
  mountDrive,
  roomOn,
  takesData,
  unmountDisk,
} from '../drives/index.ts'
import type {
  DiskIdentity,
  DiskToGive,
  DiskToTake,
  HostDisk,
  HostDrives,
  NewDrive,
  NodeRoom,
  PoolDrive,
  PoolFacts,
  Step,
} from '../provision/index.ts'
import { addDisk } from './add-drive.ts'
import { DRIVE_DIRECTORIES } from './clear-drive.ts'
import { type ListedDrive, readDriveList, unlistDrive } from './drive-list.ts'
import { isHalfMade, matching, mustBeUsable } from './match-disk.ts'
import type { Node } from './node.ts'
import { usOf } from './open-drives.ts'
import type { MemberDrive } from './replicated-volumes.ts'

const LOOK_MS = 500
/** The bus is asked to look for new disks so often while one is waited for. */
const RESCAN_MS = 10_000
/** A drain that something has been in the way of for so long is given up for now. */
const STUCK_MS = 30_000
/** So is one that nothing is in the way of, and that does not move: a chunk takes seconds on the slowest disk. */
const STILL_MS = 10 * 60_000
/** The other nodes are asked for their room so often. */
const ASK_MS = 30_000
/** What was said so long ago says nothing about now. */
const HEARD_MS = 3 * ASK_MS

export function hostDrives(node: Node): HostDrives {
  return new NodeHostDrives(node)
}

/**
 * What room provision does with this node's drives. Where only the next life of the daemon can take a drive in, or clear it, the
 * verb ends with this life, and finds what it has done when it is asked again in the next one.
 */
class NodeHostDrives implements HostDrives {
  readonly #node: Node
  /** What the other nodes have, as they said last, and who of them said nothing then. */
  #heard: {
    readonly atMs: number
    readonly rooms: readonly NodeRoom[]
    readonly silent: readonly string[]
  } | null = null
  #askedMs = Number.NEGATIVE_INFINITY

  constructor(node: Node) {
    this.#node = node
  }

  async facts(): Promise<PoolFacts> {
    const { drives, missingDrives } = this.#node
    const listed = new Map(this.#listed().map((one) => [one.dir, one]))
    const here = drives.map((drive) => this.#poolDrive(drive, listed.get(drive.dir)))
    const away = missingDrives.map(({ id, listed }): PoolDrive => {
      const { tag = null, serial = '' } = listed.disk ?? {}
      const nothing = { sizeBytes: 0, usedBytes: 0, freeBytes: 0, moveBytes: 0 }
      return { id, tag, serial, class: null, state: 'gone', ...nothing }
    })
    this.#askOthers()
    return { drives: [...here, ...away], others: this.#heard?.rooms ?? [], silent: this.#silent() }
  }

  async waitForDisk(disk: DiskToTake, deadlineMs: number, step: Step): Promise<HostDisk> {
    const { clock } = this.#node
    const untilMs = clock.monotonicMs() + deadlineMs
    let rescanMs = Number.NEGATIVE_INFINITY
    let seen = ''
    for (;;) {
      // A look runs programs for each disk of the host: between two rescans one is enough where none has come or gone.
      const sequence = diskSequence(this.#node.driveOwner.disks)
      const isNew = sequence !== seen || clock.monotonicMs() - rescanMs > RESCAN_MS
      seen = sequence
      const found = isNew ? await this.#diskOf(disk, step) : null
      if (found) {
        mustBeUsable(found, disk)
        const { serial, wwn, sizeBytes, path, links } = found
        return { serial, wwid: wwn, sizeBytes, path: links[0] ?? path }
      }
      const now = clock.monotonicMs()
      if (now > untilMs) {
        throw new FsError('ETIMEDOUT', 'provision.disk', {
          message: `the disk with serial ${disk.serial} has not come to this host within ${Math.round(deadlineMs / 1000)} s`,
          next: 'weft drive list --all; dmesg | tail shows what the controller met',
        })
      }
      if (now - rescanMs > RESCAN_MS) {
        rescanMs = now
        rescan()
      }
      step.progress(`waiting for the disk with serial ${disk.serial}`)
      await this.#pause(LOOK_MS, step)
    }
  }

  async makeDrive(disk: HostDisk, { tag, id, class: cos }: NewDrive, step: Step): Promise<DriveId> {
    const { drives, missingDrives, driveOwner } = this.#node
    const listed = this.#listed().find((one) => one.disk?.tag === tag)
    if (!listed?.disk) {
      const found = await this.#diskOf(disk, step)
      if (!found) {
        throw new FsError('EIO', 'provision.disk', {
          message: `the disk with serial ${disk.serial} went away`,
        })
      }
      mustBeUsable(found, { ...disk, drive: id })
      const { signal, progress } = step
      const force = isHalfMade(found, id)
      const options = { id, class: cos, force, tag, signal, progress }
      const world = { onFail: this.#node.onDriveFail }
      const made = await addDisk(driveOwner, found.path, options, world)
      return (await this.#node.comes(made)) ? made.id : await this.#restart(step)
    }
    const { drive } = listed.disk
    if (drives.some(({ id }) => id === drive)) return drive
    const missing = missingDrives.find(({ id }) => id === drive)
    if (!missing) return await this.#restart(step)
    throw new FsError('EIO', 'provision.drive', { drive, message: missing.why })
  }

  async drain(id: DriveId, step: Step): Promise<void> {
    const { drains, clock } = this.#node
    const drive = this.#inPool(id)
    if (!drive) {
      const away = this.#node.missingDrives.find((one) => one.id === id)
      if (away) throw notHere(id, away.why)
      if (this.#listed().some((one) => one.disk?.drive === id)) await this.#restart(step)
      return
    }
    if (takesData(drive)) await this.#node.drain(drive, true)
    let freeMs = clock.monotonicMs()
    let movedMs = freeMs
    let movedBefore = -1
    for (;;) {
      if (drive.state === 'gone') throw notHere(id, String(drive.failure ?? 'its disk went away'))
      const state = drains.state(drive)
      // Empty, or it takes data again, which is seen by whoever asks next.
      if (!state || state.isEmpty) return
      const { chunksLeft, chunksMoved, why } = state
      step.progress(`${chunksLeft ?? 'some'} chunks left on it${why === '' ? '' : `: ${why}`}`)
      const now = clock.monotonicMs()
      if (why === '') freeMs = now
      if (chunksMoved !== movedBefore) movedMs = now
      movedBefore = chunksMoved
      if (now - freeMs > STUCK_MS) throw notEmpty('ENOSPC', drive, why)
      if (now - movedMs > STILL_MS) {
        const minutes = STILL_MS / 60_000
        throw notEmpty('EBUSY', drive, `nothing has moved off it for ${minutes} minutes`)
      }
      await this.#pause(LOOK_MS, step)
    }
  }

  async verify(what: DiskToGive, step: Step): Promise<void> {
    const { drains, registry } = this.#node
    const listed = this.#listed().find((one) => one.disk?.tag === what.tag)
    const id = listed?.disk?.drive ?? what.drive
    if (id !== null) {
      const drive = this.#inPool(id)
      if (drive) drains.mustBeEmpty(drive)
      else if (listed) throw notHere(id, 'it is listed as a drive of this node, and is not here')
      if (!drive && what.isLost) return
      const { volumes } = await registry.list()
      const naming = volumes.filter(({ record }) => record.copies.some((one) => one.drive === id))
      const names = naming.map(({ record }) => record.name)
      if (names.length > 0) throw needed(what, `volumes ${names.join(', ')} have a copy on it`)
      if (drive) return
    }
    await this.#mustHoldNothing(what, step)
  }

  async takeOut(id: DriveId, step: Step): Promise<void> {
    const { home, drains } = this.#node
    const listed = this.#listed().find((one) => one.disk?.drive === id)
    if (listed) {
      const drive = this.#inPool(id)
      if (!drive) throw notHere(id, 'it is listed as a drive of this node, and is not here')
      // What came to it since it was looked at would bring it back to the list, and this step would be done again for ever.
      drains.mustBeEmpty(drive)
      unlistDrive(home, listed.dir)
      if (!(await this.#node.clear(drive))) await this.#restart(step)
    }
    const leaving = readDriveList(home)?.leaving ?? []
    if (!leaving.some((one) => one.disk?.drive === id)) return
    throw new FsError('EBUSY', 'provision.takeOut', {
      drive: id,
      retry: 'later',
      message: `drive ${id} is still mounted: the log says who uses it`,
    })
  }

  /** Source: facts §9; linux Documentation/ABI/testing/sysfs-block-device. A disk of no SCSI host has no such file. */
  async deleteDevice(disk: DiskIdentity, step: Step): Promise<void> {
    for (const { name } of matching(disk, await this.#disks(step))) {
      const path = `/sys/block/${name}/device/delete`
      if (existsSync(path)) writeFileSync(path, '1')
    }
  }

  #silent(): readonly string[] {
    const { cluster, clock, identity } = this.#node
    if (cluster === null) return []
    if (this.#heard && clock.monotonicMs() - this.#heard.atMs <= HEARD_MS) return this.#heard.silent
    const others = cluster.membership.members().filter(({ node }) => node !== identity.id)
    return others.map(({ name }) => name)
  }

  /** Nobody waits for them: the next look has what they say. Of one that does not answer what it said before is kept. */
  #askOthers(): void {
    const { cluster, clock, identity, log } = this.#node
    const now = clock.monotonicMs()
    if (cluster === null || now - this.#askedMs < ASK_MS) return
    this.#askedMs = now
    this.#node
      .replicated()
      .candidates()
      .then(({ found, silent }) => {
        const rooms = roomOf(found.filter(({ node }) => node !== identity.id))
        const said = new Set(rooms.map(({ node }) => node))
        const before = silent.length === 0 ? [] : (this.#heard?.rooms ?? [])
        const members = new Set(cluster.membership.members().map(({ node }) => node))
        const kept = before.filter(({ node }) => !said.has(node) && members.has(node))
        const atMs = clock.monotonicMs()
        this.#heard = { atMs, rooms: [...rooms, ...kept], silent: silent.map(nameIn) }
      })
      .catch(background(log, 'provision.others'))
  }

  #poolDrive(drive: Drive, listed: ListedDrive | undefined): PoolDrive {
    const { drains } = this.#node
    const { tag = null, serial = '' } = listed?.disk ?? {}
    const drain = drains.state(drive)
    const emptied = drain?.isEmpty ? 'drained' : 'draining'
    const sizeBytes = drive.totalBytes()
    const usedBytes = Math.max(0, sizeBytes - drive.freeBytes())
    return {
      id: drive.id,
      tag,
      serial,
      class: drive.cos,
      state: drive.state !== 'gone' && (drive.draining || drain?.isEmpty) ? emptied : drive.state,
      sizeBytes,
      usedBytes,
      freeBytes: takesData(drive) ? roomOn(drive) : 0,
      // What statfs says costs nothing; walking the drive to leave out what XFS keeps for itself took 2 % of a CPU at rest.
      moveBytes: usedBytes,
    }
  }

  /** A disk that is no drive of this node as far as is known: a label of ours on it is looked into. */
  async #mustHoldNothing(what: DiskToGive, step: Step): Promise<void> {
    if (what.isLost) return
    const { driveOwner } = this.#node
    const { home, disks } = driveOwner
    const found = await this.#diskOf(what, step)
    if (!found && what.mayBeHidden) return
    if (!found) {
      throw needed(
        what,
        'this host does not show it, so nobody knows what is on it',
        `look why (dmesg; weft drive list --all); if what was on it is lost or not needed: weft synergy release ${what.tag} --lost`,
      )
    }
    const { standing } = found
    // Of somebody else, and nothing was written to it: it goes back as it came.
    const isAsItCame = what.drive === null && what.mayBeHidden
    if (standing.kind === 'foreign-drive' && isAsItCame) return
    if (standing.kind === 'foreign-drive') {
      const next = `weft drive list --all; if what is on it is not needed: weft synergy release ${what.tag} --lost`
      throw needed(what, standing.why, next)
    }
    if (standing.kind === 'unusable' && !standing.isForceable) throw needed(what, standing.why)
    if (standing.kind !== 'drive') return
    const dir = join(home, 'drives', `${standing.drive}.look`)
    await mountDrive(standing.drive, dir, usOf(driveOwner), disks)
    try {
      for (const name of DRIVE_DIRECTORIES) {
        const path = join(dir, name)
        if (existsSync(path) && hasFiles(path)) throw needed(what, `${name} of weft are on it`)
      }
    } finally {
      await unmountDisk(dir, disks)
      systemDisk.rmdir(dir)
    }
  }

  async #diskOf(disk: DiskIdentity, step: Step): Promise<BlockDisk | null> {
    const found = matching(disk, await this.#disks(step))
    if (found.length <= 1) return found[0] ?? null
    throw new FsError('EEXIST', 'provision.disk', {
      message: `${found.map(({ path }) => path).join(' and ')} both have serial ${disk.serial}`,
      next: 'with two paths to one disk use multipath, which is not supported yet; or leave one path',
    })
  }

  #disks({ signal }: Step): Promise<BlockDisk[]> {
    const { driveOwner } = this.#node
    return blockDisks(usOf(driveOwner), { ...driveOwner.disks, signal })
  }

  #listed(): readonly ListedDrive[] {
    return readDriveList(this.#node.home)?.drives ?? []
  }

  #inPool(id: DriveId): Drive | undefined {
    return this.#node.drives.find((drive) => drive.id === id)
  }

  /** Ends with this life of the daemon. */
  async #restart({ signal, progress }: Step): Promise<never> {
    progress('the daemon restarts under its mounts')
    await this.#node.restart(null)
    return await new Promise((_, reject) => {
      const ended = () => reject(new FsError('ECANCELED', 'provision', { retry: 'later' }))
      if (signal.aborted) ended()
      signal.addEventListener('abort', ended, { once: true })
    })
  }

  async #pause(ms: number, { signal }: Step): Promise<void> {
    await sleep(this.#node.clock, ms)
    if (signal.aborted) throw new FsError('ECANCELED', 'provision', { retry: 'later' })
  }
}

/** 'node2: why it does not answer' */
function nameIn(silent: string): string {
  return silent.split(':')[0] ?? silent
}

/** Each node's drives of a class together; what fails together bears one name. */
function roomOf(drives: readonly MemberDrive[]): NodeRoom[] {
  const rooms = new Map<string, NodeRoom>()
  for (const { node, nodeName, class: cos, domain, totalBytes, freeBytes } of drives) {
    const key = `${node} ${cos}`
    const before = rooms.get(key) ?? { sizeBytes: 0, usedBytes: 0 }
    rooms.set(key, {
      node,
      domain: domain.rack === null ? `node ${nodeName}` : `rack ${domain.rack}`,
      class: cos,
      sizeBytes: before.sizeBytes + totalBytes,
      usedBytes: before.usedBytes + Math.max(0, totalBytes - freeBytes),
    })
  }
  return [...rooms.values()]
}

function needed(
  { serial }: DiskToGive,
  why: string,
  next = 'weft drive list; weft drive drain ID',
): FsError {
  return new FsError('EBUSY', 'provision.verify', {
    retry: 'later',
    message: `the disk with serial ${serial} is still needed: ${why}`,
    next,
  })
}

/** What is on it cannot be moved: to wait would be for ever. */
function notHere(drive: DriveId, why: string): FsError {
  return new FsError('EBUSY', 'provision.drain', {
    drive,
    retry: 'later',
    message: `drive ${drive} is not here and cannot be emptied: ${why}; if it is lost for good: \`weft drive remove ${drive} --lost\`, then give it back with \`weft synergy release ID --lost\``,
    next: 'put it back, or see why it went (dmesg)',
  })
}

function notEmpty(code: 'ENOSPC' | 'EBUSY', { dir, id }: Drive, why: string): FsError {
  return new FsError(code, 'provision.drain', {
    drive: id,
    retry: 'later',
    message: `drive ${dir} is not empty yet: ${why}`,
    next: `weft drive status ${id}`,
  })
}

function hasFiles(directory: string): boolean {
  return readdirSync(directory, { recursive: true, withFileTypes: true }).some((entry) =>
    entry.isFile(),
  )
}

/** Have every SCSI host look for disks (facts §10). One that refuses finds its disks by itself, or not at all. */
function rescan(): void {
  const hosts = '/sys/class/scsi_host'
  if (!existsSync(hosts)) return
  for (const host of readdirSync(hosts)) {
    try {
      writeFileSync(join(hosts, host, 'scan'), '- - -')
    } catch (error) {
      if (codeOf(error) === '') throw error
    }
  }
}
