/**
 * coordinator: agrees on who owns what. Compare-and-set over small values, lists and watches, behind one interface
 * with one conformance suite (test/conformance/coordinator.ts) for every engine. `embedded` is LMDB on this node.
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
export { checkLmdbFile, type LmdbBytes } from './lmdb-check.ts'
