import { type Fault, Faults } from './faults.ts'

/** How the appliance behaves, and how it misbehaves. All may be turned at any time. */
export interface KnobValues {
  /** A task takes twice this for each of its steps, and once to start. */
  taskStepMs: number
  /** Every answer waits so long. */
  answerMs: number
  /** The index tells what was true so long ago. */
  indexLagMs: number
  /** From the end of the task that made a JBOD until its state is what `jbodSettlesAs` says. */
  jbodSettleMs: number
  jbodSettlesAs: 'Configured' | 'ConfigError'
  /** How long the deletion of a JBOD with eraseData takes longer. */
  sanitiseMs: number
  /** From zoning until the host sees the disk, and from unzoning until it does not. */
  appearanceMs: number
  /** 'wrong': the host sees another drive of the enclosure. */
  appearance: 'right' | 'wrong' | 'never'
  /** Whether JBODs may come to a profile and go while its server is On. Not settled in public: facts §6.2. */
  jbodEditPower: 'off-required' | 'online'
  /** How 202 says where the task is. In any case it is the body too [?]. */
  location: 'absolute' | 'relative' | 'x-task-uri' | 'absent'
  /** What PATCH of a JBOD answers: public sources do not say [?]. */
  patchAnswer: 'task' | 'resource'
  /** The largest page, whatever count asks for. */
  pageMax: number
  /** Collections but the index take no notice of `filter`. */
  filtersIgnored: boolean
  /** A login must have loginMsgAck. */
  loginBanner: boolean
  /** So many tasks end all sessions in their middle. */
  tasksThatLoseSessions: number
}

export const CALM: Readonly<KnobValues> = {
  taskStepMs: 2,
  answerMs: 0,
  indexLagMs: 0,
  jbodSettleMs: 0,
  jbodSettlesAs: 'Configured',
  sanitiseMs: 0,
  appearanceMs: 0,
  appearance: 'right',
  jbodEditPower: 'off-required',
  location: 'relative',
  patchAnswer: 'task',
  pageMax: 1000,
  filtersIgnored: false,
  loginBanner: false,
  tasksThatLoseSessions: 0,
}

export class Knobs implements KnobValues {
  taskStepMs = CALM.taskStepMs
  answerMs = CALM.answerMs
  indexLagMs = CALM.indexLagMs
  jbodSettleMs = CALM.jbodSettleMs
  jbodSettlesAs = CALM.jbodSettlesAs
  sanitiseMs = CALM.sanitiseMs
  appearanceMs = CALM.appearanceMs
  appearance = CALM.appearance
  jbodEditPower = CALM.jbodEditPower
  location = CALM.location
  patchAnswer = CALM.patchAnswer
  pageMax = CALM.pageMax
  filtersIgnored = CALM.filtersIgnored
  loginBanner = CALM.loginBanner
  tasksThatLoseSessions = CALM.tasksThatLoseSessions
  readonly faults = new Faults()
  #failedOverMs = 0

  constructor(values: Partial<KnobValues> = {}) {
    this.set(values)
  }

  set(values: Partial<KnobValues>): void {
    for (const name of Object.keys(values))
      if (!Object.hasOwn(CALM, name)) throw new Error(`there is no knob ${name}`)
    Object.assign(this, values)
  }

  /** The next `times` requests that match get into trouble. */
  inject(fault: Fault): void {
    this.faults.add(fault)
  }

  /** From now on each request gets into some trouble with this probability (0 to 1); 0 ends it. */
  random(seed: number, probability: number): void {
    this.faults.random(seed, probability)
  }

  /** The active composer has died: nothing but 503 for so long. Its tasks and sessions live on in the other. */
  failOver(ms: number): void {
    this.#failedOverMs = Date.now() + ms
  }

  get failingOver(): boolean {
    return Date.now() < this.#failedOverMs
  }
}
