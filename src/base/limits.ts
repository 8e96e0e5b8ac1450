import { assert } from './errors.ts'

/** Every bound of weft, with unit and reason. Relations between them are asserted at the end. */

const KIB = 1024
const MIB = 1024 * KIB

/** Largest FUSE request body the kernel may send or ask for: max_pages 256 of 4 KiB. */
export const fuseRequestBytesMax = 1 * MIB
/** Buffer for one request from /dev/fuse: body plus header and slack; the kernel asks for at least 8 KiB. */
export const fuseBufferBytes = fuseRequestBytesMax + 64 * KIB
/** Plain bytes in one chunk: large enough to stream, small enough to rewrite. */
export const chunkBytesMax = 4 * MIB
/** Plain bytes sealed as one page of a chunk; the unit a random read unseals. */
export const chunkPageBytes = 8 * KIB
/** Back-pointers of one chunk (volume, inodes, offsets) before sealing: ten thousand extents at 24 bytes. */
export const chunkBackPointerBytesMax = 256 * KIB
/** Dirty data up to this travels inside the journal record, so that a database commit is one write. */
export const inlineBytesMax = 64 * KIB
/** Largest sealed journal record body. A flush is split so that it stays below. */
export const recordBytesMax = 8 * MIB
/** Chunk ids one record's clear header may name, begun and ended together: 1 MiB. A larger delete is several records. */
export const recordChunkIdsMax = 65_536
/** A journal file is closed at this size and the next one begun. */
export const journalFileBytesMax = 64 * MIB
/** Staged bytes of one volume above which writers wait for the engine; few enough to stay in the same memory. */
export const stagingBytesMax = 32 * MIB
/** Staged data older than this is flushed. */
export const stagingMsMax = 1000
/** POSIX NAME_MAX. */
export const nameBytesMax = 255
/** Linux PATH_MAX less the NUL. */
export const symlinkBytesMax = 4095
/** Largest file: sparse, 8 TiB. Offsets are plain numbers, exact to 2^53. */
export const fileBytesMax = 8 * 1024 * 1024 * MIB
/** Linux XATTR_NAME_MAX and XATTR_SIZE_MAX. */
export const xattrNameBytesMax = 255
export const xattrValueBytesMax = 64 * KIB
/** Same as ext4: a directory's subdirectories count into its link count. */
export const linkCountMax = 65_000
/** Bits of an inode number inside a node id; the volume number takes the rest of 64 (ids.ts). */
export const inoBits = 40
/** Inode numbers reserved by one record (design §4: blocks, never given twice). */
export const inoBlock = 4096
/** Free bytes a drive keeps for deletes, journal and checkpoints when writers already get ENOSPC. */
export const driveHeadroomBytes = 64 * MIB
/** Space is won back, and files are put together, when nobody has staged or changed anything for so long. */
export const reclaimQuietMs = 300
/** Below this, free beyond the headroom, scattered files stay as they are: the new bytes are there before the old ones go. */
export const gatherFreeBytesMin = 1024 * MIB
/** Below this, free beyond the headroom, space is won back beside writers too. */
export const shortFreeBytes = 256 * MIB
/** Below this, what is staged waits until space was won back: it is more than staging and chunks on their way take. */
export const dryFreeBytes = 64 * MIB

/** Coordinator: etcd refuses requests above 1.5 MiB and 128 operations; ours stays below on every engine. */
export const coordinatorKeyBytesMax = 512
export const coordinatorValueBytesMax = 1 * MIB
export const coordinatorStepsMax = 64
/** A volume's name is a directory entry, a label and a word in a container's option string. */
export const volumeNameBytesMax = 64
/** Bits of a volume's number inside a node id: what inoBits leaves of 64. Number 0 is the namespace root. */
export const volumeNumberMax = 2 ** (64 - inoBits) - 1
/** Smallest volume: below it, metadata alone would fill it. */
export const volumeBytesMin = 1 * MIB
/** Largest volume: exact as a number, 4 PiB. */
export const volumeBytesMax = 4 * 1024 * 1024 * 1024 * MIB
/** Quota of a volume made without a size. It is thin: room is taken by what is written. */
export const volumeBytesDefault = 1024 * 1024 * MIB
/**
 * Most work a passphrase slot may ask of argon2id. A slot comes from a file or a peer; without a bound it could stop the
 * machine. libsodium's SENSITIVE is 4 passes over 1 GiB.
 */
