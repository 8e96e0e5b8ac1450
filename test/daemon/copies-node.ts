/**
 * A node in a process of its own: Net, the copies on one drive, and the owner of the volume when it is told to lead. It is
 * told what to do in JSON lines on stdin and answers on stdout; the volume's record is kept by the process that started it.
 */
import { createInterface } from 'node:readline'
import {
  type ChunkId,
  type CopyId,
  codeOf,
  type DriveId,
  type Epoch,
  FsError,
  type KeyEpoch,
  messageOf,
  type NodeId,
  newId,
  type PeerKey,
  type RecordSeq,
  silentLog,
  suspendProof,
  systemClock,
  systemRandom,
  type VolumeId,
} from '../../src/base/index.ts'
import { ChunkStore, RawChunks } from '../../src/chunks/index.ts'
import { identityFromSeed, secretFrom } from '../../src/crypto/index.ts'
import { Copies } from '../../src/daemon/copies.ts'
import { askOverNet, serveCopies } from '../../src/daemon/copies-net.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { initDrive, openDrive } from '../../src/drives/index.ts'
import { scan } from '../../src/journal/index.ts'
import { Net } from '../../src/net/index.ts'
import {
  type LeadWorld,
  lead,
  type Owner,
  type RecordedSet,
  type SetStore,
  type Times,
} from '../../src/replication/index.ts'
import { JournalLog } from '../replication/journal-log.ts'
import { seeded } from '../support/seeded.ts'

export interface NodeConfig {
  readonly node: NodeId
  /** Of its key, hex. */
  readonly seed: string
  readonly directory: string
  readonly port: number
  readonly volume: VolumeId
  readonly times: Times
}

export interface Peer {
  readonly node: NodeId
  readonly key: PeerKey
  readonly address: string
}

/** A chunk of a stream: its plain bytes follow from the seed. */
export interface ChunkMade {
  readonly id: ChunkId
  readonly drive: DriveId
  readonly seed: number
}

/** What was acknowledged. */
export interface Acknowledged {
  readonly seq: number
  readonly tag: string
  readonly chunk: ChunkMade | null
}

export interface Commands {
  peers(args: { peers: readonly Peer[] }): Promise<null>
  create(args: { copy: CopyId }): Promise<null>
  /** Try to become the owner until it is, or the deadline. */
  lead(args: { deadlineMs: number }): Promise<{ epoch: number }>
  /** Write and sync records one after the other, every third with a chunk, until this node is the owner no more. */
  stream(args: { chunkBytes: number }): Promise<null>
  status(args: object): Promise<{
    copies: ReturnType<Copies['list']>
    inSync: readonly CopyId[]
    committed: number
    end: string | null
  }>
  tags(args: object): Promise<Record<number, string>>
  /** How many of these chunks are whole here, by the key. */
  whole(args: { chunks: readonly ChunkMade[]; chunkBytes: number }): Promise<number>
  ask(args: { copy: CopyId; node: NodeId }): Promise<{ kind: string; why: string | null }>
  benchSync(args: { seconds: number; atOnce: number }): Promise<{ perSecond: number }>
  benchChunks(args: { count: number; atOnce: number }): Promise<{ mibPerSecond: number }>
}

const config: NodeConfig = JSON.parse(process.argv[2] ?? '{}')
const { node, volume, times } = config
const clock = suspendProof(systemClock())
const key = Buffer.alloc(32, 7)
const seal = { volume, keyEpoch: 1 as KeyEpoch, epoch: 1 as Epoch, key }
const reader = { volume, keyOf: () => key }
const none = { begins: [], ends: [] }
const RECORD_BYTES = 4096
const CHUNK_EVERY = 3

const say = (line: object) => console.log(JSON.stringify(line))

const drive = systemDisk.exists(`${config.directory}/drive.json`)
  ? openDrive(config.directory)
  : initDrive(config.directory, { class: 2, nodeId: node }, systemDisk)
