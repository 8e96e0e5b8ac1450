import { z } from 'zod'
import {
  codeOf,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type PeerKey,
  type VolumeId,
} from '../base/index.ts'
import type { Net } from '../net/index.ts'
import { jsonBytes, parsed } from './call-bytes.ts'
import type { NodeVolume } from './volumes.ts'

const SERVICE = 'volume.take'
/** A lease that is not renewed has run out by then, and the take-over behind it is done. */
const TAKE_MS_MAX = 25_000
/** A candidate that is down as well is not waited for. */
const CONNECT_MS = 1000

const named = z.strictObject({ volume: z.string().regex(/^[0-9a-f]{32}$/) })

export interface FindOwnerWorld {
  readonly node: NodeId
  volumeById(id: VolumeId): NodeVolume | undefined
  refresh(volume: NodeVolume): Promise<void>
  /** As Volumes.bringHere. */
  bringHere(volume: NodeVolume): Promise<void>
  readonly call: Net['call']
  peerOf(node: NodeId): PeerKey | null
  readonly log: Log
}

/**
 * Has volumes owned again whose owner is gone: by the first member with a copy that can be reached. All nodes ask in the same
 * order, because two that try at a time would only put each other off.
 */
export class OwnerFinder {
  readonly #world: FindOwnerWorld
  readonly #finding = new Map<VolumeId, Promise<void>>()

  constructor(world: FindOwnerWorld) {
    this.#world = world
  }

  /** Members may ask this node to own a volume. */
  serve(net: Pick<Net, 'serve'>): void {
    net.serve(
      SERVICE,
      async ({ body }) => {
        const { volume } = parsed(named, body, SERVICE)
        const found = this.#world.volumeById(volume as VolumeId)
        if (!found) throw new FsError('ENOENT', SERVICE, { volume })
        await this.#world.refresh(found)
        await this.#world.bringHere(found)
        return Buffer.alloc(0)
      },
      { lane: 'control' },
    )
  }

  /** Resolves when a node says that it owns the volume. @throws FsError why nobody does */
  find(volume: NodeVolume): Promise<void> {
    const { id } = volume.stored.record
    let finding = this.#finding.get(id)
    if (!finding) {
      finding = this.#find(volume).finally(() => this.#finding.delete(id))
      this.#finding.set(id, finding)
    }
    return finding
  }

  async #find(volume: NodeVolume): Promise<void> {
    const { node, bringHere, log } = this.#world
    const { id, name, copies, owner } = volume.stored.record
    if (copies.length === 1) {
      throw new FsError('EHOSTUNREACH', 'access', {
        volume: name,
        message: `volume ${name} has one copy, on a node that does not answer`,
      })
    }
    const others = copies.map((copy) => copy.node).filter((one) => one !== owner)
    log.info({ op: 'access.takeOver', volume: id }, `volume ${name}: looking for an owner`)
    // Let go of by this node, which is up: it takes it back, if what it has of it is whole.
    if (owner === node) others.unshift(node)
    const reasons: string[] = []
    for (const candidate of others) {
      try {
        if (candidate === node) await bringHere(volume)
        else await this.#ask(candidate, id)
        return
      } catch (error) {
        if (isBug(error)) throw error
        reasons.push(messageOf(error))
        if (codeOf(error) === 'EBUSY') break
      }
    }
    throw new FsError('EHOSTUNREACH', 'access', {
      volume: name,
      message: `volume ${name} has no owner: ${reasons.join('; ')}`,
    })
  }

  async #ask(candidate: NodeId, volume: VolumeId): Promise<void> {
    const { call, peerOf } = this.#world
    const peer = peerOf(candidate)
    if (peer === null) throw new FsError('EHOSTUNREACH', SERVICE, { message: 'not a member' })
    await call(peer, SERVICE, jsonBytes({ volume }), {
      deadlineMs: TAKE_MS_MAX,
      connectMs: CONNECT_MS,
    })
  }
}