export const passphraseOpsMax = 16
export const passphraseMemBytesMax = 2 * 1024 * MIB
/** Slots of one volume's key; each costs one public-key seal at a rotation. */
export const keySlotsMax = 1024
/** Label of a key slot, characters. */
export const keyLabelCharsMax = 200
/** Body of one call or answer between peers: a sealed chunk and a sealed record together. */
export const netBodyBytesMax = 14 * MIB
/** One message on a connection: kind, id and service beside the body. secret-stream carries 2^24 - 1 - 17 bytes at once. */
export const netFrameBytesMax = netBodyBytesMax + 4 * KIB
/** Calls on their way to one peer and not yet answered, per lane; more wait, a peer that sends more is dropped. */
export const netCallsMax = 256
/** Bodies of those calls; also answers that wait for a peer that reads slowly, before its next call is begun. */
export const netWindowBytes = 32 * MIB
/** Calls that wait for a connection, or for a place among those under way; one more is told to come later. */
export const netWaitingMax = 1024
/** Calls of one peer that are worked on at a time. Bulk calls hold megabytes each. */
export const netControlHandlersMax = 64
export const netBulkHandlersMax = 8
/** Connections whose other side has not yet said who it is and what it wants; beyond, the oldest is closed. */
export const netHandshakesMax = 128
/** Connections of one peer: two lanes, each with one that is on its way out, and as many that are about to be opened. */
export const netConnectionsPerPeerMax = 8
/** Guests connected at a time: nodes about to join. */
export const netGuestsMax = 64
/** A connection is asked for a sign of life so often … */
export const netHeartbeatMs = 1000
/** … and is down when nothing at all came for so long. */
export const netSilentMs = 5000

/** A node's or a cluster's name: a word in listings and in commands. */
export const clusterNameCharsMax = 64
/** Value of one failure domain level (region, zone, rack, enclosure), characters. */
export const domainCharsMax = 64
/** Nodes of one cluster: the member list goes to each as one message, and every key is sealed for each. */
export const membersMax = 1024
/** Tombstones of removed nodes that a member list carries; none is ever dropped. */
export const removedMembersMax = 8192
/** Addresses a node states. */
export const memberAddressesMax = 8
/** DNS name, RFC 1035 2.3.4. */
export const hostCharsMax = 253
/** Why a node was removed, in a person's words, characters. */
export const reasonCharsMax = 200
/** Invites that stand at one time, dead ones that are still explained included. */
export const invitesMax = 1000
/** Nodes one invite may admit. */
export const inviteUsesMax = 1000
/** Life of an invite: an hour when not given. */
export const inviteMsDefault = 60 * 60 * 1000
export const inviteMsMax = 30 * 24 * 60 * 60 * 1000
/** A dead invite is kept so long, so that who shows it is told what it died of. */
export const inviteKeptMs = 7 * 24 * 60 * 60 * 1000
/** An invite is one line that a terminal takes and a person copies. */
export const inviteLineCharsMax = 300
/** A join request: keys, name, domain and addresses. */
export const joinRequestBytesMax = 16 * KIB
/** A member list: 1024 certificates of about 1 KiB, and tombstones of about 0.5 KiB. */
export const memberListBytesMax = 8 * MIB
/** Clocks of a joiner and a member may differ so much; Kerberos allows the same (RFC 4120, 1.6). */
export const joinClockMsMax = 5 * 60 * 1000

assert(chunkBytesMax % chunkPageBytes === 0, 'a full chunk is whole pages')
assert(inlineBytesMax < recordBytesMax, 'inline data fits a record')
assert(recordBytesMax < journalFileBytesMax, 'a record fits a journal file')
assert(fuseBufferBytes >= fuseRequestBytesMax + 4096, 'a request buffer holds body and headers')
assert(dryFreeBytes >= stagingBytesMax + 8 * chunkBytesMax, 'what was accepted finds room')
assert(dryFreeBytes < shortFreeBytes && shortFreeBytes < gatherFreeBytesMin, 'room ends by steps')
assert(fileBytesMax <= Number.MAX_SAFE_INTEGER, 'every file offset is an exact number')
assert(volumeBytesMax <= Number.MAX_SAFE_INTEGER, 'every quota is an exact number')
assert(volumeBytesDefault <= volumeBytesMax, 'the default size is allowed')
assert(
  netBodyBytesMax >=
    recordBytesMax +
      16 * recordChunkIdsMax +
      64 * KIB +
      (chunkBytesMax + 16 * (chunkBytesMax / chunkPageBytes) + chunkBackPointerBytesMax + 64 * KIB),
  'a record and a chunk, sealed, travel in one call',
)
assert(netFrameBytesMax + 17 < 2 ** 24, 'secret-stream sends a frame as one message')
assert(netWindowBytes >= 2 * netBodyBytesMax, 'the largest call never waits for an empty window')
assert(netSilentMs >= 3 * netHeartbeatMs, 'one late heartbeat does not end a connection')
