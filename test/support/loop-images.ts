import { readdirSync, readFileSync } from 'node:fs'
import { sh, until } from './node-world.ts'

/** Image files as disks: the loop devices of this machine, told by the file behind them and never by their number. */

const DETACH_MS_MAX = 20_000

/** @returns the device, such as /dev/loop7 */
export async function attach(image: string): Promise<string> {
  return (await sh('losetup', ['--find', '--show', image])).trim()
}

/**
 * At once, or with its last mount.
 * Source: linux drivers/block/loop.c, loop_clr_fd, which only marks a device that others have open.
 */
export async function detach(device: string): Promise<void> {
  await sh('losetup', ['--detach', device])
}

/** As detach, of all devices with such a file. One that has gone meanwhile is no error. */
export async function letGo(isMeant: (file: string) => boolean): Promise<void> {
  for (const { device } of attached().filter(({ file }) => isMeant(file))) {
    await detach(device).catch((error: unknown) => {
      if (attached().some((one) => one.device === device && isMeant(one.file))) throw error
    })
  }
}

/** Returns when no loop device has such a file any more: one that stays has a user who does not end. @throws Error */
export async function detached(isMeant: (file: string) => boolean): Promise<void> {
  await until(
    'drives are detached',
    () => !attached().some(({ file }) => isMeant(file)),
    DETACH_MS_MAX,
  )
}

function attached(): { device: string; file: string }[] {
  return readdirSync('/sys/block').flatMap((name) => {
    try {
      const file = readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim()
      return [{ device: `/dev/${name}`, file }]
    } catch {
      return [] // no loop device, or nothing behind it
    }
  })
}
