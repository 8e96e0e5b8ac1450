import { isIP } from 'node:net'
import { crc32 } from 'node:zlib'
import { ByteReader, ByteWriter, FsError, limits, ProtocolError } from '../base/index.ts'
import { secretFrom } from '../crypto/index.ts'
import { type Address, isHost } from './address.ts'
import type { ClusterId } from './record.ts'

/** A member that the holder of an invite can ask, known by the key its Noise session will show. */
export interface Contact {
  /** Ed25519, hex. */
  readonly signKey: string
  /** None for a node that is found by its key alone. */
  readonly addresses: readonly Address[]
}

/** What an invite says. It is worth one membership for each use left: who has the line can join. */
export interface Invite {
  readonly cluster: ClusterId
  /** 32 bytes in secure memory; the key pair to connect with comes from it. */
  readonly seed: Buffer
  /** Milliseconds since 1970, whole seconds. */
  readonly expiresMs: number
  /** The inviting node first. */
  readonly contacts: readonly Contact[]
}

/**
 * docs/format.md §8. The check finds a slip in copying; that the line is genuine, only the cluster can say.
 */
const TITLE = 'weft1:'
const CHECK_BYTES = 4
const contactsMax = 8
/** Longer names are left out: the line is for terminals. */
const hostCharsMax = 64

/** @param invite its contacts are taken in order, as many as the line holds; the first always */
export function formatInvite(invite: Invite): string {
  let line = lineOf({ ...invite, contacts: invite.contacts.slice(0, 1).map(inShort) })
  for (let count = 2; count <= Math.min(invite.contacts.length, contactsMax); count++) {
    const longer = lineOf({ ...invite, contacts: invite.contacts.slice(0, count).map(inShort) })
    if (longer.length > limits.inviteLineCharsMax) break
    line = longer
  }
  return line
}

/**
 * @param line blanks around it, and line ends and blanks inside it, do not matter: terminals and mail programs break lines
 * @throws FsError EINVAL that says what is wrong with the line; ENOTSUP for one of a newer weft
 */
export function parseInvite(line: string): Invite {
  const text = line.replace(/\s+/g, '')
  const [, version = ''] = /^weft(\d{1,4}):/.exec(text) ?? refuse('it does not begin with weft1:')
  if (version !== '1') {
    throw new FsError('ENOTSUP', 'cluster.join', {
      version,
      message: `invite: made by a newer weft (version ${version}, this build reads 1): install that build here`,
    })
  }
  const body = text.slice(TITLE.length)
  if (text.length > 4 * limits.inviteLineCharsMax) refuse('it is too long')
  const bytes = Buffer.from(body, 'base64url')
  if (bytes.toString('base64url') !== body) refuse('it is cut short or mistyped')
  if (bytes.length < CHECK_BYTES) refuse('it is cut short')
  const end = bytes.length - CHECK_BYTES
  if (bytes.readUInt32LE(end) !== crc32(bytes.subarray(0, end))) {
    refuse('it is cut short or mistyped: its check does not fit')
  }
  try {
    return decode(new ByteReader(bytes, 0, end))
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    refuse(error.message)
  } finally {
    bytes.fill(0)
  }
}

/** One address of each kind is enough to be found, and the line stays short. */
function inShort(contact: Contact): Contact {
  const addresses: Address[] = []
  for (const address of contact.addresses) {
    const another = addresses.some(({ host }) => isIP(host) === isIP(address.host))
    if (!another && address.host.length <= hostCharsMax) addresses.push(address)
  }
  return { ...contact, addresses: addresses.slice(0, 2) }
}

function lineOf({ cluster, seed, expiresMs, contacts }: Invite): string {
  const out = new ByteWriter(limits.inviteLineCharsMax)
  out.bytes(Buffer.from(cluster, 'hex')).bytes(seed)
  out.u32(Math.floor(expiresMs / 1000)).u8(contacts.length)
  for (const { signKey, addresses } of contacts) {
    out.bytes(Buffer.from(signKey, 'hex')).u8(addresses.length)
    for (const { host, port } of addresses) {
      out.u8(host.length).bytes(Buffer.from(host)).u16(port)
    }
  }
  const body = out.finish()
  const check = new ByteWriter(CHECK_BYTES).u32(crc32(body)).finish()
  return `${TITLE}${Buffer.concat([body, check]).toString('base64url')}`
}

/** @throws ProtocolError */
function decode(reader: ByteReader): Invite {
  const cluster = reader.bytes(16).toString('hex') as ClusterId
  const seed = secretFrom(Buffer.from(reader.bytes(32)))
  const expiresMs = reader.u32() * 1000
  const contacts: Contact[] = []
  const count = reader.u8()
  if (count < 1 || count > contactsMax) throw new ProtocolError('it names no node to ask')
  while (contacts.length < count) {
    const signKey = reader.bytes(32).toString('hex')
    const addresses: Address[] = []
    for (let left = reader.u8(); left > 0; left--) addresses.push(addressOf(reader))
    contacts.push({ signKey, addresses })
  }
  if (reader.left > 0) throw new ProtocolError('it has more in it than an invite')
  return { cluster, seed, expiresMs, contacts }
}

function addressOf(reader: ByteReader): Address {
  const host = reader.bytes(reader.u8()).toString('latin1')
  const port = reader.u16()
  if (!isHost(host) || port === 0) throw new ProtocolError('it has an address that is none')
  return { host, port }
}

function refuse(why: string): never {
  throw new FsError('EINVAL', 'cluster.join', {
    message: `invite: ${why}; copy the whole line that "weft cluster invite" printed`,
  })
}
