import { assert, type NativeFunction, type NativePointer, nativeFunctions } from '../base/index.ts'
import { emptySecret, wipe } from './secret.ts'

/** Numbers of EVP_CIPHER_CTX_ctrl. Source: OpenSSL include/openssl/evp.h */
const EVP_CTRL_AEAD_GET_TAG = 0x10
const EVP_CTRL_AEAD_SET_TAG = 0x11
const TAG_BYTES = 16
const KEY_BYTES = 32
const NONCE_BYTES = 24
/** Of the nonce, what goes into the sub-key; the rest is the nonce under it. */
const SUB_KEY_NONCE_BYTES = 16

/** Source: OpenSSL include/openssl/evp.h */
const DECLARATIONS = {
  EVP_chacha20_poly1305: 'void *EVP_chacha20_poly1305()',
  EVP_CIPHER_CTX_new: 'void *EVP_CIPHER_CTX_new()',
  EVP_CIPHER_CTX_reset: 'int EVP_CIPHER_CTX_reset(void *ctx)',
  EVP_CipherInit_ex:
    'int EVP_CipherInit_ex(void *ctx, void *type, void *impl, void *key, void *iv, int enc)',
  EVP_CipherUpdate: 'int EVP_CipherUpdate(void *ctx, void *out, void *outl, void *in, int inl)',
  EVP_CipherFinal_ex: 'int EVP_CipherFinal_ex(void *ctx, void *outm, void *outl)',
  EVP_CIPHER_CTX_ctrl: 'int EVP_CIPHER_CTX_ctrl(void *ctx, int cmd, int p1, void *p2)',
} as const
type Evp = Readonly<Record<keyof typeof DECLARATIONS, NativeFunction>>

/** XChaCha20-Poly1305 of one page, its tag apart. Two make the same bytes. */
export interface PageSeal {
  /** @param cipher as long as `plain`; may be the same place @param tag 16 bytes @param nonce 24 bytes @param key 32 bytes */
  seal(cipher: Uint8Array, tag: Uint8Array, plain: Uint8Array, nonce: Uint8Array, key: Buffer): void

  /** @returns whether the seal holds; `plain` has zeros if not */
  open(
    plain: Uint8Array,
    cipher: Uint8Array,
    tag: Uint8Array,
    nonce: Uint8Array,
    key: Buffer,
  ): boolean

  /** What is kept of the last key goes. */
  wipe(): void
}

/**
 * XChaCha20-Poly1305, the tag apart, by OpenSSL: the same bytes as libsodium makes in half of the time. OpenSSL has the cipher
 * with a nonce of 12 bytes; the longer nonce is a sub-key made of key and the first 16 bytes, which the pages of a chunk
 * have in common, and the other 8 (draft-irtf-cfrg-xchacha-03, 2.3). The sub-key of the last chunk is kept until `wipe`.
 */
export class OpensslPages implements PageSeal {
  readonly #evp: Evp
  readonly #cipher: NativePointer
  readonly #context: NativePointer
  /** Whose sub-key the context has, and for which way: 1 seals, 0 opens; -1 for none. */
  readonly #key = emptySecret(KEY_BYTES)
  readonly #chunk = new Uint8Array(SUB_KEY_NONCE_BYTES)
  #way = -1
  readonly #subKey = emptySecret(KEY_BYTES)
  /** 4 zero bytes, then the rest of the long nonce. */
  readonly #nonce = new Uint8Array(12)
  readonly #written = new Uint8Array(4)

  private constructor(evp: Evp, cipher: NativePointer, context: NativePointer) {
    this.#evp = evp
    this.#cipher = cipher
    this.#context = context
  }

  /** @returns null where OpenSSL cannot be called, or has not the cipher */
  static find(): OpensslPages | null {
    const evp = nativeFunctions(DECLARATIONS)
    const cipher = evp?.EVP_chacha20_poly1305() as NativePointer | null
    const context = evp?.EVP_CIPHER_CTX_new() as NativePointer | null
    if (!evp || !cipher || !context) return null
    const [key, nonce] = [new Uint8Array(KEY_BYTES), new Uint8Array(12)]
    // One that keeps to FIPS 140 names the cipher, and refuses it.
    if (evp.EVP_CipherInit_ex(context, cipher, null, key, nonce, 1) !== 1) return null
    return new OpensslPages(evp, cipher, context)
  }

  seal(
    cipher: Uint8Array,
    tag: Uint8Array,
    plain: Uint8Array,
    nonce: Uint8Array,
    key: Buffer,
  ): void {
    this.#begin(1, tag, nonce, key)
    this.#update(cipher, plain)
    this.#must(this.#evp.EVP_CipherFinal_ex(this.#context, cipher, this.#written))
    this.#must(this.#evp.EVP_CIPHER_CTX_ctrl(this.#context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag))
  }

