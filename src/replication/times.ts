/** Every wait of replication, in milliseconds. */
export interface Times {
  /** Of the lease. */
  readonly termMs: number
  /** A member that has not confirmed for so long is dropped … */
  readonly dropMs: number
  /** … and for so long, if one copy would remain. */
  readonly dropToOneMs: number
  /** A copy that is no member has followed for so long before it is taken in. */
  readonly steadyMs: number
  /** An owner that no legal set has answered for so long gives the volume up. */
  readonly giveUpMs: number
  /** A candidate waits so long for a member's promise, and for its log … */
  readonly promiseMs: number
  /** … and for what it says of the lease. */
  readonly askMs: number
  /** Once as many have answered as the minimum is, the others have so long: a dead one must not cost its whole wait. */
  readonly graceMs: number
  /** For an answer to an append, */
  readonly answerMs: number
  /** and to a chunk. */
  readonly chunkMs: number
}

/** What design §6 says, and where it says nothing, what follows from it. */
export const designTimes: Times = {
  termMs: 10_000,
  dropMs: 3000,
  dropToOneMs: 10_000,
  steadyMs: 10_000,
  // More than a drop takes, the coordinator's answer included: else an owner leaves where one copy fewer would do.
  giveUpMs: 13_000,
  promiseMs: 2000,
  askMs: 1000,
  graceMs: 300,
  answerMs: 3000,
  chunkMs: 10_000,
}
