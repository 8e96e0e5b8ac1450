import type { BlockDisk } from './block-disks.ts'
import type { ServiceClass } from './label.ts'
import type { Measured } from './measure.ts'

/** A durable 4-KiB write of a healthy NVMe takes 0.02 to 1 ms, with flash that must be flushed up to 2 ms. */
const HIGH_SYNC_MS_MAX = 2
/** A SATA SSD without power-loss protection takes 1 to 8 ms, a hard disk without a cache of its controller 8 ms and more. */
const MEDIUM_SYNC_MS_MAX = 10
/** A hard disk writes up to 280 MB/s at its outer rim; an SSD that is slower than half of that is worn or wrongly attached. */
const MEDIUM_BYTES_PER_SECOND_MIN = 120e6
/** Below that even a quick answer does not make it a drive for what is in a hurry: SATA ends at 550 MB/s. */
const HIGH_BYTES_PER_SECOND_MIN = 400e6

/**
 * Class of service of a disk: 3 for NVMe and SAS SSDs, 2 for an SSD behind SATA, 1 for a hard disk and for all that hangs on USB;
 * and less when a measurement shows that it does not do what its kind promises. Never more: for two seconds a cache makes any
 * disk look quick. Who knows better names the class when adding the drive; so for virtual disks, which mostly say that they rotate.
 */
export function classify(
  disk: Pick<BlockDisk, 'media' | 'transport'>,
  measured: Measured | null,
): ServiceClass {
  return Math.min(byKind(disk), measured === null ? 3 : byMeasure(measured)) as ServiceClass
}

function byKind({ media, transport }: Pick<BlockDisk, 'media' | 'transport'>): ServiceClass {
  if (transport === 'usb' || media === 'hdd') return 1
  return media === 'nvme' || transport === 'sas' ? 3 : 2
}

function byMeasure({ syncMs, bytesPerSecond }: Measured): ServiceClass {
  if (syncMs > MEDIUM_SYNC_MS_MAX || bytesPerSecond < MEDIUM_BYTES_PER_SECOND_MIN) return 1
  return syncMs > HIGH_SYNC_MS_MAX || bytesPerSecond < HIGH_BYTES_PER_SECOND_MIN ? 2 : 3
}
