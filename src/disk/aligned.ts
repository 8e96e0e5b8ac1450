const BLOCK_BYTES = 4096
const WASM_PAGE_BYTES = 65_536

const aligned = new WeakSet<ArrayBufferLike>()

/**
 * Memory that begins at a block's boundary, for I/O past the page cache (O_DIRECT). A Buffer of Node begins 16 bytes
 * behind a page; the memory of a WebAssembly instance is mapped whole pages, which is the one aligned allocation that
 * JavaScript has. Rounded up to 64 KiB; never freed before it is collected.
 */
export function alignedBuffer(bytes: number): Buffer {
  return whole(new WebAssembly.Memory({ initial: Math.ceil(bytes / WASM_PAGE_BYTES) }), bytes)
}

/** As alignedBuffer, of memory that other threads see too when it is posted to them; there it counts as not aligned. */
export function sharedAlignedBuffer(bytes: number): Buffer {
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES)
  const shared = { initial: pages, maximum: pages, shared: true }
  return whole(new WebAssembly.Memory(shared), bytes)
}

function whole(memory: { readonly buffer: ArrayBufferLike }, bytes: number): Buffer {
  aligned.add(memory.buffer)
  return Buffer.from(memory.buffer, 0, bytes)
}

/** Can [at, at + roundedUp(length)) of this buffer go past the page cache to or from file offset `position`? */
export function isAligned(bytes: Buffer, at: number, position: number): boolean {
  return ((bytes.byteOffset + at) | position) % BLOCK_BYTES === 0 && aligned.has(bytes.buffer)
}

export function roundUpToBlock(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES
}
