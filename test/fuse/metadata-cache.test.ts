import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Ino } from '../../src/base/index.ts'
import { OPCODES, wire } from '../../src/fuse/index.ts'
import { type AnswerOf, MetadataCache, type OwnChange } from '../../src/fuse/metadata-cache.ts'
import { encodePostAttributes } from '../../src/fuse/post-attributes.ts'
import { newAttr } from '../../src/fuse/session.ts'
import * as kernel from '../support/fuse-requests.ts'
import { seeded } from '../support/seeded.ts'

const SEED = Number(process.env.WEFT_SEED ?? Math.floor(Math.random() * 1e9))
const STEPS = Number(process.env.WEFT_STEPS ?? 60_000)
const VOLUME = 3
const VALID_MS = 3000
const LATE_MS = 500
const OUT = wire.OUT_HEADER_BYTES
const ROOT = 1 as Ino
const NAMES = ['a', 'b', 'c', 'd', 'e']
const CAPABILITY = 'security.capability'

const node = (ino: Ino) => kernel.nodeId(VOLUME, ino)

interface Inode {
  readonly ino: Ino
  readonly isDirectory: boolean
  /** Shown as the size: each change counts. */
  version: number
  nlink: number
  hasXattr: boolean
}

/** What was changed: inodes, and names as `directory/name`. */
interface Touched {
  readonly inos: Set<Ino>
  readonly names: Set<string>
}

/** The owner: executes a request at once, and gives its answer with lives. */
class Owner {
  readonly inodes = new Map<Ino, Inode>()
  readonly directories = new Map<Ino, Map<string, Ino>>()
  #last = ROOT as number

  constructor() {
    this.#make(ROOT, true)
  }

  #make(ino: Ino, isDirectory: boolean): Inode {
    const inode = { ino, isDirectory, version: 0, nlink: 1, hasXattr: false }
    this.inodes.set(ino, inode)
    if (isDirectory) this.directories.set(ino, new Map())
    return inode
  }

  find(directory: Ino, name: string): Inode | undefined {
    const ino = this.directories.get(directory)?.get(name)
    return ino === undefined ? undefined : this.inodes.get(ino)
  }

  /** @returns null when it is refused */
  change(op: string, directory: Ino, name: string, to: [Ino, string], target: Ino): Change | null {
    const names = this.directories.get(directory)
    const toNames = this.directories.get(to[0])
    if (!names || !toNames) return null
    const touched: Touched = {
      inos: new Set([directory]),
      names: new Set([`${directory}/${name}`]),
    }
    const touch = (...inodes: (Inode | undefined)[]) => {
      for (const inode of inodes) {
        if (!inode) continue
        inode.version++
        touched.inos.add(inode.ino)
      }
    }
    const found = this.find(directory, name)
    const parent = this.inodes.get(directory)
    let made: Inode | null = null
    switch (op) {
      case 'create':
      case 'mkdir':
        if (found) return null
        made = this.#make(++this.#last as Ino, op === 'mkdir')
        names.set(name, made.ino)
        touch(parent, made)
        break
      case 'link': {
        const old = this.inodes.get(target)
        if (found || !old || old.isDirectory || old.nlink === 0) return null
        names.set(name, old.ino)
        old.nlink++
        made = old
        touch(parent, old)
        break
      }
      case 'unlink':
        if (!found || found.isDirectory) return null
        names.delete(name)
        found.nlink--
        touch(parent, found)
        break
      case 'rename': {
        const over = this.find(...to)
        if (!found || found.isDirectory || over?.isDirectory || over === found) return null
        names.delete(name)
        toNames.set(to[1], found.ino)
        if (over) over.nlink--
        touch(parent, found, over, to[0] === directory ? undefined : this.inodes.get(to[0]))
        touched.names.add(`${to[0]}/${to[1]}`)
        break
      }
      default: {
        const inode = this.inodes.get(target)
        if (!inode) return null
        if (op === 'setxattr') inode.hasXattr = true
        touch(inode)
        touched.inos.delete(directory)
        touched.names.clear()
        if (target === directory) touched.inos.add(directory)
      }
    }
    return { touched, made }
  }
}

interface Change {
  readonly touched: Touched
  readonly made: Inode | null
}

interface Asked {
  readonly op: string
  readonly request: Buffer
  readonly change: OwnChange | null
  readonly isPage: boolean
  readonly asked: number
  readonly askedMs: number
  readonly forgotten: number
  readonly locks: readonly Ino[]
  readonly execute: () => { reply: Buffer; touched: Touched | null }
  /** Null until the owner has executed it. */
  done: { reply: Buffer; touched: Touched | null } | null
}

