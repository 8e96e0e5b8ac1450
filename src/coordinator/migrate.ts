import { z } from 'zod'
import { FsError, limits, newId, type Random } from '../base/index.ts'
import type { Coordinator, Entry, Step } from './coordinator.ts'
import { encodeStanding, type Read, readStanding, type Standing } from './generation.ts'
import { RESERVED } from './guarded.ts'
import { GENERATION_KEY } from './steps.ts'

/** In the new coordinator while it is filled: whose copy it is. Every change of the copy depends on it. */
const COPY_KEY = 'coordinator/copy'
const copyShape = z.object({ version: z.literal(1), migration: z.string().nullable() })

/**
 * Move a cluster to another coordinator, and let it be used on while it is copied: reads are answered, changes are refused
 * as retryable, for as long as the copy takes (design §3; replication-review.md L23).
 *
 *     old: active ──freeze──▶ frozen ──commit──▶ committing ──────────────▶ moved
 *     new:                    copy key, all entries         generation g + 1
 *
 * Each arrow is one compare-and-set, made after the one before it was seen to stand; so whoever calls again, anywhere, goes
 * on where the last one stopped, and two who move at once do the same work twice. Until `committing`, taking back needs the
 * old one alone; the old freeze can then never be committed. From `committing` on the new generation may be there without
 * anyone knowing: it is finished, or takeBackMigration makes it impossible in the new one first.
 *
 * @param from the old coordinator, not guarded. @param to the new one: empty, or with a copy that was not finished
 * @param options.to where the new one is, in words that every node can open; the old one says them for ever
 * @returns the new generation
 * @throws FsError ENOTEMPTY, EEXIST when something else is in the new one; EBUSY when the old one moves elsewhere already;
 *   ECANCELED when it was taken back meanwhile; else what the coordinators throw: call again
 */
export async function migrate(
  from: Coordinator,
  to: Coordinator,
  options: { readonly to: string; readonly random: Random },
): Promise<number> {
  let begun = ''
  for (;;) {
    const old = await standingOf(from)
    const { state, generation, migration } = old.standing
    if (state === 'active') {
      if (begun) throw takenBack()
      await mustBeFree(to)
      const frozen = { state: 'frozen', migration: newId(options.random), to: options.to } as const
      if (await change(from, old, frozen)) begun = frozen.migration
      continue
    }
    if (old.standing.to !== options.to || migration === null) {
      throw new FsError('EBUSY', 'coordinator.migrate', {
        message: `coordinator: moves to ${old.standing.to} already, not to ${options.to}: finish that, or take it back`,
      })
    }
    if (begun && begun !== migration) throw takenBack()
    begun = migration
    switch (state) {
      case 'frozen':
        await copy(from, to, migration)
        await change(from, old, { state: 'committing' })
        break
      case 'committing':
        await create(to, old)
        await change(from, old, { state: 'moved' })
        break
      case 'moved':
        return generation + 1
    }
  }
}

/**
 * Give a freeze up: the old coordinator accepts changes again. Doing it again is no change.
 * @param from the old coordinator, not guarded
 * @param to the new one, not guarded; null when it is away, which is enough until the old one is `committing`
 * @throws FsError EEXIST when the new generation is there: finish with migrate
 */
export async function takeBackMigration(from: Coordinator, to: Coordinator | null): Promise<void> {
  for (;;) {
    const old = await standingOf(from)
    const { state, migration } = old.standing
    if (state === 'active') return
    if (state === 'moved') throw tooLate(old.standing)
    if (state === 'committing') {
      if (to === null) {
        throw new FsError('EAGAIN', 'coordinator.takeBack', {
          retry: 'later',
          message: `coordinator: the new one may be in use already, and only ${old.standing.to} knows: bring it back first`,
        })
      }
      if (!(await withdraw(to, migration))) throw tooLate(old.standing)
    }
    if (await change(from, old, { state: 'active', migration: null, to: null })) return
  }
}

async function standingOf(from: Coordinator): Promise<Read> {
  const old = await readStanding(from)
  if (old !== null) return old
  throw new FsError('ENOENT', 'coordinator.migrate', {
    message: 'coordinator: no generation in the old one: there is nothing to move',
  })
}

/** @returns false when it stands otherwise by now */
async function change(from: Coordinator, old: Read, to: Partial<Standing>): Promise<boolean> {
  const standing = encodeStanding({ ...old.standing, ...to })
  return (await from.compareAndSet(GENERATION_KEY, old.version, standing)).ok
}

/** Before anything is frozen for it. */
async function mustBeFree(to: Coordinator): Promise<void> {
  const entries = await to.list('')
  if (entries.some(({ key }) => key === GENERATION_KEY)) throw taken()
  if (entries.length === 0 || entries.some(({ key }) => key === COPY_KEY)) return
  throw new FsError('ENOTEMPTY', 'coordinator.migrate', {
    message: `coordinator: the new one has ${entries.length} keys of something else, '${entries[0]?.key}' first: choose another prefix`,
  })
}

