/** What disk/aligned.ts uses; @types/node leaves WebAssembly to lib.dom. Source: WebAssembly JavaScript Interface, §5.3. */
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { initial: number; maximum?: number })
    readonly buffer: ArrayBuffer
  }
}
