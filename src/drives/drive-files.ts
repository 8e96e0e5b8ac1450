import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs'

/**
 * What a drive reads of the machine; room disk's `Disk` is one. Drives write nothing themselves but their label
 * (LabelDisk).
 */
export interface DriveFiles {
  exists(path: string): boolean
  readFile(path: string): Buffer
  /** Names in a directory. */
  list(path: string): string[]
  /** Bytes an unprivileged writer may still take on the filesystem of the path. */
  freeBytes(path: string): number
  totalBytes(path: string): number
  /** st_dev: the same for two paths on one filesystem. */
  device(path: string): number
}

/** Errors are those of node:fs; the callers put them into words. */
export const systemDriveFiles: DriveFiles = {
  exists: (path) => existsSync(path),
  readFile: (path) => readFileSync(path),
  list: (path) => readdirSync(path),
  freeBytes(path) {
    const space = statfsSync(path)
    return space.bavail * space.bsize
  },
  totalBytes(path) {
    const space = statfsSync(path)
    return space.blocks * space.bsize
  },
  device: (path) => statSync(path).dev,
}
