import { type Clock, FsError } from '../../base/index.ts'
import type { Step } from '../provisioner.ts'
import type { Appliance, Purpose } from './appliance.ts'
import { plain, refused } from './appliance-errors.ts'
import { decode, type Task, task as taskShape } from './resources.ts'
import { Patience } from './waiting.ts'
import type { Answer } from './wire.ts'

/** Profile tasks with a cold boot took 40 to 80 minutes in HPE's own tests (facts §7). */
const TASK_MS_MAX = 90 * 60_000
const PACE = { stepMs: 1000, msMax: 10_000, limitMs: TASK_MS_MAX }
/** A task's own reads may fail for so long, beyond what the wire waits for: fail-over, restart. */
const SILENCE = { stepMs: 5000, msMax: 30_000, limitMs: 15 * 60_000 }

/** How a task's state is to be taken (facts §7). A state of a newer release is taken for open, until the limit. */
const ENDS: Readonly<Record<string, 'done' | 'failed' | 'unclear'>> = {
  Completed: 'done',
  // Ended, and in part only: what it left is for the caller to look at.
  Warning: 'done',
  Error: 'failed',
  Terminated: 'failed',
  Killed: 'failed',
  // Only in the enums of HPE's SDKs [?].
  Interrupted: 'unclear',
  Unknown: 'unclear',
}

/**
 * Wait for what a write has begun. Returns at once when it was done in the answer itself (200, 201, 204 without a task).
 * @throws FsError of the task's own error; EIO `done: maybe` when its end could not be learnt: look at the resource
 */
export async function followTask(
  appliance: Appliance,
  answer: Answer,
  purpose: Purpose,
  step: Step,
  clock: Clock,
): Promise<void> {
  const path = taskPathOf(answer)
  if (path === null) {
    if (answer.status !== 202) return
    throw unclear(purpose, 'it began a task and does not say which')
  }
  const patience = new Patience(clock, PACE)
  for (;;) {
    const task = await readTask(appliance, path, purpose, step.signal, clock)
    const { taskState, taskStatus, percentComplete, computedPercentComplete } = task
    step.progress(
      `task "${task.name ?? 'without a name'}" of the appliance: ${computedPercentComplete ?? percentComplete ?? 0} %`,
    )
    const end = ENDS[taskState ?? '']
    if (end === 'done') return
    if (end === 'failed') throw failed(task, purpose)
    if (end === 'unclear') throw unclear(purpose, `its task ended as ${taskState}`)
    if (!(await patience.again(step.signal))) {
      throw unclear(
        purpose,
        `its task still runs after ${TASK_MS_MAX / 60_000} minutes (${plain(taskStatus ?? '')})`,
      )
    }
  }
}

/** 202 has the task in Location, absolute or not, or in X-Task-URI; some answers have it as their body only (facts §2.1, §3). */
function taskPathOf(answer: Answer): string | null {
  const named = answer.header('location') || answer.header('x-task-uri')
  if (answer.status === 202 && named !== '') return named
  const { success, data } = taskShape.safeParse(answer.body)
  return success && data.uri?.startsWith('/rest/tasks/') ? data.uri : null
}

async function readTask(
  appliance: Appliance,
  path: string,
  { op, what }: Purpose,
  signal: AbortSignal,
  clock: Clock,
): Promise<Task> {
  const patience = new Patience(clock, SILENCE)
  for (;;) {
    try {
      const answer = await appliance.get(
        path,
        { op, what: `read the task that was to ${what}` },
        signal,
      )
      return decode(taskShape, answer.body, 'a task')
    } catch (error) {
      const mayPass =
        error instanceof FsError && (error.retry === 'later' || error.code === 'EPROTO')
      if (!mayPass) throw maybe(error)
      if (!(await patience.again(signal))) throw maybe(error)
    }
  }
}

/** That the task could not be read says nothing of what it did. */
function maybe(error: unknown): unknown {
  if (!(error instanceof FsError) || error.code === 'ECANCELED') return error
  const { code, op, subject, message, retry } = error
  return new FsError(code, op, { ...subject, message, retry, done: 'maybe', cause: error })
}

function failed({ taskErrors, taskStatus, taskState }: Task, { op, what }: Purpose): FsError {
  return refused({
    op,
    what,
    status: 0,
    errors: taskErrors ?? [],
    otherwise: plain(taskStatus ?? '') || `its task ended as ${taskState}`,
  })
}

function unclear({ op, what }: Purpose, why: string): FsError {
  return new FsError('EIO', op, {
    done: 'maybe',
    retry: 'later',
    message: `oneview: whether it could ${what} is not known: ${why}`,
    next: 'look at the activity page of the appliance; weft looks at what is there before it asks again',
  })
}
