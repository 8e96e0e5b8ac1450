import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import type {
  ApiServer,
  ChangePlan,
  ClusterInfo,
  FsckReport,
  InviteInfo,
  JobInfo,
  KeyList,
  KeySlotInfo,
  MountInfo,
  NodeControl,
  RecoverPlan,
  VolumeDetail,
} from '../../src/api/index.ts'
import { startApi } from '../../src/api/index.ts'
import { FsError, silentLog } from '../../src/base/index.ts'
import { type FakeFrame, fakeFrame } from './fake-frame-control.ts'

/** A node that keeps everything in memory, behind the real API on a real socket. */
export interface FakeNode {
  readonly home: string
  readonly server: ApiServer
  readonly control: NodeControl
  /** Every call as 'op {json}', secrets as text; what a test compares with. */
  readonly calls: string[]
  /** Buffers the node was lent, to see that they were wiped. */
  readonly lent: Buffer[]
  /** Jobs answer 'running' this many times before they end. */
  jobSteps: number
  /** With what the next job ends, when it fails. */
  jobFails: JobInfo['error']
  /** What fsck reports. */
  report: FsckReport
  readonly frame: FakeFrame
  /** Thrown by the next call of any kind. */
  failNext: unknown
  close(): Promise<void>
}

const CLUSTER_ID = 'f'.repeat(32)
const WHEN = '2026-01-02T03:04:05.000Z'
export const NODE_ID = 'a'.repeat(32)

export const CLEAN: FsckReport = {
  clean: true,
  repair: false,
  volumes: ['notes'],
  checked: { inodes: 12, records: 40, chunks: 3, bytes: 5 * 1024 * 1024 },
  findings: [],
}

