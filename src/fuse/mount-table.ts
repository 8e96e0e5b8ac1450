import { readFileSync } from 'node:fs'

/** One line of /proc/self/mountinfo. Source: proc(5). */
export interface MountEntry {
  readonly id: number
  readonly parent: number
  /** "major:minor" of the superblock; bind mounts of one filesystem share it. */
  readonly dev: string
  /** Path inside the filesystem that is the root of this mount. */
  readonly root: string
  readonly mountPoint: string
  readonly options: string
  readonly fsType: string
  readonly source: string
  readonly superOptions: string
}

/** All mounts this process sees, in the order they were made. Asks no filesystem, so it cannot hang on one. */
export function mountTable(): MountEntry[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'))
}

/** Lines that do not have the fields proc(5) names are left out. */
export function parseMountInfo(text: string): MountEntry[] {
  const entries: MountEntry[] = []
  for (const line of text.split('\n')) {
    const fields = line.split(' ')
    const dash = fields.indexOf('-', 6)
    const [id, parent, dev, root, mountPoint, options] = fields
    if (dash < 0 || options === undefined) continue
    entries.push({
      id: Number(id),
      parent: Number(parent),
      dev: dev ?? '',
      root: undoEscapes(root ?? ''),
      mountPoint: undoEscapes(mountPoint ?? ''),
      options,
      fsType: undoEscapes(fields[dash + 1] ?? ''),
      source: undoEscapes(fields[dash + 2] ?? ''),
      superOptions: fields[dash + 3] ?? '',
    })
  }
  return entries
}

/** The mount one sees at exactly this path: the last made of those stacked there. */
export function mountAt(target: string, table = mountTable()): MountEntry | undefined {
  return table.findLast((entry) => entry.mountPoint === target)
}

/** A mount of ours, a bind mount of one included. */
export function isWeftMount(entry: MountEntry): boolean {
  return entry.fsType === 'fuse.weft'
}

/** The kernel writes space, tab, newline, backslash and # as three octal digits (seq_file mangle_path). */
function undoEscapes(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
