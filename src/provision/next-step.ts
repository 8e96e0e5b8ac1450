import type { PoolDrive } from './host.ts'
import { type Allocation, NEEDS_POWER_OFF } from './intents.ts'
import type { HeldDrive } from './provisioner.ts'

/** One allocation, as everybody who knows of it says it is now. */
export interface AllocationView {
  readonly allocation: Allocation
  /** What the appliance has under its tag. */
  readonly held: HeldDrive | null
  /** What the pool has under its tag. */
  readonly drive: PoolDrive | null
  /** This life of the daemon has made sure that nothing needs the disk, and nothing was put on it since. */
  readonly verified: boolean
  /** This life of the daemon has made the kernel let go of it. */
  readonly deviceGone: boolean
  /** Wall clock. */
  readonly nowMs: number
}

export type NextStep =
  | {
      readonly do:
        | 'reserve'
        | 'attach'
        | 'make'
        | 'ready'
        | 'verify'
        | 'deleteDevice'
        | 'detach'
        | 'release'
        | 'forget'
    }
  | { readonly do: 'settle' | 'drain' | 'takeOut'; readonly drive: PoolDrive }
  /** On the way in: this drive is no good, it has to go back. */
  | { readonly do: 'turnBack'; readonly words: string }
  /** Nothing to be done now. */
  | {
      readonly do: 'rest'
      readonly is: 'settled' | 'needs-power-off' | 'elsewhere' | 'in-doubt'
      readonly words: string
    }

/**
 * What is to be done next with one allocation. It follows from what is true now, and from the way it is on; the recorded step
 * only says what may have been begun. So a crash in the middle of a step, an answer that was lost, and a person who changed
 * something at the appliance need no rule of their own.
 */
export function nextStep(view: AllocationView): NextStep {
  return view.allocation.towards === 'out' ? stepOut(view) : stepIn(view)
}

function stepIn({ allocation, held, drive }: AllocationView): NextStep {
  if (allocation.step === 'settled') return { do: 'rest', is: 'settled', words: 'in use' }
  if (drive) return { do: 'settle', drive }
  if (!held) return { do: 'reserve' }
  if (held.trouble !== '')
    return { do: 'turnBack', words: `the drive is not well: ${held.trouble}` }
  if (held.state !== 'attached') return powerRest(allocation) ?? { do: 'attach' }
  if (!held.isHere) return elsewhere(held)
  return { do: allocation.towards === 'in' ? 'make' : 'ready' }
}

function stepOut(view: AllocationView): NextStep {
  const { allocation, held, drive, verified } = view
  if (!held && !drive) return stepWhenFree(view)
  if (drive && drive.state !== 'drained') return { do: 'drain', drive }
  // Not of what is neither held nor here: it may be another node's by now. Before it is taken out, and anew in each life: what an earlier one saw may not be so any more.
  if (!verified) return { do: 'verify' }
  if (drive) return { do: 'takeOut', drive }
  if (!held) return stepWhenFree(view)
  if (held.isHere) {
    return powerRest(allocation) ?? { do: view.deviceGone ? 'detach' : 'deleteDevice' }
  }
  return held.state === 'attached' ? elsewhere(held) : { do: 'release' }
}

function stepWhenFree({ allocation: { doubtUntilMs }, nowMs }: AllocationView): NextStep {
  if (doubtUntilMs === null || doubtUntilMs <= nowMs) return { do: 'forget' }
  const words = 'nothing is held, but an answer was lost: the appliance may still carry it out'
  return { do: 'rest', is: 'in-doubt', words }
}

/** Asked again it would be refused again: it rests until the appliance shows the step done, or a person says go on. */
function powerRest({ step, lastError }: Allocation): NextStep | null {
  if (step !== NEEDS_POWER_OFF) return null
  return { do: 'rest', is: 'needs-power-off', words: lastError }
}

/** Somebody has put it before another host by hand: nothing of that is touched. */
function elsewhere({ name }: HeldDrive): NextStep {
  const words = `${name} is before another host: take it away from there at the appliance, or give it to this one`
  return { do: 'rest', is: 'elsewhere', words }
}