export async function fakeNode(): Promise<FakeNode> {
  const home = mkdtempSync(join(tmpdir(), 'weft-api-'))
  const volumes = new Map<string, VolumeDetail>()
  const mounts: MountInfo[] = []
  const slots: KeySlotInfo[] = [slot('1', 'node', 'this node')]
  let locked = false
  /** It is in a cluster. */
  let entered = false
  let keyEpoch = 1
  let job: JobInfo | null = null
  const registry = new Registry()
  const calls: string[] = []
  const lent: Buffer[] = []

  const said = (op: string, input?: unknown): void => {
    calls.push(input === undefined ? op : `${op} ${JSON.stringify(input, secretAsText)}`)
    collect(input, lent)
    if (node.failNext === undefined) return
    const thrown = node.failNext
    node.failNext = undefined
    throw thrown
  }
  const find = (op: string, name: string): VolumeDetail => {
    const volume = volumes.get(name)
    if (volume !== undefined) return volume
    const message = `${op}: no volume is called "${name}"`
    throw new FsError('ENOENT', op, {
      volume: name,
      message,
      next: 'weft volume list shows what there is',
    })
  }
  const keyList = (): KeyList => ({
    volume: { id: 'b'.repeat(32), name: 'notes', locked, newestEpoch: keyEpoch, oldestEpoch: 1 },
    keys: slots,
  })
  const startJob = (kind: string, result: unknown): JobInfo => {
    job = {
      id: 'job-1',
      name: kind,
      kind,
      state: 'running',
      done: 0,
      total: node.jobSteps,
      unit: 'chunks',
      message: `${kind} runs`,
      result: null,
      error: null,
      startedAt: WHEN,
    }
    if (node.jobSteps === 0) job = { ...job, state: 'done', result }
    pendingResult = result
    return job
  }
  let pendingResult: unknown = null

  const frame = fakeFrame(said, startJob)
  const control: NodeControl = {
    async why({ volume }) {
      said('why')
      return { volume: volume ?? null, problems: [], reasons: [] }
    },
    async status() {
      said('status')
      return {
        version: '0.1.0',
        home,
        daemon: {
          pid: process.pid,
          startedAt: WHEN,
          uptimeSeconds: 3661,
          program: '/opt/weft/dist/main.js',
        },
        node: { id: NODE_ID },
        cluster: entered ? clusterInfo() : null,
        mounts,
        volumes: [...volumes.values()],
        drives: await drives(),
        synergy: null,
        problems: [
          {
            severity: 'warning',
            what: 'drive d1 has 1.0 GiB left',
            why: 'other files fill its disk',
            next: 'weft drive add DIR',
          },
        ],
      }
    },
    async shutdown() {
      said('shutdown')
      setTimeout(() => void server.close(), 50)
    },
    async upgrade(request) {
      said('upgrade', request)
      return { program: request.program ?? '/opt/weft/dist/main.js' }
    },
    async mounts() {
      said('mounts')
      return mounts
    },
    async mount(request) {
      said('mount', request)
      return addMount('weft', request.target, 'namespace', null)
    },
    async umount(request) {
      said('umount', request)
      dropMount('umount', request.target)
      return { heldBy: [] }
    },
    async attach(request) {
      said('attach', request)
      find('attach', request.volume)
      return addMount(request.volume, request.target, 'exclusive', request.volume)
    },
    async detach(request) {
      said('detach', request)
      dropMount('detach', request.target)
      return { heldBy: [] }
    },
    async fsck(request) {
      said('fsck', request)
      return startJob('fsck', { ...node.report, repair: request.repair })
    },
    volumes: {
      async list() {
        said('volumes.list')
        return [...volumes.values()]
      },
      async create(request) {
        said('volumes.create', request)
        const name = request.name ?? /name=([^,]+)/.exec(request.spec ?? '')?.[1] ?? ''
        if (name === '')
          throw new FsError('EINVAL', 'volume create', {
            message: 'volume create: no name',
            next: 'add name=NAME',
          })
        if (volumes.has(name))
          throw new FsError('EEXIST', 'volume create', {
            name,
            message: `volume create: "${name}" exists`,
          })
        volumes.set(name, detail(name, volumes.size + 1))
        return find('volume create', name)
      },
      async inspect(volume) {
        said('volumes.inspect', volume)
        return find('volume inspect', volume)
      },
      async setClass(volume, request) {
        said('volumes.setClass', [volume, request])
        return { ...find('volume cos', volume), cos: request.class }
      },
      async resize(volume, size) {
        said('volumes.resize', [volume, size])
        const next = { ...find('volume resize', volume), sizeBytes: 200 * 1024 ** 3 }
        volumes.set(volume, next)
        return next
      },
      async delete(volume, options) {
        said('volumes.delete', [volume, options])
        find('volume delete', volume)
        volumes.delete(volume)
      },
    },
    drives: {
      async list() {
        said('drives.list')
        return drives()
      },
      async disks() {
        said('drives.disks')
        return []
      },
      async add(request) {
        said('drives.add', request)
        const { dir = '/srv/disk' } = request
        return {
          ...(await drives())[0]!,
          name: 'd2',
          dir,
          notes: [`${dir} is on the same filesystem`],
        }
      },
      async locate(name, on) {
        said('drives.locate', [name, on])
        return { bay: 'Slot 05' }
      },
      async status(name) {
        said('drives.status', name)
        return (await drives())[0]!
      },
      async drain(name, options) {
        said('drives.drain', [name, options])
        return {
          accepted: !options.plan,
          what: 'what is on drive d1 goes to the other drives',
          chunks: 3,
          journals: 1,
          bytes: 1000,
          freeBytes: 5000,
        }
      },
      async remove(name, options) {
        said('drives.remove', [name, options])
        return (await drives())[0]!
      },
    },
    keys: {
      async list(volume) {
        said('keys.list', volume)
        return keyList()
      },
      async add(volume, added) {
        said('keys.add', [volume, added])
        slots.push(slot(String(slots.length + 1), added.kind, added.label ?? added.kind))
        return slots.at(-1)!
      },
      async remove(volume, number) {
        said('keys.remove', [volume, number])
        if (slots.length === 1) {
          const message = `key remove: slot ${number} is the last one; without it nothing could open "${volume}"`
          throw new FsError('EBUSY', 'key remove', {
            message,
            next: 'add another slot first: weft key add VOLUME',
          })
        }
        slots.splice(
          slots.findIndex((one) => one.id === number),
          1,
        )
      },
      async rotate(volume, options) {
        said('keys.rotate', [volume, options])
        keyEpoch++
        return { newestEpoch: keyEpoch, job: options.reseal ? startJob('reseal', null) : null }
      },
      async exportBackup(volume) {
        said('keys.export', volume)
        return 'WEFT KEY BACKUP\nversion: 1\n'
      },
      async importBackup(volume, backup, opener) {
        said('keys.import', [volume, backup, opener])
        return keyList()
      },
      async split(volume, options) {
        said('keys.split', [volume, options])
        const shares = Array.from({ length: options.shares }, (_, index) =>
          Buffer.alloc(33, index + 1),
        )
        lent.push(...shares)
        return { slot: slot('9', 'shares', 'shares'), threshold: options.threshold, shares }
      },
      async recover(volume, shares) {
        said('keys.recover', [volume, shares.map((share) => share.toString('hex'))])
        lent.push(...shares)
        return keyList()
      },
      async lock(volume) {
        said('keys.lock', volume)
        locked = true
        return keyList()
      },
      async unlock(volume, opener) {
        said('keys.unlock', [volume, opener])
        if (opener.kind === 'passphrase' && opener.passphrase.toString() !== 'right horse') {
          throw new FsError('EKEYREJECTED', 'key unlock', {
            message: 'key unlock: the passphrase opens no slot',
          })
        }
        locked = false
        return keyList()
      },
      async drill(volume, backup, opener) {
        said('keys.drill', [volume, backup, opener])
        return {
          volume: { id: 'b'.repeat(32), name: volume },
          opened: true,
          slot: '1',
          kind: 'passphrase',
          epochs: [1],
          missingEpochs: backup?.includes('old') ? [2] : [],
        }
      },
    },
    cluster: {
      async status() {
        said('cluster.status')
        return clusterInfo()
      },
      async create(request) {
        said('cluster.create', request)
        entered = true
        return { id: CLUSTER_ID, name: request.name, node: 'node1', addresses: ['10.0.0.1:9338'] }
      },
      async join(request) {
        said('cluster.join', request)
        entered = true
        return { id: CLUSTER_ID, name: 'lab', node: 'node1', addresses: ['10.0.0.1:9338'] }
      },
      async invite(asked) {
        said('cluster.invite', asked)
        return { ...invite(), usesLeft: asked.uses ?? 1, line: 'weft1:line-of-an-invite' }
      },
      async invites() {
        said('cluster.invites')
        return [invite()]
      },
      async revoke(id) {
        said('cluster.revoke', id)
        return { ...invite(), state: 'revoked' }
      },
      async recoverPlan() {
        said('cluster.recoverPlan')
        return recoverPlan
      },
      async recover(begin) {
        said('cluster.recover', begin)
        return { begun: false, generation: 2, plan: recoverPlan }
      },
      async recoverState() {
        return { state: 'done', waitsFor: [], plan: recoverPlan }
      },
      async moveCoordinator(to, access) {
        said('cluster.moveCoordinator', Object.keys(access).length > 0 ? [to, access] : to)
        return { place: to, generation: 2 }
      },
      async nodes() {
        said('cluster.nodes')
        return clusterInfo().nodes
      },
      async remove(name, options) {
        said('cluster.remove', [name, options])
        return { id: NODE_ID, name, reason: options.reason ?? '', removedAt: WHEN, keyEpoch: 2 }
      },
    },
    async scrub(request) {
      said('scrub', request)
      const report = { volumes: ['notes'], chunks: 3, bytes: 300, findings: [], unfinished: [] }
      return startJob('scrub', report)
    },
    repair: {
      async repl(volume, request) {
        said('repair.repl', [volume, request])
        return changePlan(!request.plan)
      },
      async move(volume, request) {
        said('repair.move', [volume, request])
        return changePlan(!request.plan)
      },
      async stay(volume) {
        said('repair.stay', volume)
      },
      async drain(name, request) {
        said('repair.drain', [name, request])
        return changePlan(!request.plan)
      },
      async drainStatus(name) {
        said('repair.drainStatus', name)
        return { node: name, since: null, left: [] }
      },
      async settings() {
        said('repair.settings')
        return { graceMs: 120_000, bytesPerSecond: 256 * 1024 ** 2 }
      },
      async set(change) {
        said('repair.set', change)
        return { graceMs: change.graceMs ?? 120_000, bytesPerSecond: 256 * 1024 ** 2 }
      },
    },
    ...frame.controls,
    jobs: {
      async list() {
        said('jobs.list')
        return job === null ? [] : [job]
      },
      async get(id) {
        said('jobs.get', id)
        if (job === null) throw new FsError('ENOENT', 'job get', { id, message: `no job ${id}` })
        if (node.jobFails) job = { ...job, state: 'failed', error: node.jobFails }
        if (job.state === 'failed') return job
        const done = job.done + 1
        job =
          done >= node.jobSteps
            ? { ...job, done, state: 'done', result: pendingResult }
            : { ...job, done }
        return job
      },
      async cancel(id) {
        said('jobs.cancel', id)
        job = { ...job!, state: 'cancelled' }
        return job
      },
    },
  }

  function addMount(
    name: string,
    target: string,
    kind: MountInfo['kind'],
    volume: string | null,
  ): MountInfo {
    const mount = {
      id: `m${mounts.length + 1}`,
      name,
      target,
      kind,
      volume,
      readOnly: false,
      driver: 'kernel' as const,
      notes: [],
      since: WHEN,
    }
    mounts.push(mount)
    return mount
  }
  function dropMount(op: string, target: string): void {
    const at = mounts.findIndex((mount) => mount.target === target)
    if (at < 0)
      throw new FsError('ENOENT', op, {
        target,
        message: `${op}: weft has nothing mounted at ${target}`,
      })
    mounts.splice(at, 1)
  }
  async function drives() {
    return [
      {
        id: 'd'.repeat(32),
        name: 'd1',
        dir: join(home, 'drives/d1'),
        kind: 'directory' as const,
        class: 2 as const,
        state: 'ok' as const,
        totalBytes: 100 * 1024 ** 3,
        freeBytes: 1024 ** 3,
        drain: null,
        disk: null,
        why: '',
        usedBytes: 4096,
      },
    ]
  }

  const server = await startApi({ home, control, registry, log: silentLog, version: '0.1.0' })
  const node: FakeNode = {
    home,
    server,
    control,
    calls,
    lent,
    frame,
    jobSteps: 0,
    jobFails: null,
    report: CLEAN,
    failNext: undefined,
    async close() {
      await server.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
  return node
}

function slot(id: string, kind: KeySlotInfo['kind'], name: string): KeySlotInfo {
  const shares = kind === 'shares' ? 5 : null
  return {
    id,
    name,
    kind,
    publicKey: `${'A'.repeat(43)}=`,
    shares,
    threshold: shares && 3,
    createdAt: WHEN,
  }
}

function changePlan(accepted: boolean): ChangePlan {
  const step = {
    volume: 'notes',
    what: '1 more',
    bytes: 3 * 1024 ** 3,
    inSyncMeanwhile: 2,
    minimum: 2,
  }
  return {
    accepted,
    what: 'volume notes: 3 copies instead of 2',
    steps: [step],
    bytes: step.bytes,
    secondsMin: 12,
    secondsMax: 130,
  }
}

function invite(): InviteInfo {
  return {
    id: 'e'.repeat(32),
    state: 'live',
    usesLeft: 1,
    usedBy: [],
    createdAt: WHEN,
    createdBy: NODE_ID,
    expiresAt: WHEN,
  }
}

/** Of two nodes; the other one is down. */
const recoverPlan: RecoverPlan = {
  node: 'node2',
  generation: 2,
  from: ['node2', 'node3'],
  silent: [{ node: 'node1', why: 'no answer' }],
  volumes: [{ id: '1'.repeat(32), name: 'db', copies: 3, answering: ['node2', 'node3'], epoch: 8 }],
  refused: [
    {
      ...{ id: '2'.repeat(32), name: 'lone', copies: 1, answering: 0, needed: 1 },
      ...{ lacking: ['node1'], why: '0 of its 1 copies answer' },
    },
  ],
}

export function clusterInfo(): ClusterInfo {
  const about = { state: 'member', joinedAt: WHEN, removedAt: null, reason: '' } as const
  const self = {
    ...about,
    id: NODE_ID,
    name: 'node1',
    self: true,
    domain: 'rack=r1',
    addresses: ['10.0.0.1:9338'],
  }
  const other = { ...about, id: 'c'.repeat(32), name: 'node2', self: false, domain: '' }
  const nothing = { path: null, rttMs: null, since: null }
  return {
    id: CLUSTER_ID,
    name: 'lab',
    createdAt: WHEN,
    generation: 1,
    keyEpoch: 1,
    rotating: false,
    coordinator: { kind: 'embedded', node: NODE_ID },
    members: { state: 'current', reason: '', count: 2 },
    node: self,
    coordinatorState: { place: 'node node1', why: '', since: null },
    nodes: [
      { ...self, ...nothing, connection: 'self', why: '' },
      { ...other, ...nothing, addresses: [], connection: 'down', why: 'refused the connection' },
    ],
  }
}

function detail(name: string, number: number): VolumeDetail {
  return {
    id: String(number).padStart(32, '0'),
    name,
    number,
    state: 'ready',
    sizeBytes: 100 * 1024 ** 3,
    usedBytes: 1536 * 1024,
    files: 7,
    repl: 1,
    inSync: 1,
    cos: null,
    owner: null,
    attached: null,
    createdAt: WHEN,
    probe: {
      state: 'ok' as const,
      kind: 'commit' as const,
      ms: 1.84,
      succeededAt: WHEN,
      succeededSeconds: 2,
      forSeconds: 0,
      waitsFor: '',
      code: '',
      why: '',
    },
    spec: `size=100G,repl=1,name=${name}`,
    epoch: 3,
    records: 40,
    keyEpoch: 1,
    keySlots: 1,
    chunks: 2,
    storedBytes: 2 * 1024 * 1024,
    liveBytes: 1536 * 1024,
    journalBytes: 8192,
    copies: [
      {
        id: 'c'.repeat(32),
        node: 'node1',
        inSync: true,
        state: 'in sync' as const,
        why: '',
        silentSeconds: 0,
        doneBytes: 0,
        totalBytes: 0,
      },
    ],
    repair: null,
    classMove: null,
    movingTo: null,
    ownersNow: ['node1'],
    drives: ['d'.repeat(32)],
    problems: [],
  }
}

/** JSON.stringify gives a replacer the toJSON form of a Buffer. */
function secretAsText(_key: string, value: unknown): unknown {
  if (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    value.type === 'Buffer' &&
    'data' in value
  ) {
    return Buffer.from(value.data as number[]).toString()
  }
  return value
}

function collect(input: unknown, into: Buffer[]): void {
  if (Buffer.isBuffer(input)) into.push(input)
  else if (typeof input === 'object' && input !== null)
    for (const value of Object.values(input)) collect(value, into)
}
