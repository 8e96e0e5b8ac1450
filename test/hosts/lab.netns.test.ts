// alone: the kernel gives numbers of namespaces that have ended to the next lab, and it looks for processes by them
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hosts, Lab, testLabName } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { pids, startTicksOf } from '../support/namespaces.ts'
import { type Ended, mountPoints, run, until } from '../support/node-world.ts'

const PROGRAM = resolve(import.meta.dirname, '../../scripts/lab.js')
/** TEST-NET-1, which nobody has. Source: RFC 5737. */
const OUTSIDE = '192.0.2.1'
const SIZE = '500M'
const KINDS = ['net', 'mnt', 'pid', 'uts', 'ipc']

async function reaches(from: Host, ip: string): Promise<boolean> {
  const { code } = await from.tryRun('ping', '-c', '1', '-W', '1', ip)
  return code === 0
}

const isUp = ({ state }: Host) => state === 'up'

/** Who reaches whom. */
async function wires(lab: Lab): Promise<string[]> {
  const pairs = lab.hosts.flatMap((from) =>
    lab.hosts.filter((to) => to !== from).map((to) => ({ from, to })),
  )
  const open = await Promise.all(pairs.map(({ from, to }) => reaches(from, to.ip)))
  return pairs
    .filter((_, index) => open[index])
    .map(({ from, to }) => `${from.number}>${to.number}`)
}

/** What a lab consists of, as the kernel names it. */
interface Parts {
  readonly name: string
  readonly images: string
  /** Such as `net:[4026532281]`. */
  readonly namespaces: readonly string[]
}

async function partsOf(lab: Lab): Promise<Parts> {
  const namespaces: string[] = []
  for (const host of lab.hosts) {
    if (host.state === 'off') continue
    const links = KINDS.map((kind) => `/proc/self/ns/${kind}`)
    namespaces.push(...(await host.run('readlink', ...links)).trim().split('\n'))
  }
  return { name: lab.name, images: lab.images, namespaces }
}

/** Only while their namespaces stand: the kernel gives the numbers to others afterwards. */
function processesOf({ namespaces }: Parts): number[] {
  return pids().filter((pid) =>
    KINDS.some((kind) => {
      try {
        return namespaces.includes(readlinkSync(`/proc/${pid}/ns/${kind}`))
      } catch {
        return false // it went while we looked
      }
    }),
  )
}

/** What is there of a lab that has been ended. */
function leftOf(parts: Parts): string[] {
  const { name, images } = parts
  const left = [images, join('/run/weft-lab', name), join('/run/weft-lab', `${name}.lock`)].filter(
    (path) => existsSync(path),
  )
  for (const device of readdirSync('/sys/block')) {
    const backing = join('/sys/block', device, 'loop/backing_file')
    if (existsSync(backing) && readFileSync(backing, 'utf8').startsWith(images)) left.push(device)
  }
  for (const { point, source } of mountPoints()) {
    if (point.includes(name) || source.includes(name)) left.push(`mount ${point}`)
  }
  left.push(...processesOf(parts).map((pid) => `process ${pid}`))
  return left
}

function lab(...args: string[]): Promise<Ended> {
  return run(process.execPath, [PROGRAM, ...args], { timeoutMs: 60_000 })
}

/** scripts/lab under way, and what it has printed. */
function labBeside(...args: string[]): { child: ChildProcess; printed: () => string } {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more
  })
  return { child, printed: () => text }
}

test('hosts reach each other and nothing else, until they are cut off; each has its own namespace mounted', async () => {
  const before = mountPoints()
  const lab = await hosts(3, { size: SIZE, cluster: false })
  try {
    const [a, b, c] = [lab.host(1), lab.host(2), lab.host(3)]
    assert.is((await wires(lab)).length, 6)
    for (const from of lab.hosts) {
      assert.not.ok(await reaches(from, OUTSIDE))
      assert.is((await from.run('ip', 'route', 'show', 'default')).trim(), '')
      await from.run('mkdir', `/mnt/weft/of-${from.name}`)
      assert.is((await from.run('ls', '/mnt/weft')).trim(), `of-${from.name}`)
      assert.is((await from.run('hostname')).trim(), from.name)
      const says = await from.run('sh', '-c', 'echo $WEFT_HOME $WEFT_LAB_RACK')
      assert.is(says.trim(), `${from.home} ${from.rack}`)
    }
    assert.equal(mountPoints(), before, 'nothing of it in our own mount namespace')
    assert.ok(await reaches(a, b.name), 'names are in /etc/hosts')

    await lab.cut(a, b)
    assert.equal(await lab.cuts(), [[1, 2]])
    assert.equal(await wires(lab), ['1>3', '2>3', '3>1', '3>2'])
    await lab.cut(c)
    assert.equal(await wires(lab), [])
    await lab.heal(a, b)
    assert.equal(await wires(lab), ['1>2', '2>1'])
    await lab.heal()
    assert.is((await wires(lab)).length, 6)

    await b.pause()
    assert.is(b.state, 'paused')
    assert.ok(await reaches(a, b.ip), 'its kernel goes on')
    const waiting = b.run('ls', '/mnt/weft')
    await b.resume()
    assert.is((await waiting).trim(), 'of-node2')
    assert.is(b.state, 'up')
    await assertDelayed(lab, a, b)
    for (const host of lab.hosts) await host.weft('fsck')
  } finally {
    await lab.close()
  }
})

/** A kernel without netem must be told so, and say so. */
async function assertDelayed(lab: Lab, a: Host, b: Host): Promise<void> {
  try {
    await a.delay(80)
  } catch (error) {
    assert.match(String(error), /this kernel cannot delay packets: .*CONFIG_NET_SCH_NETEM/)
    return
  }
  const roundTrip = async () => {
    const said = await a.run('ping', '-c', '1', '-W', '2', b.ip)
    return Number(/time=([\d.]+) ms/.exec(said)?.[1])
  }
  assert.ok((await roundTrip()) >= 80)
  assert.is(await a.delayMs(), 80)
  await lab.heal()
  assert.ok((await roundTrip()) < 80)
}

