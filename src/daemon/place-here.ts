import { FsError } from '../base/index.ts'
import { type Drive, roomOn, takesData } from '../drives/index.ts'
import { describeBytes, type VolumeSpec } from '../volumes/index.ts'

/**
 * The drive for the journal of a volume with one copy: of its class, with the most room; of a lower one if it may fall back.
 * @throws FsError ENOSPC when its class is short, with what there is; EIO when no drive works
 */
export function placeHere({ name, cos, cosFallback }: VolumeSpec, drives: readonly Drive[]): Drive {
  const usable = drives.filter(takesData)
  if (usable.length === 0) {
    throw new FsError('EIO', 'create', { message: 'no drive of this node works' })
  }
  const fit = usable.filter((one) => {
    if (cos === null || one.cos === cos) return true
    return cosFallback === true && one.cos < cos
  })
  const best = (a: Drive, b: Drive) => b.cos - a.cos || roomOn(b) - roomOn(a)
  const [drive] = fit.filter((one) => cos === null || roomOn(one) > 0).sort(best)
  if (drive) return drive
  const classes = ([3, 2, 1] as const).map((one) => {
    const those = usable.filter((drive) => drive.cos === one)
    const free = those.reduce((sum, drive) => sum + roomOn(drive), 0)
    return `class ${one}: ${those.length === 0 ? 'none' : `${those.length} with ${describeBytes(free)} free`}`
  })
  throw new FsError('ENOSPC', 'create', {
    volume: name,
    message: `volume ${name}: no drive of class ${cos} has room; the drives of this node: ${classes.join(', ')}`,
    next: 'weft drive add DIR --class N; or --cos-fallback, which takes a lower class until there is room',
  })
}
