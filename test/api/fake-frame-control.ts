import type {
  FrameDrive,
  FreeFrameDrive,
  JobInfo,
  NodeControl,
  PolicyInfo,
  SynergyStatus,
} from '../../src/api/index.ts'

/** A frame of two free drives, and what a test changes of it. */
export interface FakeFrame {
  readonly controls: Pick<NodeControl, 'synergy' | 'policy'>
  status: SynergyStatus
  free: FreeFrameDrive[]
  /** Called when a job was begun: 'allocate'. */
  onJob: (kind: string) => void
}

const WHEN = '2026-01-02T03:04:05.000Z'
export const TAG = 'weft-aaaaaaaaaaaa-bbbbbbbbbbbb-000000000001'

export const POLICY: PolicyInfo = {
  enabled: false,
  dryRun: false,
  growAtPercent: 75,
  shrinkAtPercent: 35,
  reserve: 'one-node',
  maxDrives: 40,
  budgetPerDay: 4,
  coolDownSeconds: 1800,
  readyDrives: 0,
  words: 'policy off: grow at 75 %',
}

export function frameDrive(more: Partial<FrameDrive> = {}): FrameDrive {
  return {
    id: TAG,
    name: 'Frame1, bay 3, drive 12',
    class: 2,
    serial: 'S3RIAL12',
    sizeBytes: 800e9,
    towards: 'in',
    step: 'settled',
    drive: 'd'.repeat(32),
    since: WHEN,
    why: 'asked for by hand',
    trouble: '',
    ...more,
  }
}

export function frameStatus(more: Partial<SynergyStatus> = {}): SynergyStatus {
  return {
    connection: { url: 'https://composer', user: 'weft', domain: null, trust: 'ca' },
    underWay: null,
    drives: [],
    reconciled: { at: WHEN, findings: [] },
    growSeconds: 300,
    policy: POLICY,
    trouble: '',
    ...more,
  }
}

export function fakeFrame(
  said: (op: string, input?: unknown) => void,
  beginJob: (kind: string, result: unknown) => JobInfo,
): FakeFrame {
  const startJob = (kind: string, result: unknown): JobInfo => {
    const job = beginJob(kind, result)
    frame.onJob(kind)
    return job
  }
  const frame: FakeFrame = {
    status: frameStatus(),
    onJob: () => {},
    free: [
      {
        id: '/rest/bay/12',
        name: 'Frame1, bay 3, drive 12',
        class: 2,
        sizeBytes: 8e11,
        serial: 'A',
      },
      {
        id: '/rest/bay/13',
        name: 'Frame1, bay 3, drive 13',
        class: 3,
        sizeBytes: 8e11,
        serial: 'B',
      },
    ],
    controls: {
      synergy: {
        async status() {
          said('synergy.status')
          return frame.status
        },
        async check() {
          said('synergy.check')
          return [{ id: '1', name: 'API version', seen: '800 is spoken', ok: true }]
        },
        async connect(request) {
          said('synergy.connect', request)
          const { url, user, domain = null } = request
          return { connection: { url, user, domain, trust: 'ca' }, free: frame.free, held: 1 }
        },
        async logout(options) {
          said('synergy.logout', options)
          return { left: options.force ? ['Frame1, bay 3, drive 12'] : [] }
        },
        async free(cos) {
          said('synergy.free', cos)
          return frame.free.filter((one) => cos === null || one.class === cos)
        },
        async allocate(request) {
          said('synergy.allocate', request)
          const plan = ['take Frame1, bay 3, drive 12, 745 GiB']
          if (request.plan) return { plan, job: null }
          return { plan, job: startJob('allocate', { drives: [] }) }
        },
        async release(drive, { plan, lost }) {
          said('synergy.release', [drive, { plan, lost }])
          const { id, name } = frameDrive()
          return { id, name, plan: ['move 3 GiB'], job: plan ? null : startJob('release', null) }
        },
        async reconcile(options) {
          said('synergy.reconcile', options)
          const findings = [{ id: TAG, name: 'orphan', words: 'drive 12 is of nobody' }]
          return startJob('reconcile', { findings })
        },
      },
      policy: {
        async show() {
          said('policy.show')
          return POLICY
        },
        async set(change) {
          said('policy.set', change)
          return { ...POLICY, enabled: change.enabled ?? false, words: 'policy on: as said' }
        },
        async plan() {
          said('policy.plan')
          const numbers = { sizeBytes: 10, usedBytes: 8, reserveBytes: 0 }
          const why = '80 % used, grow-at is 75 %'
          return [{ id: 'class-2', name: 'medium', class: 2, do: 'grow', why, ...numbers }]
        },
        async log() {
          said('policy.log')
          const why = '80 % used'
          return [{ id: '1', name: 'grow ended', at: WHEN, class: 2, drives: 1, seconds: 90, why }]
        },
      },
    },
  }
  return frame
}
