/**
 * What several programs on several nodes asked of one volume and were told, and whether one filesystem can have said it.
 * Times are of one clock. Everything is a register: a file's content, and a name, which is absent or has a content.
 */
export interface Operation {
  readonly client: string
  readonly kind: 'write' | 'read'
  readonly key: string
  /** Null: there is no such file. */
  readonly value: string | null
  readonly start: number
  /** Null: it was never answered. */
  readonly end: number | null
  /** A write that was synced, or a read, with success; otherwise a write may have been done or not, and a read says nothing. */
  readonly ok: boolean
}

/** A lock held, and what was done under it acknowledged before it was given back. */
export interface Section {
  readonly client: string
  readonly start: number
  readonly end: number
}

export interface Append {
  readonly client: string
  readonly line: string
  readonly ok: boolean
}

const NEVER = Number.NEGATIVE_INFINITY

/**
 * Each read saw the last write that was over before it began, or one that was under way since: close-to-open, the order of
 * each file, and, by the reads at the end, that no acknowledged write is lost. A write that failed or was not answered may
 * be seen from its start on, and is over when its failure was told, or its client was gone.
 * @returns what cannot be, a line each
 */
export function checkRegisters(operations: readonly Operation[]): string[] {
  const wrong: string[] = []
  const keys = new Map<string, { writes: Operation[]; reads: Operation[] }>()
  for (const operation of operations) {
    const of = keys.get(operation.key) ?? { writes: [], reads: [] }
    keys.set(operation.key, of)
    if (operation.kind === 'write') of.writes.push(operation)
    else if (operation.ok) of.reads.push(operation)
  }
  for (const [key, { writes, reads }] of keys) {
    const nothing: Operation = {
      client: 'nobody',
      kind: 'write',
      key,
      value: null,
      start: NEVER,
      end: NEVER,
      ok: true,
    }
    for (const read of reads) {
      const why = explain(read, [nothing, ...writes])
      if (why !== null) wrong.push(why)
    }
  }
  return wrong
}

function explain(read: Operation, writes: readonly Operation[]): string | null {
  const readEnd = read.end ?? Number.POSITIVE_INFINITY
  const sources = writes.filter(({ value, start }) => value === read.value && start < readEnd)
  if (sources.length === 0) return `${told(read)}, which nobody wrote before`
  const newer = (source: Operation) =>
    writes.find(
      ({ ok, start, end }) =>
        ok && source.end !== null && start > source.end && end !== null && end < read.start,
    )
  const overwritten = sources.map(newer)
  const [by] = overwritten
  if (overwritten.includes(undefined) || by === undefined) return null
  return `${told(read)}, which is older than ${told(by)}`
}

function told({ client, kind, key, value, start, end }: Operation): string {
  const verb = kind === 'read' ? 'read' : 'wrote'
  return `${client} ${verb} ${key} = ${value} (${start} to ${end})`
}

/** @returns two who held the lock at one time, a line for each pair */
export function checkLocks(sections: readonly Section[]): string[] {
  const sorted = [...sections].sort((a, b) => a.start - b.start)
  return sorted.slice(1).flatMap((section, index) => {
    const before = sorted[index] as Section
    if (section.start >= before.end) return []
    return [
      `${before.client} held the lock until ${before.end}, ${section.client} from ${section.start}`,
    ]
  })
}

/** Every acknowledged line is in the file once, whole, and in the order of its client. */
export function checkAppends(appends: readonly Append[], text: string): string[] {
  const wrong: string[] = []
  const lines = text.split('\n').slice(0, -1)
  const places = new Map<string, number[]>()
  for (const [place, line] of lines.entries()) {
    places.set(line, [...(places.get(line) ?? []), place])
  }
  const known = new Set(appends.map(({ line }) => line))
  for (const line of places.keys()) if (!known.has(line)) wrong.push(`nobody appended ${line}`)
  const last = new Map<string, number>()
  for (const { client, line, ok } of appends) {
    const at = places.get(line) ?? []
    if (at.length > 1) wrong.push(`${line} is there ${at.length} times`)
    const [place] = at
    if (place === undefined) {
      if (ok) wrong.push(`${line} was acknowledged and is not there`)
      continue
    }
    if (place < (last.get(client) ?? -1))
      wrong.push(`${line} stands before what its client appended first`)
    last.set(client, place)
  }
  return wrong
}
