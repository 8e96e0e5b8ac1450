/**
 * coordinator: agrees on who owns what. Compare-and-set over small values, lists and watches, behind one interface
 * with one conformance suite (test/conformance/coordinator.ts) for every engine:
 *
 * - `embedded` is LMDB on this node, one synced transaction per change. When its node is down no owner and no set changes.
 * - `remote` is the embedded one of another node, which that node serves (`served`) over whatever transport it is handed. It
 *   caches nothing; reads are tried again until their deadline, a transaction is sent once.
 * - `etcd` is an etcd cluster of three or more, whose mod_revision is our version. It goes on while a majority answers.
 *
 * Watches of the last two go on after a broken connection where they were, or compare what stands with what they told.
 *
 * A coordinator can be moved (`migrate`), so each node uses its own through `generationGuarded`: no change is accepted
 * that a copy would miss, nothing is read that is old, and a coordinator of a lower generation than the node has seen is
 * not obeyed.
 *
 * Called by volumes (names, numbers, records) and replication (owners, in-sync sets). Invariants: reads that a decision
 * rests on are linearizable; a change is on stable storage before it is answered; versions are never given twice; an
 * error other than EINVAL leaves open whether the change was made. Leases are not kept here (design §6 rule 1).
 */
export type {
  CasResult,
  Change,
  Coordinator,
  Entry,
  Step,
  TransactionResult,
} from './coordinator.ts'
export { openEmbeddedCoordinator } from './embedded.ts'
export { type EtcdOptions, openEtcdCoordinator } from './etcd.ts'
export { beginGeneration, readStanding, type Standing } from './generation.ts'
export { type GuardedCoordinator, type GuardOptions, generationGuarded } from './guarded.ts'
export { checkLmdbFile, type LmdbBytes } from './lmdb-check.ts'
export { makeEqual, migrate, takeBackMigration } from './migrate.ts'
export { RemoteCoordinator, type RemoteOptions } from './remote.ts'
export { type ServedCoordinator, serveCoordinator } from './served.ts'
