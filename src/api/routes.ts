import { z } from 'zod'
import {
  clusterCreateBody,
  clusterInviteBody,
  clusterJoinBody,
  inviteAnswer,
  inviteInfo,
  inviteList,
  inviteParams,
  nodeParams,
  nodeRemoveBody,
  nodeRemoved,
} from '../cluster/index.ts'
import type { NewSlot, Opener } from './control.ts'
import { done, type Route, route, secretBytes } from './route.ts'
import * as schema from './schemas.ts'
import { SYNERGY_ROUTES } from './synergy-routes.ts'

const DONE = z.strictObject({})
const KEYS = '/v1/volumes/:volume/keys'

export const ROUTES: readonly Route[] = [
  route('GET', '/v1/status', 'status', {
    summary: 'The node, its mounts, volumes, drives, and what is wrong',
    answer: schema.statusAnswer,
    run: (control) => control.status(),
  }),
  route('GET', '/v1/why', 'why', {
    summary:
      'Why calls on a volume failed: what is wrong with it, and what its callers were answered',
    query: schema.whyQuery,
    answer: schema.whyAnswer,
    run: (control, { query }) => control.why(query),
  }),
  route('POST', '/v1/shutdown', 'shutdown', {
    summary: 'Begin an orderly stop: flush, unmount, end',
    answer: DONE,
    run: (control) => control.shutdown().then(done),
  }),
  route('POST', '/v1/upgrade', 'upgrade', {
    summary: 'Restart the daemon under its mounts, from another build if one is named',
    body: schema.upgradeBody,
    answer: z.object({ program: z.string() }),
    run: (control, { body }) => control.upgrade(body),
  }),

  route('GET', '/v1/mounts', 'mount list', {
    summary: 'What is mounted',
    answer: z.object({ mounts: z.array(schema.mountInfo) }),
    run: async (control) => ({ mounts: await control.mounts() }),
  }),
  route('POST', '/v1/mount', 'mount', {
    summary: 'Mount the namespace',
    body: schema.mountBody,
    answer: schema.mountInfo,
    run: (control, { body }) => control.mount(body),
  }),
  route('POST', '/v1/umount', 'umount', {
    summary: 'Unmount the namespace',
    body: schema.unmountBody,
    answer: schema.unmountAnswer,
    run: (control, { body }) => control.umount(body),
  }),
  route('POST', '/v1/attach', 'attach', {
    summary: 'Mount one volume for this node alone, with the writeback cache on',
    body: schema.attachBody,
    answer: schema.mountInfo,
    run: (control, { body }) => control.attach(body),
  }),
  route('POST', '/v1/detach', 'detach', {
    summary: 'End an exclusive mount',
    body: schema.unmountBody,
    answer: schema.unmountAnswer,
    run: (control, { body }) => control.detach(body),
  }),

  route('GET', '/v1/volumes', 'volume list', {
    summary: 'All volumes',
    answer: z.object({ volumes: z.array(schema.volumeInfo) }),
    run: async (control) => ({ volumes: await control.volumes.list() }),
  }),
  route('POST', '/v1/volumes', 'volume create', {
    summary: 'Create a volume',
    body: schema.volumeCreateBody,
    answer: schema.volumeDetail,
    run: (control, { body }, secrets) => {
      const { passphrase, ...rest } = body
      if (passphrase === undefined) return control.volumes.create(rest)
      return control.volumes.create({ ...rest, passphrase: secretBytes(passphrase, secrets) })
    },
  }),
  route('GET', '/v1/volumes/:volume', 'volume inspect', {
    summary: 'One volume in full',
    params: schema.volumeParams,
    answer: schema.volumeDetail,
    run: (control, { params }) => control.volumes.inspect(params.volume),
  }),
  route('DELETE', '/v1/volumes/:volume', 'volume delete', {
    summary: 'Delete a volume and everything in it',
    params: schema.volumeParams,
    query: schema.forceQuery,
    answer: DONE,
    run: (control, { params, query }) =>
      control.volumes.delete(params.volume, { force: query.force === 'true' }).then(done),
  }),
  route('POST', '/v1/volumes/:volume/resize', 'volume resize', {
    summary: 'Change the size of a volume; never below what is used',
    params: schema.volumeParams,
    body: schema.volumeResizeBody,
    answer: schema.volumeDetail,
    run: (control, { params, body }) => control.volumes.resize(params.volume, body.size),
  }),

  route('POST', '/v1/volumes/:volume/class', 'volume cos', {
    summary: 'Have a volume on another class of drive; it moves while it is used',
    params: schema.volumeParams,
    body: schema.volumeClassBody,
    answer: schema.volumeDetail,
    run: (control, { params, body }) => control.volumes.setClass(params.volume, body),
  }),

  route('GET', '/v1/drives', 'drive list', {
    summary: 'The drives of this node',
    answer: z.object({ drives: z.array(schema.driveInfo) }),
    run: async (control) => ({ drives: await control.drives.list() }),
  }),
  route('POST', '/v1/drives', 'drive add', {
    summary: 'Make an empty directory or a whole disk a drive',
    body: schema.driveAddBody,
    answer: schema.driveAdded,
    run: (control, { body }) => control.drives.add(body),
  }),
  route('GET', '/v1/disks', 'drive list --all', {
    summary: 'Every disk of this host, and what may be done with it',
    answer: z.object({ disks: z.array(schema.diskInfo) }),
    run: async (control) => ({ disks: await control.drives.disks() }),
  }),
  route('POST', '/v1/drives/:drive/locate', 'drive locate', {
    summary: 'Switch the LED of its bay',
    params: schema.driveParams,
    body: schema.driveLocateBody,
    answer: z.object({ bay: z.string() }),
    run: (control, { params, body }) => control.drives.locate(params.drive, body.on),
  }),
  route('GET', '/v1/drives/:drive', 'drive status', {
    summary: 'One drive of this node, and how far it is emptied',
    params: schema.driveParams,
    answer: schema.driveInfo,
    run: (control, { params }) => control.drives.status(params.drive),
  }),
  route('POST', '/v1/drives/:drive/drain', 'drive drain', {
    summary: 'Move what is on a drive to the others of this node; or no more',
    params: schema.driveParams,
    body: schema.driveDrainBody,
    answer: schema.driveDrainPlan,
    run: (control, { params, body: { plan = false, stop = false } }) =>
      control.drives.drain(params.drive, { plan, stop }),
  }),
  route('DELETE', '/v1/drives/:drive', 'drive remove', {
    summary: 'Take an empty drive out of this node, or one that is lost',
    params: schema.driveParams,
    query: schema.driveRemoveQuery,
    answer: schema.driveInfo,
    run: (control, { params, query }) =>
      control.drives.remove(params.drive, { lost: query.lost === 'true' }),
  }),

  route('GET', KEYS, 'key list', {
    summary: 'Who can open a volume',
    params: schema.volumeParams,
    answer: schema.keyList,
    run: (control, { params }) => control.keys.list(params.volume),
  }),
  route('POST', KEYS, 'key add', {
    summary: 'Give a passphrase or a person a slot',
    params: schema.volumeParams,
    body: schema.keyAddBody,
    answer: schema.keySlot,
    run: (control, { params, body }, secrets) => {
      const slot: NewSlot =
        body.kind === 'passphrase'
          ? { ...body, passphrase: secretBytes(body.passphrase, secrets) }
          : body
      return control.keys.add(params.volume, slot)
    },
  }),
  route('DELETE', `${KEYS}/:slot`, 'key remove', {
    summary: 'Take a slot away; the last one is refused',
    params: schema.slotParams,
    answer: DONE,
    run: (control, { params }) => control.keys.remove(params.volume, params.slot).then(done),
  }),
  route('POST', `${KEYS}/rotate`, 'key rotate', {
    summary: 'Begin a new key epoch; with reseal also rewrite what the old one sealed',
    params: schema.volumeParams,
    body: schema.keyRotateBody,
    answer: schema.keyRotateAnswer,
    run: (control, { params, body }) => control.keys.rotate(params.volume, body),
  }),
  route('GET', `${KEYS}/backup`, 'key export', {
    summary: 'A wrapped backup of the keys, as text',
    params: schema.volumeParams,
    answer: z.object({ backup: z.string() }),
    run: async (control, { params }) => ({
      backup: await control.keys.exportBackup(params.volume),
    }),
  }),
  route('POST', `${KEYS}/import`, 'key import', {
    summary: 'Give a volume the slots of a backup',
    params: schema.volumeParams,
    body: schema.keyImportBody,
    answer: schema.keyList,
    run: (control, { params, body }, secrets) =>
      control.keys.importBackup(params.volume, body.backup, openerOf(body.opener, secrets)),
  }),
  route('POST', `${KEYS}/split`, 'key split', {
    summary: 'Make a slot that a number of people open together',
    params: schema.volumeParams,
    body: schema.keySplitBody,
    answer: schema.keySplitAnswer,
    run: async (control, { params, body }, secrets) => {
      const result = await control.keys.split(params.volume, body)
      secrets.push(...result.shares)
      return { ...result, shares: result.shares.map((share) => share.toString('base64')) }
    },
  }),
  route('POST', `${KEYS}/recover`, 'key recover', {
    summary: 'Open a volume with the shares of a split key',
    params: schema.volumeParams,
    body: schema.keyRecoverBody,
    answer: schema.keyList,
    run: (control, { params, body }, secrets) =>
      control.keys.recover(
        params.volume,
        body.shares.map((share) => secretBytes(share, secrets)),
      ),
  }),
  route('POST', `${KEYS}/lock`, 'key lock', {
    summary: 'Forget the key of a volume; everything below its root answers ENOKEY',
    params: schema.volumeParams,
    answer: schema.keyList,
    run: (control, { params }) => control.keys.lock(params.volume),
  }),
  route('POST', `${KEYS}/unlock`, 'key unlock', {
    summary: 'Open a volume',
    params: schema.volumeParams,
    body: schema.keyUnlockBody,
    answer: schema.keyList,
    run: (control, { params, body }, secrets) =>
      control.keys.unlock(params.volume, openerOf(body.opener, secrets)),
  }),
  route('POST', `${KEYS}/drill`, 'key drill', {
    summary: 'Prove that a backup opens the volume, changing nothing',
    params: schema.volumeParams,
    body: schema.keyDrillBody,
    answer: schema.drillResult,
    run: (control, { params, body }, secrets) =>
      control.keys.drill(params.volume, body.backup, openerOf(body.opener, secrets)),
  }),

  route('GET', '/v1/cluster', 'cluster status', {
    summary: 'The cluster as this node knows it; nobody is asked',
    answer: schema.clusterInfo,
    run: (control) => control.cluster.status(),
  }),
  route('POST', '/v1/cluster', 'cluster create', {
    summary: 'Make a cluster of this node; the daemon starts anew under its mounts',
    body: clusterCreateBody,
    answer: schema.clusterEntered,
    run: (control, { body }) => control.cluster.create(body),
  }),
  route('POST', '/v1/cluster/join', 'cluster join', {
    summary: 'Join the cluster of an invite; the daemon starts anew under its mounts',
    body: clusterJoinBody,
    answer: schema.clusterEntered,
    run: (control, { body }) => control.cluster.join(body),
  }),
  route('GET', '/v1/cluster/invites', 'cluster invites', {
    summary: 'Invites that stand, and lately ended ones',
    answer: inviteList,
    run: async (control) => ({ invites: await control.cluster.invites() }),
  }),
  route('POST', '/v1/cluster/invites', 'cluster invite', {
    summary: 'Make an invite; its line is shown this once',
    body: clusterInviteBody,
    answer: inviteAnswer,
    run: (control, { body }) => control.cluster.invite(body),
  }),
  route('DELETE', '/v1/cluster/invites/:invite', 'cluster revoke', {
    summary: 'End an invite; whom it has admitted stays',
    params: inviteParams,
    answer: inviteInfo,
    run: (control, { params }) => control.cluster.revoke(params.invite),
  }),
  route('POST', '/v1/cluster/coordinator', 'cluster coordinator migrate', {
    summary: 'Move the coordinator to an etcd; asked of the node that has it',
    body: schema.coordinatorBody,
    answer: schema.coordinatorMoved,
    run: (control, { body }) => control.cluster.moveCoordinator(body.to, body.access ?? {}),
  }),
  route('GET', '/v1/cluster/coordinator/recover', 'cluster coordinator recover plan', {
    summary: 'What a coordinator that is lost would be rebuilt from; nothing is changed',
    answer: schema.recoverPlan,
    run: (control) => control.cluster.recoverPlan(),
  }),
  route('POST', '/v1/cluster/coordinator/recover', 'cluster coordinator recover', {
    summary:
      'Rebuild a coordinator that is lost for good on this node, from what the members keep; the daemon starts anew under its mounts. Where it answers: add volumes that it lacks',
    body: schema.recoverBody,
    answer: schema.recovered,
    run: (control, { body }) => control.cluster.recover(body.begin),
  }),
  route('GET', '/v1/cluster/coordinator/recovery', 'cluster coordinator recovery', {
    summary: 'How far the rebuilding on this node is',
    answer: schema.recoverState,
    run: (control) => control.cluster.recoverState(),
  }),
  route('GET', '/v1/nodes', 'node list', {
    summary: 'Members of the cluster and how they are reached, then the removed ones',
    answer: z.object({ nodes: z.array(schema.memberInfo) }),
    run: async (control) => ({ nodes: await control.cluster.nodes() }),
  }),
  route('POST', '/v1/nodes/:node/remove', 'node remove', {
    summary: 'Take a node out of the cluster for ever; one that has volumes is refused',
    params: nodeParams,
    body: nodeRemoveBody,
    answer: nodeRemoved,
    run: (control, { params, body }) => control.cluster.remove(params.node, body),
  }),

  route('POST', '/v1/volumes/:volume/repl', 'volume repl', {
    summary: 'More or fewer copies; the owner makes them, or gives some up',
    params: schema.volumeParams,
    body: schema.replBody,
    answer: schema.changePlan,
    run: (control, { params, body: { copies, plan = false } }) =>
      control.repair.repl(params.volume, { copies, plan }),
  }),
  route('POST', '/v1/volumes/:volume/move', 'volume move', {
    summary: 'Another node shall own it',
    params: schema.volumeParams,
    body: schema.moveBody,
    answer: schema.changePlan,
    run: (control, { params, body: { node, plan = false, copy = false } }) =>
      control.repair.move(params.volume, { node, plan, copy }),
  }),
  route('POST', '/v1/volumes/:volume/stay', 'volume stay', {
    summary: 'It does not move after all',
    params: schema.volumeParams,
    answer: DONE,
    run: (control, { params }) => control.repair.stay(params.volume).then(done),
  }),
  route('POST', '/v1/nodes/:node/drain', 'node drain', {
    summary: 'Have all copies of a node made elsewhere, and its volumes owned there; or no more',
    params: nodeParams,
    body: schema.drainBody,
    answer: schema.changePlan,
    run: (control, { params, body: { plan = false, stop = false } }) =>
      control.repair.drain(params.node, { plan, stop }),
  }),
  route('GET', '/v1/nodes/:node/drain', 'node drain status', {
    summary: 'What a node still holds',
    params: nodeParams,
    answer: schema.drainStatus,
    run: (control, { params }) => control.repair.drainStatus(params.node),
  }),
  route('GET', '/v1/repair', 'cluster repair', {
    summary: 'How the cluster mends itself',
    answer: schema.repairSettings,
    run: (control) => control.repair.settings(),
  }),
  route('POST', '/v1/repair', 'cluster repair set', {
    summary: 'Change how the cluster mends itself',
    body: schema.repairBody,
    answer: schema.repairSettings,
    run: (control, { body }) => control.repair.set(body),
  }),

  ...SYNERGY_ROUTES,

  route('POST', '/v1/scrub', 'scrub', {
    summary: 'Have every copy read through and mended, as a job',
    body: schema.scrubBody,
    answer: schema.jobInfo,
    run: (control, { body }) => control.scrub(body),
  }),
  route('POST', '/v1/fsck', 'fsck', {
    summary: 'Check metadata, journal and chunks, as a job',
    body: schema.fsckBody,
    answer: schema.jobInfo,
    run: (control, { body }) => control.fsck(body),
  }),
  route('GET', '/v1/jobs', 'job list', {
    summary: 'Long work: running, and lately ended',
    answer: z.object({ jobs: z.array(schema.jobInfo) }),
    run: async (control) => ({ jobs: await control.jobs.list() }),
  }),
  route('GET', '/v1/jobs/:job', 'job get', {
    summary: 'One job',
    params: schema.jobParams,
    answer: schema.jobInfo,
    run: (control, { params }) => control.jobs.get(params.job),
  }),
  route('POST', '/v1/jobs/:job/cancel', 'job cancel', {
    summary: 'Ask a job to end early',
    params: schema.jobParams,
    answer: schema.jobInfo,
    run: (control, { params }) => control.jobs.cancel(params.job),
  }),
]

function openerOf(given: z.infer<typeof schema.openerSchema>, secrets: Buffer[]): Opener {
  switch (given.kind) {
    case 'node':
      return given
    case 'passphrase':
      return { kind: 'passphrase', passphrase: secretBytes(given.passphrase, secrets) }
    case 'keypair': {
      const publicKey = Buffer.from(given.publicKey, 'base64')
      return { kind: 'keypair', publicKey, secretKey: secretBytes(given.secretKey, secrets) }
    }
    case 'shares':
      return { kind: 'shares', shares: given.shares.map((share) => secretBytes(share, secrets)) }
  }
}
