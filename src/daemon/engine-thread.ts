import { type MessagePort, parentPort } from 'node:worker_threads'
import {
  AssertionError,
  assert,
  codeOf,
  type DriveId,
  FsError,
  messageOf,
  openLog,
  ROOT_INO,
  systemClock,
  systemRandom,
  type VolumeNumber,
} from '../base/index.ts'
import type { Drive } from '../drives/index.ts'
import { answerBare, type FromEngine, Reasons, type ToEngine } from '../fuse/index.ts'
import { encodeCheckpoint } from '../journal/index.ts'
import { decodeInode, keys } from '../meta/index.ts'
import {
  destroyVolume,
  Engine,
  formatVolume,
  fsckClosed,
  fsckVolume,
  type LocalVolume,
  markViewClean,
  recoverVolume,
  resealVolume,
  sweep,
  type Work,
} from '../store/index.ts'
import type {
  EngineAnswer,
  EngineCalls,
  EngineDrive,
  EngineProgress,
  EngineReason,
  EngineRequest,
} from './engine-protocol.ts'
import { PortReplicas } from './replica-port.ts'

/** The thread that runs the engines of all volumes, beside the main thread and the mounts' workers. */
const log = openLog(2).child({ room: 'store' })
const world = { log, clock: systemClock(), random: systemRandom }
const engines = new Map<VolumeNumber, Engine>()
const reasons = new Reasons(world.clock, (reason) =>
  parent.postMessage({ reason } satisfies EngineReason),
)
/** What ends each pin of a checkpoint, by the id of the request that set it. */
const pins = new Map<number, () => void>()

function engineOf(number: VolumeNumber): Engine {
  const engine = engines.get(number)
  if (!engine) throw new FsError('ENOENT', 'engine', { number })
  return engine
}

async function open({ opening, epoch, root, checkView, replicas }: EngineCalls['open']['args']) {
  // A look at it while it was closed.
  await callOff((one) => one.number === opening.number)
  let found = { rebuilt: false, records: 0, stagedWrites: 0 }
  let volume: LocalVolume
  if (root) volume = formatVolume(opening, epoch, root)
  else {
    const { volume: recovered, ...rest } = recoverVolume(opening, epoch, log, checkView)
    volume = recovered
    found = rest
    log.info({ op: 'recover', volume: opening.id, epoch, ...found }, 'volume opened')
  }
  if (replicas) volume.replicas = new PortReplicas(replicas)
  volume.onDriveFail = ({ id }, error) => {
    driveFails(id, error)
  }
  for (const { dir, error } of volume.lostDrives) driveFails(dir, error)
  const engine = new Engine(volume, world)
  engines.set(opening.number, engine)
  engine.wake()
  return found
}

/** The main thread tells the other volumes. */
function driveFails(drive: DriveId | string, error: unknown): void {
  const words = { code: codeOf(error) || 'EIO', message: messageOf(error) }
  parent.postMessage({ failing: { drive, ...words } } satisfies EngineDrive)
}

async function lookAtDrives(): Promise<null> {
  const leaving: Drive[] = []
  for (const { volume } of engines.values()) {
    const before = volume.drives
    volume.chunks.lookAtDrives()
    for (const { dir, error } of volume.lostDrives) driveFails(dir, error)
    volume.measureSpace()
    const now = new Set(volume.drives)
    // One that fails may never answer.
    const isEmptied = ({ draining, state }: Drive) => draining && state === 'ok'
    leaving.push(...before.filter((drive) => isEmptied(drive) || !now.has(drive)))
  }
  await Promise.all(leaving.map((drive) => drive.untilIdle()))
  return null
}

async function close({ number, clean }: EngineCalls['close']['args']): Promise<null> {
  const engine = engineOf(number)
  await callOff((one) => one.number === number || one.number === null)
  await engine.stop()
  engines.delete(number)
  const { opening } = engine.volume
  await engine.volume.close()
  if (clean) markViewClean(opening)
  return null
}

/** Work that goes on for minutes, by the id of its request. It must be over before its volume is closed. */
interface LongWork {
  /** Null is work on all open volumes. */
  number: VolumeNumber | null
  abort: AbortController
  over: Promise<unknown>
}

const longWork = new Map<number, LongWork>()
const PROGRESS_MS = 100

/** Runs long work: with its progress told a few times a second, until it is called off. */
async function long<T>(
  id: number,
  number: VolumeNumber | null,
  run: (work: Work) => Promise<T>,
): Promise<T> {
  const abort = new AbortController()
  let toldMs = Number.NEGATIVE_INFINITY
  const work: Work = {
    signal: abort.signal,
    progress(done, total, message) {
      const now = world.clock.monotonicMs()
      if (now - toldMs < PROGRESS_MS) return
      toldMs = now
      parent.postMessage({ id, progress: { done, total, message } } satisfies EngineProgress)
    },
  }
  const over = run(work)
  longWork.set(id, { number, abort, over: over.catch(() => null) })
  try {
    return await over
  } finally {
    longWork.delete(id)
  }
}

