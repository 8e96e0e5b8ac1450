import { errnoOf, type Ino, limits } from '../base/index.ts'
import type { FileMap } from '../vfs/index.ts'
import { decodeFileMap, mayHaveMap } from './file-map.ts'
import type { Forgetting } from './grants.ts'
import { attrMsAt, entriesOf, nameMsAt, WITH_ENTRY } from './lives.ts'
import { OPCODES } from './opcodes.ts'
import { type Inodes, OwnChanges } from './own-changes.ts'
import { decodePostAttributes } from './post-attributes.ts'
import { touchedBy } from './touched.ts'
import { getU32, putValid } from './wire/bytes.ts'
import * as wire from './wire/index.ts'

/** One inode, until a time; fields are null that are not known. */
interface KeptAttributes {
  untilMs: number
  /** struct fuse_attr. */
  attr: Buffer | null
  /** Node id and generation, as an entry begins. */
  head: Buffer | null
  /** Extended attributes that it has not. */
  readonly absent: Set<string>
  /** Where its bytes are. */
  map: FileMap | null
}

/** Of one directory, until a time. */
interface KeptNames {
  untilMs: number
  /** It has no other names than these. */
  isComplete: boolean
  /** Null: there is no such name. Undefined: whether there is one is not known. */
  readonly byName: Map<string, Ino | null | undefined>
  /** LOOKUPs that the owner had to be asked for, since the listing began, or ended. */
  misses: number
  /** Names answered from here since the last page of the listing came. */
  hits: number
  /** Where the next page of the listing begins. */
  cookie: Buffer
  isListing: boolean
}

/** A request of this kernel that may change names and attributes, from before it goes to the owner until its answer. */
export interface OwnChange {
  readonly opcode: number
  readonly inos: Inodes
  readonly names: readonly NameChange[]
  /** OwnChanges.now when it began. */
  readonly began: number
}

interface NameChange {
  readonly directory: Ino
  readonly name: string
  /** Inode it stands for afterwards: null for none, 'answer' for the one in the answer, undefined when that is not known. */
  readonly becomes: Ino | null | 'answer' | undefined
}

/** How an answer of the owner came about. */
export interface AnswerOf {
  /** MetadataCache.asked, from before it was asked for. */
  readonly asked: number
  /** Lives in it count from here at the latest, on the clock of leases. */
  readonly askedMs: number
  /** Nothing it carries has been revoked since it was asked for, nor did it take too long. */
  readonly isFresh: boolean
}

const OUT = wire.OUT_HEADER_BYTES
const BODY = wire.IN_HEADER_BYTES
const RENAME_EXCHANGE = 2
const HEAD_BYTES = 16
const DIRENT_HEAD_BYTES = 24
/** Of a volume: inodes, and names in all directories. What has run out goes first, then everything. */
const INODES_MAX = 65_536
const NAMES_MAX = 65_536
const MAPS_BYTES_MAX = 16 * 1024 * 1024
/** About what an extent takes in memory, beside its bytes. */
const EXTENT_BYTES = 128
/** Names of one directory; a larger one is asked for name by name. */
const LISTED_MAX = 16_384
/** After so many names of a directory, it is listed. */
const LISTED_AFTER = 2
/** Once it is known whole: listing so many names anew costs the owner and this node about as much as asking for one of them. */
const LISTED_PER_MISS = 64
/** So many names answered from a page of a listing are worth the next. */
const HITS_PER_PAGE = 64
/** Of one page: some 400 names with their attributes. */
const PAGE_BYTES = 64 * 1024

/**
 * What a node keeps of the names and attributes of a volume that another node owns, beside its kernel and under the same
 * grants (docs/adr/0021, 0023): a LOOKUP, a GETATTR and the look for an attribute that is not there are answered without
 * asking the owner. Pure: it sees each request and each answer, and asks for nothing itself.
 *
 * Kept is only what an answer gives a life, for that life. The owner has it forgotten before it executes a change of anybody
 * else's. Changes of this node's own kernel it does not hear of from the owner: while one is under way nothing it touches is
 * known, and an answer that may be older than the change is not noted.
 */
export class MetadataCache {
  readonly #now: () => number
  readonly #attributes = new Map<Ino, KeptAttributes>()
  readonly #names = new Map<Ino, KeptNames>()
  /** Of names, since they were last counted. */
  #namesNoted = 0
  /** Of maps, since all were dropped. */
  #mapBytes = 0
  readonly #changing = new OwnChanges()
  readonly #header = wire.newRequestHeader()

  /** @param now ms on the clock of leases */
  constructor(now: () => number) {
    this.#now = now
  }

