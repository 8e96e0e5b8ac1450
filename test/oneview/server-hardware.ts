import { frameUriOf, hardwareTypeUriOf, modesOf } from './blades.ts'
import type { Dialect } from './dialect.ts'
import { invalid, locked, refused, TaskFailed } from './errors.ts'
import { objectOf, onlyFields } from './fields.ts'
import { type Body, fixture, withETag } from './fixtures.ts'
import type { Blade, Power } from './model.ts'
import type { Work } from './tasks.ts'

/** What the appliance tells of blades, and the switch to power one. */

const DEVICE_NAMES = {
  P542D: 'Smart Array P542D Controller',
  'P416ie-m': 'HPE Smart Array P416ie-m SR Gen10',
} as const

interface DeviceSlot {
  readonly physicalPorts: Body[]
  readonly location: string
  readonly slotNumber: number
  deviceName: string
}

/** GET /rest/server-hardware/{uuid}. As captured, it does not show the virtual ids that a profile gives. */
export function hardwareBody(blade: Blade, dialect: Dialect): Body {
  const template = fixture('ServerHardware')
  const portMap = template.portMap as { deviceSlots: DeviceSlot[] }
  const [mezzanine] = portMap.deviceSlots
  mezzanine!.deviceName = DEVICE_NAMES[blade.controller]
  mezzanine!.physicalPorts.forEach((port, i) => {
    const uri = blade.sas?.interconnectUris[i] ?? ''
    Object.assign(port, { interconnectUri: uri, physicalInterconnectUri: uri })
  })
  const busy = blade.profile?.inProgress === true
  return withETag({
    ...template,
    type: dialect.hardwareType,
    uri: blade.uri,
    uuid: blade.uuid,
    serialNumber: blade.serialNumber,
    name: blade.hardwareName,
    position: blade.bay,
    locationUri: frameUriOf(blade.frame),
    serverProfileUri: blade.profile?.uri ?? null,
    serverHardwareTypeUri: hardwareTypeUriOf(blade),
    powerState: blade.power,
    powerLock: busy, // [?] nobody says when it is set
    state:
      blade.profile === null ? 'NoProfileApplied' : busy ? 'ApplyingProfile' : 'ProfileApplied',
  })
}

/** GET /rest/server-hardware-types/{uuid} */
export function hardwareTypeBody(blade: Blade): Body {
  const template = fixture('ServerHardwareTypes')
  const adapters = template.adapters as { model: string; storageCapabilities: Body }[]
  const [mezzanine] = adapters
  mezzanine!.model = DEVICE_NAMES[blade.controller]
  mezzanine!.storageCapabilities.controllerModes = modesOf(blade)
  return { ...template, uri: hardwareTypeUriOf(blade) }
}

/** What each pair of the request leads to; others are refused. Source: facts §3. */
const POWER_ORDERS: Readonly<Record<string, { from: Power; by: Power[]; to: Power }>> = {
  'On MomentaryPress': { from: 'Off', by: ['PoweringOn'], to: 'On' },
  'Off MomentaryPress': { from: 'On', by: ['PoweringOff'], to: 'Off' },
  'Off PressAndHold': { from: 'On', by: [], to: 'Off' },
  'On ColdBoot': { from: 'On', by: ['Off', 'PoweringOn'], to: 'On' },
  'On Reset': { from: 'On', by: ['PoweringOn'], to: 'On' },
}

const POWER_FIELDS = new Set(['powerState', 'powerControl'])

/**
 * PUT /rest/server-hardware/{uuid}/powerState
 * @param powered told when power has gone and when it has come
 */
export function powerWork(
  blade: Blade,
  request: unknown,
  powered: (blade: Blade, on: boolean) => void,
): Work {
  const body = objectOf(request, 'The request')
  onlyFields(body, POWER_FIELDS)
  const { powerState, powerControl } = body
  if (powerState !== 'On' && powerState !== 'Off') throw invalid('powerState is not On or Off.')
  const order = POWER_ORDERS[`${powerState} ${powerControl}`]
  if (order === undefined) {
    // [?] One such code is known, COLDBOOT with OFF, and not that it comes at once.
    const code = `INVALID_POWER_CONTROL_REQUEST_POWER_${powerControl}_${powerState}`.toUpperCase()
    throw refused(400, code, 'The power control does not go with the power state.')
  }
  if (blade.profile?.inProgress === true) throw locked(blade.hardwareName) // [?]
  const set = (power: Power) => () => {
    const before = blade.power
    blade.power = power
    if (power === 'Off' && before !== 'Off') powered(blade, false)
    if (power === 'On' && before !== 'On') powered(blade, true)
  }
  return {
    name: powerState === 'On' ? 'Power on' : 'Power off',
    category: 'server-hardware',
    resource: { uri: blade.uri, name: blade.hardwareName },
    steps: [
      {
        says: 'Validating',
        run: () => {
          if (blade.power === order.from) return
          // [?] A client should not ask for what is; what comes of it is not known.
          throw new TaskFailed('INVALID_POWER_STATE', `The server is ${blade.power}.`)
        },
      },
      ...order.by.map((power) => ({ says: power, run: set(power) })),
      { says: order.to, run: set(order.to) },
    ],
    done: `${blade.hardwareName} is ${order.to}.`,
    failed: `Unable to change the power of ${blade.hardwareName}.`,
  }
}
