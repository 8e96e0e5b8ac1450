/** One line of /proc/PID/mountinfo. Source: proc(5). */
export interface MountLine {
  /** 'major:minor', what stat gives as st_dev of files on it. */
  readonly device: string
  /** Directory of the filesystem that is seen here; '/' but for bind mounts. */
  readonly root: string
  readonly at: string
  readonly options: readonly string[]
  readonly type: string
  readonly source: string
  /** Of the filesystem itself, the same at all its mount points. */
  readonly superOptions: readonly string[]
}

/** In the order they were mounted. A line that is not one is left out. */
export function parseMountinfo(text: string): MountLine[] {
  const lines: MountLine[] = []
  for (const line of text.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [, , device, root, at, options] = before.split(' ')
    const [type, source, superOptions] = after.split(' ')
    if (!device || !root || !at || !options || !type || source === undefined) continue
    lines.push({
      device,
      root: unescapeOctal(root),
      at: unescapeOctal(at),
      options: options.split(','),
      type,
      source: unescapeOctal(source),
      superOptions: (superOptions ?? '').split(','),
    })
  }
  return lines
}

/** What a path that is a mount point shows: the mount that came last hides those below it. */
export function mountOn(lines: readonly MountLine[], at: string): MountLine | undefined {
  return lines.findLast((line) => line.at === at)
}

/** Read-only at this mount point, or as a whole because the filesystem gave up writing. */
export function isReadOnly(line: MountLine): boolean {
  return line.options.includes('ro') || line.superOptions.includes('ro')
}

/** st_dev as node:fs gives it, in the spelling of mountinfo and /sys/dev/block. Source: linux include/linux/kdev_t.h, new_encode_dev */
export function deviceName(dev: number): string {
  return `${(dev >>> 8) & 0xfff}:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}`
}

/** mountinfo and swaps write space, tab, newline and backslash as \ooo. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}