  /** @returns what AnswerOf.asked is of a request that is asked for now */
  asked(): number {
    return this.#changing.now
  }

  /** Hot. @returns the whole answer to a request, as the owner would give it now; null when it has to be asked */
  answer(request: Buffer, opcode: number): Buffer | null {
    const ino = wire.nodeInoAt(request, 16)
    switch (opcode) {
      case OPCODES.LOOKUP.code:
        return this.#lookup(ino, nameIn(request, BODY))
      case OPCODES.GETATTR.code:
        return this.#getattr(ino)
      case OPCODES.GETXATTR.code: {
        // struct fuse_getxattr_in: size, padding; then the name.
        const isAbsent = this.#valid(ino)?.absent.has(nameIn(request, BODY + 8)) ?? false
        return isAbsent ? newReply(OUT, -errnoOf('ENODATA')) : null
      }
      default:
        return null
    }
  }

  #lookup(directory: Ino, name: string): Buffer | null {
    const now = this.#now()
    const names = this.#validNames(directory)
    if (!names || !isPlain(name)) return null
    const ino = names.byName.get(name)
    if (ino === undefined && (names.byName.has(name) || !names.isComplete)) return null
    const reply = newReply(OUT + wire.ENTRY_BYTES, 0)
    const nameMs = names.untilMs - now
    if (ino === undefined || ino === null) {
      wire.encodeNegativeEntry(reply, OUT, nameMs)
    } else {
      const kept = this.#valid(ino)
      if (!kept?.attr || !kept.head) return null
      kept.head.copy(reply, OUT)
      putValid(reply, OUT + 16, OUT + 32, nameMs)
      putValid(reply, OUT + 24, OUT + 36, kept.untilMs - now)
      kept.attr.copy(reply, OUT + 40)
    }
    names.hits++
    return reply
  }

  #getattr(ino: Ino): Buffer | null {
    const kept = this.#valid(ino)
    if (!kept?.attr) return null
    const reply = newReply(OUT + wire.ATTR_OUT_BYTES, 0)
    putValid(reply, OUT, OUT + 8, kept.untilMs - this.#now())
    kept.attr.copy(reply, OUT + 16)
    return reply
  }

  /** A request is about to be asked for. @returns null when it changes nothing; else `answered` or `failed` ends it */
  begin(request: Buffer): OwnChange | null {
    const header = this.#header
    wire.decodeHeader(request, request.length, header)
    const { opcode } = header
    const find = (directory: Ino, name: Buffer) =>
      this.#validNames(directory)?.byName.get(name.toString('latin1')) ?? null
    const touched = touchedBy(find, header, request)
    if (!touched) return null
    const names = this.#nameChanges(header, request)
    // A name that is to go, or to be put in another's place, may stand for any inode as long as it is not known.
    const isKnown = names.every(({ directory, name, becomes }) => {
      return becomes === 'answer' || this.#validNames(directory)?.byName.get(name) !== undefined
    })
    const inos = isKnown ? touched.attributes : 'any'
    const changed = inos === 'any' ? this.#attributes.keys() : inos
    const hasXattrs = opcode === OPCODES.SETXATTR.code || opcode === OPCODES.REMOVEXATTR.code
    for (const ino of changed) {
      const kept = this.#attributes.get(ino)
      if (kept) {
        kept.attr = null
        kept.map = null
      }
      if (hasXattrs) kept?.absent.clear()
    }
    for (const { directory, name } of names) {
      this.#names.get(directory)?.byName.set(name, undefined)
    }
    return { opcode, inos, names, began: this.#changing.begin(inos) }
  }

  #nameChanges({ opcode, bodyEnd }: wire.RequestHeader, request: Buffer): NameChange[] {
    const directory = wire.nodeInoAt(request, 16)
    const one = (name: Buffer, becomes: NameChange['becomes']): NameChange[] => [
      { directory, name: name.toString('latin1'), becomes },
    ]
    switch (opcode) {
      case OPCODES.CREATE.code:
        return one(wire.decodeCreate(request, BODY, bodyEnd).name, 'answer')
      case OPCODES.MKNOD.code:
        return one(wire.decodeMknod(request, BODY, bodyEnd).name, 'answer')
      case OPCODES.MKDIR.code:
        return one(wire.decodeMkdir(request, BODY, bodyEnd).name, 'answer')
      case OPCODES.SYMLINK.code:
        return one(wire.decodeSymlink(request, BODY, bodyEnd).name, 'answer')
      case OPCODES.LINK.code:
        return one(wire.decodeLink(request, BODY, bodyEnd).name, 'answer')
      case OPCODES.UNLINK.code:
      case OPCODES.RMDIR.code:
        return one(wire.decodeName(request, BODY, bodyEnd), null)
      case OPCODES.RENAME.code:
      case OPCODES.RENAME2.code: {
        const decode = opcode === OPCODES.RENAME.code ? wire.decodeRename : wire.decodeRename2
        const { newdirIno, oldname, newname, flags } = decode(request, BODY, bodyEnd)
        const isExchange = (flags & RENAME_EXCHANGE) !== 0
        const moved = this.#validNames(directory)?.byName.get(oldname.toString('latin1'))
        return [
          ...one(oldname, isExchange ? undefined : null),
          {
            directory: newdirIno,
            name: newname.toString('latin1'),
            becomes: isExchange ? undefined : (moved ?? undefined),
          },
        ]
      }
      default:
        return []
    }
  }

  /** Whether a change was executed is not known, or it was not: what it touches is asked for anew. */
  failed(change: OwnChange): void {
    this.#changing.end(change.inos, change.began)
    this.#drop(change)
  }

  /**
   * Notes what an answer says. @param reply whole, and what is behind it (post-attributes.ts)
   * @param change what `begin` gave for the request; it ends here
   */
  answered(request: Buffer, reply: Buffer, answer: AnswerOf, change: OwnChange | null): void {
    if (change) this.#changed(change, reply, answer)
    else if (answer.isFresh && reply.length >= OUT) this.#noteRead(request, reply, answer)
    this.#bound()
  }

  #bound(): void {
    if (this.#attributes.size > INODES_MAX) {
      dropEnded(this.#attributes, this.#now())
      if (this.#attributes.size > INODES_MAX) this.#attributes.clear()
    }
    if (this.#namesNoted < NAMES_MAX) return
    dropEnded(this.#names, this.#now())
    this.#namesNoted = 0
    for (const { byName } of this.#names.values()) this.#namesNoted += byName.size + 1
    if (this.#namesNoted < NAMES_MAX / 2) return
    this.#names.clear()
    this.#namesNoted = 0
  }

  #noteRead(request: Buffer, reply: Buffer, { asked, askedMs }: AnswerOf): void {
    const opcode = getU32(request, 4)
    const ino = wire.nodeInoAt(request, 16)
    const errno = reply.readInt32LE(4)
    if (opcode === OPCODES.GETXATTR.code) {
      const isAbsent = errno === -errnoOf('ENODATA') && this.#changing.isQuiet(ino, asked)
      if (isAbsent) this.#valid(ino)?.absent.add(nameIn(request, BODY + 8))
    } else if (errno !== 0) return
    else if (mayHaveMap(opcode)) this.#noteMap(ino, reply, askedMs, asked)
    else if (opcode === OPCODES.LOOKUP.code) {
      const found = wire.nodeInoAt(reply, OUT)
      if (found !== 0) this.#noteEntry(reply, OUT, askedMs, asked)
      if (!this.#changing.isQuiet(ino, asked)) return
      const names = this.#noteNames(ino, nameMsAt(reply, OUT), askedMs)
      if (!names) return
      names.misses++
      this.#namesNoted++
      names.byName.set(nameIn(request, BODY), found === 0 ? null : found)
    } else if (opcode === OPCODES.GETATTR.code) {
      this.#noteAttr(ino, reply, OUT + 16, wire.validMsAt(reply, OUT, OUT + 8), askedMs, asked)
    }
  }

  #changed(change: OwnChange, reply: Buffer, answer: AnswerOf): void {
    const { opcode, inos, names, began } = change
    const { askedMs, isFresh } = answer
    const isAlone = this.#changing.end(inos, began)
    const isDone = reply.length >= OUT && reply.readInt32LE(4) === 0
    const left = isDone ? decodePostAttributes(reply) : []
    if (!isAlone || !isDone || !isFresh || (names.length > 0 && left.length === 0)) {
      this.#drop(change)
      return
    }
    const { now } = this.#changing
    const hasEntry = WITH_ENTRY.has(opcode)
    const made = hasEntry ? wire.nodeInoAt(reply, OUT) : null
    const isNew = opcode !== OPCODES.LINK.code
    if (made !== null) this.#noteEntry(reply, OUT, askedMs, isNew ? began : now)
    else if (opcode === OPCODES.SETATTR.code && inos !== 'any') {
      const ms = wire.validMsAt(reply, OUT, OUT + 8)
      for (const ino of inos) this.#noteAttr(ino, reply, OUT + 16, ms, askedMs, now)
    }
    for (const { attr, attrMs, namesMs } of left) {
      const ino = wire.nodeInoAt(attr, 0)
      this.#noteAttr(ino, attr, 0, attrMs, askedMs, ino === made ? began : now)
      const isKnown = this.#names.has(ino)
      const kept = this.#noteNames(ino, namesMs, askedMs)
      if (kept && ino === made && !isKnown) kept.isComplete = true
    }
    for (const { directory, name, becomes } of names) {
      const ms = hasEntry ? nameMsAt(reply, OUT) : 0
      const kept = this.#noteNames(directory, ms, askedMs)
      kept?.byName.set(name, becomes === 'answer' ? (made ?? undefined) : becomes)
      this.#namesNoted++
    }
    // No file is made with one, and the kernel looks for it before the first write.
    if (made !== null && isNew && this.#changing.isQuiet(made, began)) {
      this.#valid(made)?.absent.add('security.capability')
    }
  }

  #drop({ inos, names }: OwnChange): void {
    if (inos !== 'any') for (const ino of inos) this.#attributes.delete(ino)
    for (const { directory } of names) this.#names.delete(directory)
  }

  /** @param at of a fuse_entry_out */
  #noteEntry(reply: Buffer, at: number, askedMs: number, asked: number): void {
    const ino = wire.nodeInoAt(reply, at)
    const kept = this.#noteAttr(ino, reply, at + 40, attrMsAt(reply, at), askedMs, asked)
    if (kept) kept.head ??= Buffer.from(reply.subarray(at, at + HEAD_BYTES))
  }

  /** @param at of a fuse_attr. @returns null when it may not be kept */
  #noteAttr(
    ino: Ino,
    from: Buffer,
    at: number,
    ms: number,
    askedMs: number,
    asked: number,
  ): KeptAttributes | null {
    if (ms <= 0 || !this.#changing.isQuiet(ino, asked)) return null
    const kept = this.#keep(ino, askedMs + ms)
    kept.attr = Buffer.from(from.subarray(at, at + wire.ATTR_BYTES))
    return kept
  }

  /** Granted from now on, or still. */
  #keep(ino: Ino, untilMs: number): KeptAttributes {
    let kept = this.#valid(ino)
    if (!kept) {
      kept = { untilMs, attr: null, head: null, absent: new Set(), map: null }
      this.#attributes.set(ino, kept)
    }
    kept.untilMs = Math.max(kept.untilMs, untilMs)
    return kept
  }

  #noteMap(ino: Ino, reply: Buffer, askedMs: number, asked: number): void {
    const found = decodeFileMap(reply)
    if (!found || found.validMs <= 0 || !this.#changing.isQuiet(ino, asked)) return
    const bytes = bytesOf(found.map)
    this.#mapBytes += bytes
    if (this.#mapBytes > MAPS_BYTES_MAX) {
      for (const one of this.#attributes.values()) one.map = null
      this.#mapBytes = bytes
    }
    this.#keep(ino, askedMs + found.validMs).map = found.map
  }

  /** Hot. Where the bytes of a range are, as far as the file reaches; null when the owner has to be asked. */
  mapOf(ino: Ino, offset: number, length: number): FileMap | null {
    const map = this.#valid(ino)?.map
    if (!map || offset < map.from) return null
    return Math.min(offset + length, map.size) <= map.to ? map : null
  }

  /** By it, something could not be read: it is asked for anew. */
  forgetMap(ino: Ino): void {
    const kept = this.#attributes.get(ino)
    if (kept) kept.map = null
  }

  /** A directory's names are granted from now on, or still. @returns null when none of them are */
  #noteNames(directory: Ino, ms: number, askedMs: number): KeptNames | null {
    const before = this.#validNames(directory)
    if (before) {
      before.untilMs = Math.max(before.untilMs, askedMs + ms)
      return before
    }
    if (ms <= 0) return null
    const names: KeptNames = {
      untilMs: askedMs + ms,
      isComplete: false,
      byName: new Map(),
      misses: 0,
      hits: 0,
      cookie: Buffer.alloc(8),
      isListing: false,
    }
    this.#names.set(directory, names)
    return names
  }

  #valid(ino: Ino): KeptAttributes | undefined {
    const kept = this.#attributes.get(ino)
    return kept && kept.untilMs > this.#now() ? kept : undefined
  }

  #validNames(directory: Ino): KeptNames | undefined {
    const kept = this.#names.get(directory)
    return kept && kept.untilMs > this.#now() ? kept : undefined
  }

  /**
   * After a LOOKUP, and after a page: programs that ask for one name of a directory after the other are served best from its listing.
   * @returns the request for the next page of it, to be asked for under this session and given to `listed`; null for none
   */
  nextPage(request: Buffer): Buffer | null {
    const names = this.#validNames(wire.nodeInoAt(request, 16))
    if (!names || names.isListing || names.byName.size > LISTED_MAX) return null
    const isFirst = names.cookie.readBigUInt64LE(0) === 0n
    if (isFirst) {
      const again = names.isComplete ? names.byName.size / LISTED_PER_MISS : 0
      if (names.misses < LISTED_AFTER + again) return null
      names.misses = 0
    } else if (!names.isComplete && names.misses === 0 && names.hits < HITS_PER_PAGE) return null
    names.isListing = true
    return pageRequest(request, names.cookie)
  }

  /** @param page what `nextPage` gave. @param reply null when there is none */
  listed(page: Buffer, reply: Buffer | null, answer: AnswerOf): void {
    const names = this.#validNames(wire.nodeInoAt(page, 16))
    if (!names?.isListing) return
    names.isListing = false
    const cookie = page.subarray(BODY + 8, BODY + 16)
    const isNext = names.cookie.equals(cookie)
    if (!isNext || !reply || !answer.isFresh || reply.length < OUT || reply.readInt32LE(4) !== 0) {
      return
    }
    const at = entriesOf(reply)
    if (at.length === 0) {
      names.isComplete = true
      // Of files changed since, the name will be known and the attributes not: then it is listed once more.
      names.cookie = Buffer.alloc(8)
    }
    for (const entry of at) this.#noteListed(names, reply, entry, answer)
    // Behind a page that is not full there is nothing, most likely: that is asked at once.
    names.misses = at.length > 0 && reply.length < PAGE_BYTES / 2 ? 1 : 0
    names.hits = 0
    this.#namesNoted += at.length
    this.#bound()
  }

  #noteListed(names: KeptNames, reply: Buffer, at: number, { asked, askedMs }: AnswerOf): void {
    const dirent = at + wire.ENTRY_BYTES
    names.cookie = Buffer.from(reply.subarray(dirent + 8, dirent + 16))
    const ino = wire.nodeInoAt(reply, at)
    // "." and "..", which nobody looks up.
    if (ino === 0) return
    const nameBytes = getU32(reply, dirent + 16)
    const nameAt = dirent + DIRENT_HEAD_BYTES
    const name = reply.toString('latin1', nameAt, nameAt + nameBytes)
    this.#noteEntry(reply, at, askedMs, asked)
    // What is known of a name is as new, or newer.
    if (!names.byName.has(name)) names.byName.set(name, ino)
    names.untilMs = Math.max(names.untilMs, askedMs + nameMsAt(reply, at))
  }

  /** The owner is about to let others change these. */
  forget({ attributes, names }: Forgetting): void {
    for (const ino of attributes) this.#attributes.delete(ino)
    if (names) this.#names.clear()
  }

  /** Nothing is granted any more. */
  clear(): void {
    this.#attributes.clear()
    this.#names.clear()
  }
}

