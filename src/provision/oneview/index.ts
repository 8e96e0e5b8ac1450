import type { Clock, Log } from '../../base/index.ts'
import type { Provisioner } from '../provisioner.ts'
import { Appliance } from './appliance.ts'
import { checkAppliance, type Finding } from './check.ts'
import type { Dmi } from './find-self.ts'
import { Frame } from './frame.ts'
import { OneViewProvisioner } from './oneview-provisioner.ts'
import type { Login } from './session.ts'
import type { Trust } from './tls.ts'
import { Transport } from './transport.ts'

/**
 * HPE OneView, the appliance of a Synergy frame, as a provisioner. One object a process: its session is shared by all that
 * is asked. Written from public documents alone, which the fact sheet synergy-oneview.md collects (`facts §n`); what those
 * left open is marked [?] in the code, and `checkOneView` looks at it on a real frame.
 */
export interface OneViewOptions extends Login, Trust {
  /** `https://host` or `https://host:port`. */
  readonly url: string
  /** What the tags of this cluster begin with; JBODs named otherwise are never touched. */
  readonly tagPrefix: string
  readonly dmi: Dmi
  readonly clock: Clock
  readonly log: Log
  /** How long an appliance that is away is waited for; 0 for whoever wants to know at once. As usual when not given. */
  readonly awayMs?: number
}

/** Nothing is asked of the appliance yet. @throws FsError EINVAL for a url or a pin that cannot be */
export function openOneView(options: OneViewOptions): Provisioner {
  const { tagPrefix, clock } = options
  return new OneViewProvisioner({ ...partsOf(options), tagPrefix, clock })
}

/** Reads only, in a session of its own. @throws FsError when the appliance cannot be reached or logged in at */
export async function checkOneView(
  options: Omit<OneViewOptions, 'tagPrefix'>,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { appliance, frame } = partsOf(options)
  try {
    return await checkAppliance(appliance, frame, options.dmi, options.clock, signal)
  } finally {
    await appliance.close()
  }
}

function partsOf(options: Omit<OneViewOptions, 'tagPrefix'>): {
  appliance: Appliance
  frame: Frame
} {
  const { url, ca, pin, clock, log, dmi, awayMs } = options
  const trust = { ...(ca !== undefined && { ca }), ...(pin !== undefined && { pin }) }
  const transport = new Transport({ url, trust, clock })
  const appliance = new Appliance(transport, options, clock, log, awayMs)
  return { appliance, frame: new Frame(appliance, dmi) }
}

export type { Dmi, Finding }