test('what was synced is there after kill -9 of the node and after a cut of power, and what was not is lost by the cut', async () => {
  const lab = await hosts(1, { drives: 2, size: SIZE })
  try {
    const a = lab.host(1)
    const { drives } = JSON.parse(await a.weft('drive', 'list', '--json')) as {
      drives: { dir: string }[]
    }
    assert.equal(
      drives.map(({ dir }) => dir),
      [join(a.home, 'drives/default'), '/mnt/drive2'],
    )
    const write = (text: string, file: string) =>
      a.run('sh', '-c', `echo ${text} >${file}; sync ${file} $(dirname ${file})`)
    await a.run('mkdir', '/mnt/weft/notes')
    await write('first', '/mnt/weft/notes/one')

    await a.kill9()
    assert.is(a.state, 'down')
    assert.is((await a.tryRun('ls', '/mnt/weft')).code, 2, 'the mount of a dead node is dead')
    await a.start()
    assert.is(await a.run('cat', '/mnt/weft/notes/one'), 'first\n')

    await write('second', '/mnt/weft/notes/two')
    await a.run('sh', '-c', 'echo synced >/mnt/drive1/synced; sync /mnt/drive1/synced')
    await a.run('sh', '-c', 'echo unsynced >/mnt/drive1/unsynced')
    const boot = await a.run('printenv', 'WEFT_BOOT_ID')
    await a.powerCut()
    assert.is(a.state, 'off')
    const refused = await a.run('true').catch(String)
    assert.match(refused, /host 1 is off: scripts\/lab start 1/)
    await a.start()
    assert.is.not(await a.run('printenv', 'WEFT_BOOT_ID'), boot)
    assert.is(await a.run('cat', '/mnt/weft/notes/one', '/mnt/weft/notes/two'), 'first\nsecond\n')
    assert.is(await a.run('cat', '/mnt/drive1/synced'), 'synced\n')
    const { stdout } = await a.tryRun('cat', '/mnt/drive1/unsynced')
    assert.is(stdout, '', 'the name may be there, the bytes may not')
    await a.weft('fsck')
  } finally {
    await lab.close()
  }
})

test('scripts/lab brings up a lab over what its killed self left, and ends it when half of it is gone', async () => {
  const name = testLabName()
  const option = ['--name', name]
  try {
    const half = labBeside('up', '2', '--size', SIZE, ...option)
    await until('a node runs', () => half.printed() && Lab.find(name).hosts.some(isUp), 40_000)
    const left = processesOf(await partsOf(Lab.find(name))).map((pid) => [pid, startTicksOf(pid)])
    half.child.kill('SIGKILL')
    assert.ok(left.length > 0)

    const again = await lab('up', '2', '--size', SIZE, ...option)
    assert.is(again.code, 0, again.stderr)
    assert.match(again.stdout, /ended what was left of an earlier/)
    const whole = await partsOf(Lab.find(name))
    assert.not.ok(left.some(([pid, ticks]) => startTicksOf(Number(pid)) === ticks))

    const refused = await lab('up', '2', ...option)
    assert.is(refused.code, 1)
    assert.match(refused.stderr, /is up already, with 2 hosts: scripts\/lab status/)

    const inHost = labBeside('exec', '2', ...option, '--', 'sh', '-c', 'cat; weft status; exit 7')
    inHost.child.stdin?.end('through\n')
    const [code] = await new Promise<[number | null]>((done) => {
      inHost.child.on('close', (ended) => done([ended]))
    })
    assert.is(code, 7)
    assert.match(inHost.printed(), /^through\nweft .* on \/mnt\/drive1\/weft/)
    assert.is((await lab('exec', '2', ...option, '--', 'no-such-command')).code, 127)

    const seven = await lab('exec', '7', ...option, '--', 'true')
    assert.is(seven.code, 125)
    assert.is(seven.stderr, 'lab: host 7: there are 2; scripts/lab status lists them\n')
    assert.is((await lab('cut', '1', '2', '3', ...option)).code, 2)
    assert.match(
      (await lab('cut', '1', '2', ...option)).stdout,
      /not a packet between node1 and node2/,
    )
    assert.match((await lab('kill', '1', ...option)).stdout, /scripts\/lab start 1/)
    const status = await lab('status', ...option)
    assert.match(status.stdout, /1 +node1 .* down.*\n.*2 +node2 .* up\ncut: 1 from 2\n$/)

    const holder = (await lab('exec', '2', ...option, '--', 'readlink', '/proc/1/ns/pid')).stdout
    const pid = pids().find(
      (each) => isInit(each) && readlinkSync(`/proc/${each}/ns/pid`) === holder.trim(),
    )
    process.kill(Number(pid), 'SIGKILL')
    const down = await lab('down', ...option)
    assert.is(down.code, 0, down.stderr)
    // What was killed by others a moment ago may still be on its way out.
    await until('nothing is left', () => leftOf(whole).length === 0, 2000).catch(() => {})
    assert.equal(leftOf(whole), [])
    assert.match((await lab('status', ...option)).stderr, /no lab .*: scripts\/lab up 3 makes one/)
    assert.is((await lab('down', ...option)).code, 0)
  } finally {
    await Lab.end(name)
  }
})

/** pid 1 of a namespace within ours. */
function isInit(pid: number): boolean {
  try {
    return /^NSpid:\s\d+\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
  } catch {
    return false // it went while we looked
  }
}

test.run()
