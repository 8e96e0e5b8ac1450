/**
 * net: peers as authenticated channels, and calls over them. It moves bytes and understands none; who is a member is a
 * predicate given to it. daemon builds it; cluster, coordinator and replication call it through interfaces of their own.
 *
 * Invariants: nothing is read from a stranger behind its handshake, and no call is made to a key other than the one that
 * was asked for; per peer and lane one connection is in use, the same on both sides (peer-lane.ts); every queue and every
 * count of connections is bounded (limits.ts), every wait has a deadline or a signal; bytes that break the protocol end
 * the connection they came on and nothing else.
 */
export type { Path } from './connection.ts'
export type { Lane } from './frames.ts'
export {
  type Call,
  type CallOptions,
  type Handler,
  Net,
  type NetOptions,
  type PeerChange,
  type Role,
  type ServeOptions,
} from './net.ts'
export type { PeerStatus } from './peer.ts'
export type { NoiseKeyPair } from './tcp.ts'