  open(
    plain: Uint8Array,
    cipher: Uint8Array,
    tag: Uint8Array,
    nonce: Uint8Array,
    key: Buffer,
  ): boolean {
    this.#begin(0, tag, nonce, key)
    this.#must(this.#evp.EVP_CIPHER_CTX_ctrl(this.#context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag))
    this.#update(plain, cipher)
    const holds = this.#evp.EVP_CipherFinal_ex(this.#context, plain, this.#written) === 1
    if (!holds) plain.fill(0)
    return holds
  }

  wipe(): void {
    if (this.#way === -1) return
    this.#way = -1
    wipe(this.#key, this.#subKey)
    this.#must(this.#evp.EVP_CIPHER_CTX_reset(this.#context))
  }

  /** Sub-key and nonce of a page stand in the context. */
  #begin(way: 0 | 1, tag: Uint8Array, nonce: Uint8Array, key: Uint8Array): void {
    assert(tag.length === TAG_BYTES, 'a tag has 16 bytes')
    assert(
      key.length === KEY_BYTES && nonce.length === NONCE_BYTES,
      'a key has 32 bytes, a nonce 24',
    )
    for (let i = SUB_KEY_NONCE_BYTES; i < NONCE_BYTES; i++) {
      this.#nonce[i - SUB_KEY_NONCE_BYTES + 4] = nonce[i] as number
    }
    if (this.#way === way && startsWith(nonce, this.#chunk) && startsWith(key, this.#key)) {
      this.#init(null, null, way)
      return
    }
    const type = this.#way === -1 ? this.#cipher : null
    // Whatever ends this early, the context is not taken for one of another chunk.
    this.#way = -1
    this.#key.set(key)
    for (let i = 0; i < SUB_KEY_NONCE_BYTES; i++) this.#chunk[i] = nonce[i] as number
    hChaCha20(this.#subKey, key, nonce)
    this.#init(type, this.#subKey, way)
    this.#way = way
  }

  #init(type: NativePointer | null, key: Uint8Array | null, way: 0 | 1): void {
    this.#must(this.#evp.EVP_CipherInit_ex(this.#context, type, null, key, this.#nonce, way))
  }

  #update(out: Uint8Array, from: Uint8Array): void {
    assert(out.length === from.length, 'a page is as long sealed as it is plain')
    const { length } = from
    this.#must(this.#evp.EVP_CipherUpdate(this.#context, out, this.#written, from, length))
  }

  #must(result: unknown): void {
    assert(result === 1, 'OpenSSL seals and opens what it is given')
  }
}

/** Whether the first bytes are these. No secret is told by how long it takes: who may ask has the key. */
function startsWith(bytes: Uint8Array, first: Uint8Array): boolean {
  for (let i = 0; i < first.length; i++) if (bytes[i] !== first[i]) return false
  return true
}

/** "expand 32-byte k" */
const SIGMA = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574] as const
const stateBytes = emptySecret(64)
const state = new Uint32Array(stateBytes.buffer, stateBytes.byteOffset, 16)

/** The sub-key of a key and the first 16 bytes of a nonce: HChaCha20. Source: draft-irtf-cfrg-xchacha-03, 2.2 */
function hChaCha20(subKey: Uint8Array, key: Uint8Array, nonce: Uint8Array): void {
  for (let i = 0; i < 4; i++) {
    state[i] = SIGMA[i] as number
    state[4 + i] = wordAt(key, i * 4)
    state[8 + i] = wordAt(key, 16 + i * 4)
    state[12 + i] = wordAt(nonce, i * 4)
  }
  for (let round = 0; round < 20; round += 2) {
    for (let i = 0; i < 4; i++) quarterRound(i, 4 + i, 8 + i, 12 + i)
    quarterRound(0, 5, 10, 15)
    quarterRound(1, 6, 11, 12)
    quarterRound(2, 7, 8, 13)
    quarterRound(3, 4, 9, 14)
  }
  for (let i = 0; i < 16; i++) {
    subKey[i] = wordOf(i >> 2) >>> ((i & 3) * 8)
    subKey[16 + i] = wordOf(12 + (i >> 2)) >>> ((i & 3) * 8)
  }
  state.fill(0)
}

/** Source: RFC 8439, 2.1 */
function quarterRound(a: number, b: number, c: number, d: number): void {
  addXorRotate(a, b, d, 16)
  addXorRotate(c, d, b, 12)
  addXorRotate(a, b, d, 8)
  addXorRotate(c, d, b, 7)
}

/** a += b; d ^= a; d is rotated to the left. */
function addXorRotate(a: number, b: number, d: number, bits: number): void {
  const sum = (wordOf(a) + wordOf(b)) >>> 0
  const mixed = wordOf(d) ^ sum
  state[a] = sum
  state[d] = (mixed << bits) | (mixed >>> (32 - bits))
}

function wordOf(i: number): number {
  return state[i] as number
}

/** Little-endian. */
function wordAt(bytes: Uint8Array, at: number): number {
  let word = 0
  for (let i = 3; i >= 0; i--) word = (word << 8) | (bytes[at + i] as number)
  return word >>> 0
}
