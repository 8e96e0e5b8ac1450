/** Ids are branded numbers and strings; the casts that make them live in decoders and in the functions below. */

/** Inode number inside one volume, 1 (its root) to 2^40 - 1. Never given twice. */
export type Ino = number & { readonly __brand: 'Ino' }
/** Small number of a volume inside its cluster, 1 to 2^24 - 1; 0 is the namespace root. Never given twice. */
export type VolumeNumber = number & { readonly __brand: 'VolumeNumber' }
/** 128 random bits of a volume, 32 lower-case hex digits. */
export type VolumeId = string & { readonly __brand: 'VolumeId' }
/** 128 random bits of a chunk, 32 lower-case hex digits. */
export type ChunkId = string & { readonly __brand: 'ChunkId' }
/** 128 random bits of a drive, 32 lower-case hex digits. */
export type DriveId = string & { readonly __brand: 'DriveId' }
/** 128 random bits of a node, 32 lower-case hex digits. */
export type NodeId = string & { readonly __brand: 'NodeId' }
/** 128 random bits of one copy of a volume: made when the copy was empty, so a drive that lost its content is another copy. */
export type CopyId = string & { readonly __brand: 'CopyId' }
/** Ed25519 public key by which a peer proves itself, 64 lower-case hex digits. */
export type PeerKey = string & { readonly __brand: 'PeerKey' }
/** Names one life of one owner of a volume (design §6.1); grows for ever. */
export type Epoch = number & { readonly __brand: 'Epoch' }
/** Place of a record in a volume's journal; grows by one, across epochs. */
export type RecordSeq = number & { readonly __brand: 'RecordSeq' }
/** Number of one generation of a volume's data key, from 1. */
export type KeyEpoch = number & { readonly __brand: 'KeyEpoch' }

/** A journal position: records are ordered by seq; the epoch tells which owner wrote it. */
export interface Position {
  readonly epoch: Epoch
  readonly seq: RecordSeq
}

export const ROOT_INO = 1 as Ino

const HEX_ID = /^[0-9a-f]{32}$/

/** @throws RangeError when the text is not 32 lower-case hex digits */
export function hexId<T extends string>(text: string): T {
  if (!HEX_ID.test(text))
    throw new RangeError(`not an id of 32 hex digits: ${JSON.stringify(text.slice(0, 64))}`)
  return text as T
}
