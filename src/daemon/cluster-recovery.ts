import { z } from 'zod'
import type { RecoverPlan, RecoverState } from '../api/index.ts'
import {
  background,
  type Clock,
  CorruptError,
  type Epoch,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  ProtocolError,
  type RecordSeq,
  sleep,
} from '../base/index.ts'
import { type NodeSigned, nodeSignedShape } from '../cluster/index.ts'
import { beginGeneration, makeEqual, type Step } from '../coordinator/index.ts'
import type { Net } from '../net/index.ts'
import { tombstoneKey, volumeKey } from '../volumes/index.ts'
import { parsed } from './call-bytes.ts'
import { type KeptEntries, openKept } from './cluster-kept.ts'
import type { ClusterMember } from './cluster-member.ts'
import { type CopyFound, type Heard, type Rebuild, rebuildVolumes } from './cluster-rebuild.ts'

export interface RecoveryWorld {
  readonly node: NodeId
  readonly cluster: ClusterMember
  readonly kept: KeptEntries
  /** What lies on the drives of this node. */
  copies(): CopyFound[]
  /** The next life of this daemon, which obeys the new generation. */
  restart(): Promise<void>
  /** Volumes are there that were not. */
  wake(): void
  readonly clock: Clock
  readonly log: Log
}

/** RPC service for members: what this node keeps of the coordinator, page by page, and what lies on its drives. */
const KEPT_SERVICE = 'cluster.kept'
const PAGE_BYTES = 4 * 1024 * 1024
const CALL_MS = 5000
/** Who answered before and does not now is not waited for longer: its daemon starts anew meanwhile. */
const PATIENCE_MS = 60_000
const LOOK_MS = 250
/** Versions that the coordinator gave and nobody who answers has kept may be so many. */
const VERSIONS_UNSEEN = 1_000_000

const hex = z.string().regex(/^[0-9a-f]{32}$/)
const whole = z.int().min(0)
const questionShape = z.strictObject({ after: z.string().max(512) })
const answerShape = z.strictObject({
  version: z.literal(1),
  /** That this life of the daemon began with: nothing that it owns is of a lower one. */
  generation: whole,
  /** Where that coordinator is, as ClusterMember.place. */
  place: z.string(),
  keyEpoch: whole,
  entries: z.array(nodeSignedShape),
  /** The last key of this page; null when there are no more. */
  next: z.string().nullable(),
  copies: z.array(
    z.strictObject({
      volume: hex,
      copy: hex.nullable(),
      drive: hex,
      promised: whole,
      end: z.strictObject({ epoch: whole, seq: whole }),
      damaged: z.string().nullable(),
    }),
  ),
})
type Page = z.infer<typeof answerShape>

interface Said extends Heard {
  readonly generation: number
  readonly place: string
  readonly keyEpoch: number
}

/** Who answers, and who does not, with why. */
interface Gathered {
  readonly said: readonly Said[]
  readonly silent: ReadonlyMap<NodeId, string>
}

/**
 * Rebuild a coordinator that is lost for good on this node, from what the members keep (design §3).
 *
 * 1. `begin`, on a person's word: that the coordinator is this node's now, of the next generation, is written down here and
 *    told to every member. Each writes it down, obeys no lower one from then on, and its daemon starts anew: nobody owns
 *    anything of the old generation then, and ends of logs are final.
 * 2. `resume`, in the next life of this daemon, also after a crash: the members are asked again, in their new lives; what they
 *    keep is judged (rebuildVolumes) and written; last of all the generation, from which on the coordinator is used.
 *
 * Later, `takeIn` adds volumes that were refused then, once enough of their copies answer.
 */
export class Recovery {
  readonly #world: RecoveryWorld
  #state: RecoverState = { state: 'none', waitsFor: [], plan: null }

