import { z } from 'zod'
import { clusterStatus, etcdAccess, nodeInfo } from '../cluster/index.ts'
import type {
  ChangePlan,
  ClusterEntered,
  ClusterInfo,
  CoordinatorMoved,
  DiskInfo,
  DrainStatus,
  DrillResult,
  DriveAdded,
  DriveDrainPlan,
  DriveInfo,
  FsckReport,
  KeyList,
  KeySlotInfo,
  MemberInfo,
  MountInfo,
  NodeStatus,
  Problem,
  Recovered,
  RecoverPlan,
  RecoverState,
  RepairSettings,
  VolumeDetail,
  VolumeInfo,
  VolumeProbe,
  Why,
} from './control.ts'
import { jobInfo } from './job-schema.ts'
import { synergyStatus } from './synergy-schemas.ts'

export { jobInfo }

/** Shapes of requests, which are checked, and of answers, which are documented. Unknown fields are refused: a typo must not pass silently. */

/** A name or an id; what a name may hold is for the volumes room to judge. */
const volumeRef = z.string().min(1).max(64)
/** PATH_MAX, absolute: the daemon's working directory is not the caller's. */
const absolutePath = z
  .string()
  .min(1)
  .max(4095)
  .refine((path) => path.startsWith('/') && !path.includes('\0'), 'must be an absolute path')
const shortText = z.string().min(1).max(256)
const label = z.string().max(64)
/** base64 of a secret; 4 KiB is more than any passphrase, key or share. */
const secret = z.base64().min(4).max(5464)
const flags = z.array(z.string().max(32)).max(32)
const backupText = z
  .string()
  .min(1)
  .max(512 * 1024)

export const openerSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('node') }),
  z.strictObject({ kind: z.literal('passphrase'), passphrase: secret }),
  z.strictObject({ kind: z.literal('keypair'), publicKey: secret, secretKey: secret }),
  z.strictObject({ kind: z.literal('shares'), shares: z.array(secret).min(1).max(255) }),
])

export const volumeParams = z.strictObject({ volume: volumeRef })
export const slotParams = z.strictObject({
  volume: volumeRef,
  slot: z.string().regex(/^\d{1,9}$/, 'must be a slot number'),
})
export const jobParams = z.strictObject({ job: z.string().min(1).max(64) })

export const mountBody = z.strictObject({
  target: absolutePath,
  readOnly: z.boolean().optional(),
  driver: z.enum(['kernel', 'fuse-native']).optional(),
  nonempty: z.boolean().optional(),
  flags: flags.optional(),
})
export const attachBody = z.strictObject({
  volume: volumeRef,
  target: absolutePath,
  force: z.boolean().optional(),
  readOnly: z.boolean().optional(),
  nonempty: z.boolean().optional(),
  flags: flags.optional(),
})
export const unmountBody = z.strictObject({ target: absolutePath, force: z.boolean().optional() })
export const unmountAnswer = z.object({
  heldBy: z.array(z.object({ pid: z.int(), name: z.string() })),
})
export const upgradeBody = z.strictObject({ program: absolutePath.optional() })
export const volumeCreateBody = z.strictObject({
  spec: z.string().max(4096).optional(),
  name: shortText.optional(),
  size: shortText.optional(),
  repl: shortText.optional(),
  cos: shortText.optional(),
  cosFallback: z.boolean().optional(),
  spread: shortText.optional(),
  passphrase: secret.optional(),
  recipients: z.array(shortText).max(64).optional(),
})
export const volumeResizeBody = z.strictObject({ size: shortText })
export const volumeClassBody = z.strictObject({
  class: z.union([z.literal(1), z.literal(2), z.literal(3), z.null()]),
  orLower: z.boolean().optional(),
})
export const whyQuery = z.strictObject({
  volume: volumeRef.optional().describe('absent: the root of the namespace'),
  inode: z
    .string()
    .regex(/^\d{1,20}$/, 'must be an inode number')
    .optional()
    .describe('st_ino of a file'),
})
export const forceQuery = z.strictObject({ force: z.enum(['true', 'false']).optional() })
export const driveParams = z.strictObject({ drive: z.string().min(1).max(4096) })
export const driveRemoveQuery = z.strictObject({ lost: z.enum(['true', 'false']).optional() })
export const driveDrainBody = z.strictObject({
  plan: z.boolean().optional(),
  stop: z.boolean().optional(),
})
export const driveLocateBody = z.strictObject({ on: z.boolean() })
export const driveAddBody = z.strictObject({
  dir: absolutePath.optional(),
  device: absolutePath.optional().describe('a whole disk: it is formatted'),
  force: z.boolean().optional().describe('erase what stands on the disk'),
  class: z.union([z.literal(1), z.literal(2), z.literal(3)]).optional(),
  create: z.boolean().optional(),
})
export const keyAddBody = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('passphrase'), passphrase: secret, label: label.optional() }),
  z.strictObject({
    kind: z.literal('recipient'),
    recipient: z.base64().length(44),
    label: label.optional(),
  }),
])
export const keyRotateBody = z.strictObject({ reseal: z.boolean() })
export const keyImportBody = z.strictObject({ backup: backupText, opener: openerSchema })
export const keySplitBody = z
  .strictObject({
    shares: z.number().int().min(2).max(255),
    threshold: z.number().int().min(2).max(255),
    label: label.optional(),
  })
  .refine(
    (body) => body.threshold <= body.shares,
    'the threshold cannot be above the number of shares',
  )
