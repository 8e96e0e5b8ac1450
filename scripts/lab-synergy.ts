/** The verb `synergy` of scripts/lab: what a person asks of the simulated frame, and turns on its appliance. */
import type { AuditLine } from '../test/oneview/audit-file.ts'
import { CALM } from '../test/oneview/knobs.ts'
import type { Lab } from '../test/support/hosts.ts'
import { LabError, ONEVIEW } from '../test/support/lab-host.ts'

export function frameText(lab: Lab): string {
  const { appliance } = lab
  const drives = appliance.audit()
  const taken = drives.filter(
    ({ jbods, blades, seenBy }) => [...jbods, ...blades, ...seenBy].length,
  )
  const state = appliance.isUp ? `at ${appliance.url}` : 'gone: scripts/lab down, then up'
  return [
    `appliance ${state}; ${drives.length} drives, ${drives.length - taken.length} free`,
    ...taken.map(lineOf),
    `knobs: ${JSON.stringify(appliance.knobs())}`,
    connectText(lab),
  ].join('\n')
}

function lineOf(drive: AuditLine): string {
  const { serialNumber, frame, bay, capacityGB, interfaceType, media, health } = drive
  const kind = `${capacityGB} GB ${interfaceType} ${media}`
  const sick = health === 'OK' ? '' : `  ${health}`
  const attached = `attached to ${words(drive.blades)}, seen by ${words(drive.seenBy)}`
  return `  ${serialNumber}  frame ${frame} bay ${bay}  ${kind}${sick}  JBOD ${words(drive.jbods)}, ${attached}`
}

function words(names: readonly string[]): string {
  return names.length > 0 ? names.join(' and ') : 'nobody'
}

export function connectText(lab: Lab): string {
  return `on a host, once: ${lab.appliance.connectWords.join(' ')}`
}

/**
 * Turn a knob, or, without a value, let it be calm again. What happens once and does not last (faults, health, a fail-over) is for
 * knobs.json itself, and is not repeated by this. @throws LabError
 */
export function turnKnob(lab: Lab, name: string, value?: string): string {
  if (!Object.hasOwn(CALM, name)) {
    const all = Object.entries(CALM).map(([knob, calm]) => `${knob} (${calm})`)
    throw new LabError(`no knob ${name}: there are ${all.join(', ')}; the rest is in knobs.json`)
  }
  const { appliance } = lab
  const lasting = Object.entries(appliance.knobs()).filter(
    ([knob]) => knob !== name && Object.hasOwn(CALM, knob),
  )
  const turned = value === undefined ? [] : [[name, knobValue(name as keyof typeof CALM, value)]]
  appliance.turn(Object.fromEntries([...lasting, ...turned]))
  return `knobs: ${JSON.stringify(appliance.knobs())}; also ${ONEVIEW}/knobs.json on a host, and ${appliance.dir}/log says what it did not understand`
}

function knobValue(name: keyof typeof CALM, text: string): unknown {
  const calm = CALM[name]
  if (typeof calm === 'string') return text
  const value = typeof calm === 'boolean' ? { true: true, false: false }[text] : Number(text)
  if (value === undefined || Number.isNaN(value)) {
    throw new LabError(
      `${name} ${text}: ${typeof calm === 'boolean' ? 'true or false' : 'a number'}`,
    )
  }
  return value
}
