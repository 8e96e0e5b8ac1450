import { FsError } from '../base/index.ts'
import type { FreeDrive, HeldDrive, Provisioner } from './provisioner.ts'

/** For machines without a frame: their drives are what a person has put in. It gives nothing and holds nothing. */
export class FixedDrives implements Provisioner {
  readonly kind = 'fixed'

  async free(): Promise<readonly FreeDrive[]> {
    return []
  }

  async held(): Promise<readonly HeldDrive[]> {
    return []
  }

  async reserve(tag: string, place: string): Promise<HeldDrive> {
    throw refused('reserve', { tag, place })
  }

  async attach(tag: string): Promise<HeldDrive> {
    throw refused('attach', { tag })
  }

  /** Nothing is held, so it is done. */
  async detach(): Promise<void> {}

  /** Nothing is held, so it is done. */
  async release(): Promise<void> {}

  async close(): Promise<void> {}
}

function refused(op: string, subject: object): FsError {
  return new FsError('ENOTSUP', `provision.${op}`, {
    ...subject,
    message:
      'this node takes its drives from nobody: put a disk in and `weft drive add` it, or connect a frame with `weft synergy connect`',
  })
}
