import { FsError, type NodeId } from '../../src/base/index.ts'
import type { ServiceClass } from '../../src/drives/index.ts'
import {
  type FreeDrive,
  type HeldDrive,
  isTagOf,
  type Provisioner,
  type Step,
} from '../../src/provision/index.ts'

/** How a request reaches the frame, or the host, and its answer the caller; a simulation loses, delays and repeats here. */
export interface Wire {
  pass<T>(op: string, signal: AbortSignal, effect: () => T): Promise<T>
  /** Time goes by. @throws when the signal is aborted */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

/** Nothing is lost and nothing takes time. */
export const plainWire: Wire = {
  async pass(_op, signal, effect) {
    signal.throwIfAborted()
    return effect()
  },
  async sleep() {},
}

export interface FrameDrive extends FreeDrive {
  tag: string | null
  host: NodeId | null
  trouble: string
  /** Pulled out, or away for another reason: what is held is known by its tag alone. */
  isHidden?: boolean
  /** Simulated time until which it is erased; 0 when it is not. */
  erasedAtMs: number
}

/** An appliance in memory, with what it does wrong. What it knows outlives everybody who asks it. */
export class FakeFrame {
  readonly drives: FrameDrive[] = []
  /** Attaching and detaching with the server on. */
  power: 'online' | 'off-required' = 'online'
  eraseMs = 0
  /** Serials of drives that were given back as they came, not erased. */
  readonly keptData: string[] = []
  /** How often it said no, for a test that has to have tried. */
  readonly refusals = { busy: 0, power: 0 }
  nowMs: () => number = () => 0
  /** Called before a drive leaves its host. */
  onDetach: (drive: FrameDrive) => void = () => {}

  constructor(count: number, shape: (index: number) => { class: ServiceClass; sizeBytes: number }) {
    for (let index = 0; index < count; index++) {
      const serial = `S${String(index).padStart(3, '0')}`
      const wwid = `5000c500${index.toString(16).padStart(8, '0')}`
      const place = `/bays/${String(index).padStart(3, '0')}`
      const name = `Frame1, bay 3, drive ${index + 1}`
      const fresh = { tag: null, host: null, trouble: '', erasedAtMs: 0 }
      this.drives.push({ place, name, serial, wwid, ...shape(index), ...fresh })
    }
  }

  provisioner(node: NodeId, wire: Wire = plainWire): Provisioner {
    return new FakeProvisioner(this, node, wire)
  }

  byTag(tag: string): FrameDrive | null {
    return this.drives.find((drive) => drive.tag === tag) ?? null
  }

  isErasing({ erasedAtMs }: FrameDrive): boolean {
    return erasedAtMs > this.nowMs()
  }

  reserve(tag: string, place: string): FrameDrive {
    const own = this.byTag(tag)
    if (own) return own
    const drive = this.drives.find((one) => one.place === place)
    if (!drive) throw new FsError('ENOENT', 'frame.reserve', { place })
    if (drive.tag !== null || this.isErasing(drive)) {
      this.refusals.busy++
      throw new FsError('EBUSY', 'frame.reserve', { place, by: drive.tag })
    }
    drive.tag = tag
    return drive
  }

  attach(tag: string, node: NodeId): FrameDrive {
    const drive = this.#mustHold(tag, 'attach')
    if (drive.host === node) return drive
    if (drive.host !== null) throw new FsError('EBUSY', 'frame.attach', { tag, by: drive.host })
    this.#refusePower('attach')
    drive.host = node
    return drive
  }

  detach(tag: string): void {
    const drive = this.byTag(tag)
    if (!drive?.host) return
    this.#refusePower('detach')
    this.onDetach(drive)
    drive.host = null
  }

  /** It is erased from then on, and of nobody at once: whoever asks for it meanwhile is refused. */
  release(tag: string, keepsData = false): FrameDrive | null {
    const drive = this.byTag(tag)
    if (!drive) return null
    if (drive.host !== null) throw new FsError('EBUSY', 'frame.release', { tag, by: drive.host })
    drive.tag = null
    if (keepsData) this.keptData.push(drive.serial)
    drive.erasedAtMs = this.nowMs() + this.eraseMs
    return drive
  }

  #mustHold(tag: string, op: string): FrameDrive {
    const drive = this.byTag(tag)
    if (!drive) throw new FsError('ENOENT', `frame.${op}`, { tag })
    return drive
  }

  #refusePower(op: string): void {
    if (this.power === 'online') return
    this.refusals.power++
    const message = `${op}: the server is powered on, and Local storage can only be changed when the power is off`
    throw new FsError('EPERM', `frame.${op}`, { needsPowerOff: true, message })
  }
}

class FakeProvisioner implements Provisioner {
  readonly kind = 'oneview'
  readonly #frame: FakeFrame
  readonly #node: NodeId
  readonly #wire: Wire

  constructor(frame: FakeFrame, node: NodeId, wire: Wire) {
    this.#frame = frame
    this.#node = node
    this.#wire = wire
  }

  async free(signal: AbortSignal): Promise<readonly FreeDrive[]> {
    return await this.#wire.pass('free', signal, () =>
      this.#frame.drives.filter(
        (drive) => drive.tag === null && drive.trouble === '' && !this.#frame.isErasing(drive),
      ),
    )
  }

  async held(signal: AbortSignal): Promise<readonly HeldDrive[]> {
    return await this.#wire.pass('held', signal, () =>
      this.#frame.drives.flatMap((drive) => (drive.tag === null ? [] : [this.#held(drive)])),
    )
  }

  async reserve(tag: string, place: string, { signal }: Step): Promise<HeldDrive> {
    const effect = () => this.#held(this.#frame.reserve(tag, place))
    return await this.#wire.pass('reserve', signal, effect)
  }

  async attach(tag: string, { signal }: Step): Promise<HeldDrive> {
    const effect = () => this.#held(this.#frame.attach(tag, this.#node))
    return await this.#wire.pass('attach', signal, effect)
  }

  async detach(tag: string, { signal }: Step): Promise<void> {
    await this.#wire.pass('detach', signal, () => this.#frame.detach(tag))
  }

  async release(
    tag: string,
    { signal, progress }: Step,
    { keepsData } = { keepsData: false },
  ): Promise<void> {
    const effect = () => this.#frame.release(tag, keepsData)
    const drive = await this.#wire.pass('release', signal, effect)
    while (drive && this.#frame.isErasing(drive)) {
      progress('erasing')
      await this.#wire.sleep(10_000, signal)
    }
  }

  async close(): Promise<void> {}

  #held(drive: FrameDrive): HeldDrive {
    const { tag, host, trouble, place, name, class: cos, sizeBytes, serial, wwid } = drive
    const identity = drive.isHidden
      ? { place: '', name: `${tag}, drive unknown`, sizeBytes: 0, serial: '', wwid: '' }
      : { place, name, sizeBytes, serial, wwid }
    return {
      ...{ ...identity, class: cos, trouble, tag: tag ?? '' },
      state: host === null ? 'reserved' : 'attached',
      isHere: host === this.#node,
    }
  }
}

/** Whose a drive is, for a check. */
export function isHeldBy(drive: FrameDrive, cluster: string, node: NodeId): boolean {
  return drive.tag !== null && isTagOf({ cluster, node }, drive.tag)
}
