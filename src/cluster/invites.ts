import { z } from 'zod'
import {
  assert,
  CorruptError,
  FsError,
  isoTime,
  limits,
  type NodeId,
  wallMs,
} from '../base/index.ts'
import type { Coordinator, Entry } from '../coordinator/index.ts'
import { inviteIdOf, inviteKeyPair, newSecret, wipe } from '../crypto/index.ts'
import { type Authority, readCluster, repeated } from './authority.ts'
import { type Contact, formatInvite } from './invite-line.ts'
import { decodeStored, encodeJson, FORMAT, hexId, isoDate, key32, wallTimeMs } from './json.ts'
import { INVITES, inviteKey } from './record.ts'

/** What the coordinator keeps of an invite under invite/<id>: enough to check it, nothing to join with. */
export interface InviteRecord {
  readonly version: 1
  readonly id: string
  /** Ed25519, hex: the key that its holders connect with. */
  readonly publicKey: string
  readonly usesLeft: number
  /** Nodes it has admitted. */
  readonly usedBy: readonly NodeId[]
  readonly createdAt: string
  readonly createdBy: NodeId
  readonly expiresMs: number
  readonly revokedAt: string | null
}

/** Why an invite admits nobody any more. */
export type InviteEnd = 'revoked' | 'expired' | 'used up'

const shape = z.strictObject({
  version: z.literal(FORMAT),
  id: hexId,
  publicKey: key32,
  usesLeft: z.int().min(0).max(limits.inviteUsesMax),
  usedBy: z.array(hexId).max(limits.inviteUsesMax),
  createdAt: isoDate,
  createdBy: hexId,
  expiresMs: wallTimeMs,
  revokedAt: isoDate.nullable(),
}) as unknown as z.ZodType<InviteRecord>

const hourMs = 60 * 60 * 1000
const usesRange = z.int().min(1).max(limits.inviteUsesMax)
const lifetimeRange = z.int().min(1000).max(limits.inviteMsMax)

export function encodeInvite(invite: InviteRecord): Buffer {
  return encodeJson(invite)
}

/** @throws FsError ENOTSUP for one of a newer build; CorruptError for anything else that is not one */
export function decodeInvite(bytes: Buffer): InviteRecord {
  return decodeStored(shape, bytes, 'invite')
}

/** Null while it admits. */
export function endOf(
  invite: Pick<InviteRecord, 'revokedAt' | 'expiresMs' | 'usesLeft'>,
  nowMs: number,
): InviteEnd | null {
  if (invite.revokedAt !== null) return 'revoked'
  if (nowMs >= invite.expiresMs) return 'expired'
  return invite.usesLeft === 0 ? 'used up' : null
}

/**
 * A new invite. The line holds the one secret of it and is nowhere else: it cannot be shown again.
 * @param asked uses 1 when not given; lifetimeMs limits.inviteMsDefault. `contacts`: who is asked first, this node foremost
 * @throws FsError EINVAL for a number that cannot be, ENOSPC when too many invites stand
 */
export async function createInvite(
  authority: Authority,
  asked: {
    readonly uses?: number
    readonly lifetimeMs?: number
    readonly contacts: readonly Contact[]
  },
): Promise<{ line: string; invite: InviteRecord }> {
  const { coordinator, self, clock } = authority
  const uses = usesOf(asked.uses ?? 1)
  const lifetimeMs = lifetimeOf(asked.lifetimeMs ?? limits.inviteMsDefault)
  const { record } = await readCluster(authority)
  await sweepInvites(authority)
  if ((await coordinator.list(INVITES)).length >= limits.invitesMax) {
    throw new FsError('ENOSPC', 'cluster.invite', {
      message: `invite: ${limits.invitesMax} stand already; revoke some, or make one with more uses`,
    })
  }
  const seed = newSecret(32)
  const pair = inviteKeyPair(seed)
  try {
    // The line carries whole seconds.
    const expiresMs = Math.ceil((wallMs(clock) + lifetimeMs) / 1000) * 1000
    const invite: InviteRecord = {
      version: FORMAT,
      id: inviteIdOf(pair.publicKey),
      publicKey: pair.publicKey.toString('hex'),
      usesLeft: uses,
      usedBy: [],
      createdAt: isoTime(clock),
      createdBy: self.id,
      expiresMs,
      revokedAt: null,
    }
    const done = await coordinator.compareAndSet(inviteKey(invite.id), 0, encodeInvite(invite))
    assert(done.ok, 'a random key is new')
    const line = formatInvite({ cluster: record.id, seed, expiresMs, contacts: asked.contacts })
    return { line, invite }
  } finally {
    wipe(seed, pair.secretKey)
  }
}

/** Every invite that can be read, the dead ones that are still explained included; the newest first. */
export async function listInvites(coordinator: Coordinator): Promise<InviteRecord[]> {
  return invitesIn(await coordinator.list(INVITES))
}

/** One that cannot be read admits nobody, and must not hide the others. */
export function invitesIn(entries: readonly Entry[]): InviteRecord[] {
  const invites = entries.flatMap((entry) => readable(entry) ?? [])
  return invites.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1))
}

function readable({ value }: Entry): InviteRecord | null {
  try {
    return decodeInvite(value)
  } catch (error) {
    if (error instanceof CorruptError || error instanceof FsError) return null
    throw error
  }
}

/** Repeating it is allowed. @throws FsError ENOENT */
export async function revokeInvite(authority: Authority, id: string): Promise<InviteRecord> {
  const { coordinator, clock, log } = authority
  return repeated('revoke', async () => {
    const entry = /^[0-9a-f]{32}$/.test(id) ? await coordinator.get(inviteKey(id)) : null
    if (entry === null) {
      throw new FsError('ENOENT', 'cluster.revoke', {
        message: `invite ${JSON.stringify(id.slice(0, 80))}: there is none; "weft cluster invites" shows what there is`,
      })
    }
    const invite = decodeInvite(entry.value)
    if (invite.revokedAt !== null) return invite
    const revoked = { ...invite, revokedAt: isoTime(clock) }
    const done = await coordinator.compareAndSet(entry.key, entry.version, encodeInvite(revoked))
    if (!done.ok) return undefined
    log.info({ op: 'cluster.revoke', invite: id }, 'invite revoked')
    return revoked
  })
}

/** Takes away invites that nobody needs an explanation of any more. */
async function sweepInvites({ coordinator, clock }: Authority): Promise<void> {
  for (const entry of await coordinator.list(INVITES)) {
    const invite = readable(entry)
    if (invite === null || wallMs(clock) < invite.expiresMs + limits.inviteKeptMs) continue
    await coordinator.compareAndSet(entry.key, entry.version, null)
  }
}

function usesOf(uses: number): number {
  if (usesRange.safeParse(uses).success) return uses
  throw new FsError('EINVAL', 'cluster.invite', {
    uses,
    message: `invite: uses ${uses}: give a whole number from 1 to ${limits.inviteUsesMax}`,
  })
}

function lifetimeOf(lifetimeMs: number): number {
  if (lifetimeRange.safeParse(lifetimeMs).success) return lifetimeMs
  throw new FsError('EINVAL', 'cluster.invite', {
    lifetimeMs,
    message: `invite: a life of ${lifetimeMs} ms: give at least a second and at most ${limits.inviteMsMax / (24 * hourMs)} days`,
  })
}
