import { createRequire } from 'node:module'

/** A number, or a place in memory: a typed array is passed by its address, and nothing is copied. */
export type NativeArgument = number | Uint8Array | NativePointer | null
/** What a function gave as `void *`. */
export type NativePointer = object | bigint

/** Blocks the thread. Wrong arguments crash the process. */
export type NativeFunction = (...args: readonly NativeArgument[]) => unknown

/**
 * Functions of the C library and of OpenSSL, which Node itself stands on, called past Node: where its own call throws to say
 * that there is nothing, or makes objects to seal one page, that costs more than the work (docs/adr/0032).
 * @param declarations by name, as the header has them: { getpid: 'int getpid()' }
 * @returns null where one of them cannot be called: there is no koffi for this machine, or this Node does not show the function
 */
export function nativeFunctions<Name extends string>(
  declarations: Readonly<Record<Name, string>>,
): Readonly<Record<Name, NativeFunction>> | null {
  const functions: Partial<Record<Name, NativeFunction>> = {}
  try {
    // Only here: a command of the CLI needs none of them, and is not to wait for it.
    const { load } = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const loaded = load(null)
    for (const name of Object.keys(declarations) as Name[]) {
      functions[name] = loaded.func(declarations[name]) as NativeFunction
    }
  } catch {
    return null
  }
  return functions as Record<Name, NativeFunction>
}
