import {
  type ChunkId,
  type Clock,
  codeOf,
  type Epoch,
  FsError,
  type NodeId,
  sleep,
} from '../base/index.ts'
import type { JournalHead } from '../journal/index.ts'
import { commonPlace } from './common-place.ts'
import type { Copy } from './copy.ts'
import { type AskCopy, isSilence } from './follower.ts'
import type { Answer, CopyPlace, Place, Request } from './messages.ts'
import type { Owner } from './owner.ts'
import type { RecordedSet, SetStore } from './sets.ts'
import type { Times } from './times.ts'

/** A copy's end of log, reported with its promise and final from then on. */
export interface PromisedLog {
  readonly copy: CopyPlace
  readonly end: Place
}

/** What a candidate has when its epoch is taken and promised: on the longest of these logs it builds. */
export interface Claim {
  readonly epoch: Epoch
  readonly recorded: RecordedSet
  readonly longest: PromisedLog
  readonly promised: readonly PromisedLog[]
}

export type Refused = {
  /** leased: another owner's lease lasts; outbid: a higher epoch was taken or promised; silent: no member answered. */
  readonly why: 'leased' | 'outbid' | 'silent'
  /** Asking again sooner is of no use; 0 when nothing is known. */
  readonly waitMs: number
  readonly words: string
}

export interface CandidateWorld {
  readonly node: NodeId
  readonly ask: AskCopy
  readonly store: SetStore
  readonly clock: Clock
  readonly times: Times
}

const RUN_BYTES_MAX = 2 * 1024 * 1024
const LOOK_MS = 10

/**
 * The first half of a take-over (design §6.4): ask whether the lease has run out, take an epoch, collect promises, and
 * find the longest log. Nothing of the volume was changed when this refuses, but that lower epochs may be past.
 */
export async function claim(world: CandidateWorld): Promise<Claim | Refused> {
  const { node, store, times } = world
  const before = await store.read()
  const states = await askMembers(world, before, { op: 'state', candidate: node }, times.askMs)
  let above = before.epoch
  let waitMs = 0
  for (const { answer } of states) {
    if (answer.kind !== 'state') continue
    above = Math.max(above, answer.promised) as Epoch
    waitMs = Math.max(waitMs, answer.waitMs)
  }
  if (states.length === 0) return refused('silent', 'no copy of the in-sync set answers')
  if (waitMs > 0) return { ...refused('leased', 'the lease of another owner lasts'), waitMs }
  const recorded = await store.takeEpoch(node, above)
  const { epoch } = recorded
  const answers = await askMembers(
    world,
    recorded,
    { op: 'promise', epoch, owner: node },
    times.promiseMs,
  )
  const promised: PromisedLog[] = []
  for (const { copy, answer } of answers) {
    if (answer.kind === 'promised') promised.push({ copy, end: answer.end })
    else if (answer.kind === 'refused' && answer.why === 'promised')
      return refused('outbid', answer.words)
  }
  const longest = promised.reduce<PromisedLog | null>(
    (best, one) => (best && !isLonger(one.end, best.end) ? best : one),
    null,
  )
  if (!longest) return refused('silent', 'no copy of the in-sync set promised')
  return { epoch, recorded, longest, promised }
}

/** By last epoch, then by sequence: the log of the newest owner has all that any owner acknowledged. */
function isLonger(a: Place, b: Place): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq)
}

/**
 * Make the log of the candidate's own copy the longest one found: fetched from the copy that has it, cut where they part.
 * @returns its end, on stable storage
 * @throws FsError EAGAIN when another candidate was quicker; when that copy falls silent, or the own one fails
 */
export async function adopt(
  world: CandidateWorld,
  claimed: Claim,
  own: Copy,
): Promise<JournalHead> {
  const { node, ask, times } = world
  const { epoch, longest } = claimed
  const { copy, end } = longest
  const options = { deadlineMs: times.promiseMs }
  const promise = await own.handle({ op: 'promise', epoch, owner: node })
  if (promise.kind !== 'promised') throw lost(promise)
  const common = await commonPlace(own, end, async (seqs) => {
    const answer = await ask(copy, { op: 'tags', seqs }, options)
    if (answer.kind !== 'tags') throw lost(answer)
    return answer.tags
  })
  let at: Place = common ?? (await beginAnew(world, claimed, own))
  while (at.seq < end.seq) {
    const run = await ask(copy, { op: 'read', after: at, bytesMax: RUN_BYTES_MAX }, options)
    if (run.kind !== 'records') throw lost(run)
    const { records } = run
    const append = { op: 'append', epoch, owner: node, before: at, records, sync: true } as const
    const done = await own.handle(append)
    const place = done.kind === 'appended' ? own.placeBehind(done.end) : null
    if (!place || place.seq <= at.seq) throw lost(done)
    at = place
  }
  await haveCheckpoint(world, claimed, own)
  const place = own.endAt(epoch, end)
  if (!place) throw lost(promise)
  return place
}

/**
 * The own log ends before the one that was found begins, or parted from it before: it is discarded whole, and begun at that
 * copy's checkpoint. @returns where the checkpoint was taken
 */
