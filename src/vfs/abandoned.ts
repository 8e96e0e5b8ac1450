/** What `make` of a change answers when nothing is to be appended after all. */
export const ABANDONED: unique symbol = Symbol('abandoned')