/** Ends long work and waits for its end. */
async function callOff(which: (one: LongWork) => boolean): Promise<void> {
  const running = [...longWork.values()].filter(which)
  for (const { abort } of running) abort.abort()
  await Promise.all(running.map(({ over }) => over))
}

async function sweepAll(id: number): Promise<EngineCalls['sweep']['result']> {
  const { deleted, resting } = await long(id, null, (work) =>
    sweep(
      // Of volumes with several copies each copy is swept by the owner's order.
      [...engines.values()].filter(({ volume }) => !volume.shared.replicated),
      world.clock,
      work,
    ),
  )
  const bytes = deleted.reduce((sum, { storedBytes }) => sum + storedBytes, 0)
  if (deleted.length + resting.length > 0) {
    const found = { deleted: deleted.length, bytes, resting: resting.length }
    log.info({ op: 'sweep', ...found }, 'chunks that nothing names')
  }
  return { chunks: deleted.length, bytes }
}

/** Not by the count of inodes: nameless ones that a kernel still knows, or that wait to be purged, are in it. */
async function isEmpty(number: VolumeNumber): Promise<boolean> {
  const engine = engineOf(number)
  await engine.settle()
  const root = engine.volume.view.get(keys.inodeKey(ROOT_INO))
  return root !== null && decodeInode(root).size === 0
}

/** Messages of a mount's worker: a number wakes a volume's engine, an object is an fsync that waits in the kernel. */
function listen(port: MessagePort): null {
  port.on('message', (message: ToEngine) => {
    if (typeof message === 'number') {
      engines.get(message)?.wake()
      return
    }
    if ('purge' in message) {
      const engine = engines.get(message.number)
      engine?.purge(message.purge)
      engine?.wake()
      return
    }
    const { number, stagedNumber, seq, caller } = message
    const done = (errno: number, why?: unknown) => {
      if (errno !== 0) reasons.note(why ?? closed(), { number, ino: ROOT_INO, op: 'FSYNC' })
      if ('token' in caller) port.postMessage({ token: caller.token, errno } satisfies FromEngine)
      else answerBare(caller.fd, errno, caller.uniqueLo, caller.uniqueHi)
    }
    const engine = engines.get(number)
    if (engine) engine.sync({ stagedNumber, seq, done })
    else done(-5)
  })
  return null
}

function closed(): FsError {
  return new FsError('EIO', 'fsync', { message: 'the volume is closed, or has stopped' })
}

async function obey(request: EngineRequest): Promise<unknown> {
  switch (request.verb) {
    case 'open':
      return await open(request.args)
    case 'close':
      return await close(request.args)
    case 'port':
      return listen(request.args.port)
    case 'keys':
      engineOf(request.args.number).volume.keys.replace(request.args.keys)
      return null
    case 'drives':
      return await lookAtDrives()
    case 'settle':
      await engineOf(request.args.number).settle()
      return null
    case 'probe':
      await engineOf(request.args.number).probe(request.args.chunk)
      return null
    case 'chunksInUse':
      return engineOf(request.args.number).chunksInUse()
    case 'checkpoint': {
      const { volume, checkpoints } = engineOf(request.args.number)
      const { newest } = checkpoints
      return newest && encodeCheckpoint(volume.id, newest)
    }
    case 'unnamed':
      return engineOf(request.args.number).unnamed(request.args.chunks)
    case 'pinCheckpoint':
      pins.set(request.id, await engineOf(request.args.number).checkpoints.pin())
      return request.id
    case 'unpinCheckpoint':
      pins.get(request.args.pin)?.()
      pins.delete(request.args.pin)
      return null
    case 'destroy':
      return destroyVolume(request.args.volume, request.args.traces, driveFails)
    case 'isEmpty':
      return await isEmpty(request.args.number)
    case 'figures':
      return engineOf(request.args.number).figures()
    case 'fsck': {
      const { number, mending } = request.args
      const engine = engineOf(number)
      return await long(request.id, number, (work) => fsckVolume(engine, mending, world, work))
    }
    case 'fsckClosed': {
      const { opening, mending } = request.args
      return await long(request.id, opening.number, (work) => fsckClosed(opening, mending, work))
    }
    case 'reseal': {
      const { number, keepFrom } = request.args
      const engine = engineOf(number)
      const { random } = world
      return await long(request.id, number, (work) => resealVolume(engine, keepFrom, random, work))
    }
    case 'sweep':
      return await sweepAll(request.id)
    case 'cancel':
      longWork.get(request.args.id)?.abort.abort()
      return null
  }
}

assert(parentPort !== null, 'the engine thread has a parent')
const parent = parentPort
parent.on('message', (request: EngineRequest) => {
  const answer = (result: unknown, error: EngineAnswer['error']) =>
    parent.postMessage({ id: request.id, result, error } satisfies EngineAnswer)
  obey(request).then(
    (result) => answer(result, null),
    (error: unknown) => {
      if (error instanceof AssertionError || error instanceof TypeError) {
        log.error({ op: request.verb, stack: error.stack }, 'a bug in the engine')
      }
      const next = error instanceof FsError ? String(error.subject.next ?? '') : ''
      answer(null, { code: codeOf(error) || 'EIO', message: messageOf(error), next })
    },
  )
})