/** One kernel, whose requests overlap, before an owner whose volume another node changes too. */
class World {
  readonly owner = new Owner()
  readonly dice = seeded(SEED)
  readonly underWay: Asked[] = []
  readonly locked = new Set<Ino>()
  nowMs = 1_000_000
  forgotten = 0
  hits = 0
  readonly cache = new MetadataCache(() => this.nowMs)

  one<T>(of: readonly T[]): T {
    return of[this.dice.below(of.length)] as T
  }

  directory(): Ino {
    return this.one([...this.owner.directories.keys()].slice(0, 4))
  }

  inode(): Ino {
    return this.one([...this.owner.inodes.keys()].slice(-8).concat(this.directory()))
  }

  step(): void {
    const dice = this.dice.below(100)
    const isBusy = this.underWay.length > 6
    if (dice < 40 && !isBusy) this.#look()
    else if (dice < 50 && !isBusy) this.#change()
    else if (dice < 70) this.#execute()
    else if (dice < 94) this.#deliver()
    else if (dice < 96) this.#other(true)
    else if (dice < 99) this.nowMs += this.dice.below(200)
    else if (this.dice.below(4) === 0) {
      this.nowMs += VALID_MS + this.dice.below(1000)
      this.#other(false)
    }
  }

  #ask(op: string, request: Buffer, locks: readonly Ino[], execute: Asked['execute']): void {
    const change = op === 'page' ? null : this.cache.begin(request)
    for (const lock of locks) this.locked.add(lock)
    this.underWay.push({
      op,
      request,
      change,
      isPage: op === 'page',
      asked: this.cache.asked(),
      askedMs: this.nowMs,
      forgotten: this.forgotten,
      locks,
      execute,
      done: null,
    })
  }

  #look(): void {
    const directory = this.directory()
    const name = this.one(NAMES)
    const { owner } = this
    const ino = this.inode()
    const requests: [string, Buffer, Asked['execute']][] = [
      [
        'lookup',
        kernel.lookup(node(directory), name),
        () => ({ reply: this.#entry(owner.find(directory, name) ?? null), touched: null }),
      ],
      [
        'getattr',
        kernel.getattr(node(ino)),
        () => ({ reply: this.#attributes(ino), touched: null }),
      ],
      [
        'getxattr',
        kernel.getxattr(node(ino), CAPABILITY, 64),
        () => ({ reply: this.#xattr(ino), touched: null }),
      ],
    ]
    const [op, request, execute] = this.one(requests)
    const kept = this.cache.answer(request, request.readUInt32LE(4))
    if (kept) {
      this.hits++
      // Even of what an own change has executed and not been answered yet: another node may have seen it, and told.
      const words = `${op} ${ino} ${directory}/${name}, seed ${SEED}`
      assert.is(bare(kept), bare(execute().reply), words)
    } else this.#ask(op, request, [], execute)
    if (op === 'lookup') this.#list(request)
  }

  #list(like: Buffer): void {
    const page = this.cache.nextPage(like)
    if (!page) return
    const directory = wire.nodeInoAt(page, 16)
    this.#ask('page', page, [], () => ({
      reply: this.#page(directory, page.readUInt32LE(48)),
      touched: null,
    }))
  }

  #change(): void {
    const directory = this.directory()
    const to: [Ino, string] = [this.directory(), this.one(NAMES)]
    const name = this.one(NAMES)
    const { owner } = this
    const target = this.inode()
    const op = this.one([
      'create',
      'create',
      'mkdir',
      'link',
      'unlink',
      'rename',
      'setattr',
      'write',
      'setxattr',
    ])
    const at = node(directory)
    const requests: Record<string, () => [Buffer, Ino[]]> = {
      create: () => [kernel.create(at, name, 0, 0o644, 0), [directory]],
      mkdir: () => [kernel.mkdir(at, name, 0o755, 0), [directory]],
      link: () => [kernel.link(at, name, node(target)), [directory]],
      unlink: () => [kernel.unlink(at, name), [directory]],
      rename: () => [kernel.rename(at, name, node(to[0]), to[1]), [directory, to[0]]],
      setattr: () => [kernel.setattr(node(target), { valid: 0 }), []],
      write: () => [kernel.write(node(target), 1, 0, Buffer.from('x')), []],
      setxattr: () => [kernel.setxattr(node(target), CAPABILITY, Buffer.from('x')), []],
    }
    const [request, locks] = (requests[op] as () => [Buffer, Ino[]])()
    if (locks.some((lock) => this.locked.has(lock))) return
    this.#ask(op, request, locks, () => {
      const change = owner.change(op, directory, name, to, target)
      if (!change) return { reply: bareReply(-17), touched: null }
      const { made, touched } = change
      let reply = bareReply(0)
      if (made) reply = this.#entry(made)
      else if (op === 'setattr') reply = this.#attributes(target)
      const isNamed = touched.names.size > 0
      const left = isNamed
        ? [...touched.inos].filter((ino) => op === 'mkdir' || ino !== made?.ino)
        : []
      return { reply: Buffer.concat([reply, ...left.map((ino) => this.#left(ino))]), touched }
    })
    // Who asked was killed: its kernel does not wait for the answer.
    if (this.dice.below(20) === 0) for (const lock of locks) this.locked.delete(lock)
  }

  #execute(): void {
    const waiting = this.underWay.filter(({ done }) => done === null)
    if (waiting.length === 0) return
    const asked = this.one(waiting)
    asked.done = asked.execute()
  }

  #deliver(): void {
    const executed = this.underWay.filter(({ done }) => done !== null)
    if (executed.length === 0) return
    const asked = this.one(executed)
    this.underWay.splice(this.underWay.indexOf(asked), 1)
    const { request, change, done, forgotten, askedMs } = asked
    const isFresh = forgotten === this.forgotten && this.nowMs - askedMs <= LATE_MS
    const answer: AnswerOf = { asked: asked.asked, askedMs, isFresh }
    const reply = done?.reply as Buffer
    if (change && this.dice.below(30) === 0) this.cache.failed(change)
    else if (asked.isPage) {
      this.cache.listed(request, this.dice.below(10) === 0 ? null : reply, answer)
      this.#list(request)
    } else this.cache.answered(request, reply, answer, change)
    for (const lock of asked.locks) this.locked.delete(lock)
  }

  /** @param isAsked this node is asked to forget first; else nothing it was granted can be alive */
  #other(isAsked: boolean): void {
    const op = this.one(['create', 'mkdir', 'link', 'unlink', 'rename', 'setattr', 'setxattr'])
    const target = this.inode()
    const to: [Ino, string] = [this.directory(), this.one(NAMES)]
    const change = this.owner.change(op, this.directory(), this.one(NAMES), to, target)
    if (!change || !isAsked) return
    const { inos, names } = change.touched
    this.forgotten++
    this.cache.forget({ attributes: [...inos], names: names.size > 0 })
  }

  get #validMs(): number {
    return this.dice.below(10) === 0 ? 0 : VALID_MS
  }

  #attr({ ino, version, nlink, isDirectory }: Inode): wire.Attr {
    const mode = isDirectory ? 0o040755 : 0o100644
    return { ...newAttr(), volume: VOLUME, ino, size: version, nlink, mode }
  }

  #entry(inode: Inode | null): Buffer {
    const reply = bareReply(0, wire.ENTRY_BYTES)
    if (inode) {
      const lives = { entryValidMs: this.#validMs, attrValidMs: this.#validMs }
      wire.encodeEntry(reply, OUT, { attr: this.#attr(inode), generation: 0, ...lives })
    } else wire.encodeNegativeEntry(reply, OUT, this.#validMs)
    return reply
  }

  #attributes(ino: Ino): Buffer {
    const reply = bareReply(0, wire.ATTR_OUT_BYTES)
    wire.encodeAttrOut(reply, OUT, this.#attr(this.owner.inodes.get(ino) as Inode), this.#validMs)
    return reply
  }

  #left(ino: Ino): Buffer {
    const left = Buffer.alloc(wire.ATTR_OUT_BYTES)
    const inode = this.owner.inodes.get(ino) as Inode
    const namesMs = inode.isDirectory ? this.#validMs : 0
    encodePostAttributes(left, 0, this.#attr(inode), this.#validMs, namesMs)
    return left
  }

  #xattr(ino: Ino): Buffer {
    return bareReply(this.owner.inodes.get(ino)?.hasXattr ? -34 : -61)
  }

  /** Two names a page: many lookups fall between two pages. */
  #page(directory: Ino, from: number): Buffer {
    const names = [...(this.owner.directories.get(directory) ?? [])].sort(([a], [b]) =>
      a < b ? -1 : 1,
    )
    const reply = bareReply(0, 4096)
    let end = OUT
    const ofCookie = (name: string) => NAMES.indexOf(name) + 1
    for (const [name, ino] of names.filter(([name]) => ofCookie(name) > from).slice(0, 2)) {
      const attr = this.#attr(this.owner.inodes.get(ino) as Inode)
      const entry = { attr, generation: 0, entryValidMs: VALID_MS, attrValidMs: VALID_MS }
      end = wire.encodeDirentPlus(
        reply,
        end,
        reply.length,
        entry,
        VOLUME,
        ino,
        ofCookie(name),
        0,
        8,
        Buffer.from(name),
      )
    }
    wire.encodeReplyHeader(reply, end, 0, 0, 0)
    return reply.subarray(0, end)
  }
}

