import { FsError } from '../base/index.ts'
import type {
  CasResult,
  Change,
  Coordinator,
  Entry,
  Step,
  TransactionResult,
} from './coordinator.ts'
import { type Read, readStanding, type Standing } from './generation.ts'
import { checkKey, checkSteps, copySteps, GENERATION_KEY } from './steps.ts'

/** Keys the coordinator keeps about itself. Its users neither see nor set them. */
export const RESERVED = 'coordinator/'
/** How often in a row the standing may change under one transaction before it is given back. */
const ROUNDS_MAX = 8

export interface GuardOptions {
  /** Highest generation this node has ever seen; a coordinator of a lower one is not obeyed. 0 = none yet. */
  readonly generationMin: number
  /** Told of each change of the standing: frozen, taken back, moved. What `moved` names is to be opened instead. */
  readonly onStanding?: (standing: Standing) => void
}

/**
 * Use a coordinator under its generation (design §3, Migration). Every user of a coordinator that may move goes through
 * this, on its own node: then none accepts a change that a copy has missed, and none reads what is old.
 *
 * - Each transaction has one condition more: the generation's key is as it was seen. A freeze changes that key, so whatever
 *   was acknowledged stands before the freeze, and is copied.
 * - Each read looks at the standing after it has read. Had the new coordinator accepted anything before the read, the look
 *   would find `committing` or `moved`.
 * - Versions are the engine's plus the generation's base, which is above every version of the generation before: the
 *   promise that versions grow for ever holds over a move.
 *
 * The caller keeps `generation` on stable storage before it obeys anything read here, and gives it as generationMin ever after.
 * @throws FsError ENOENT for a coordinator that was never begun, ESTALE for one of a lower generation or that has moved
 */
export async function generationGuarded(
  coordinator: Coordinator,
  options: GuardOptions,
): Promise<GuardedCoordinator> {
  const seen = await readStanding(coordinator)
  if (seen === null) {
    throw new FsError('ENOENT', 'coordinator.open', {
      message:
        'coordinator: no generation in it: it is being rebuilt, was never begun, or is a copy that was not finished; finish that, or open the one that was used before',
    })
  }
  const { standing } = seen
  if (standing.generation < options.generationMin) {
    throw new FsError('ESTALE', 'coordinator.open', {
      generation: standing.generation,
      message: `coordinator: of generation ${standing.generation}, and this node has seen ${options.generationMin}: it was left, or put back from an old copy; open the newer one, or rebuild it with 'weft cluster coordinator recover'`,
    })
  }
  if (standing.state === 'moved') throw refusal(standing)
  const guarded = new GuardedCoordinator(coordinator, seen)
  await guarded.follow(options.onStanding ?? (() => {}))
  return guarded
}

/** Made by generationGuarded. Closing it closes the coordinator below. */
export class GuardedCoordinator implements Coordinator {
  /** The one this guard was opened for; a coordinator that becomes another has to be opened anew. */
  readonly generation: number
  readonly #inner: Coordinator
  readonly #base: number
  #seen: Read

  constructor(inner: Coordinator, seen: Read) {
    this.#inner = inner
    this.#seen = seen
    this.generation = seen.standing.generation
    this.#base = seen.standing.base
  }

  /** Begin to watch the standing. Called once, by generationGuarded. */
  async follow(onStanding: (standing: Standing) => void): Promise<void> {
    let told = this.#seen.version
    const look = async () => {
      const { standing, version } = await this.#look()
      if (version <= told) return
      told = version
      onStanding(standing)
    }
    // The look says why it fails to whoever calls next; here it only tells of news.
    await this.#inner.watch(GENERATION_KEY, () => void look().catch(() => {}))
    await look()
  }

  async get(key: string): Promise<Entry | null> {
    checkKey(key)
    refuseReserved(key)
    const entry = await this.#inner.get(key)
    await this.#mustBeReadable()
    return entry && this.#outward(entry)
  }