  constructor(world: RecoveryWorld) {
    this.#world = world
    world.cluster.offer((net: Net) => {
      net.serve(KEPT_SERVICE, async ({ body }) => this.#answer(body), { lane: 'bulk' })
    })
  }

  get state(): RecoverState {
    return this.#state
  }

  /** What would be rebuilt, and from whom; nothing is changed. @throws FsError EEXIST when the coordinator answers */
  async plan(): Promise<RecoverPlan> {
    this.#mustBeAllowed()
    if (await this.answers()) throw this.#notLost()
    const gathered = await this.#gather()
    this.#mustHaveNewestKeys(gathered)
    const generation = this.#world.cluster.record.generation + 1
    return this.#planOf(gathered, rebuildVolumes(gathered.said, generation), generation)
  }

  /** Where the coordinator does not answer. @returns the generation; the daemon ends when this has been answered */
  async begin(): Promise<number> {
    const { cluster, clock, log } = this.#world
    this.#mustBeAllowed()
    const gathered = await this.#gather()
    this.#mustHaveNewestKeys(gathered)
    const expects = gathered.said.map(({ node }) => node)
    const generation = cluster.record.generation + 1
    log.warn({ op: 'coordinator.recover', generation, expects }, 'the coordinator is rebuilt here')
    await cluster.beSuccessor(expects)
    // Every answer goes out first.
    clock.after(0, () => void this.#world.restart().catch(background(log, 'coordinator.recover')))
    return generation
  }

  /** Go on with what `begin` has begun, if anything. Ends when the coordinator is there. */
  async resume(): Promise<void> {
    const { cluster, log } = this.#world
    const { rebuilding } = cluster
    if (rebuilding === null) return
    const { expects, target } = rebuilding
    const { generation } = cluster.record
    const gathered = await this.#gatherNew(expects)
    const rebuilt = rebuildVolumes(gathered.said, generation)
    await makeEqual(target, new Map([...cluster.membership.rebuilt(), ...rebuilt.entries]))
    await beginGeneration(target, generation, rebuilt.versionMax + VERSIONS_UNSEEN)
    await cluster.isRebuilt()
    const plan = this.#planOf(gathered, rebuilt, generation)
    this.#state = { state: 'done', waitsFor: [], plan }
    const { volumes, refused } = plan
    log.warn({ op: 'coordinator.recover', generation, volumes, refused }, 'coordinator rebuilt')
    this.#world.wake()
  }

  /** Add volumes that the coordinator does not know, from what members keep of them. @throws what the coordinator throws */
  async takeIn(): Promise<RecoverPlan> {
    const { cluster, kept, log } = this.#world
    const { coordinator } = cluster
    await kept.update()
    const gathered = await this.#gather()
    const { generation } = cluster.record
    const current = gathered.said.filter((one) => this.#isCurrent(one))
    const rebuilt = rebuildVolumes(current, generation)
    const added: Rebuild['volumes'][number][] = []
    const refused = [...rebuilt.refused]
    for (const volume of rebuilt.volumes) {
      const { id, name } = volume.record
      const isKnown =
        (await coordinator.get(volumeKey(id))) ?? (await coordinator.get(tombstoneKey(id)))
      if (isKnown) continue
      const steps: Step[] = []
      let isTaken = false
      for (const [key, value] of rebuilt.entries) {
        if (key !== volumeKey(id) && !key.includes(id) && key !== `name/${name}`) continue
        const there = await coordinator.get(key)
        if (there && !there.value.equals(value)) isTaken = true
        if (there === null) steps.push({ key, expected: 0, value })
        else steps.push({ key, expected: there.version, value: 'unchanged' })
      }
      if (!isTaken && (await coordinator.transaction(steps)).ok) added.push(volume)
      else {
        const why = 'another volume has its name by now, or it changes in this moment'
        const counted = { copies: volume.record.copies.length, answering: volume.answering.length }
        refused.push({ id, name, ...counted, needed: 0, lacking: [], why })
      }
    }
    log.warn(
      { op: 'coordinator.recover', added: added.map(({ record }) => record.name) },
      'volumes taken in',
    )
    this.#world.wake()
    return this.#planOf(gathered, { ...rebuilt, volumes: added, refused }, generation)
  }

  /** Whether the coordinator answers: then there are only volumes to take in. */
  async answers(): Promise<boolean> {
    const { cluster } = this.#world
    if (cluster.rebuilding) return false
    try {
      await cluster.coordinator.list('cluster/')
      return true
    } catch (error) {
      if (isBug(error)) throw error
      return false
    }
  }

  #mustBeAllowed(): void {
    const { cluster } = this.#world
    if (cluster.membership.self === null) {
      throw new FsError('EACCES', 'coordinator.recover', {
        message: 'this node was removed from the cluster',
        next: 'rebuild the coordinator on another node',
      })
    }
    if (cluster.rebuilding) {
      throw new FsError('EBUSY', 'coordinator.recover', {
        message: 'the coordinator is being rebuilt on this node already',
        next: 'weft cluster coordinator shows how far it is',
      })
    }
  }

  #notLost(): FsError {
    const { cluster } = this.#world
    return new FsError('EEXIST', 'coordinator.recover', {
      message: `the coordinator (${cluster.coordinatorState().place}) answers: it is not lost`,
      next: 'weft cluster coordinator shows it',
    })
  }

  /** Certificates that a newer key signed cannot be checked here, and new ones not be signed. */
  #mustHaveNewestKeys({ said }: Gathered): void {
    const { cluster } = this.#world
    const { keyEpoch } = cluster.record.signingKey
    const newer = said.find((one) => one.keyEpoch > keyEpoch)
    if (newer === undefined) return
    const name = cluster.nameOf(newer.node)
    throw new FsError('ESTALE', 'coordinator.recover', {
      message: `node ${name} has newer keys of the cluster (${newer.keyEpoch}) than this node (${keyEpoch})`,
      next: `rebuild the coordinator on node ${name}`,
    })
  }