/** Makes the new one's entries those of the old. */
async function copy(from: Coordinator, to: Coordinator, migration: string): Promise<void> {
  if ((await to.get(GENERATION_KEY)) !== null) throw taken()
  const claim = await claimed(to, migration)
  const guard: Step = { key: COPY_KEY, expected: claim, value: 'unchanged' }
  const wanted = new Map((await from.list('')).map(({ key, value }) => [key, value]))
  for (;;) {
    const there = await to.list('')
    const batch = firstBatch(differences(wanted, there))
    if (batch.length === 0) return
    const { ok, versions } = await to.transaction([guard, ...batch])
    if (ok || versions[0] === claim) continue
    throw new FsError('EBUSY', 'coordinator.migrate', {
      retry: 'later',
      message:
        'coordinator: another copy into the new one has begun: choose another prefix, or try again',
    })
  }
}

/** @returns the version of the copy key, which is ours */
async function claimed(to: Coordinator, migration: string): Promise<number> {
  for (;;) {
    const there = await readCopy(to)
    if (there?.migration === migration) return there.version
    const made = await to.compareAndSet(COPY_KEY, there?.version ?? 0, encodeCopy(migration))
    if (made.ok) return made.version
  }
}

async function readCopy(
  to: Coordinator,
): Promise<{ migration: string | null; version: number } | null> {
  const entry = await to.get(COPY_KEY)
  if (entry === null) return null
  const { migration } = copyShape.parse(JSON.parse(entry.value.toString()))
  return { migration, version: entry.version }
}

/** @param migration null once it was taken back: nothing that depends on the key as it was can be made any more */
function encodeCopy(migration: string | null): Buffer {
  return Buffer.from(JSON.stringify({ version: 1, migration }))
}

/**
 * Makes the entries of a coordinator that nobody uses yet those that are wanted; the keys that it keeps about itself stay.
 * Repeating it after a crash goes on where it was.
 */
export async function makeEqual(
  to: Coordinator,
  wanted: ReadonlyMap<string, Buffer>,
): Promise<void> {
  for (;;) {
    const batch = firstBatch(differences(wanted, await to.list('')))
    if (batch.length === 0) return
    await to.transaction(batch)
  }
}

function differences(wanted: ReadonlyMap<string, Buffer>, there: readonly Entry[]): Step[] {
  const left = new Map(wanted)
  const steps: Step[] = []
  for (const { key, value, version } of there) {
    if (key.startsWith(RESERVED)) continue
    const fresh = left.get(key)
    left.delete(key)
    if (fresh === undefined) steps.push({ key, expected: version, value: null })
    else if (!fresh.equals(value)) steps.push({ key, expected: version, value: fresh })
  }
  for (const [key, value] of left) {
    if (!key.startsWith(RESERVED)) steps.push({ key, expected: 0, value })
  }
  return steps
}

/** As many as one transaction takes beside its guard. */
function firstBatch(steps: readonly Step[]): Step[] {
  let bytes = 0
  const over = steps.findIndex(({ value }, i) => {
    bytes += Buffer.isBuffer(value) ? value.length : 0
    return i + 1 >= limits.coordinatorStepsMax || bytes > limits.coordinatorValueBytesMax
  })
  return steps.slice(0, over < 0 ? steps.length : over)
}

/** The one moment from which the new coordinator accepts changes. */
async function create(to: Coordinator, old: Read): Promise<void> {
  const { generation, base, migration } = old.standing
  const there = await readStanding(to)
  if (there !== null) {
    if (there.standing.migration === migration) return
    throw taken()
  }
  const copied = await readCopy(to)
  if (copied?.migration !== migration) {
    // Made in between, or gone: the next look tells.
    if ((await readStanding(to))?.standing.migration === migration) return
    throw new FsError('EIO', 'coordinator.migrate', {
      message: `coordinator: the copy is not in the new one any more: take the move back, then begin again`,
    })
  }
  await to.transaction([
    {
      key: GENERATION_KEY,
      expected: 0,
      // Above every version of the old one: its key was changed last of all.
      value: encodeStanding({
        state: 'active',
        generation: generation + 1,
        base: base + old.version,
        migration,
        to: null,
      }),
    },
    { key: COPY_KEY, expected: copied.version, value: null },
  ])
  if ((await readStanding(to))?.standing.migration !== migration) throw takenBack()
}

/** Makes it impossible that this move is ever finished. @returns false when it is */
async function withdraw(to: Coordinator, migration: string | null): Promise<boolean> {
  for (;;) {
    const copied = await readCopy(to)
    if (copied?.migration !== migration) {
      // Without that key nothing can be made; what was made before it went is seen now.
      return (await readStanding(to))?.standing.migration !== migration
    }
    const { ok } = await to.compareAndSet(COPY_KEY, copied.version, encodeCopy(null))
    if (ok) return true
  }
}

function taken(): FsError {
  return new FsError('EEXIST', 'coordinator.migrate', {
    message: 'coordinator: the new one is a coordinator in use already: choose another prefix',
  })
}

function takenBack(): FsError {
  return new FsError('ECANCELED', 'coordinator.migrate', {
    message: 'coordinator: the move was taken back meanwhile; the old one is in use',
  })
}

function tooLate({ to, generation }: Standing): FsError {
  return new FsError('EEXIST', 'coordinator.takeBack', {
    message: `coordinator: generation ${generation + 1} is in use at ${to}: it cannot be taken back; finish the move`,
  })
}