async function beginAnew(world: CandidateWorld, claimed: Claim, own: Copy): Promise<Place> {
  const { node, ask, times } = world
  const { epoch, recorded, longest } = claimed
  const { copy } = longest
  if (recorded.inSync.includes(own.identity.id)) {
    throw new FsError('EIO', 'takeOver', {
      message: `take-over: this node's copy ${own.identity.id} is in the set and has lost what it confirmed`,
    })
  }
  const options = { deadlineMs: times.promiseMs }
  const found = await ask(copy, { op: 'readCheckpoint' }, options)
  if (found.kind !== 'checkpoint' || !found.checkpoint) throw lost(found)
  const { checkpoint } = found
  for (const chunk of await lackingOf(own, checkpoint.chunks)) {
    await fetchChunk(world, epoch, own, copy, chunk)
  }
  const { head: end } = own
  const begun = await own.handle({ op: 'begin', epoch, owner: node, end, checkpoint })
  if (begun.kind !== 'done') throw lost(begun)
  return checkpoint.newest
}

/**
 * The own checkpoint, which the volume may be opened from, with chunks that a drive of this node had and that others have. One
 * that nobody has is left to whoever needs it.
 */
async function haveCheckpoint(world: CandidateWorld, claimed: Claim, own: Copy): Promise<void> {
  const { epoch, promised } = claimed
  const others = promised.map(({ copy }) => copy).filter(({ id }) => id !== own.identity.id)
  for (const chunk of await lackingOf(own, own.checkpoint?.chunks ?? [])) {
    for (const copy of others) {
      try {
        await fetchChunk(world, epoch, own, copy, chunk)
        break
      } catch (error) {
        if (!isSilence(error) && codeOf(error) !== 'EAGAIN') throw error
      }
    }
  }
}

async function lackingOf(own: Copy, chunks: readonly ChunkId[]): Promise<readonly ChunkId[]> {
  const lacks = await own.handle({ op: 'lacksChunks', chunks })
  return lacks.kind === 'lacks' ? lacks.chunks : []
}

/**
 * Give the own copy a chunk that another one has.
 * @throws FsError EAGAIN when that one has it not, or another candidate was quicker; when it falls silent, or the own one fails
 */
async function fetchChunk(
  { node, ask, times }: CandidateWorld,
  epoch: Epoch,
  own: Copy,
  from: CopyPlace,
  chunk: ChunkId,
): Promise<void> {
  const read = await ask(from, { op: 'readChunk', chunk }, { deadlineMs: times.chunkMs })
  if (read.kind !== 'chunk' || !read.bytes) throw lost(read)
  const { bytes } = read
  const put = await own.handle({ op: 'putChunk', epoch, owner: node, chunk, bytes })
  if (put.kind !== 'done') throw lost(put)
}

/** Another candidate was quicker: its promise was asked for, or its log taken, in between. */
function lost(answer: Answer): FsError {
  const words = answer.kind === 'refused' ? answer.words : `a copy answered ${answer.kind}`
  return new FsError('EAGAIN', 'takeOver', { retry: 'later', message: `take-over: ${words}` })
}

/**
 * The second half: `owner` has the longest log and a first record of its epoch behind it, and ships it. Those that
 * promised are waited for a while; once at least the minimum of copies has that record durably they become the set, and
 * only when the lease then holds may the owner serve.
 * @throws FsError of the coordinator, all being open then; the caller stops the owner
 */
export async function establish(
  owner: Owner,
  first: Place,
  promised: readonly PromisedLog[],
  { clock, times }: { clock: Clock; times: Times },
): Promise<Refused | null> {
  owner.start()
  // The old set may never confirm it; the copies that do are looked for below.
  owner.sync(first.seq).catch(() => {})
  const { minimum } = owner.recorded
  const untilMs = clock.monotonicMs() + times.promiseMs
  const waitsForAll = promised.map(({ copy }) => copy.id)
  for (;;) {
    if (owner.end !== null) return refused('outbid', owner.end)
    const holding = owner.holding(first.seq)
    const all = waitsForAll.every((id) => holding.includes(id))
    if (holding.length >= minimum && (all || clock.monotonicMs() >= untilMs)) {
      if (await recordOnce(owner, holding)) break
    }
    await sleep(clock, LOOK_MS)
  }
  while (owner.leaseUntilMs <= clock.monotonicMs()) {
    if (owner.end !== null) return refused('outbid', owner.end)
    await sleep(clock, LOOK_MS)
  }
  owner.serve()
  return null
}

async function recordOnce(
  owner: Owner,
  holding: Parameters<Owner['recordSet']>[0],
): Promise<boolean> {
  try {
    return await owner.recordSet(holding)
  } catch (error) {
    if (codeOf(error) === 'ESTALE') owner.stop('another owner has the volume')
    // Without an answer it is open, counts as asked, and is asked again.
    else if (!isSilence(error)) throw error
    return false
  }
}

interface Said {
  readonly copy: CopyPlace
  readonly answer: Answer
}

/** What the members say until all have, or the deadline is over, or a moment after as many as the minimum have. */
async function askMembers(
  { ask, clock, times }: CandidateWorld,
  { copies, inSync, minimum }: RecordedSet,
  request: Request,
  deadlineMs: number,
): Promise<Said[]> {
  const members = copies.filter((copy) => inSync.includes(copy.id))
  const said: Said[] = []
  await new Promise<void>((resolve, reject) => {
    let open = members.length
    if (open === 0) resolve()
    const ended = () => {
      open--
      if (open === 0) resolve()
      else if (said.length === minimum) clock.after(times.graceMs, resolve)
    }
    for (const copy of members) {
      ask(copy, request, { deadlineMs }).then(
        (answer) => {
          said.push({ copy, answer })
          ended()
        },
        (error: unknown) => {
          if (isSilence(error)) ended()
          else reject(error)
        },
      )
    }
  })
  return said
}

function refused(why: Refused['why'], words: string): Refused {
  return { why, waitMs: 0, words }
}
