import { join } from 'node:path'
import type { ChunkId } from '../base/index.ts'
import type { Drive } from '../drives/index.ts'

/** `<drive>/chunks/<first two hex digits>/<id>`: 256 directories keep each one small. */
export const CHUNKS_NAME = 'chunks'
/** Inside CHUNKS_NAME: chunks of other nodes that are being written, cleared at each start. */
export const ARRIVING_NAME = 'arriving'
/** Damaged chunks, moved aside and never deleted by weft. */
export const QUARANTINE_NAME = 'quarantine'

export const PREFIXES: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
)

export function chunksDirectory(drive: Drive): string {
  return join(drive.dir, CHUNKS_NAME)
}

export function arrivingDirectory(drive: Drive): string {
  return `${chunksDirectory(drive)}/${ARRIVING_NAME}`
}

export function chunkDirectory(drive: Drive, id: ChunkId): string {
  return `${drive.dir}/${CHUNKS_NAME}/${id.slice(0, 2)}`
}

export function chunkPath(drive: Drive, id: ChunkId): string {
  return `${drive.dir}/${CHUNKS_NAME}/${id.slice(0, 2)}/${id}`
}

export function quarantineDirectory(drive: Drive): string {
  return join(drive.dir, QUARANTINE_NAME)
}
