import { spawn } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { mountFuse, openFuse, probeFuse, unmountEntry, unmountFuse } from '../../src/fuse/device.ts'
import { mountAt, mountTable } from '../../src/fuse/mount-table.ts'

/** A directory whose mounts go away with it. Nobody serves them: no test touches a live one but through mountinfo. */
function makeWorld() {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'weft-device-')))
  const fds: number[] = []
  return {
    path(name: string): string {
      return join(dir, name)
    },
    mkdir(name: string): string {
      mkdirSync(join(dir, name))
      return join(dir, name)
    },
    open(): number {
      const fd = openFuse()
      fds.push(fd)
      return fd
    },
    closeFd(fd: number): void {
      fds.splice(fds.indexOf(fd), 1)
      closeSync(fd)
    },
    async close(): Promise<void> {
      for (const fd of fds) closeSync(fd)
      const left = mountTable().filter((entry) => entry.mountPoint.startsWith(`${dir}/`))
      for (const { mountPoint } of left.reverse()) await unmountEntry(mountPoint, true, 5000)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

async function refusal(work: Promise<unknown>): Promise<FsError> {
  try {
    await work
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('was not refused')
}

test('a descriptor is fresh, then live in one mount, then ended', async () => {
  const world = makeWorld()
  try {
    const fd = world.open()
    const target = world.mkdir('with space')
    assert.is(probeFuse(fd), 'fresh')
    const mounted = await mountFuse(fd, target, { source: 'weft', options: ['ro', 'nosuid'] })
    assert.is(mounted.target, target)
    const entry = mountAt(target)
    assert.is(entry?.fsType, 'fuse.weft')
    assert.is(entry?.source, 'weft')
    assert.is(entry?.id, mounted.mountId)
    assert.is(entry?.dev, mounted.dev)
    assert.match(entry?.options ?? '', /^ro,nosuid/)
    assert.match(entry?.superOptions ?? '', /default_permissions,allow_other/)
    assert.is(probeFuse(fd), 'live')
    await unmountFuse(target)
    assert.is(mountAt(target), undefined)
    assert.is(probeFuse(fd), 'ended')
  } finally {
    await world.close()
  }
})

test('a symlink to a directory is mounted on the directory', async () => {
  const world = makeWorld()
  try {
    const target = world.mkdir('real')
    symlinkSync(target, world.path('link'))
    const mounted = await mountFuse(world.open(), world.path('link'))
    assert.is(mounted.target, target)
    const again = await refusal(mountFuse(world.open(), world.path('link')))
    assert.is(again.code, 'EBUSY')
    await unmountFuse(world.path('link'))
    assert.is(mountAt(target), undefined)
  } finally {
    await world.close()
  }
})

test('a refused mount says why and leaves the descriptor fresh', async () => {
  const world = makeWorld()
  try {
    const fd = world.open()
    writeFileSync(world.path('file'), '')
    const tmpfs = '/proc' // a mount that is always there and never ours

    const missing = await refusal(mountFuse(fd, world.path('nowhere')))
    assert.is(missing.code, 'ENOENT')
    assert.match(missing.message, /nowhere does not exist; run: mkdir -p/)
    const file = await refusal(mountFuse(fd, world.path('file')))
    assert.is(file.code, 'ENOTDIR')
    assert.match(file.message, /file is not a directory/)
    const below = await refusal(mountFuse(fd, world.path('file/below')))
    assert.is(below.code, 'ENOTDIR')
    const foreign = await refusal(mountFuse(fd, tmpfs))
    assert.is(foreign.code, 'EBUSY')
    assert.match(foreign.message, /is already a mount of proc \(proc\)/)
    const option = await refusal(mountFuse(fd, world.mkdir('ok'), { options: ['ro,fd=9'] }))
    assert.is(option.code, 'EINVAL')
    assert.is(probeFuse(fd), 'fresh')
  } finally {
    await world.close()
  }
})

test('a live mount that nobody answers for is refused, not waited for and not taken away', async () => {
  const world = makeWorld()
  try {
    const target = world.mkdir('point')
    const first = await mountFuse(world.open(), target)
    const second = await refusal(mountFuse(world.open(), target))
    assert.is(second.code, 'EBUSY')
    assert.match(second.message, /point is already a mount of weft; weft umount it first/)
    assert.is(mountAt(target)?.id, first.mountId)
  } finally {
    await world.close()
  }
})

test('dead mounts, one on another, are replaced by the new one', async () => {
  const world = makeWorld()
  try {
    const target = world.mkdir('point')
    for (let i = 0; i < 2; i++) {
      const dead = world.open()
      await mountFuse(dead, target)
      world.closeFd(dead)
    }
    const fd = world.open()
    await mountFuse(fd, target)
    assert.is(mountTable().filter((entry) => entry.mountPoint === target).length, 1)
    assert.is(probeFuse(fd), 'live')
  } finally {
    await world.close()
  }
})

test('unmounting what is no mount of ours is refused', async () => {
  const world = makeWorld()
  try {
    const plain = await refusal(unmountFuse(world.mkdir('plain')))
    assert.is(plain.code, 'EINVAL')
    assert.match(plain.message, /is not a mount point/)
    const foreign = await refusal(unmountFuse('/proc'))
    assert.is(foreign.code, 'EINVAL')
    assert.match(foreign.message, /is a mount of proc, not of weft/)
  } finally {
    await world.close()
  }
})

test('without root a mount is refused with the way out', async () => {
  const world = makeWorld()
  try {
    const door = new URL('../../src/fuse/device.js', import.meta.url).href
    // Loaded as root: the checkout may lie below a home that nobody else can enter.
    const script = `const { mountFuse } = await import(${JSON.stringify(door)}); process.setuid(65534)
      await mountFuse(0, '/mnt').catch((error) => console.log(error.code, error.message))`
    const text = await new Promise<string>((resolve, reject) => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let text = ''
      child.stdout.setEncoding('utf8').on('data', (more: string) => {
        text += more
      })
      child.on('error', reject).on('close', () => resolve(text))
    })
    assert.match(text, /^EPERM .*needs root; without it: --driver fuse-native/)
  } finally {
    await world.close()
  }
})

test.run()
