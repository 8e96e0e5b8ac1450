import type { Frame } from './frame.ts'
import type { Knobs } from './knobs.ts'
import type { Blade, Drive } from './model.ts'
import type { Pace } from './pace.ts'

export interface ZonedDrive {
  readonly blade: Blade
  /** What the host sees: not always what was asked for. */
  readonly drive: Drive
}

export interface HostHooks {
  /** A lab lets a disk appear on the host, or vanish. One at a time, in the order of the changes. */
  readonly onZoned?: (zoned: ZonedDrive) => void | Promise<void>
  readonly onUnzoned?: (zoned: ZonedDrive) => void | Promise<void>
  readonly onPower?: (power: { blade: Blade; on: boolean }) => void | Promise<void>
}

/** What the hosts see of what is zoned to them, after the delay of a rescan; one without power sees it when it is up. */
export class Zoning {
  readonly #frame: Frame
  readonly #knobs: Knobs
  readonly #pace: Pace
  readonly #hooks: HostHooks
  /** What is zoned, and the drive that the host sees for it: none yet, or another one. */
  readonly #zones = new Map<Drive, { readonly blade: Blade; shown: Drive | null }>()
  #told: Promise<void> = Promise.resolve()

  constructor(frame: Frame, knobs: Knobs, pace: Pace, hooks: HostHooks) {
    this.#frame = frame
    this.#knobs = knobs
    this.#pace = pace
    this.#hooks = hooks
  }

  zone(blade: Blade, drive: Drive): void {
    this.#zones.set(drive, { blade, shown: null })
    this.#appearLater(drive)
  }

  unzone(drive: Drive): void {
    const zone = this.#zones.get(drive)
    this.#zones.delete(drive)
    if (zone === undefined) return
    this.#pace.after(this.#knobs.appearanceMs, () => {
      if (zone.shown === null) return
      this.#frame.seen.delete(zone.shown)
      this.#tell(this.#hooks.onUnzoned, { blade: zone.blade, drive: zone.shown })
    })
  }

  powered(blade: Blade, on: boolean): void {
    this.#tell(this.#hooks.onPower, { blade, on })
    if (!on) return
    for (const [drive, zone] of this.#zones) if (zone.blade === blade) this.#appearLater(drive)
  }

  #appearLater(drive: Drive): void {
    const zone = this.#zones.get(drive)!
    this.#pace.after(this.#knobs.appearanceMs, () => {
      if (zone !== this.#zones.get(drive) || zone.shown !== null) return
      if (zone.blade.power !== 'On' || this.#knobs.appearance === 'never') return
      const shown = this.#knobs.appearance === 'wrong' ? this.#another(drive) : drive
      zone.shown = shown
      this.#frame.seen.set(shown, zone.blade)
      this.#tell(this.#hooks.onZoned, { blade: zone.blade, drive: shown })
    })
  }

  /** A drive that nobody was given. */
  #another(drive: Drive): Drive {
    const other = this.#frame.drives.find(
      (one) =>
        one.enclosure === drive.enclosure &&
        !this.#zones.has(one) &&
        !this.#frame.seen.has(one) &&
        this.#frame.isFree(one),
    )
    if (other === undefined) throw new Error('no drive is left to appear in place of another')
    return other
  }

  #tell<T>(hook: ((event: T) => void | Promise<void>) | undefined, event: T): void {
    // A hook that fails ends the process: there is nobody who could do without it.
    if (hook !== undefined) this.#told = this.#told.then(() => hook(event))
  }

  /** When every hook that was called has done its part. */
  async settled(): Promise<void> {
    await this.#told
  }
}
