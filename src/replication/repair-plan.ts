import type { CopyId, FailureDomain, NodeId, SpreadLevel } from '../base/index.ts'
import { tooNear } from './placement.ts'

/** A copy as repair sees it. */
export interface CopyView {
  readonly id: CopyId
  readonly node: NodeId
  readonly domain: FailureDomain
  readonly isMember: boolean
  /** It has every chunk in use: a member whose node lost a drive may not. */
  readonly isWhole: boolean
  readonly isOwn: boolean
  /** Since it last answered as it should. */
  readonly silentMs: number
  /** What is broken in it, in words: it will not come back by itself. */
  readonly damaged: string | null
  /** Its node is being emptied. */
  readonly isLeaving: boolean
}

export interface RepairView {
  /** As in the record: the oldest first. */
  readonly copies: readonly CopyView[]
  /** How many there shall be. */
  readonly wanted: number
  readonly spread: SpreadLevel
  /** Where a person wants the owner. */
  readonly movingTo: NodeId | null
  /** A node that does not answer may come back so long before its copy is replaced. */
  readonly graceMs: number
}

export type RepairStep =
  | { readonly do: 'nothing' }
  /** A copy that is silent may come back. */
  | { readonly do: 'wait'; readonly copy: CopyId; readonly ms: number }
  /** Make one more: on this node, or wherever is best. */
  | { readonly do: 'add'; readonly on: NodeId | null }
  /** Copies are being brought up, as many as are wanted. */
  | { readonly do: 'fill' }
  | { readonly do: 'release'; readonly copies: readonly CopyId[] }
  /** The volume's owner shall be there. */
  | { readonly do: 'handOver'; readonly to: NodeId }

/**
 * What is to be done next, from what the record asks for and what there is. Nothing is remembered between two looks, so a
 * node that returns, an owner that changes and a person who changes her mind need no rule of their own:
 *
 * - A copy counts as there while it is in sync, or answers, or has been silent for less than the grace period. While one
 *   copy alone is in sync there is no grace: what is acknowledged lies on one drive.
 * - A member that lacks chunks is given them by the owner. Until then none is given up because of it, and it owns nothing.
 * - With fewer there than wanted one is added, one after the other.
 * - None is given up before as many as wanted are in sync without it. Then those in sync stay that are not to leave, not too
 *   near to another, and oldest; so of a node that returned and the spare for it, whichever has caught up first stays.
 * - The owner's own copy is never given up: the owner moves first.
 */
export function nextStep(view: RepairView): RepairStep {
  const { copies, wanted, movingTo } = view
  const staying = copies.filter(({ isLeaving }) => !isLeaving)
  if (movingTo !== null && !copies.some(({ node }) => node === movingTo)) {
    return { do: 'add', on: movingTo }
  }
  const own = copies.find(({ isOwn }) => isOwn)
  const inSync = staying.filter(isInSync)
  // It serves from memory what its drive has lost: another owner first, then it is replaced as any other.
  const heir = inSync.find(({ isOwn }) => !isOwn)
  if (own?.damaged && heir) return { do: 'handOver', to: heir.node }

  const there = staying.filter((copy) => isThere(copy, view))
  if (there.length < wanted) return { do: 'add', on: null }
  const target = inSync.find(({ node, isOwn }) => node === movingTo && !isOwn)
  if (target) return { do: 'handOver', to: target.node }
  if (inSync.length < wanted) return waiting(view, staying)

  if (own?.isLeaving) {
    const [next] = inSync
    if (next) return { do: 'handOver', to: next.node }
  }
  const kept = new Set(keptOf(view, inSync))
  const given = copies.filter((copy) => !kept.has(copy) && !copy.isOwn && copy.node !== movingTo)
  if (given.length === 0) return { do: 'nothing' }
  return { do: 'release', copies: given.map(({ id }) => id) }
}

function isInSync({ isMember, isWhole }: CopyView): boolean {
  return isMember && isWhole
}

/** It has what it should, or is on the way there, or may come back by itself. */
function isThere(copy: CopyView, { copies, graceMs, wanted }: RepairView): boolean {
  if (isInSync(copy)) return true
  if (copy.damaged !== null) return false
  const isOneCopy = wanted > 1 && copies.filter(isInSync).length === 1
  return copy.silentMs < (isOneCopy ? Math.min(graceMs, ONE_COPY_GRACE_MS) : graceMs)
}

/** Long enough for a daemon that is started anew. */
const ONE_COPY_GRACE_MS = 5000

function waiting({ graceMs }: RepairView, staying: readonly CopyView[]): RepairStep {
  const behind = staying.filter((copy) => !isInSync(copy))
  const silent = behind.find(({ silentMs }) => silentMs > SILENT_MS)
  if (!silent || behind.some(({ silentMs }) => silentMs <= SILENT_MS)) return { do: 'fill' }
  return { do: 'wait', copy: silent.id, ms: Math.max(0, graceMs - silent.silentMs) }
}

/** A copy that is being brought up is not asked for a moment now and then. */
const SILENT_MS = 3000

/** Of the copies in sync those that stay, `wanted` of them, the own one first. */
function keptOf({ wanted, spread, movingTo }: RepairView, inSync: readonly CopyView[]): CopyView[] {
  const kept = [...inSync]
  while (kept.length > wanted) {
    const near = tooNear(kept, spread)
    const may = (list: readonly CopyView[]) =>
      list.filter(({ isOwn, node }) => !isOwn && node !== movingTo).at(-1)
    const given = may(near) ?? may(kept)
    if (!given) break
    kept.splice(kept.indexOf(given), 1)
  }
  return kept
}
