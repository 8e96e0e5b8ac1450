// deadline: 300 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Lab } from '../support/hosts.ts'
import type { Host } from '../support/lab-host.ts'
import { SharedLab } from '../support/shared-lab.ts'
import { withVolumeOfThree } from '../support/volume-of-three.ts'

const shared = new SharedLab(3)
/** Of the test that runs. */
let volume = ''
let place = ''
const MIB = 1024 * 1024
const FILE_MIB = 48
/** What a node may be sent that reads a file of which it has a copy. */
const SENT_MAX = 8 * MIB
const MENDED_MS = 60_000

function withVolume(work: (lab: Lab) => Promise<void>): Promise<void> {
  volume = shared.name('near')
  place = `/mnt/weft/${volume}`
  return withVolumeOfThree(shared, volume, work)
}

function shell(host: Host, command: string): Promise<string> {
  return host.run('bash', '-ec', `cd ${place}; ${command}`)
}

/** Past the page cache of the host: what weft answers. */
function readDirect(host: Host, name: string): Promise<string> {
  return shell(host, `dd if=${name} iflag=direct bs=1M status=none | sha256sum`)
}

async function sentBytes(host: Host): Promise<number> {
  return Number(await host.run('cat', '/sys/class/net/eth0/statistics/tx_bytes'))
}

/** A file that is on every copy; `other` has read of it, and so was told that it may read its own. */
async function withFile(lab: Lab): Promise<{ owner: Host; other: Host; sum: string }> {
  const [owner, other] = [lab.host(2), lab.host(3)]
  await shell(owner, `head -c ${FILE_MIB}M /dev/urandom >big; sync big`)
  await shell(other, 'dd if=big iflag=direct bs=1M count=2 status=none >/dev/null; sleep 1')
  return { owner, other, sum: await readDirect(owner, 'big') }
}

async function chunkFiles(host: Host): Promise<string[]> {
  const found = await host.run('find', '/mnt/drive1', '-path', '*/chunks/*', '-type', 'f')
  return found.trim().split('\n').sort()
}

test('a node reads what it has a copy of from its own drives, as it was last written by anybody', () =>
  withVolume(async (lab) => {
    const { owner, other, sum } = await withFile(lab)
    const before = await sentBytes(owner)
    assert.is(await readDirect(other, 'big'), sum)
    const sent = (await sentBytes(owner)) - before
    assert.ok(sent < SENT_MAX, `${Math.round(sent / MIB)} of ${FILE_MIB} MiB came from the owner`)

    for (const writer of [owner, lab.host(1), other]) {
      for (const how of ['conv=notrunc,fsync', 'conv=notrunc']) {
        await shell(writer, `head -c 5M /dev/urandom | dd of=big bs=1M seek=7 ${how} status=none`)
        const [seen, is] = [await readDirect(other, 'big'), await readDirect(owner, 'big')]
        assert.is(seen, is, `written by ${writer.name} with ${how}`)
      }
      await shell(writer, 'truncate -s -1M big; echo end >>big')
      assert.is(await readDirect(other, 'big'), await readDirect(owner, 'big'))
    }
  }))

test('a volume that its owner locks cannot be read from a copy either', () =>
  withVolume(async (lab) => {
    const { owner, other, sum } = await withFile(lab)
    assert.is(await readDirect(other, 'big'), sum)
    await owner.weft('key', 'lock', volume)
    const refused = await other.tryRun('dd', `if=${place}/big`, 'iflag=direct', 'bs=1M')
    assert.match(refused.stderr, /Required key not available/)
    await owner.weft('key', 'unlock', volume)
    assert.is(await readDirect(other, 'big'), sum)
  }))

test('what both have left is sound', () => shared.end())

/** In a lab of its own: every chunk there is one of its file, and at the end they are gone. */
test('what is damaged or not there in the copy of a node is read from the owner, and mended', () =>
  withVolume(async (lab) => {
    const { other, sum } = await withFile(lab)
    assert.is(await readDirect(other, 'big'), sum)
    const files = await chunkFiles(other)
    assert.ok(files.length > FILE_MIB / 8, `${files.length} chunks`)
    const sumOf = (path: string) => other.run('sha256sum', path)
    const whole = await Promise.all(files.map(sumOf))
    for (const path of files) {
      await other.run('bash', '-c', `echo damage | dd of=${path} bs=1 seek=70000 conv=notrunc`)
    }
    const untilMs = Date.now() + MENDED_MS
    let now: string[] = []
    // A part that came from the owner, because its map was not there in time, shows no damage: it is read again.
    while (Date.now() < untilMs) {
      assert.is(await readDirect(other, 'big'), sum)
      now = await Promise.all(files.map(sumOf))
      if (now.every((one, at) => one === whole[at])) break
    }
    assert.equal(now, whole)

    await other.run('rm', ...files)
    assert.is(await readDirect(other, 'big'), sum)
  }))

test('its lab ends', () => shared.close())

test.run()
