import { type RunTool, runTool } from './run-tool.ts'

/** The machine as disks are looked for; each part has a real default. Tests pass recorded trees and answers. */
export interface DiskWorld {
  readonly run?: RunTool
  /** Where links named by WWN and serial number lie; default /dev/disk/by-id. */
  readonly byIdDir?: string
  readonly sysDir?: string
  readonly procDir?: string
  readonly signal?: AbortSignal
}

export type FullDiskWorld = Required<Omit<DiskWorld, 'signal'>> & Pick<DiskWorld, 'signal'>

export function fullWorld(world: DiskWorld): FullDiskWorld {
  return {
    run: runTool,
    byIdDir: '/dev/disk/by-id',
    sysDir: '/sys',
    procDir: '/proc',
    ...world,
  }
}