export const keyRecoverBody = z.strictObject({ shares: z.array(secret).min(1).max(255) })
export const keyUnlockBody = z.strictObject({ opener: openerSchema })
export const keyDrillBody = z.strictObject({ backup: backupText.nullable(), opener: openerSchema })
export const coordinatorBody = z.strictObject({
  to: z.string().min(1).max(4096).describe('etcd://host:port,…'),
  access: etcdAccess.optional(),
})
export const fsckBody = z.strictObject({
  volume: volumeRef.optional(),
  repair: z.boolean(),
  acceptLoss: z
    .boolean()
    .optional()
    .describe('with volume and repair: give up records that are needed and damaged'),
})

export const scrubBody = z.strictObject({ volume: volumeRef.optional() })

const whole = z.number().int()
const cos = z.union([z.literal(1), z.literal(2), z.literal(3)])

const problem = z.object({
  severity: z.enum(['note', 'warning', 'error']),
  what: z.string(),
  why: z.string(),
  next: z.string(),
}) satisfies z.ZodType<Problem>

export const whyAnswer = z.object({
  volume: z.string().nullable(),
  problems: z.array(problem),
  reasons: z.array(
    z.object({
      at: z.string().describe('when it was answered last'),
      since: z.string().describe('and first'),
      op: z.string(),
      errno: z.string(),
      why: z.string(),
      next: z.string(),
      isOfFile: z.boolean().describe('of the file that was asked about'),
    }),
  ),
}) satisfies z.ZodType<Why>

export const mountInfo = z.object({
  id: z.string(),
  name: z.string(),
  target: z.string(),
  kind: z.enum(['namespace', 'exclusive', 'bind']),
  volume: z.string().nullable(),
  readOnly: z.boolean(),
  driver: z.enum(['kernel', 'fuse-native']),
  notes: z.array(z.string()),
  since: z.string(),
}) satisfies z.ZodType<MountInfo>

const volumeProbe = z.object({
  state: z
    .enum(['ok', 'silent', 'failed', 'locked', 'closed', 'unused', 'unknown'])
    .describe(
      'silent: one is under way without an answer; unused: another node owns it and this one does not use it; unknown: none yet',
    ),
  kind: z
    .enum(['commit', 'call'])
    .nullable()
    .describe('commit: on every copy in sync, and read back; call: to the owner'),
  ms: z.number().nullable().describe('of the last that succeeded'),
  succeededAt: z.string().nullable().describe("the last success; a program's commit is one"),
  succeededSeconds: whole.nullable().describe('since then'),
  forSeconds: whole.describe('silent, or since it failed'),
  waitsFor: z.string().describe('of silent: the copy, drive or owner'),
  code: z.string().describe('of failed: name of an errno'),
  why: z.string(),
}) satisfies z.ZodType<VolumeProbe>

export const volumeInfo = z.object({
  id: z.string(),
  name: z.string(),
  number: whole,
  state: z
    .enum(['ready', 'locked', 'deleting', 'lost', 'damaged', 'elsewhere', 'waiting'])
    .describe('elsewhere: another node owns it; waiting: the coordinator is away'),
  owner: z.string().nullable().describe('the node that owns it; null in no cluster'),
  sizeBytes: whole,
  usedBytes: whole,
  files: whole,
  repl: whole,
  inSync: whole.describe('copies that have every acknowledged change'),
  cos: cos.nullable(),
  attached: z.string().nullable(),
  createdAt: z.string(),
  probe: volumeProbe,
}) satisfies z.ZodType<VolumeInfo>

