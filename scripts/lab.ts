/** Hosts on this machine, by hand: the same code as in tests, test/support/hosts.ts. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { parseArgs } from 'node:util'
import { Lab } from '../test/support/hosts.ts'
import { type Host, OWN_DIRECTORIES } from '../test/support/lab-host.ts'
import { signal } from '../test/support/namespaces.ts'
import { connectText, frameText, turnKnob } from './lab-synergy.ts'

const USAGE = `usage: scripts/lab VERB [--name LAB]
  up HOSTS [--drives N] [--size SIZE] [--store DIR] [--alone] [--synergy]
                   build, and bring up so many hosts: node1, node2 …; ends first what a crash left of this lab.
                   They are one cluster, the coordinator on node1, racks r1, r2 …
                   --alone       in no cluster
                   --drives N    of each host, XFS on loop devices; default 1
                   --size SIZE   of each drive, such as 500M; default 2G. Images are sparse
                   --store DIR   where images lie; default /dev/shm, in memory
                   --synergy     each host is a blade of a simulated HPE Synergy frame; at most 10
  exec HOST -- COMMAND…
                   run a command on a host; ends as the command does, with 125 when it could not be tried
  cut A [B]        no packet between A and B any more; without B, between A and all others
  heal [A [B]]     undo cuts and delays: all, those of A, or the cut between A and B
  delay A TIME     packets that A sends arrive so much later: 80ms, 1s; 0ms ends it. Gone with A's power
  kill A           SIGKILL to its keeper and daemon; start A brings them back
  pause A, resume A
                   SIGSTOP and SIGCONT to its keeper and daemon
  power-cut A      everything on A is gone at once, and what its drives had not written out; start A gives it power again
  start A          power, node and mount, whatever of it is missing
  status           hosts, their states, cuts
  synergy          whom the drives of the frame belong to, and how a host's node is connected to its appliance
  synergy knob NAME [VALUE]
                   how the appliance behaves: jbodEditPower off-required, taskStepMs 500; without VALUE calm again
  down             end all of it, also when half of it is gone

On every host weft is on the PATH, its home is /mnt/drive1/weft, and the namespace is mounted at /mnt/weft. A host has /run, /mnt and
/dev/shm of its own, sees all other files of this machine, and has no route out.
The frame shows a host the disks zoned to its blade in /mnt/hardware/by-id; what its appliance is reached by lies in /mnt/oneview. Names node1, node2 … are in its /etc/hosts.
--name LAB tells labs apart that stand side by side; default lab.

  scripts/lab up 3
  scripts/lab exec 1 -- mkdir /mnt/weft/notes
  scripts/lab exec 2 -- bash
  scripts/lab cut 1 && scripts/lab exec 1 -- ping -c 1 node2; scripts/lab heal
  scripts/lab power-cut 3 && scripts/lab start 3
  scripts/lab synergy knob appearanceMs 5000 && scripts/lab synergy
  scripts/lab down`

class UsageError extends Error {}

interface Options {
  readonly name?: string
  readonly drives?: string
  readonly size?: string
  readonly store?: string
  readonly alone?: boolean
  readonly synergy?: boolean
  readonly help?: boolean
}

function parse(args: readonly string[]): { words: string[]; command: string[]; options: Options } {
  const end = args.indexOf('--')
  const text = { type: 'string' } as const
  try {
    const { positionals, values } = parseArgs({
      args: args.slice(0, end < 0 ? undefined : end),
      allowPositionals: true,
      options: {
        name: text,
        drives: text,
        size: text,
        store: text,
        alone: { type: 'boolean' },
        synergy: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    return { words: positionals, command: end < 0 ? [] : args.slice(end + 1), options: values }
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** What a verb takes: how many words at least and at most, and what it does with them. Resolves to the exit code. */
interface Verb {
  readonly words: readonly [number, number]
  run(words: readonly string[], options: Options, command: readonly string[]): Promise<number>
}

/** A verb whose words are numbers of hosts. */
function onHosts(
  min: number,
  max: number,
  act: (lab: Lab, hosts: readonly Host[]) => Promise<string>,
): Verb {
  return {
    words: [min, max],
    async run(words, { name }) {
      const lab = Lab.find(name)
      console.log(
        await act(
          lab,
          words.map((word) => hostOf(lab, word)),
        ),
      )
      return 0
    },
  }
}

function onHost(act: (host: Host, lab: Lab) => Promise<string>): Verb {
  return onHosts(1, 1, (lab, [host]) => act(host as Host, lab))
}