/** Without lives, and what is behind the kernel's answer. */
function bare(reply: Buffer): string {
  const copy = Buffer.from(reply.subarray(0, reply.readUInt32LE(0)))
  if (copy.length === OUT + wire.ENTRY_BYTES) copy.fill(0, OUT + 16, OUT + 40)
  else copy.fill(0, OUT, Math.min(copy.length, OUT + 16))
  return copy.toString('hex')
}

function bareReply(errno: number, bytes = 0): Buffer {
  const reply = Buffer.alloc(OUT + bytes)
  wire.encodeReplyHeader(reply, reply.length, errno, 0, 0)
  return reply
}

test(`what is answered from the cache is what the owner has, ${STEPS} steps, seed ${SEED}`, () => {
  const world = new World()
  for (let step = 0; step < STEPS; step++) world.step()
  assert.ok(world.hits > STEPS / 100, `${world.hits} answers came from the cache`)
})

/** Asks the owner one request at a time. */
function asking() {
  let nowMs = 1000
  const cache = new MetadataCache(() => nowMs)
  const ask = (request: Buffer, reply: Buffer) => {
    const change = cache.begin(request)
    const answer = { asked: cache.asked(), askedMs: nowMs, isFresh: true }
    cache.answered(request, reply, answer, change)
  }
  const get = (request: Buffer) => cache.answer(request, request.readUInt32LE(4))
  return {
    cache,
    ask,
    get,
    pass: (ms: number) => {
      nowMs += ms
    },
  }
}

