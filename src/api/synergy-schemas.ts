import { z } from 'zod'
import { jobInfo } from './job-schema.ts'
import type {
  FrameDrive,
  FreeFrameDrive,
  PolicyDecision,
  PolicyEntry,
  PolicyInfo,
  SynergyChange,
  SynergyCheck,
  SynergyConnected,
  SynergyConnection,
  SynergyFinding,
  SynergyReleased,
  SynergyStatus,
} from './synergy-control.ts'

/** Shapes of what is asked and answered about a frame and the policy; as schemas.ts. */

const whole = z.number().int()
const cos = z.union([z.literal(1), z.literal(2), z.literal(3)])
const text = z.string().min(1).max(256)
const typed = z.string().min(1).max(64)
/** Some authorities in a chain are 10 KiB. */
const PEM_CHARS_MAX = 64 * 1024
/** base64 of at most 1 KiB */
const password = z.base64().min(4).max(1368)

export const connectBody = z.strictObject({
  url: z.string().min(1).max(1024).describe('https://host or https://host:port'),
  user: text,
  domain: text.optional().describe('directory to log in at'),
  ca: z.string().min(1).max(PEM_CHARS_MAX).optional().describe('PEM'),
  pin: text.optional().describe('sha256: and 64 hex digits of its certificate'),
  password,
})
export const logoutBody = z.strictObject({ force: z.boolean().optional() })
export const freeQuery = z.strictObject({ class: z.enum(['1', '2', '3']).optional() })
export const allocateBody = z.strictObject({
  class: cos,
  drives: whole.min(1).max(40),
  plan: z.boolean().optional(),
})
export const releaseBody = z.strictObject({
  drive: text.describe('tag, id or serial number'),
  plan: z.boolean().optional(),
  lost: z.boolean().optional().describe('what is on it is lost or not needed: not looked into'),
})
export const reconcileBody = z.strictObject({
  releaseOrphans: z.boolean().optional(),
  retryPower: z.boolean().optional(),
})
export const policyBody = z.strictObject({
  enabled: z.boolean().optional(),
  dryRun: z.boolean().optional(),
  growAt: typed.optional().describe('75%'),
  shrinkAt: typed.optional().describe('35%'),
  reserve: typed.optional().describe('one-node, none, or 500G'),
  maxDrives: typed.optional(),
  budget: typed.optional().describe('4/day'),
  coolDown: typed.optional().describe('30m'),
  ready: typed.optional().describe('drives of each class that stand ready: 2'),
})

const connection = z.object({
  url: z.string(),
  user: z.string(),
  domain: z.string().nullable(),
  trust: z.enum(['ca', 'pin', 'system']),
}) satisfies z.ZodType<SynergyConnection>

export const freeFrameDrive = z.object({
  id: z.string(),
  name: z.string(),
  class: cos,
  sizeBytes: whole,
  serial: z.string(),
}) satisfies z.ZodType<FreeFrameDrive>

export const connected = z.object({
  connection,
  free: z.array(freeFrameDrive),
  held: whole.describe('drives that nodes of this cluster have already'),
}) satisfies z.ZodType<SynergyConnected>

const frameDrive = z.object({
  id: z.string().describe('the tag under which it is held'),
  name: z.string(),
  class: cos,
  serial: z.string(),
  sizeBytes: whole,
  towards: z.enum(['in', 'ready', 'out']),
  step: z.string().describe('settled: in use'),
  drive: z.string().nullable().describe('as in /v1/drives'),
  since: z.string(),
  why: z.string(),
  trouble: z.string().describe('of the last try'),
}) satisfies z.ZodType<FrameDrive>

const finding = z.object({
  id: z.string(),
  name: z.string(),
  words: z.string(),
}) satisfies z.ZodType<SynergyFinding>

export const policyInfo = z.object({
  enabled: z.boolean(),
  dryRun: z.boolean(),
  growAtPercent: z.number(),
  shrinkAtPercent: z.number(),
  reserve: z.union([z.literal('one-node'), z.literal('none'), z.number()]),
  maxDrives: whole,
  budgetPerDay: whole,
  coolDownSeconds: z.number(),
  readyDrives: whole.describe('of each class'),
  words: z.string(),
}) satisfies z.ZodType<PolicyInfo>

export const synergyStatus = z.object({
  connection: connection.nullable().describe('null when no frame is connected'),
  underWay: z.object({ what: z.string(), since: z.string(), words: z.string() }).nullable(),
  drives: z.array(frameDrive),
  reconciled: z
    .object({ at: z.string(), findings: z.array(finding) })
    .nullable()
    .describe('in this life of the daemon'),
  growSeconds: z.number(),
  policy: policyInfo,
  trouble: z.string().describe('why nothing goes on'),
}) satisfies z.ZodType<SynergyStatus>

export const synergyCheck = z.object({
  id: z.string(),
  name: z.string(),
  seen: z.string(),
  ok: z.boolean(),
}) satisfies z.ZodType<SynergyCheck>

export const synergyChange = z.object({
  plan: z.array(z.string()),
  job: jobInfo.nullable(),
}) satisfies z.ZodType<SynergyChange>

export const released = synergyChange.extend({
  id: z.string(),
  name: z.string(),
}) satisfies z.ZodType<SynergyReleased>

export const policyDecision = z.object({
  id: z.string(),
  name: z.string(),
  class: cos,
  do: z.enum(['grow', 'shrink', 'none', 'refused']),
  why: z.string(),
  sizeBytes: whole,
  usedBytes: whole,
  reserveBytes: whole,
}) satisfies z.ZodType<PolicyDecision>

export const policyEntry = z.object({
  id: z.string(),
  name: z.string(),
  at: z.string(),
  class: cos.nullable(),
  drives: whole,
  seconds: z.number().nullable(),
  why: z.string(),
}) satisfies z.ZodType<PolicyEntry>
