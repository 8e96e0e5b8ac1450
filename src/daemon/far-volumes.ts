import { join } from 'node:path'
import {
  type Clock,
  FsError,
  isBug,
  type Log,
  type NodeId,
  type Random,
  suspendProof,
  type VolumeNumber,
} from '../base/index.ts'
import { type Forgetting, OWN_SESSION } from '../fuse/index.ts'
import { AccessClient } from './access-client.ts'
import type { AccessHost } from './access-host.ts'
import { AccessServer } from './access-server.ts'
import type { ClusterMember } from './cluster-member.ts'
import type { CarriedHandles } from './far-handles.ts'
import { FarSessions } from './far-sessions.ts'
import { OwnerFinder } from './find-owner.ts'
import { FollowUse, type FollowUseWorld } from './follow-use.ts'
import type { Mounts } from './mounts.ts'
import type { KeptReasons } from './reasons.ts'
import type { NodeRepairs } from './repair-node.ts'
import type { NodeVolume, Volumes } from './volumes.ts'

export interface FarVolumesWorld {
  node: NodeId
  /** Of the machine. */
  boot: string
  /** The tmpfs of staged writes. */
  staging: string
  cluster: ClusterMember
  volumes: Volumes
  mounts: Mounts
  access: AccessHost
  reasons: KeptReasons
  /** Null while the node begins. */
  repairs(): Pick<NodeRepairs, 'handOver' | 'wishes'> | null
  random: Random
  clock: Clock
  log: Log
}

/** Volumes that several nodes use: this node's part, as their owner and as one that uses what others own. */
export class FarVolumes {
  readonly client: AccessClient
  readonly server: AccessServer
  readonly #follow: FollowUse

  constructor({
    node,
    boot,
    staging,
    cluster,
    volumes,
    mounts,
    access,
    reasons,
    repairs,
    random,
    clock,
    log,
  }: FarVolumesWorld) {
    const nameOf = (id: NodeId) => cluster.nameOf(id)
    const peerOf = (id: NodeId) => cluster.peerOf(id)
    this.#follow = new FollowUse({
      node,
      mayGo: (number) => mayGo(volumes.byNumber(number)),
      isFit: (id) =>
        cluster.statusOf(id).connection === 'up' && repairs()?.wishes.draining.has(id) === false,
      handOver: async (record, to) => await repairs()?.handOver(record, to),
      clock,
      log,
    })
    this.#follow.start()
    this.server = new AccessServer({
      access,
      volume: (number) => volumes.byNumber(number),
      isMoving: (volume) => volumes.isMoving(volume),
      stagingOf: ({ stored: { record } }) => join(staging, record.id),
      share: (volume) => mounts.share(volume),
      unshare: async (volume) => {
        await mounts.unshare(volume)
      },
      nameOf,
      peerOf,
      call: cluster.call,
      asked: (number, by) => this.#follow.asked(number, by),
      node,
      boot,
      clock,
      log,
    })
    const finder = new OwnerFinder({
      node,
      volumeById: (id) => volumes.byId(id),
      refresh: (volume) => volumes.refresh(volume),
      bringHere: (volume) => volumes.bringHere(volume),
      call: cluster.call,
      peerOf,
      log,
    })
    this.client = new AccessClient({
      volume: (number) => volumes.byNumber(number),
      refresh: (volume) => volumes.refresh(volume),
      ownerOf: (volume) => volumes.ownerNodeOf(volume),
      ownerNow: (number) => ownerNow(volumes, number, node),
      takeOver: (volume) => finder.find(volume),
      isMoving: (volume) => volumes.isMoving(volume),
      own: (number, kernel, frame) => this.server.own(number, kernel, frame),
      again: (frame, fd) => mounts.again(frame, fd),
      kernel: () => mounts.kernel,
      reason: (reason) => reasons.note(reason),
      forget: (number, forgetting) => mounts.forget(number, forgetting),
      heard: (news) => mounts.heard(news),
      near: (number) => volumes.near(number),
      tellNear: (number, near) => mounts.near(number, near),
      sessions: new FarSessions(staging),
      call: cluster.call,
      peerOf,
      random,
      clock,
      leaseClock: suspendProof(clock),
      log,
    })
    cluster.offer((net) => {
      this.server.serve(net, (peer) => cluster.nodeOf(peer))
      this.client.serve(net, (peer) => cluster.nodeOf(peer))
      finder.serve(net)
      this.client.resume()
    })
  }

  /** As VolumesWorld.owned. */
  owned(volume: NodeVolume): CarriedHandles | null {
    this.#follow.owned(volume.stored.record.number)
    return this.client.owned(volume)
  }

  /** Have the kernel of a session forget; of this node's own, or of another's. */
  async forget(number: VolumeNumber, session: number, forgetting: Forgetting): Promise<void> {
    if (session === OWN_SESSION) await this.client.forget(number, forgetting)
    else await this.server.forget(number, session, forgetting)
  }

  close(): void {
    this.#follow.close()
    this.client.close()
    this.server.close()
  }
}

/** A volume with a way to go is on its way, one that is attached stays. */
function mayGo(volume: NodeVolume | undefined): ReturnType<FollowUseWorld['mayGo']> {
  if (!volume?.shared?.replicated || volume.attached !== null || volume.shared.isElsewhere)
    return null
  const { record } = volume.stored
  return record.movingTo === null ? { record, files: volume.shared.inodes } : null
}

async function ownerNow(
  volumes: Volumes,
  number: VolumeNumber,
  self: NodeId,
): Promise<NodeId | null> {
  const volume = volumes.byNumber(number)
  if (!volume) return null
  try {
    await volumes.refresh(volume)
  } catch (error) {
    // The coordinator is away: what it said last may still hold, and whoever is asked says if not.
    if (isBug(error) || !(error instanceof FsError)) throw error
  }
  const owner = volumes.ownerNodeOf(volume)
  return owner === self ? null : owner
}
