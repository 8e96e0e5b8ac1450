import type { Frame } from './frame.ts'
import type { Knobs } from './knobs.ts'
import type { Blade, Drive, Sighting } from './model.ts'
import type { Pace } from './pace.ts'

export interface HostHooks {
  /** A lab lets a disk appear on the host, or vanish. One at a time, in the order of the changes. */
  readonly onZoned?: (seen: Sighting) => void | Promise<void>
  readonly onUnzoned?: (seen: Sighting) => void | Promise<void>
  /** What was on the drive is gone. */
  readonly onErased?: (drive: Drive) => void | Promise<void>
  readonly onPower?: (power: { blade: Blade; on: boolean }) => void | Promise<void>
}

/** What the hosts see of what is zoned to them, after the delay of a rescan; one without power sees it when it is up. */
export class Zoning {
  readonly #frame: Frame
  readonly #knobs: Knobs
  readonly #pace: Pace
  readonly #hooks: HostHooks
  /** What is zoned, and what the host sees for it: nothing yet, or another drive. */
  readonly #zones = new Map<Drive, { readonly blade: Blade; seen: Sighting | null }>()
  #told: Promise<void> = Promise.resolve()

  constructor(frame: Frame, knobs: Knobs, pace: Pace, hooks: HostHooks) {
    this.#frame = frame
    this.#knobs = knobs
    this.#pace = pace
    this.#hooks = hooks
  }

  zone(blade: Blade, drive: Drive): void {
    this.#zones.set(drive, { blade, seen: null })
    this.#appearLater(drive)
  }

  unzone(drive: Drive): void {
    const zone = this.#zones.get(drive)
    this.#zones.delete(drive)
    if (zone === undefined) return
    this.#pace.after(this.#knobs.appearanceMs, () => {
      if (zone.seen === null) return
      this.#frame.sightings.delete(zone.seen)
      this.#tell(this.#hooks.onUnzoned, zone.seen)
    })
  }

  powered(blade: Blade, on: boolean): void {
    this.#tell(this.#hooks.onPower, { blade, on })
    if (!on) return
    for (const [drive, zone] of this.#zones) if (zone.blade === blade) this.#appearLater(drive)
  }

  erased(drive: Drive): void {
    this.#tell(this.#hooks.onErased, drive)
  }

  #appearLater(drive: Drive): void {
    const zone = this.#zones.get(drive)!
    this.#pace.after(this.#knobs.appearanceMs, () => {
      if (zone !== this.#zones.get(drive) || zone.seen !== null) return
      if (zone.blade.power !== 'On' || this.#knobs.appearance === 'never') return
      const shown = this.#knobs.appearance === 'wrong' ? this.#another(drive) : drive
      zone.seen = { blade: zone.blade, drive: shown }
      this.#frame.sightings.add(zone.seen)
      this.#tell(this.#hooks.onZoned, zone.seen)
    })
  }

  /** A drive that nobody was given. */
  #another(drive: Drive): Drive {
    const other = this.#frame.drives.find(
      (one) =>
        one.enclosure === drive.enclosure &&
        this.#frame.isFree(one) &&
        ![...this.#frame.sightings].some((seen) => seen.drive === one),
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
