import type {
  KeyList,
  KeySlotInfo,
  NodeControl,
  Opener,
  VolumeDetail,
  VolumeInfo,
} from '../api/index.ts'
import { FsError } from '../base/index.ts'
import type { SlotSummary } from '../volumes/index.ts'
import { formatVolumeSpec, type KeyHolder, parseRecipient, parseSize } from '../volumes/index.ts'
import { setVolumeClass } from './class-verb.ts'
import { clusterControl, clusterInfo, ownersNow } from './cluster-control.ts'
import { driveControl, driveInfos } from './drive-verbs.ts'
import { mustHaveRoom, mustHaveRoomFor } from './grow-for-volume.ts'
import type { Node } from './node.ts'
import { checkMountPoint } from './places.ts'
import { policyControl } from './policy-verbs.ts'
import { problems, volumeProblems } from './problems.ts'
import { copyList, repairControl, repairOf } from './repair-control.ts'
import { startScrub } from './scrub-job.ts'
import { synergyControl, synergyIfConnected } from './synergy-verbs.ts'
import type { NodeVolume } from './volumes.ts'
import { whyOf } from './why.ts'

/** What a person asks of the node, in the words of the control API. */
export function nodeControl(node: Node): NodeControl {
  const { volumes, mounts, jobs, keys } = node
  return {
    status: async () => {
      // Each has its bound: neither a drive nor a volume that hangs keeps anybody waiting.
      const [drives] = await Promise.all([driveInfos(node), node.probes.fresh()])
      return {
        version: node.version,
        home: node.home,
        daemon: {
          pid: process.pid,
          startedAt: node.startedAt,
          uptimeSeconds: Math.round(process.uptime()),
          program: node.program,
        },
        node: { id: node.identity.id },
        cluster: node.cluster && clusterInfo(node, node.cluster),
        mounts: mounts.list(),
        volumes: volumes.all().map((volume) => volumeInfo(node, volume)),
        drives,
        synergy: await synergyIfConnected(node.provisioning),
        problems: problems(node),
      }
    },
    shutdown: async () => node.keeper.shutdown(),
    upgrade: async ({ program }) => {
      await node.restart(program ?? null)
      return { program: program ?? node.program }
    },
    mounts: async () => mounts.list(),
    mount: async (request) => {
      await checkMountPoint('mount', request.target, request.nonempty ?? false)
      return await mounts.mount(request)
    },
    umount: (request) => mounts.umount(request),
    attach: async (request) => {
      await checkMountPoint('attach', request.target, request.nonempty ?? false)
      return await mounts.attach(request)
    },
    detach: (request) => mounts.umount(request),
    why: async ({ volume, inode }) => whyOf(node, volume ?? null, inode ?? null),
    fsck: async ({ volume, repair, acceptLoss = false }) =>
      node.fsck(volume, { repair, acceptLoss }),
    scrub: async ({ volume }) => startScrub(node, volume),
    volumes: {
      list: async () => {
        await node.lookAtVolumes()
        return volumes.all().map((volume) => volumeInfo(node, volume))
      },
      create: async ({ passphrase, recipients, ...request }) => {
        await mustHaveRoom(node, request, volumes.nodes())
        const owner = { mode: 0o755, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
        const volume = await volumes.create(request, owner, { passphrase, recipients })
        node.classMoves.made(volume.stored.record)
        return await volumeDetail(node, volume)
      },
      inspect: async (name) => {
        await node.lookAtVolumes()
        return await volumeDetail(node, volumes.find(name))
      },
      setClass: async (name, request) => {
        const volume = volumes.find(name)
        await setVolumeClass(node, volume, request)
        return await volumeDetail(node, volume)
      },
      resize: async (name, size) => {
        const volume = volumes.find(name)
        const sizeBytes = parseSize(size)
        const { usedBytes } = volumes.usable(volume)
        await mustHaveRoomFor(node, volume.stored.record, sizeBytes, usedBytes)
        return await volumeDetail(node, await volumes.resize(name, sizeBytes))
      },
      delete: async (name, { force }) => {
        const volume = volumes.find(name)
        if (!force) await volumes.mustBeEmpty(volume)
        await volumes.delete(name)
      },
    },
    drives: driveControl(node),
    keys: {
      list: async (name) => keyList(node, volumes.find(name)),
      add: async (name, slot) => {
        const volume = volumes.find(name)
        const label = slot.label ?? ''
        const request =
          slot.kind === 'passphrase'
            ? { kind: slot.kind, label, passphrase: slot.passphrase }
            : { kind: slot.kind, label, publicKey: parseRecipient(slot.recipient) }
        const added = await keys.add(volume.stored.record.id, request, holderOf(volume))
        volume.stored = added.stored
        return slotInfo(added.slot)
      },
      remove: async (name, slot) => {
        const volume = volumes.find(name)
        volume.stored = await keys.remove(volume.stored.record.id, Number(slot))
      },
      rotate: (name, { reseal }) => node.rotate(volumes.find(name), reseal),
      exportBackup: async (name) => keys.exportBackup(volumes.find(name).stored.record),
      importBackup: async (name, backup, opener) => {
        const volume = volumes.find(name)
        const imported = await keys.importBackup(
          volume.stored.record.id,
          backup,
          asBundleOpener(opener),
        )
        volume.stored = imported.stored
        return keyList(node, volume)
      },
      split: async (name, { shares, threshold, label }) => {
        const volume = volumes.find(name)
        const request = { shares, threshold, label: label ?? '' }
        const split = await keys.split(volume.stored.record.id, request, holderOf(volume))
        volume.stored = split.stored
        return { slot: slotInfo(split.slot), threshold, shares: split.shares }
      },
      recover: async (name, shares) => {
        const volume = volumes.find(name)
        const opener = { kind: 'shares', shares: [...shares] } as const
        volume.stored = await keys.recover(volume.stored.record.id, opener)
        await volumes.unlock(name, { kind: 'node' })
        return keyList(node, volume)
      },
      lock: async (name) => keyList(node, await volumes.lock(name)),
      unlock: async (name, opener) => {
        const holder = opener.kind === 'node' ? opener : asBundleOpener(opener)
        return keyList(node, await volumes.unlock(name, holder))
      },
      drill: async (name, backup, opener) => {
        const volume = volumes.find(name)
        const { record } = volume.stored
        const drill = await keys.drill(record, backup, asBundleOpener(opener))
        return {
          volume: { id: record.id, name: record.name },
          opened: true,
          slot: String(drill.slot.id),
          kind: drill.slot.kind,
          epochs: [...drill.epochs],
          missingEpochs: [...drill.missingEpochs],
        }
      },
    },
    cluster: clusterControl(node),
    repair: repairControl(node),
    synergy: synergyControl(node),
    policy: policyControl(node.provisioning),
    jobs: {
      list: async () => jobs.list(),
      get: async (id) => jobs.get(id),
      cancel: async (id) => jobs.cancel(id),
    },
  }
}

type PersonOpener = Exclude<Opener, { kind: 'node' }>

function asBundleOpener(opener: Opener): Exclude<KeyHolder, { kind: 'node' } | { kind: 'opened' }> {
  if (opener.kind === 'node') {
    throw new FsError('EINVAL', 'key', {
      message:
        "this node's own key proves nothing here: a backup is for the day when this node is lost",
      next: 'give what would open it then: --passphrase, --passphrase-file FILE, --identity KEYFILE, or --share FILE for each share',
    })
  }
  const person: PersonOpener = opener
  return person.kind === 'shares' ? { kind: 'shares', shares: [...person.shares] } : person
}

/** Keys that are open in memory, else this node's own slot. */
function holderOf(volume: NodeVolume): KeyHolder {
  return volume.opened ? { kind: 'opened', opened: volume.opened } : { kind: 'node' }
}

function volumeInfo(node: Node, volume: NodeVolume): VolumeInfo {
  const { record } = volume.stored
  const { shared } = volume
  return {
    id: record.id,
    name: record.name,
    number: record.number,
    state: shared ? (shared.stopped ? 'damaged' : 'ready') : (volume.closed?.state ?? 'damaged'),
    sizeBytes: record.spec.sizeBytes,
    usedBytes: shared?.usedBytes ?? 0,
    files: Math.max(0, (shared?.inodes ?? 1) - 1),
    repl: record.spec.repl,
    inSync: record.inSync.length,
    cos: record.spec.cos,
    owner: node.volumes.ownerOf(volume),
    attached: volume.attached,
    createdAt: record.createdAt,
    probe: node.probes.of(record.id),
  }
}

async function volumeDetail(node: Node, volume: NodeVolume): Promise<VolumeDetail> {
  const { record } = volume.stored
  const standing = (await node.repairs?.standing(record)) ?? null
  const figures = volume.shared
    ? await node.engine.call('figures', { number: record.number })
    : { records: 0, chunks: 0, storedBytes: 0, liveBytes: 0, journalBytes: 0, drives: [] }
  return {
    ...volumeInfo(node, volume),
    ...figures,
    spec: formatVolumeSpec(record.spec),
    epoch: record.epoch,
    keyEpoch: record.keys.newest,
    keySlots: record.keys.slots.length,
    copies: copyList(node, record, standing),
    repair: repairOf(standing),
    classMove: node.classMoves.state(record),
    movingTo: record.movingTo && (node.cluster?.nameOf(record.movingTo) ?? record.movingTo),
    ownersNow: node.cluster ? ownersNow(node.cluster, record) : [],
    problems: volumeProblems(node, volume),
  }
}

function slotInfo(slot: SlotSummary): KeySlotInfo {
  return {
    id: String(slot.id),
    name: slot.thisNode ? 'this node' : slot.label || slot.kind,
    kind: slot.kind,
    publicKey: slot.publicKey,
    shares: slot.shares,
    threshold: slot.threshold,
    createdAt: slot.createdAt,
  }
}

function keyList(node: Node, volume: NodeVolume): KeyList {
  const { record } = volume.stored
  const epochs = volume.opened?.keys.epochs() ?? [record.keys.newest]
  return {
    volume: {
      id: record.id,
      name: record.name,
      locked: volume.opened === null,
      newestEpoch: record.keys.newest,
      oldestEpoch: epochs[0] ?? record.keys.newest,
    },
    keys: node.keys.list(record).map(slotInfo),
  }
}