const drives = () => [drive]
const raw = new RawChunks(drives)
const store = new ChunkStore([drive])
const copies = await Copies.open({
  drives,
  chunks: raw,
  disk: systemDisk,
  clock: systemClock(),
  termMs: times.termMs,
  isBuried: async () => false,
  isReleased: async () => false,
  away: () => [],
  destroy: async () => {},
  log: silentLog,
})
const members = new Map<NodeId, PeerKey>()
const nodeOf = (peer: PeerKey) => [...members].find(([, one]) => one === peer)?.[0] ?? null
const net = new Net({
  keyPair: identityFromSeed(secretFrom(Buffer.from(config.seed, 'hex'))).sign,
  listen: { host: '127.0.0.1', port: config.port },
  advertise: [],
  topic: null,
  bootstrap: [],
  admit: (peer) => (nodeOf(peer) === null ? null : 'member'),
  clock: systemClock(),
  random: systemRandom,
  log: silentLog,
})
serveCopies(net, copies, nodeOf, () => 1)
await net.open()

const ask = askOverNet(volume, {
  node,
  copies,
  call: (...args) => net.call(...args),
  peerOf: (other) => members.get(other) ?? null,
  generation: 1,
})

/** Questions to the process that keeps the volume's record, by number. */
const asked = new Map<number, { resolve(set: RecordedSet): void; reject(error: Error): void }>()
let questions = 0

function askRecord(op: keyof SetStore, args: readonly unknown[]): Promise<RecordedSet> {
  return new Promise((resolve, reject) => {
    asked.set(++questions, { resolve, reject })
    say({ record: questions, op, args })
  })
}

const setStore: SetStore = {
  read: () => askRecord('read', []),
  takeEpoch: (...args) => askRecord('takeEpoch', args),
  setInSync: (...args) => askRecord('setInSync', args),
  addCopy: (...args) => askRecord('addCopy', args),
  release: (...args) => askRecord('release', args),
}

let leads: { owner: Owner; log: JournalLog } | null = null

async function tryToLead(own: CopyId): Promise<boolean> {
  const copy = copies.find(volume, own)
  if (!copy) throw new FsError('EIO', 'lead', { message: 'the own copy is damaged' })
  let log: JournalLog | null = null
  const open: LeadWorld['open'] = async ({ epoch }, head) => {
    const opened = new JournalLog({ disk: systemDisk, ...copy.identity }, epoch, head)
    const first = opened.append(Buffer.from(`first of ${epoch}`), none, 0 as RecordSeq)
    log = opened
    return {
      log: opened,
      first,
      chunksInUse: async (committed) => opened.chunksInUse(committed),
      readChunk: (chunk) => raw.read(chunk, volume),
      checkpoint: null,
      unnamed: async (chunks) => {
        const used = opened.chunksInUse(0 as RecordSeq)
        return { chunks: chunks.filter((chunk) => !used.has(chunk)), seq: opened.head.seq }
      },
      pinCheckpoint: async () => () => {},
    }
  }
  const owner = await lead(
    {
      volume,
      node,
      ask,
      store: setStore,
      clock,
      times,
      report: silentLog,
      open,
      lost: () => {},
    },
    copy,
  )
  if ('why' in owner || log === null) return false
  leads = { owner, log }
  return true
}

function led(): { owner: Owner; log: JournalLog } {
  if (!leads) throw new FsError('EPERM', 'owner', { message: 'this node leads nothing' })
  return leads
}

/** A new chunk on every member, which a record may name. */
async function putChunk(owner: Owner, seed: number, bytes: number): Promise<ChunkMade> {
  const id = newId<ChunkId>(systemRandom)
  const made = await store.put(id, seal, seeded(seed).bytes(bytes), bytes, Buffer.alloc(0))
  const file = await raw.read(id, volume)
  if (!file) throw new FsError('EIO', 'putChunk', { message: 'the own chunk is not there' })
  do await owner.putChunk(id, file)
  while (!owner.mayName([id]))
  return { id, drive: made.drive, seed }
}