  async list(prefix: string): Promise<Entry[]> {
    const entries = await this.#inner.list(prefix)
    await this.#mustBeReadable()
    return entries
      .filter(({ key }) => !key.startsWith(RESERVED))
      .map((entry) => this.#outward(entry))
  }

  async compareAndSet(key: string, expected: number, value: Buffer | null): Promise<CasResult> {
    const { ok, versions } = await this.transaction([{ key, expected, value }])
    return { ok, version: versions[0] ?? 0 }
  }

  async transaction(steps: readonly Step[]): Promise<TransactionResult> {
    checkSteps(steps)
    for (const { key } of steps) refuseReserved(key)
    const inward = copySteps(steps).map((step) => ({
      ...step,
      expected: this.#inward(step.expected),
    }))
    let { standing, version } = this.#seen
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (round > 0 || standing.state !== 'active') ({ standing, version } = await this.#look())
      if (standing.state !== 'active') throw refusal(standing)
      const guard: Step = { key: GENERATION_KEY, expected: version, value: 'unchanged' }
      const done = await this.#inner.transaction([guard, ...inward])
      const [found, ...versions] = done.versions
      // Not made for certain when the guard did not hold, so it may be tried again under the new standing.
      if (done.ok || found === version) {
        return { ok: done.ok, versions: versions.map((each) => this.#outwardVersion(each)) }
      }
    }
    throw new FsError('EAGAIN', 'coordinator.transaction', {
      retry: 'later',
      message: `coordinator: frozen and taken back ${ROUNDS_MAX} times while a change waited; nothing was changed, try again`,
    })
  }

  async watch(prefix: string, onChange: (change: Change) => void): Promise<() => void> {
    return this.#inner.watch(prefix, (change) => {
      if (change.key.startsWith(RESERVED)) return
      onChange({ ...change, version: this.#outwardVersion(change.version) })
    })
  }

  async close(): Promise<void> {
    await this.#inner.close()
  }

  /** How it stands now. @throws FsError ESTALE when it is of another generation than this guard was opened for */
  async #look(): Promise<Read> {
    const seen = await readStanding(this.#inner)
    if (seen?.standing.generation !== this.generation) {
      throw new FsError('ESTALE', 'coordinator', {
        generation: seen?.standing.generation ?? 0,
        message: `coordinator: was of generation ${this.generation} and is of ${seen?.standing.generation ?? 'none'}: open it anew`,
      })
    }
    if (seen.version > this.#seen.version) this.#seen = seen
    return seen
  }

  async #mustBeReadable(): Promise<void> {
    const { standing } = await this.#look()
    if (standing.state === 'committing' || standing.state === 'moved') throw refusal(standing)
  }

  #inward(version: number): number {
    if (version === 0) return 0
    // Of a generation before: no revision of an engine reaches the number that stands for it.
    return version > this.#base ? version - this.#base : Number.MAX_SAFE_INTEGER
  }

  #outwardVersion(version: number): number {
    return version === 0 ? 0 : version + this.#base
  }

  #outward({ key, value, version }: Entry): Entry {
    return { key, value, version: this.#outwardVersion(version) }
  }
}

/** Why a coordinator that is not active does not answer; `to` and `generation` say where the next one is. */
function refusal({ state, generation, to }: Standing): FsError {
  // Behind the question mark stands what is for programs.
  const place = to?.split('?')[0]
  const next = { to, generation: generation + 1 }
  if (state === 'moved') {
    return new FsError('ESTALE', 'coordinator', {
      ...next,
      retry: 'later',
      message: `coordinator: moved to ${place}, generation ${generation + 1}: open that one`,
    })
  }
  return new FsError('EAGAIN', 'coordinator', {
    ...next,
    retry: 'later',
    message: `coordinator: frozen for generation ${generation + 1}, it moves to ${place}; nothing was changed, try again in a moment. If nobody moves it any more: 'weft cluster coordinator migrate' again, or take it back`,
  })
}

function refuseReserved(key: string): void {
  if (!key.startsWith(RESERVED)) return
  throw new FsError('EINVAL', 'coordinator.key', {
    key,
    message: `coordinator: key ${key}: keys below ${RESERVED} are the coordinator's own`,
  })
}