function entry(ino: number, entryValidMs = VALID_MS): Buffer {
  const reply = bareReply(0, wire.ENTRY_BYTES)
  const attr = { ...ATTR, ino }
  wire.encodeEntry(reply, OUT, { attr, generation: 0, entryValidMs, attrValidMs: VALID_MS })
  return reply
}

const ATTR: wire.Attr = { ...newAttr(), volume: VOLUME, size: 1, nlink: 1, mode: 0o100644 }

function left(ino: number, namesMs: number): Buffer {
  const buf = Buffer.alloc(wire.ATTR_OUT_BYTES)
  encodePostAttributes(buf, 0, { ...ATTR, ino, mode: 0o040755 }, VALID_MS, namesMs)
  return buf
}

test('the kernel keeps an answer no longer than the owner gave it', () => {
  const { ask, get, pass } = asking()
  const request = kernel.lookup(node(ROOT), 'a')
  ask(request, entry(5))
  pass(2000)
  const kept = get(request) as Buffer
  assert.is(wire.validMsAt(kept, OUT + 16, OUT + 32), 1000)
  assert.is(wire.validMsAt(kept, OUT + 24, OUT + 36), 1000)
  assert.is(wire.validMsAt(get(kernel.getattr(node(5 as Ino))) as Buffer, OUT, OUT + 8), 1000)
  pass(1000)
  assert.is(get(request), null)
})

test('in a directory made here, every name that was not made is known not to be there', () => {
  const { ask, get } = asking()
  const made = 7 as Ino
  const mkdir = Buffer.concat([entry(made), left(ROOT, VALID_MS), left(made, VALID_MS)])
  ask(kernel.mkdir(node(ROOT), 'd', 0o755, 0), mkdir)
  const missing = get(kernel.lookup(node(made), 'x')) as Buffer
  assert.is(wire.nodeInoAt(missing, OUT), 0)
  assert.is(
    get(kernel.lookup(node(made), 'x'.repeat(256))),
    null,
    'a name too long is the owner’s to refuse',
  )
  assert.is(get(kernel.lookup(node(made), '..')), null)
  ask(kernel.create(node(made), 'x', 0, 0o644, 0), Buffer.concat([entry(8), left(made, VALID_MS)]))
  assert.is(wire.nodeInoAt(get(kernel.lookup(node(made), 'x')) as Buffer, OUT), 8)
  const capability = get(kernel.getxattr(node(8 as Ino), CAPABILITY, 64)) as Buffer
  assert.is(capability.readInt32LE(4), -61)
  assert.is(get(kernel.getxattr(node(8 as Ino), 'user.a', 64)), null)
})

