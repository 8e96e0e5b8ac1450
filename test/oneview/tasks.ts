import { randomUUID } from 'node:crypto'
import type { Dialect } from './dialect.ts'
import { type ErrorBody, TaskFailed } from './errors.ts'
import type { Body } from './fixtures.ts'
import type { Knobs } from './knobs.ts'
import { type Pace, stamp } from './pace.ts'

export interface Step {
  /** The task's status while it lasts. */
  readonly says: string
  /** Done when the step's time is over. */
  readonly run?: () => void | Promise<void>
}

/** What a request sets going. */
export interface Work {
  /** Create, Update, Delete, Power off … */
  readonly name: string
  /** Of the resource. */
  readonly category: string
  /** What is made has no uri before it is there. */
  readonly resource: { uri: string | null; name: string }
  readonly steps: readonly Step[]
  /** The task's status at its end. */
  readonly done: string
  readonly failed: string
  /** The resource is this task's from now on. */
  readonly accepted?: (taskUri: string) => void
  /** What `accepted` and `steps` had begun is put back. */
  readonly undo?: () => void
}

type State = 'New' | 'Starting' | 'Running' | 'Completed' | 'Error'

/** One piece of work under way, or ended. */
export class Task {
  readonly uuid = randomUUID().toUpperCase()
  readonly uri = `/rest/tasks/${this.uuid}`
  readonly created = stamp().toISOString()
  readonly work: Work
  readonly owner: string
  state: State = 'New'
  status = ''
  completedSteps = 0
  errors: readonly ErrorBody[] = []
  modified = this.created
  changes = 1

  constructor(work: Work, owner: string) {
    this.work = work
    this.owner = owner
  }

  become(state: State, status: string): void {
    this.state = state
    this.status = status
    this.modified = stamp().toISOString()
    this.changes++
  }

  get ended(): boolean {
    return this.state === 'Completed' || this.state === 'Error'
  }

  body(dialect: Dialect): Body {
    const { work } = this
    const percent = this.ended ? 100 : Math.floor((100 * this.completedSteps) / work.steps.length)
    return {
      type: dialect.taskType,
      uri: this.uri,
      category: 'tasks',
      eTag: String(this.changes),
      created: this.created,
      modified: this.modified,
      taskStatus: this.status,
      taskState: this.state,
      stateReason: this.state,
      owner: this.owner,
      parentTaskUri: null,
      userInitiated: true,
      associatedTaskUri: null,
      name: work.name,
      taskType: 'User',
      hidden: false,
      isCancellable: false,
      percentComplete: percent,
      computedPercentComplete: percent,
      completedSteps: this.completedSteps,
      totalSteps: work.steps.length,
      expectedDuration: 60,
      associatedResource: {
        resourceUri: work.resource.uri,
        resourceName: work.resource.name,
        resourceCategory: work.category,
        associationType: 'MANAGED_BY',
      },
      progressUpdates: [],
      taskErrors: this.errors,
      taskOutput: [],
      data: null,
    }
  }
}

/** Every change is a task: it runs to its end whatever becomes of its client, and stays to be read. */
export class Tasks {
  readonly #tasks = new Map<string, Task>()
  readonly #pace: Pace
  readonly #knobs: Knobs
  readonly #loseSessions: () => void

  /** @param loseSessions what happens in the middle of a task when the knobs want it */
  constructor(pace: Pace, knobs: Knobs, loseSessions: () => void) {
    this.#pace = pace
    this.#knobs = knobs
    this.#loseSessions = loseSessions
  }

  /** @param errorCode the task comes to nothing, with this */
  start(work: Work, owner: string, errorCode?: string): Task {
    const steps = errorCode === undefined ? work.steps : [doomed(errorCode), ...work.steps]
    const task = new Task({ ...work, steps }, owner)
    this.#tasks.set(task.uuid, task)
    work.accepted?.(task.uri)
    void this.#run(task)
    return task
  }

  get(uuid: string): Task | undefined {
    return this.#tasks.get(uuid.toUpperCase())
  }

  list(): Task[] {
    return [...this.#tasks.values()]
  }

  async #run(task: Task): Promise<void> {
    const { steps } = task.work
    await this.#pace.wait(this.#knobs.taskStepMs)
    task.become('Starting', 'Starting')
    try {
      for (const [i, step] of steps.entries()) {
        await this.#pace.wait(this.#knobs.taskStepMs)
        task.become('Running', step.says)
        if (i === Math.floor(steps.length / 2) && this.#knobs.tasksThatLoseSessions > 0) {
          this.#knobs.tasksThatLoseSessions--
          this.#loseSessions()
        }
        await this.#pace.wait(this.#knobs.taskStepMs)
        await step.run?.()
        task.completedSteps++
      }
      task.become('Completed', task.work.done)
    } catch (error) {
      // Anything else is a bug of the simulator, and ends the process.
      if (!(error instanceof TaskFailed)) throw error
      task.work.undo?.()
      task.errors = [error.body]
      task.become('Error', task.work.failed)
    }
  }
}

function doomed(errorCode: string): Step {
  return {
    says: 'Validating',
    run: () => {
      throw new TaskFailed(errorCode, 'The simulator was told to let this task fail.')
    },
  }
}