  #planOf({ said, silent }: Gathered, rebuilt: Rebuild, generation: number): RecoverPlan {
    const { cluster } = this.#world
    const nameOf = (id: NodeId) => cluster.nameOf(id)
    return {
      node: nameOf(this.#world.node),
      generation,
      from: said.map(({ node }) => nameOf(node)),
      silent: [...silent].map(([node, why]) => ({ node: nameOf(node), why })),
      volumes: rebuilt.volumes.map(({ record, answering }) => ({
        id: record.id,
        name: record.name,
        copies: record.copies.length,
        answering: answering.map(nameOf),
        epoch: record.epoch,
      })),
      refused: rebuilt.refused.map((one) => ({ ...one, lacking: one.lacking.map(nameOf) })),
    }
  }

  /** The members in the lives that they began with the new generation; who does not come is done without. */
  async #gatherNew(expects: readonly NodeId[]): Promise<Gathered> {
    const { clock, cluster } = this.#world
    const untilMs = clock.monotonicMs() + PATIENCE_MS
    for (;;) {
      const all = await this.#gather(expects)
      const said = all.said.filter((one) => this.#isCurrent(one))
      const missing = expects.filter((id) => !said.some(({ node }) => node === id))
      const waitsFor = missing.map((id) => cluster.nameOf(id))
      this.#state = { state: 'rebuilding', waitsFor, plan: null }
      if (missing.length === 0 || clock.monotonicMs() >= untilMs) {
        const old = all.said.filter((one) => !this.#isCurrent(one))
        const silent = new Map(all.silent)
        for (const { node } of old) silent.set(node, 'its daemon has not started anew')
        for (const { node } of cluster.membership.members()) {
          if (!expects.includes(node)) silent.set(node, 'it did not answer when this was begun')
        }
        return { said, silent }
      }
      await sleep(clock, LOOK_MS)
    }
  }

  /** Its daemon began with the coordinator that this one obeys: what it says of its copies is final. */
  #isCurrent({ generation, place }: Said): boolean {
    const { cluster } = this.#world
    return generation === cluster.generation && place === cluster.place
  }

  /** @param of these members; all when left out */
  async #gather(of?: readonly NodeId[]): Promise<Gathered> {
    const { cluster, node } = this.#world
    const said: Said[] = []
    const silent = new Map<NodeId, string>()
    const members = cluster.membership.members().filter((one) => of?.includes(one.node) ?? true)
    const asked = members.map(async (member) => {
      try {
        said.push(await this.#ask(member.node, member.signKey))
      } catch (error) {
        if (isBug(error) || member.node === node) throw error
        silent.set(member.node, messageOf(error))
      }
    })
    await Promise.all(asked)
    return { said, silent }
  }

  async #ask(node: NodeId, signKey: string): Promise<Said> {
    const { cluster } = this.#world
    const peer = cluster.peerOf(node)
    const pages: Page[] = []
    let after: string | null = ''
    while (after !== null) {
      const body: Buffer = Buffer.from(JSON.stringify({ after }))
      const options = { lane: 'bulk', deadlineMs: CALL_MS } as const
      const bytes: Buffer =
        node === this.#world.node || peer === null
          ? this.#answer(body)
          : await cluster.call(peer, KEPT_SERVICE, body, options)
      const page: Page = parsed(answerShape, bytes, KEPT_SERVICE)
      pages.push(page)
      after = page.next
    }
    const first = pages[0] as Page
    const signed = pages.flatMap(({ entries }) => entries) as NodeSigned[]
    return {
      node,
      generation: first.generation,
      place: first.place,
      keyEpoch: first.keyEpoch,
      entries: signed.map((one) => opened(one, cluster, signKey)),
      copies: first.copies.map((copy) => ({
        ...copy,
        promised: copy.promised as Epoch,
        end: { epoch: copy.end.epoch as Epoch, seq: copy.end.seq as RecordSeq },
      })) as CopyFound[],
    }
  }

  #answer(body: Buffer): Buffer {
    const { after } = parsed(questionShape, body, KEPT_SERVICE)
    const { kept, cluster } = this.#world
    const entries: NodeSigned[] = []
    let bytes = 0
    let next: string | null = null
    for (const { key, signed } of kept.signedBehind(after)) {
      entries.push(signed)
      bytes += signed.text.length
      if (bytes < PAGE_BYTES) continue
      next = key
      break
    }
    const page: Page = {
      version: 1,
      generation: cluster.generation,
      place: cluster.place,
      keyEpoch: cluster.record.signingKey.keyEpoch,
      entries,
      next,
      copies: after === '' ? this.#world.copies() : [],
    }
    return Buffer.from(JSON.stringify(page))
  }
}

function opened(signed: NodeSigned, { record }: ClusterMember, signKey: string) {
  try {
    return openKept(signed, record.id, signKey)
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    throw new ProtocolError(`kept entry that does not hold: ${error.message}`, error)
  }
}
