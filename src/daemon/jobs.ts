import type { JobInfo } from '../api/index.ts'
import { codeOf, FsError, messageOf } from '../base/index.ts'

/** What the work of a job may say and must obey. */
export interface JobHandle {
  readonly signal: AbortSignal
  progress(done: number, total: number | null, message?: string): void
}

interface Job {
  info: JobInfo
  /** Name of the volume it is about, null for all. */
  subject: string | null
  abort: AbortController
}

/** Ended jobs that can still be asked for. */
const KEPT_MAX = 100

/** Long work that a person started: fsck, re-seal. It goes on when nobody looks, can be watched and cancelled. */
export class Jobs {
  readonly #jobs = new Map<string, Job>()
  readonly #now: () => string
  #last = 0

  constructor(now: () => string) {
    this.#now = now
  }

  start(
    kind: string,
    unit: string,
    work: (job: JobHandle) => Promise<unknown>,
    subject: string | null = null,
  ): JobInfo {
    const id = String(++this.#last)
    const abort = new AbortController()
    const job: Job = {
      abort,
      subject,
      info: {
        id,
        name: kind,
        kind,
        state: 'running',
        done: 0,
        total: null,
        unit,
        message: '',
        result: null,
        error: null,
        startedAt: this.#now(),
      },
    }
    this.#jobs.set(id, job)
    const set = (change: Partial<JobInfo>) => {
      job.info = { ...job.info, ...change }
    }
    work({
      signal: abort.signal,
      progress: (done, total, message) =>
        set({ done, total, message: message ?? job.info.message }),
    }).then(
      (result) => set({ state: 'done', result }),
      (error: unknown) =>
        set({
          state: abort.signal.aborted ? 'cancelled' : 'failed',
          error: { code: codeOf(error) || 'EIO', message: messageOf(error), next: nextOf(error) },
        }),
    )
    for (const [old, { info }] of this.#jobs) {
      if (this.#jobs.size <= KEPT_MAX) break
      if (info.state !== 'running') this.#jobs.delete(old)
    }
    return job.info
  }

  /** A job of this kind that has not ended. @param subject any when null */
  running(kind: string, subject: string | null): JobInfo | null {
    for (const { info, subject: own } of this.#jobs.values()) {
      const same = subject === null || own === subject
      if (info.kind === kind && info.state === 'running' && same) return info
    }
    return null
  }

  list(): JobInfo[] {
    return [...this.#jobs.values()].map((job) => job.info)
  }

  get(id: string): JobInfo {
    return this.#find(id).info
  }

  cancel(id: string): JobInfo {
    const job = this.#find(id)
    job.abort.abort()
    return job.info
  }

  #find(id: string): Job {
    const job = this.#jobs.get(id)
    if (!job) {
      throw new FsError('ENOENT', 'job', {
        message: `there is no job ${id}`,
        next: 'jobs are forgotten when the daemon restarts; start the work again',
      })
    }
    return job
  }
}

function nextOf(error: unknown): string {
  return error instanceof FsError && typeof error.subject.next === 'string'
    ? error.subject.next
    : ''
}
