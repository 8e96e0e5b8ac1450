/**
 * The simulated HPE Synergy frame of test/oneview/ as a process, for labs and for people: `--help` tells how. What a host would
 * see of it comes as lines of events.jsonl, and trouble is made by writing knobs.json, while it runs.
 */
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { keepAudit } from '../test/oneview/audit-file.ts'
import { followKnobs } from '../test/oneview/knobs-file.ts'
import type { BladeSpec, DriveSpec, Sighting } from '../test/oneview/model.ts'
import { Simulator } from '../test/oneview/simulator.ts'
import { Cables } from '../test/support/lab-cables.ts'

const USAGE = `usage: oneview-sim --dir DIR [--listen ADDRESS] [--port N] [--frames N] [--version N] [--stay] [--lab DIR --images DIR]
                   [--blades N | --blade name=host1[,uuid=U][,serialNumber=S][,virtualUuid=U][,virtualSerialNumber=S][,frame=N] …]
                   [--drives N [--capacity GB] [--media SSD|HDD] [--interface SAS|SATA]
                    | --drive capacityGB=1,media=SSD,interfaceType=SAS[,count=N][,frame=N][,serialNumber=S][,wwid=W] …]
  --blades   so many blades, blade1 …; default 1          --blade     one with an identity of its own
  --drives   so many, all alike; default: 40 in each frame, of the kinds that a D3940 was seen with
  --drive    of each kind so many                          --stay      until SIGTERM, also when its input ends
  --lab      directory of the lab whose hosts the blades are: what is zoned to one is a disk there, its image in --images
  --version  newest X-API-Version; default 1600           --port      default: one that is free
DIR gets url, pin (SHA-256 of the certificate), user, password, certificate.pem, and events.jsonl: one line for each disk that
appears on a host or vanishes, and for each blade switched on or off. audit.json says whom each drive belongs to. DIR/knobs.json is read when it changes, for example
  { "taskStepMs": 500, "jbodEditPower": "online", "faults": [{ "method": "PUT", "path": "server-profiles", "trouble": { "what": "dropAfter" } }] }
(test/oneview/knobs-file.ts has them all). It runs until its input ends or SIGTERM.`

const { values } = parseArgs({
  options: {
    dir: { type: 'string' },
    listen: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    stay: { type: 'boolean', default: false },
    lab: { type: 'string' },
    images: { type: 'string' },
    frames: { type: 'string', default: '1' },
    version: { type: 'string', default: '1600' },
    blades: { type: 'string', default: '1' },
    blade: { type: 'string', multiple: true },
    drives: { type: 'string' },
    drive: { type: 'string', multiple: true },
    capacity: { type: 'string', default: '1200' },
    media: { type: 'string', default: 'HDD' },
    interface: { type: 'string', default: 'SAS' },
    help: { type: 'boolean', default: false },
  },
})

if (values.help || values.dir === undefined) {
  console.log(USAGE)
  process.exit(values.help ? 0 : 2)
}

type Pairs = Readonly<Record<string, string>>

/** name=value,name=value */
function pairsIn(text: string): Pairs {
  return Object.fromEntries(text.split(',').map((pair) => pair.split('=') as [string, string]))
}

function bladeNamed(text: string): BladeSpec {
  const { name, frame, ...ids } = pairsIn(text)
  if (name === undefined) throw new Error(`--blade ${text}: it needs a name`)
  return { name, ...ids, ...(frame === undefined ? {} : { frame: Number(frame) }) }
}

function blades(): BladeSpec[] {
  if (values.blade !== undefined) return values.blade.map(bladeNamed)
  return Array.from({ length: Number(values.blades) }, (_, i) => ({ name: `blade${i + 1}` }))
}

function driveNamed({ count = '1', capacityGB, media, interfaceType, ...more }: Pairs): DriveSpec {
  if (media !== 'SSD' && media !== 'HDD') throw new Error('the media of a drive is SSD or HDD')
  if (interfaceType !== 'SAS' && interfaceType !== 'SATA')
    throw new Error('the interface of a drive is SAS or SATA')
  const { frame, ...ids } = more
  const size = { count: Number(count), capacityGB: Number(capacityGB) }
  return { ...size, media, interfaceType, ...ids, ...(frame ? { frame: Number(frame) } : {}) }
}

/** undefined: as the simulator fills its frames. */
function drives(): DriveSpec[] | undefined {
  const { drive, drives: count, capacity: capacityGB, media, interface: interfaceType } = values
  if (drive !== undefined) return drive.map((text) => driveNamed(pairsIn(text)))
  return count === undefined ? undefined : [driveNamed({ count, capacityGB, media, interfaceType })]
}

/** To the hosts of a lab; null when nobody sees what is zoned. */
function cables(): Cables | null {
  const { lab, images } = values
  if (lab === undefined) return null
  if (images === undefined) throw new Error('--lab needs --images')
  return new Cables(resolve(lab), resolve(images))
}

const dir = resolve(values.dir)
const event = (line: object) =>
  appendFileSync(
    join(dir, 'events.jsonl'),
    `${JSON.stringify({ at: new Date().toISOString(), ...line })}\n`,
  )
const disk = ({ blade, drive }: Sighting) => ({
  blade: blade.name,
  serialNumber: drive.serialNumber,
  wwid: drive.wwid,
  capacityGB: drive.capacityGB,
  bay: drive.bay,
})

mkdirSync(dir, { recursive: true })
rmSync(join(dir, 'url'), { force: true })
const plugs = cables()
const kinds = drives()
const simulator = await Simulator.start({
  dir,
  host: values.listen,
  port: Number(values.port),
  frames: Number(values.frames),
  currentVersion: Number(values.version),
  blades: blades(),
  ...(kinds === undefined ? {} : { drives: kinds }),
  onZoned: async (seen) => {
    await plugs?.plug(seen)
    event({ event: 'zoned', ...disk(seen) })
  },
  onUnzoned: async (seen) => {
    await plugs?.pull(seen)
    event({ event: 'unzoned', ...disk(seen) })
  },
  onErased: (drive) => plugs?.erase(drive),
  onPower: ({ blade, on }) => event({ event: on ? 'on' : 'off', blade: blade.name }),
})
const unfollow = followKnobs(simulator, join(dir, 'knobs.json'), (problem) =>
  console.error(`knobs.json: ${problem}`),
)
const unwatch = keepAudit(simulator, join(dir, 'audit.json'))
writeFileSync(join(dir, 'password'), simulator.password, { mode: 0o600 })
writeFileSync(join(dir, 'user'), simulator.user)
writeFileSync(join(dir, 'pin'), simulator.pin)
// The last, because whoever waits for it may use the others.
writeFileSync(join(dir, 'url'), simulator.url)
console.log(simulator.url)

await new Promise<void>((ended) => {
  process.once('SIGTERM', ended)
  process.once('SIGINT', ended)
  if (!values.stay) process.stdin.once('end', ended).resume()
})
unfollow()
unwatch()
await simulator.close()
process.exit(0)