export const volumeDetail = volumeInfo.extend({
  spec: z.string(),
  epoch: whole,
  records: whole,
  keyEpoch: whole,
  keySlots: whole,
  chunks: whole,
  storedBytes: whole,
  liveBytes: whole,
  journalBytes: whole,
  drives: z.array(z.string()),
  copies: z.array(
    z.object({
      id: z.string(),
      node: z.string(),
      inSync: z.boolean().describe('it has every acknowledged change'),
      state: z
        .enum(['in sync', 'incomplete', 'joining', 'silent', 'damaged', 'leaving', 'behind'])
        .describe('behind: as the record says, the owner not answering; leaving: it is given up'),
      why: z.string(),
      silentSeconds: z.number(),
      doneBytes: z.number(),
      totalBytes: z.number(),
    }),
  ),
  repair: z
    .object({
      doing: z.string().describe('"" when there is nothing to do'),
      trouble: z.string().describe('why that does not go on'),
      next: z.string(),
      doneBytes: z.number(),
      totalBytes: z.number(),
      secondsLeft: z.number().nullable(),
    })
    .nullable(),
  classMove: z
    .object({ chunksMoved: whole, bytesMoved: whole, chunksLeft: whole, why: z.string() })
    .nullable()
    .describe('of this node, on its way to drives of its class'),
  movingTo: z.string().nullable().describe('node that shall own it'),
  ownersNow: z.array(z.string()).describe('nodes that are up and have a copy and a key of it'),
  problems: z.array(problem),
}) satisfies z.ZodType<VolumeDetail>

export const driveInfo = z.object({
  id: z.string(),
  name: z.string(),
  dir: z.string(),
  kind: z.enum(['directory', 'block']),
  class: cos,
  state: z.enum(['ok', 'failing', 'gone']),
  totalBytes: whole,
  freeBytes: whole,
  usedBytes: whole.describe('what weft has on it'),
  drain: z
    .object({
      chunksMoved: whole,
      bytesMoved: whole,
      chunksLeft: whole.nullable(),
      isEmpty: z.boolean(),
      why: z.string().describe('what is in the way; "" when nothing is'),
    })
    .nullable()
    .describe('null unless it is being emptied'),
  disk: z
    .object({
      wwn: z.string(),
      serial: z.string(),
      model: z.string(),
      tag: z.string().nullable().describe('under which it was taken from a frame'),
      measured: z.object({ syncMs: z.number(), bytesPerSecond: z.number() }).nullable(),
    })
    .nullable()
    .describe('null for a directory'),
  why: z.string().describe('why it is failing or gone; "" when it is not'),
}) satisfies z.ZodType<DriveInfo>

export const diskInfo = z.object({
  id: z.string(),
  name: z.string(),
  path: z.string(),
  link: z.string().describe('a name that stays'),
  wwn: z.string(),
  serial: z.string(),
  model: z.string(),
  transport: z.string(),
  media: z.enum(['hdd', 'ssd', 'nvme']),
  sizeBytes: whole,
  standing: z.enum(['free', 'drive', 'foreign', 'unusable']),
  why: z.string(),
}) satisfies z.ZodType<DiskInfo>

export const driveDrainPlan = z.object({
  accepted: z.boolean(),
  what: z.string(),
  chunks: whole,
  journals: whole,
  bytes: whole,
  freeBytes: whole.describe('on the other drives'),
}) satisfies z.ZodType<DriveDrainPlan>

export const driveAdded = driveInfo.extend({
  notes: z.array(z.string()),
}) satisfies z.ZodType<DriveAdded>

export const memberInfo = nodeInfo.extend({
  connection: z.enum(['self', 'up', 'down', 'removed']).describe('as this node sees it'),
  path: z.enum(['tcp', 'udx']).nullable(),
  rttMs: z.number().nullable(),
  since: z.string().nullable(),
  why: z.string().describe('why it is down'),
}) satisfies z.ZodType<MemberInfo>

export const clusterInfo = clusterStatus.extend({
  coordinatorState: z.object({
    place: z.string(),
    why: z.string().describe('why it does not answer; "" when it does'),
    since: z.string().nullable().describe('null when it answers'),
  }),
  nodes: z.array(memberInfo),
}) satisfies z.ZodType<ClusterInfo>

export const clusterEntered = z.object({
  id: z.string(),
  name: z.string(),
  node: z.string(),
  addresses: z.array(z.string()),
}) satisfies z.ZodType<ClusterEntered>

export const recoverBody = z.strictObject({
  begin: z.boolean().describe('true: the coordinator is lost for good, where it does not answer'),
})

export const recoverPlan = z.object({
  node: z.string(),
  generation: z.number(),
  from: z.array(z.string()).describe('members that answer'),
  silent: z.array(z.object({ node: z.string(), why: z.string() })),
  volumes: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      copies: z.number(),
      answering: z.array(z.string()),
      epoch: z.number(),
    }),
  ),
  refused: z
    .array(
      z.object({
        id: z.string(),
        name: z.string(),
        copies: z.number(),
        answering: z.number(),
        needed: z.number(),
        lacking: z.array(z.string()),
        why: z.string(),
      }),
    )
    .describe('too few of their copies answer; recover again when more do'),
}) satisfies z.ZodType<RecoverPlan>

