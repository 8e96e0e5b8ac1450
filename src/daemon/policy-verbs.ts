import type { PolicyControl, PolicyDecision, PolicyEntry, PolicyInfo } from '../api/index.ts'
import {
  type Decision,
  type LogEntry,
  type PolicySettings,
  type PolicyWords,
  settingsWords,
} from '../provision/index.ts'
import type { NodeProvisioning } from './provisioning.ts'

const CLASS_NAMES = { 1: 'low', 2: 'medium', 3: 'high' } as const

/** What people ask about the policy. It can be set before a frame is connected. */
export function policyControl(provisioning: NodeProvisioning): PolicyControl {
  const infoOf = (settings: PolicySettings) => policyInfo(settings, provisioning.isConnected)
  return {
    show: () => provisioning.use((room) => infoOf(room.status().settings)),
    set: (change) => provisioning.use((room) => infoOf(room.setPolicy(asWords(change)))),
    plan: async () => {
      const decisions = await provisioning.use((room, signal) => room.plan(signal))
      return decisions.map(decisionInfo)
    },
    log: () => provisioning.use((room) => room.policyLog().map(entryInfo)),
  }
}

/** What is set does nothing without a frame, which a person who sets it is told. */
export function policyInfo(settings: PolicySettings, isConnected: boolean): PolicyInfo {
  const { coolDownMs, ...same } = settings
  const isIdle = settings.enabled && !isConnected
  const idle = '; no frame is connected, so nothing is taken or given back: weft synergy connect'
  const words = `${settingsWords(settings)}${isIdle ? idle : ''}`
  return { ...same, coolDownSeconds: coolDownMs / 1000, words }
}

/** What is not said is not there, rather than undefined. */
function asWords(change: Parameters<PolicyControl['set']>[0]): PolicyWords {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))
}

function decisionInfo(decision: Decision): PolicyDecision {
  const { class: cos, do: what, why, numbers } = decision
  const { sizeBytes, usedBytes, reserveBytes } = numbers
  const name = CLASS_NAMES[cos]
  return { id: `class-${cos}`, name, class: cos, do: what, why, sizeBytes, usedBytes, reserveBytes }
}

function entryInfo(entry: LogEntry, at: number): PolicyEntry {
  const { atMs, what, act, class: cos, drives, ms, why } = entry
  return {
    id: `${at + 1}`,
    name: `${act} ${what}`,
    at: new Date(atMs).toISOString(),
    ...{ class: cos, drives, seconds: ms === null ? null : ms / 1000, why },
  }
}
