import { type Clock, FsError } from '../../base/index.ts'
import type { Step } from '../provisioner.ts'
import type { Appliance, Purpose } from './appliance.ts'
import {
  decode,
  eTagOf,
  type ServerHardware,
  type ServerProfile,
  serverHardware,
  serverProfile,
} from './resources.ts'
import { followTask } from './tasks.ts'
import { Patience } from './waiting.ts'

/** As long as one profile task may take, and another that was begun behind it. */
const BUSY = { stepMs: 2000, msMax: 10_000, limitMs: 180 * 60_000 }
/** Others who edit the same profile in between are people: they do not do it for ever. */
const REDOS_MAX = 20

/** Facts §3, §6. */
const PROFILE_BUSY = new Set(['Creating', 'Updating', 'Deleting'])
const HARDWARE_BUSY = new Set([
  'ApplyingProfile',
  'RemovingProfile',
  'UpdatingFirmware',
  'Adding',
  'Removing',
])

export async function readProfile(
  appliance: Appliance,
  uri: string,
  signal: AbortSignal,
): Promise<ServerProfile> {
  const purpose = { op: 'oneview.profile', what: 'read the server profile' }
  const answer = await appliance.get(uri, purpose, signal)
  return decode(serverProfile, answer.body, 'the server profile')
}

/**
 * Change a profile: read, edit, write back on condition that nobody has changed it since. Waits while another operation has
 * it, and begins anew when somebody was quicker.
 * @param edit gives the body to write; null when the profile is already as it should be
 * @throws FsError EPERM `needsPowerOff`; what else the appliance says
 */
export async function changeProfile(
  appliance: Appliance,
  uri: string,
  purpose: Purpose,
  edit: (profile: ServerProfile) => ServerProfile | null,
  step: Step,
  clock: Clock,
): Promise<void> {
  const patience = new Patience(clock, BUSY)
  for (let redos = 0; ; redos++) {
    const profile = await untilQuiet(appliance, uri, step, patience)
    const body = edit(profile)
    if (body === null) return
    try {
      const write = { method: 'PUT', path: uri, body, ifMatch: eTagOf(profile) } as const
      const answer = await appliance.write(write, purpose, step.signal)
      return await followTask(appliance, answer, purpose, step, clock)
    } catch (error) {
      if (redos === REDOS_MAX || !mayRedo(error)) throw error
      step.progress(`the server profile ${profile.name} was changed by somebody else: once more`)
      if (!(await patience.again(step.signal))) throw error
    }
  }
}

/** Somebody was quicker, or has it now; or the answer is lost, and the profile tells whether it was done. */
function mayRedo(error: unknown): boolean {
  if (!(error instanceof FsError)) return false
  const { code, subject, retry } = error
  return code === 'ESTALE' || (code === 'EBUSY' && retry === 'later') || subject.done === 'maybe'
}

async function untilQuiet(
  appliance: Appliance,
  uri: string,
  step: Step,
  patience: Patience,
): Promise<ServerProfile> {
  for (;;) {
    const profile = await readProfile(appliance, uri, step.signal)
    const why = busyWith(profile) ?? hardwareBusyWith(await hardwareOf(appliance, profile, step))
    if (why === null) return profile
    step.progress(`waiting: ${why}`)
    if (await patience.again(step.signal)) continue
    throw new FsError('EBUSY', 'oneview.profile', {
      profile: uri,
      retry: 'later',
      message: `oneview: ${why}, for ${BUSY.limitMs / 60_000} minutes now`,
      next: 'look at the activity page of the appliance',
    })
  }
}

async function hardwareOf(
  appliance: Appliance,
  { serverHardwareUri }: ServerProfile,
  { signal }: Step,
): Promise<ServerHardware | null> {
  if (!serverHardwareUri) return null
  const purpose = { op: 'oneview.profile', what: 'read the server hardware' }
  const answer = await appliance.get(serverHardwareUri, purpose, signal)
  return decode(serverHardware, answer.body, 'the server hardware')
}

function busyWith({ inProgress, state, name }: ServerProfile): string | null {
  const isBusy = inProgress === true || PROFILE_BUSY.has(state ?? '')
  return isBusy ? `another operation has the server profile ${name} (${state})` : null
}

function hardwareBusyWith(hardware: ServerHardware | null): string | null {
  const isBusy = HARDWARE_BUSY.has(hardware?.state ?? '')
  return isBusy ? `server ${hardware?.name} is busy (${hardware?.state})` : null
}