test('an own change makes what it touches unknown until it is answered', () => {
  const { cache, ask, get } = asking()
  const lookup = kernel.lookup(node(ROOT), 'a')
  ask(lookup, entry(5))
  const change = cache.begin(kernel.unlink(node(ROOT), 'a')) as OwnChange
  assert.is(get(lookup), null)
  assert.is(get(kernel.getattr(node(5 as Ino))), null)
  // Of before, and on its way since.
  cache.answered(lookup, entry(5), { asked: cache.asked(), askedMs: 1000, isFresh: true }, null)
  assert.is(get(lookup), null)
  cache.failed(change)
  assert.is(get(lookup), null)
})

test('what is revoked is asked for, and an answer from before is not kept', () => {
  const { cache, ask, get } = asking()
  const lookup = kernel.lookup(node(ROOT), 'a')
  ask(lookup, entry(5))
  cache.forget({ attributes: [5 as Ino], names: false })
  assert.is(get(lookup), null)
  ask(lookup, entry(5))
  cache.forget({ attributes: [], names: true })
  assert.is(get(lookup), null)
  assert.ok(get(kernel.getattr(node(5 as Ino))))
  const late = { asked: cache.asked(), askedMs: 1000, isFresh: false }
  cache.answered(lookup, entry(5), late, null)
  assert.is(get(lookup), null)
})

/** One page of a listing, and the empty one behind it. */
function pages(names: readonly [string, number][]): Buffer[] {
  const reply = bareReply(0, 64 * 1024)
  let end = OUT
  for (const [name, ino] of names) {
    const listed = {
      attr: { ...ATTR, ino },
      generation: 0,
      entryValidMs: VALID_MS,
      attrValidMs: VALID_MS,
    }
    const bytes = Buffer.from(name)
    end = wire.encodeDirentPlus(reply, end, reply.length, listed, VOLUME, ino, 77, 0, 8, bytes)
  }
  return [reply.subarray(0, end), bareReply(0)]
}

/** The cache lists a directory. @returns how many pages it asked for */
function list(cache: MetadataCache, like: Buffer, names: readonly [string, number][]): number {
  let asked = 0
  for (let page = cache.nextPage(like); page; page = cache.nextPage(page)) {
    const reply = pages(names)[asked++] as Buffer
    cache.listed(page, reply, { asked: cache.asked(), askedMs: 1000, isFresh: true })
  }
  return asked
}

test('a directory that is looked into name by name is listed, and then known whole', () => {
  const { cache, ask, get } = asking()
  for (const name of ['a', 'b']) ask(kernel.lookup(node(ROOT), name), entry(5, VALID_MS))
  const page = cache.nextPage(kernel.lookup(node(ROOT), 'b')) as Buffer
  assert.is(page.readUInt32LE(4), OPCODES.READDIRPLUS.code)
  assert.is(cache.nextPage(kernel.lookup(node(ROOT), 'b')), null, 'one page at a time')
  const [reply, last] = pages([['c', 9]]) as [Buffer, Buffer]
  const answer = { asked: cache.asked(), askedMs: 1000, isFresh: true }
  cache.listed(page, reply, answer)
  assert.is(wire.nodeInoAt(get(kernel.lookup(node(ROOT), 'c')) as Buffer, OUT), 9)
  assert.is(get(kernel.lookup(node(ROOT), 'd')), null)
  const next = cache.nextPage(page) as Buffer
  assert.is(next.readUInt32LE(48), 77)
  cache.listed(next, last, answer)
  assert.is(wire.nodeInoAt(get(kernel.lookup(node(ROOT), 'd')) as Buffer, OUT), 0)
})

test('a directory known whole is listed again once attributes of its files were asked for as often as that costs', () => {
  const { cache, ask, get } = asking()
  const files = Array.from({ length: 128 }, (_, i): [string, number] => [`f${i}`, 100 + i])
  const lookup = (i: number) => kernel.lookup(node(ROOT), `f${i}`)
  for (const i of [0, 1]) ask(lookup(i), entry(100 + i))
  assert.is(list(cache, lookup(1), files), 2)
  cache.forget({ attributes: files.map(([, ino]) => ino as Ino), names: false })
  let misses = 0
  while (get(lookup(misses)) === null) {
    assert.is(list(cache, lookup(misses), files), 0, `listed after ${misses} misses`)
    ask(lookup(misses), entry(100 + misses))
    misses++
    if (misses === 4) assert.is(list(cache, lookup(3), files), 2)
  }
  assert.is(misses, 4, 'two, and one for each 64 names')
  assert.ok(get(lookup(127)))
})

test.run()
