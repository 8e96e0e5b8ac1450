import { decodeXattrs, encodeXattrs, type Xattr } from '../meta/index.ts'
import type { Draft } from '../store/index.ts'

/** Attributes whose names share a hash share a bucket; these look into one and change one. */

export function putXattr(draft: Draft, key: Buffer, xattr: Xattr): void {
  const others = bucketOf(draft.get(key)).filter((old) => !old.name.equals(xattr.name))
  draft.put(key, encodeXattrs([...others, xattr]))
}

export function find(value: Buffer | null, name: Buffer): Buffer | null {
  return bucketOf(value).find((xattr) => xattr.name.equals(name))?.value ?? null
}

export function bucketOf(value: Buffer | null): Xattr[] {
  return value ? decodeXattrs(value) : []
}
