/**
 * meta: the materialised view of one volume. Inodes, directory entries, extents and attributes as sealed values in
 * LMDB, changed only by `apply(changes of a journal record)`. Called by store (the one applier) and by vfs (readers).
 *
 * Invariants: a view never holds half a record; its head names the last record applied; keys show structure only and
 * values are sealed with the key as associated data, so that no value can stand in another's place. The only importer
 * of lmdb besides coordinator.
 */
export { type Change, decodeChanges, encodeChanges } from './change.ts'
export * as keys from './keys.ts'
export * from './values.ts'
export { type AppliedHead, View, type ViewKeys } from './view.ts'