const commands: Commands = {
  async peers({ peers }) {
    for (const peer of peers) {
      members.set(peer.node, peer.key)
      if (peer.node !== node) net.addresses(peer.key, [peer.address])
    }
    return null
  },

  async create({ copy }) {
    copies.create({ volume, copy, drive: drive.id })
    return null
  },

  async lead({ deadlineMs }) {
    const untilMs = clock.monotonicMs() + deadlineMs
    for (;;) {
      const recorded = await setStore.read()
      const own = recorded.copies.find((copy) => copy.node === node)
      if (own && (await tryToLead(own.id))) return { epoch: led().log.epoch }
      if (clock.monotonicMs() > untilMs) {
        throw new FsError('ETIMEDOUT', 'lead', { message: 'it does not become the owner' })
      }
      await new Promise((done) => setTimeout(done, 50))
    }
  },

  async stream({ chunkBytes }) {
    const { owner, log } = led()
    for (let count = 1; ; count++) {
      const chunk = count % CHUNK_EVERY === 0 ? await putChunk(owner, count, chunkBytes) : null
      const chunks = { begins: chunk ? [chunk.id] : [], ends: [] }
      const { seq, chain } = log.append(Buffer.alloc(RECORD_BYTES, count), chunks, owner.committed)
      owner.appended()
      await owner.sync(seq)
      say({ acknowledged: { seq, tag: chain.toString('hex'), chunk } satisfies Acknowledged })
    }
  },

  async status() {
    return {
      copies: copies.list(),
      inSync: leads?.owner.recorded.inSync ?? [],
      committed: leads?.owner.committed ?? 0,
      end: leads?.owner.end ?? null,
    }
  },

  async tags() {
    const tags: Record<number, string> = {}
    const directory = `${config.directory}/volumes/${volume}`
    for (const { head } of scan(systemDisk, directory, volume, null, null)) {
      tags[head.seq] = head.chain.toString('hex')
    }
    return tags
  },

  async whole({ chunks, chunkBytes }) {
    const out = Buffer.alloc(chunkBytes)
    return chunks.filter(({ id, drive: named, seed }) => {
      store.readSync(id, named, reader, 0, chunkBytes, out, 0)
      return out.equals(seeded(seed).bytes(chunkBytes))
    }).length
  },

  async ask({ copy, node: other }) {
    const message = { op: 'state', candidate: node } as const
    const answer = await ask({ id: copy, node: other }, message, { deadlineMs: times.askMs })
    return { kind: answer.kind, why: answer.kind === 'refused' ? answer.why : null }
  },

  async benchSync({ seconds, atOnce }) {
    const { owner, log } = led()
    const body = Buffer.alloc(RECORD_BYTES, 1)
    const endMs = clock.monotonicMs() + 1000 * seconds
    let done = 0
    const work = async () => {
      while (clock.monotonicMs() < endMs) {
        await owner.sync(log.append(body, none, owner.committed).seq)
        done++
      }
    }
    await Promise.all(Array.from({ length: atOnce }, work))
    return { perSecond: done / seconds }
  },

  async benchChunks({ count, atOnce }) {
    const { owner } = led()
    const bytes = 4 * 1024 * 1024
    const files = new Map<ChunkId, Buffer>()
    for (let index = 0; index < count; index++) {
      const id = newId<ChunkId>(systemRandom)
      await store.put(id, seal, Buffer.alloc(bytes, index), bytes, Buffer.alloc(0))
      files.set(id, (await raw.read(id, volume)) ?? Buffer.alloc(0))
    }
    const left = [...files]
    const beganMs = clock.monotonicMs()
    const work = async () => {
      for (let next = left.pop(); next; next = left.pop()) await owner.putChunk(...next)
    }
    await Promise.all(Array.from({ length: atOnce }, work))
    return { mibPerSecond: (4 * count) / ((clock.monotonicMs() - beganMs) / 1000) }
  },
}

async function carryOut(id: number, name: keyof Commands, args: never): Promise<void> {
  try {
    say({ id, result: await commands[name](args) })
  } catch (error) {
    say({ id, error: { code: codeOf(error), message: messageOf(error) } })
  }
}

const input = createInterface({ input: process.stdin })
input.on('line', (line) => {
  const told = JSON.parse(line)
  if (told.record === undefined) {
    void carryOut(told.id, told.name, told.args as never)
    return
  }
  const question = asked.get(told.record)
  asked.delete(told.record)
  if (told.stale) question?.reject(new FsError('ESTALE', 'record', {}))
  else question?.resolve(told.set)
})
// Whoever started it is gone.
input.on('close', () => process.exit())
say({ port: net.port, drive: drive.id })
