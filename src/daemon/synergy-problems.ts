import type { Problem } from '../api/index.ts'
import type { Allocation, Finding, ProvisioningStatus } from '../provision/index.ts'
import type { NodeProvisioning } from './provisioning.ts'

type Known = Pick<NodeProvisioning, 'isConnected' | 'known' | 'trouble'>

/** What of the frame's drives needs a person, or should be known by one. */
export function synergyProblems({ isConnected, known, trouble }: Known): Problem[] {
  if (!isConnected) return known === null ? [] : leftBehind(known)
  const found: Problem[] = []
  if (trouble !== '') {
    found.push({
      severity: 'warning',
      what: 'the last look at the drives of the frame failed',
      why: trouble,
      next: 'drives in use go on; it is tried again by itself. weft synergy status --check looks at the appliance, weft synergy connect changes how it is reached',
    })
  }
  if (known === null) return found
  found.push(...known.allocations.flatMap(ofAllocation))
  const told = new Set(known.allocations.filter(isInTrouble).map(({ tag }) => tag))
  for (const finding of known.reconciled?.findings ?? []) {
    if (!told.has(finding.tag)) found.push(...ofFinding(finding))
  }
  return found
}

function leftBehind({ allocations }: ProvisioningStatus): Problem[] {
  if (allocations.length === 0) return []
  return [
    {
      severity: 'warning',
      what: `${allocations.length} drives are of a frame that is not connected`,
      why: `nobody sees to them: ${allocations.map(({ name }) => name).join('; ')}`,
      next: 'weft synergy connect that frame again; weft synergy release gives them back then',
    },
  ]
}

function isInTrouble({ step, lastError }: Allocation): boolean {
  return step === 'needs-power-off' || lastError !== ''
}

function ofAllocation(allocation: Allocation): Problem[] {
  const { tag, name, step, towards, lastError } = allocation
  if (!isInTrouble(allocation)) return []
  if (step === 'needs-power-off') {
    return [
      {
        severity: 'warning',
        what: `${name} waits for this server to be switched off`,
        why: lastError,
        next: `change the server profile at the next shutdown; to have it asked for once more: weft synergy reconcile --retry-power${towards === 'out' ? '' : `; to give it back: weft synergy release ${tag}`}`,
      },
    ]
  }
  return [
    {
      severity: 'warning',
      what: `${name} is not ${towards === 'out' ? 'given back' : 'taken'} yet, at step ${step}`,
      why: lastError,
      next: `it is tried again every few minutes, and at once by weft synergy reconcile${towards === 'out' ? '' : `; weft synergy release ${tag} gives it back`}`,
    },
  ]
}

/** What to do stands in its words where nothing is in the table. */
const NEXT: Partial<Record<Finding['is'], string>> = {
  orphan: 'weft synergy reconcile --release-orphans',
  abandoned: 'weft synergy release TAG',
  missing: 'look at the kernel log (dmesg) for the disk; weft synergy release TAG gives it back',
  'taken-away':
    'ask who changed the server profile; weft synergy release TAG, or weft drive drain, while the disk is still there',
  trouble: 'weft synergy release TAG moves its data and gives it back',
  elsewhere: 'weft synergy release TAG, once the other server does not have it any more',
}

function ofFinding({ is, tag, words }: Finding): Problem[] {
  const next = NEXT[is]
  if (next === undefined) return []
  return [
    {
      severity: is === 'orphan' || is === 'abandoned' ? 'note' : 'warning',
      what: `drive ${tag} of the frame: ${is}`,
      why: words,
      next: next.replace('TAG', tag),
    },
  ]
}