/** READDIRPLUS, of the same directory and caller as another request. Source: struct fuse_read_in. */
function pageRequest(like: Buffer, cookie: Buffer): Buffer {
  const page = Buffer.alloc(BODY + 40)
  like.copy(page, 0, 0, BODY)
  page.writeUInt32LE(page.length, 0)
  page.writeUInt32LE(OPCODES.READDIRPLUS.code, 4)
  // No extensions.
  page.writeUInt16LE(0, 36)
  cookie.copy(page, BODY + 8)
  page.writeUInt32LE(PAGE_BYTES, BODY + 16)
  return page
}

function newReply(bytes: number, errno: number): Buffer {
  const reply = Buffer.alloc(bytes)
  wire.encodeReplyHeader(reply, bytes, errno, 0, 0)
  return reply
}

/** Not one that the owner refuses, or answers in another way than from the directory's names. */
function isPlain(name: string): boolean {
  return name.length <= limits.nameBytesMax && name !== '.' && name !== '..'
}

/** A name that ends with NUL; latin1, so that each byte is one character. */
function nameIn(request: Buffer, at: number): string {
  return request.toString('latin1', at, request.indexOf(0, at))
}

function bytesOf({ extents }: FileMap): number {
  let bytes = EXTENT_BYTES
  for (const { extent } of extents) {
    bytes += EXTENT_BYTES + (extent.kind === 'inline' ? extent.length : 0)
  }
  return bytes
}

function dropEnded(kept: Map<Ino, { untilMs: number }>, now: number): void {
  for (const [ino, { untilMs }] of kept) if (untilMs <= now) kept.delete(ino)
}
