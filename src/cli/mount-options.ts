import { usageError } from './cli-error.ts'

/** What the words after -o mean to us. */
export interface MountOptions {
  readonly readOnly: boolean
  /** Hide what the directory holds. */
  readonly nonempty: boolean
  readonly driver: 'kernel' | 'fuse-native' | undefined
  readonly home: string | undefined
  /** Attach this volume in place of mounting the namespace. */
  readonly volume: string | undefined
  /** Flags that the kernel is given. */
  readonly flags: readonly string[]
}

const FLAGS = new Set([
  'nosuid',
  'nodev',
  'noexec',
  'noatime',
  'nodiratime',
  'relatime',
  'strictatime',
  'lazytime',
  'sync',
  'dirsync',
])

/**
 * Words for mount(8), systemd or the kernel's defaults, that ask nothing of us.
 * Sources: man 8 mount (filesystem-independent options), man 5 systemd.mount.
 */
const IGNORED = new Set([
  'defaults',
  'rw',
  'suid',
  'dev',
  'exec',
  'atime',
  'diratime',
  'norelatime',
  'nostrictatime',
  'nolazytime',
  'async',
  'auto',
  'noauto',
  'nofail',
  '_netdev',
  'user',
  'nouser',
  'users',
  'nousers',
  'owner',
  'noowner',
  'group',
  'nogroup',
  'silent',
  'loud',
  'allow_other',
  'default_permissions',
])

/** @throws CliError for a word that asks for something we do not do: silence would be a broken promise */
export function parseMountOptions(given: readonly string[]): MountOptions {
  const flags: string[] = []
  let readOnly = false
  let nonempty = false
  let driver: MountOptions['driver']
  let home: string | undefined
  let volume: string | undefined
  for (const word of given.flatMap((text) => text.split(','))) {
    const [name = '', ...rest] = word.split('=')
    const value = rest.join('=')
    if (word === '' || IGNORED.has(word) || /^(x-|comment=|uhelper=|helper=)/i.test(word)) continue
    if (word === 'ro') readOnly = true
    else if (word === 'nonempty') nonempty = true
    else if (FLAGS.has(word)) flags.push(word)
    else if (name === 'home' && value.startsWith('/')) home = value
    else if (name === 'volume' && value !== '') volume = value
    else if (name === 'driver' && (value === 'kernel' || value === 'fuse-native')) driver = value
    else {
      const known = [
        'ro',
        ...FLAGS,
        'nonempty',
        'home=/DIR',
        'volume=NAME',
        'driver=kernel|fuse-native',
      ].join(', ')
      throw usageError(`mount option "${word}" is not known`, `use some of: ${known}`)
    }
  }
  // rw after ro takes it back, as mount(8) does: the last word counts.
  const words = given.flatMap((text) => text.split(','))
  if (words.lastIndexOf('rw') > words.lastIndexOf('ro')) readOnly = false
  return { readOnly, nonempty, driver, home, volume, flags }
}

/**
 * The command line that a mount helper's stands for. mount(8) calls `mount.fuse.weft SOURCE TARGET [-sfnv] [-N NS] [-o WORDS]
 * [-t TYPE]` (man 8 mount, EXTERNAL HELPERS).
 * @returns null for -f: mount(8) wants everything but the mount itself
 */
export function fromMountHelper(argv: readonly string[]): string[] | null {
  const places: string[] = []
  const words: string[] = []
  let fake = false
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? ''
    if (word === '-o') words.push(argv[++at] ?? '')
    else if (word === '-t' || word === '-N') at++
    else if (/^-[sfnvw]+$/.test(word)) fake ||= word.includes('f')
    else if (word === '-r') words.push('ro')
    else places.push(word)
  }
  const [, target, ...more] = places
  if (target === undefined || more.length > 0) {
    throw usageError(
      'a mount helper takes a source and a target',
      'mount -t fuse.weft weft /mnt/weft',
    )
  }
  if (fake) return null
  return ['mount', target, ...words.flatMap((word) => ['-o', word])]
}