const VERBS: Readonly<Record<string, Verb>> = {
  up: { words: [1, 1], run: ([count], options) => up(wholeNumber('HOSTS', count), options) },
  exec: {
    words: [1, 1],
    run: ([host = ''], { name }, command) => exec(hostOf(Lab.find(name), host), command),
  },
  cut: onHosts(1, 2, async (lab, [a, b]) => {
    await lab.cut(a as Host, b)
    return `not a packet between ${a?.name} and ${b?.name ?? 'any other'}`
  }),
  heal: onHosts(0, 2, async (lab, [a, b]) => {
    await lab.heal(a, b)
    return cutsText(await lab.cuts())
  }),
  delay: {
    words: [2, 2],
    async run([host = '', time = ''], { name }) {
      const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(time) ?? []
      if (!number) throw new UsageError(`delay ${time}: a time such as 80ms or 1s`)
      const ms = Number(number) * (unit === 's' ? 1000 : 1)
      const to = hostOf(Lab.find(name), host)
      await (ms === 0 ? to.noDelay() : to.delay(ms))
      console.log(`what ${to.name} sends arrives ${ms} ms later`)
      return 0
    },
  },
  kill: onHost(async (host) => {
    await host.kill9()
    return `keeper and daemon of ${host.name} are killed: scripts/lab start ${host.number}`
  }),
  pause: onHost(async (host) => {
    await host.pause()
    return `keeper and daemon of ${host.name} stand still: scripts/lab resume ${host.number}`
  }),
  resume: onHost(async (host) => {
    await host.resume()
    return `keeper and daemon of ${host.name} go on`
  }),
  'power-cut': onHost(async (host) => {
    await host.powerCut()
    return `${host.name} is off: scripts/lab start ${host.number}`
  }),
  start: onHost(async (host) => {
    await host.start()
    return `${host.name} is up`
  }),
  status: {
    words: [0, 0],
    async run(_, { name }) {
      await status(Lab.find(name))
      return 0
    },
  },
  synergy: {
    words: [0, 3],
    async run([verb = 'status', knob, value], { name }) {
      const lab = Lab.find(name)
      if (verb === 'status' && knob === undefined) console.log(frameText(lab))
      else if (verb === 'knob' && knob !== undefined) console.log(turnKnob(lab, knob, value))
      else throw new UsageError('synergy: status, or knob NAME [VALUE]')
      return 0
    },
  },
  down: {
    words: [0, 0],
    async run(_, { name = 'lab' }) {
      console.log((await Lab.end(name)) ? `${name} is down` : `no lab ${name}: nothing to end`)
      return 0
    },
  },
}

function hostOf(lab: Lab, word: string): Host {
  return lab.host(wholeNumber('host', word))
}

function wholeNumber(what: string, word = ''): number {
  if (/^\d{1,6}$/.test(word)) return Number(word)
  throw new UsageError(`${what} ${word}: a number is needed`)
}

async function up(count: number, options: Options): Promise<number> {
  const { name, drives, size, store, alone, synergy } = options
  const startedMs = performance.now()
  const lab = await Lab.up(count, {
    ...(name === undefined ? {} : { name }),
    ...(drives === undefined ? {} : { drives: wholeNumber('--drives', drives) }),
    ...(size === undefined ? {} : { size }),
    ...(store === undefined ? {} : { store }),
    cluster: alone !== true,
    ...(synergy ? { synergy: {} } : {}),
    progress: (line) => console.log(`· ${line}`),
  })
  const option = name === undefined ? '' : ` --name ${name}`
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
  console.log(`${lab.name} is up after ${seconds} s: scripts/lab exec 1${option} -- weft status`)
  if (synergy) console.log(connectText(lab))
  return 0
}

async function exec(host: Host, command: readonly string[]): Promise<number> {
  if (command.length === 0) throw new UsageError('exec: a command after --, such as -- weft status')
  const here = process.cwd()
  const isHidden = OWN_DIRECTORIES.some((own) => here === own || here.startsWith(`${own}/`))
  const child = host.spawn(command, { stdio: 'inherit', inside: isHidden ? '/' : here })
  // The terminal sends Ctrl-C to the command itself, which may go on for a while.
  process.on('SIGINT', () => {})
  for (const name of ['SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => signal(childrenOf(child.pid), name))
  }
  const [code, by] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  return by === null ? (code ?? 1) : 128 + constants.signals[by]
}

function childrenOf(pid = 0): number[] {
  try {
    const words = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ')
    return words.filter((word) => word !== '').map(Number)
  } catch {
    return [] // it went while we looked
  }
}

async function status(lab: Lab): Promise<void> {
  const free = (lab.freeBytes() / 2 ** 30).toFixed(1)
  console.log(
    `${lab.name}: ${lab.hosts.length} hosts, images in ${lab.images}, ${free} GiB free there`,
  )
  for (const host of lab.hosts) {
    const { number, name, ip, rack, state } = host
    const ms = state === 'off' ? 0 : await host.delayMs()
    const delay = ms === 0 ? '' : `  delayed by ${ms} ms`
    console.log(`  ${number}  ${name}  ${ip}  rack ${rack}  ${state}${STATE_WORDS[state]}${delay}`)
  }
  console.log(cutsText(await lab.cuts()))
  if (lab.hasAppliance) console.log(frameText(lab))
}

const STATE_WORDS: Readonly<Record<Host['state'], string>> = {
  up: '',
  down: ': runs, its node does not',
  paused: ': its node is stopped',
  off: ': has no power',
}

function cutsText(cuts: readonly (readonly [number, number])[]): string {
  if (cuts.length === 0) return 'nothing is cut'
  return `cut: ${cuts.map(([a, b]) => `${a} from ${b}`).join(', ')}`
}

async function main(args: readonly string[]): Promise<number> {
  const { words, command, options } = parse(args)
  const [name = '', ...rest] = words
  if (options.help || name === 'help') {
    console.log(USAGE)
    return 0
  }
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined
  if (!verb) throw new UsageError(name === '' ? 'a verb is needed' : `no verb ${name}`)
  const [min, max] = verb.words
  if (rest.length < min || rest.length > max) {
    const wanted = min === max ? `${min}` : `${min} to ${max}`
    throw new UsageError(`${name}: arguments given: ${rest.length}, needed: ${wanted}`)
  }
  return verb.run(rest, options, command)
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(`lab: ${error instanceof Error ? error.message : String(error)}`)
  if (error instanceof UsageError) console.error('  next: scripts/lab --help')
  process.exitCode = process.argv[2] === 'exec' ? 125 : error instanceof UsageError ? 2 : 1
}
