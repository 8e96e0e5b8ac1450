/**
 * lease: who may answer for a volume until when. Pure state, given the time; no I/O and no timers of its own.
 *
 * The members of a volume's in-sync set grant the lease to its owner, not the coordinator, so that a coordinator may be
 * away as long as nothing changes. A lease only keeps reads and unsynced answers from being old: what is acknowledged
 * as durable rests on the members' answers alone, never on a clock. Times are milliseconds of a clock that never goes
 * back and counts while the machine is suspended; clocks of two nodes differ in rate by less than a twentieth.
 */
export { Grant } from './grant.ts'
export { OwnerLease } from './owner-lease.ts'
