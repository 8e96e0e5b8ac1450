import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import {
  identityOfLinks,
  isIdentityLink,
  normalWwn,
  serialOfVpd80,
} from '../../src/drives/disk-identity.ts'
import { describeSignatures, parseLsblk, parseWipefs } from '../../src/drives/disk-reports.ts'
import { deviceName, isReadOnly, mountOn, parseMountinfo } from '../../src/drives/mountinfo.ts'

/** Recorded 2026-11-30 with util-linux 2.38.1, the disks renamed after a Synergy D3940's. */
const LSBLK = `{
   "blockdevices": [
      {"path":"/dev/sda", "kname":"sda", "maj:min":"8:0", "type":"disk", "size":480103981056, "model":"VO000480JWDAR ", "serial":"S3NNX0", "wwn":"0x5002538a06d1c520", "tran":"sas", "rota":false, "ro":false},
      {"path":"/dev/loop0", "kname":"loop0", "maj:min":"7:0", "type":"loop", "size":536870912, "model":null, "serial":null, "wwn":null, "tran":null, "rota":true, "ro":true}
   ]
}
`
/** The same fields as util-linux before 2.33 writes them. */
const LSBLK_OLD = `{"blockdevices": [{"path":"/dev/cciss/c0d0", "kname":"cciss/c0d0", "maj:min":"104:0", "type":"disk", "size":"480103981056", "model":null, "serial":null, "wwn":null, "tran":null, "rota":"1", "ro":"0"}]}`

const WIPEFS = `{
   "signatures": [
      {
         "device": "loop0",
         "offset": "0x0",
         "type": "xfs",
         "uuid": "01234567-89ab-cdef-0123-456789abcdef",
         "label": "weft"
      },
      {
         "device": "loop0",
         "offset": "0xff6",
         "type": "swap",
         "uuid": null,
         "label": null
      }
   ]
}
`

const MOUNTINFO = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 8:16 / /srv/my\\040data rw,nosuid,noatime shared:12 - xfs /dev/sdb rw,attr2
41 27 8:32 / /das0 rw,noatime - xfs /dev/sdc ro,attr2
42 27 8:48 /sub /das0 ro,noatime - xfs /dev/sdd rw

`

test('what lsblk prints is read, as of today and of old', () => {
  const [sda, loop] = parseLsblk(LSBLK)
  assert.equal(sda, {
    path: '/dev/sda',
    name: 'sda',
    device: '8:0',
    type: 'disk',
    sizeBytes: 480_103_981_056,
    model: 'VO000480JWDAR',
    serial: 'S3NNX0',
    wwn: '0x5002538a06d1c520',
    transport: 'sas',
    isRotational: false,
    isReadOnly: false,
  })
  assert.is(loop?.model, '')
  assert.is(loop?.isReadOnly, true)
  const [old] = parseLsblk(LSBLK_OLD)
  assert.is(old?.name, 'cciss!c0d0')
  assert.is(old?.sizeBytes, 480_103_981_056)
  assert.is(old?.isRotational, true)
  assert.is(old?.isReadOnly, false)
})

test('what is not the JSON expected is an error in words', () => {
  for (const text of ['', '{', '[]', '{"blockdevices": 7}', 'null']) {
    try {
      parseLsblk(text)
      assert.unreachable(text)
    } catch (error) {
      assert.instance(error, FsError)
      assert.match((error as FsError).message, 'lsblk')
    }
  }
})

test('signatures are listed with type, label, uuid and place', () => {
  const found = parseWipefs(WIPEFS)
  assert.is(
    describeSignatures(found),
    'xfs "weft" (uuid 01234567-89ab-cdef-0123-456789abcdef) at byte 0, swap at byte 4086',
  )
  assert.equal(parseWipefs('{"signatures": [ ]}'), [])
  assert.equal(parseWipefs(''), [])
})

test('mountinfo tells what is on top, and what is read-only', () => {
  const lines = parseMountinfo(MOUNTINFO)
  assert.is(lines.length, 4)
  const data = mountOn(lines, '/srv/my data')
  assert.is(data?.device, '8:16')
  assert.is(data?.type, 'xfs')
  assert.is(mountOn(lines, '/das0')?.device, '8:48')
  assert.is(mountOn(lines, '/das1'), undefined)
  assert.equal(lines.map(isReadOnly), [false, false, true, true])
})

test('st_dev is spelt as the kernel spells it', () => {
  assert.is(deviceName(65_024), '254:0')
  assert.is(deviceName(0x0810), '8:16')
  // Minor 300 is 0x12c: its upper bits stand above the major.
  assert.is(deviceName((0x100 << 12) | (259 << 8) | 0x2c), '259:300')
})

test('a WWN is the same in every spelling', () => {
  assert.is(normalWwn('0x5000C500A1B2C3D4'), '5000c500a1b2c3d4')
  assert.is(normalWwn('naa.5000c500a1b2c3d4\n'), '5000c500a1b2c3d4')
  assert.is(normalWwn('eui.0025385b71b0c1d2'), '0025385b71b0c1d2')
  assert.is(normalWwn('t10.ATA     QEMU HARDDISK'), '')
  assert.is(normalWwn(''), '')
})

test('links name a disk, partitions and other names do not', () => {
  const names = [
    'ata-WDC_WD40EFRX-68N32N0_WD-WCC7K0123456',
    'scsi-35000c500a1b2c3d4',
    'wwn-0x5000c500a1b2c3d4',
    'wwn-0x5000c500a1b2c3d4-part1',
    'dm-name-vg-root',
    'usb-Generic_Flash',
  ]
  const kept = names.filter(isIdentityLink)
  assert.equal(kept, names.slice(0, 3))
  assert.equal(identityOfLinks(kept), {
    wwn: '5000c500a1b2c3d4',
    serial: 'WD-WCC7K0123456',
    model: 'WDC WD40EFRX-68N32N0',
  })
  assert.equal(identityOfLinks(['nvme-eui.0025385b71b0c1d2']), {
    wwn: '0025385b71b0c1d2',
    serial: '',
    model: '',
  })
  assert.equal(identityOfLinks([]), { wwn: '', serial: '', model: '' })
})

test('the serial number of SCSI page 0x80 is read, garbage is none', () => {
  const page = Buffer.from([0, 0x80, 0, 8, ...Buffer.from('  S3NNX0')])
  assert.is(serialOfVpd80(page), 'S3NNX0')
  assert.is(serialOfVpd80(Buffer.concat([page, Buffer.from('behind')])), 'S3NNX0')
  assert.is(serialOfVpd80(Buffer.alloc(0)), '')
  assert.is(serialOfVpd80(Buffer.from([0, 0x83, 0, 1, 65])), '')
})

test.run()
