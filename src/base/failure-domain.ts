/** From the widest down; machines that share a value of one level may fail together (design §2, failure domain). */
export const DOMAIN_LEVELS = ['region', 'zone', 'rack', 'enclosure'] as const
export type DomainLevel = (typeof DOMAIN_LEVELS)[number]

/** Where a node stands; null where nothing was said. */
export type FailureDomain = Readonly<Record<DomainLevel, string | null>>

/** What copies can be spread over: domains, and the nodes in them. */
export const SPREAD_LEVELS = [...DOMAIN_LEVELS, 'node'] as const
export type SpreadLevel = (typeof SPREAD_LEVELS)[number]
