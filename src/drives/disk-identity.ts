/** What the names of a disk say about it. A WWN is written as lower-case hex without 0x; '' is unknown. */
export interface DiskIdentity {
  readonly wwn: string
  readonly serial: string
  readonly model: string
}

/** As lsblk ('0x5000c500…'), sysfs ('naa.5000C500…', 'eui.…') or OneView spell it; other kinds of names have no hex form. */
export function normalWwn(text: string): string {
  const hex = text
    .trim()
    .toLowerCase()
    .replace(/^(0x|naa\.|eui\.)/, '')
  return /^[0-9a-f]{16,32}$/.test(hex) ? hex : ''
}

/**
 * Which names below /dev/disk/by-id say who a disk is: wwn-0x…, scsi-3… (NAA), nvme-…, ata-…. Partitions have the names of
 * their disk with -partN. Source: systemd rules.d/60-persistent-storage.rules
 */
export function isIdentityLink(name: string): boolean {
  return /^(wwn-0x|scsi-3|scsi-S|ata-|nvme-)/.test(name) && !/-part\d+$/.test(name)
}

/** Identity from the names of a disk's links alone, for a disk whose kernel device knows none: a loop device, or no udev. */
export function identityOfLinks(names: readonly string[]): DiskIdentity {
  let wwn = ''
  let serial = ''
  let model = ''
  for (const name of names) {
    const naa = /^(?:wwn-0x|scsi-3|nvme-eui\.)([0-9a-fA-F]+)$/.exec(name)?.[1]
    if (naa !== undefined) {
      wwn ||= normalWwn(naa)
      continue
    }
    const words = /^(?:ata-|nvme-|scsi-S)(.+)_([^_]+)$/.exec(name)
    if (words === null) continue
    model ||= (words[1] ?? '').replaceAll('_', ' ')
    serial ||= words[2] ?? ''
  }
  return { wwn, serial, model }
}

/**
 * Serial number from SCSI vital product data page 0x80: u8 device type, u8 0x80, u16 BE length, ASCII.
 * '' when these are not such bytes. Source: SPC-4 §7.8.15 (unit serial number)
 */
export function serialOfVpd80(page: Buffer): string {
  if (page.length < 4 || page[1] !== 0x80) return ''
  return page
    .toString('latin1', 4, 4 + page.readUInt16BE(2))
    .replaceAll('\0', '')
    .trim()
}