export const recoverState = z.object({
  state: z.enum(['none', 'rebuilding', 'done']),
  waitsFor: z.array(z.string()),
  plan: recoverPlan.nullable(),
}) satisfies z.ZodType<RecoverState>

export const recovered = z.object({
  begun: z.boolean().describe('false: the coordinator answered, and volumes were added to it'),
  generation: z.number(),
  plan: recoverPlan.nullable(),
}) satisfies z.ZodType<Recovered>

export const coordinatorMoved = z.object({
  place: z.string(),
  generation: whole,
}) satisfies z.ZodType<CoordinatorMoved>

export const statusAnswer = z.object({
  version: z.string(),
  home: z.string(),
  daemon: z.object({
    pid: whole,
    startedAt: z.string(),
    uptimeSeconds: z.number(),
    program: z.string(),
  }),
  node: z.object({ id: z.string() }),
  cluster: clusterInfo.nullable(),
  mounts: z.array(mountInfo),
  volumes: z.array(volumeInfo),
  drives: z.array(driveInfo),
  synergy: synergyStatus.nullable().describe('null when no frame is connected'),
  problems: z.array(problem),
}) satisfies z.ZodType<NodeStatus>

export const replBody = z.strictObject({
  copies: whole.min(1).max(64),
  plan: z.boolean().optional(),
})
export const moveBody = z.strictObject({
  node: shortText,
  plan: z.boolean().optional(),
  copy: z.boolean().optional().describe('make a copy there first, if there is none'),
})
export const drainBody = z.strictObject({
  plan: z.boolean().optional(),
  stop: z.boolean().optional().describe('it keeps what it has'),
})
export const repairBody = z.strictObject({
  graceMs: whole.min(0).optional(),
  rate: shortText.optional().describe('a second: 64M'),
})
export const changePlan = z.object({
  accepted: z.boolean(),
  what: z.string(),
  steps: z.array(
    z.object({
      volume: z.string(),
      what: z.string(),
      bytes: z.number(),
      inSyncMeanwhile: whole,
      minimum: whole,
    }),
  ),
  bytes: z.number(),
  secondsMin: z.number(),
  secondsMax: z.number(),
}) satisfies z.ZodType<ChangePlan>
export const drainStatus = z.object({
  node: z.string(),
  since: z.string().nullable(),
  left: z.array(
    z.object({
      volume: z.string(),
      doing: z.string(),
      trouble: z.string(),
      next: z.string(),
      doneBytes: z.number(),
      totalBytes: z.number(),
    }),
  ),
}) satisfies z.ZodType<DrainStatus>
export const repairSettings = z.object({
  graceMs: whole,
  bytesPerSecond: z.number(),
}) satisfies z.ZodType<RepairSettings>

const slotKind = z.enum(['node', 'recipient', 'passphrase', 'shares'])

export const keySlot = z.object({
  id: z.string(),
  name: z.string(),
  kind: slotKind,
  publicKey: z.string(),
  shares: whole.nullable(),
  threshold: whole.nullable(),
  createdAt: z.string(),
}) satisfies z.ZodType<KeySlotInfo>

export const keyList = z.object({
  volume: z.object({
    id: z.string(),
    name: z.string(),
    locked: z.boolean(),
    newestEpoch: whole,
    oldestEpoch: whole,
  }),
  keys: z.array(keySlot),
}) satisfies z.ZodType<KeyList>

export const drillResult = z.object({
  volume: z.object({ id: z.string(), name: z.string() }),
  opened: z.boolean(),
  slot: z.string(),
  kind: slotKind,
  epochs: z.array(whole),
  missingEpochs: z.array(whole),
}) satisfies z.ZodType<DrillResult>

export const fsckReport = z.object({
  clean: z.boolean(),
  repair: z.boolean(),
  volumes: z.array(z.string()),
  checked: z.object({ inodes: whole, records: whole, chunks: whole, bytes: whole }),
  findings: z.array(
    z.object({
      severity: z.enum(['note', 'damage']),
      volume: z.string(),
      what: z.string(),
      path: z.string().nullable(),
      outcome: z.enum(['left', 'repaired', 'quarantined']),
      next: z.string(),
    }),
  ),
}) satisfies z.ZodType<FsckReport>

export const keyRotateAnswer = z.object({ newestEpoch: whole, job: jobInfo.nullable() })
export const keySplitAnswer = z.object({
  slot: keySlot,
  threshold: whole,
  shares: z.array(z.base64()),
})
export const errorAnswer = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    next: z.string(),
    op: z.string(),
    subject: z.record(z.string(), z.unknown()),
  }),
})
