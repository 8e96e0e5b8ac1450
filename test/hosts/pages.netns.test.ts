// deadline: 300 s
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { calling } from '../support/calling.ts'
import type { Host } from '../support/lab-host.ts'
import { SharedLab } from '../support/shared-lab.ts'
import { withVolumeOfThree } from '../support/volume-of-three.ts'

const SECONDS = 20
/** Of one node; each opens the file while others are just opening it. */
const READERS = 8

/** Writes a number into a file and closes it, then tells the number on a board that all programs see; and so on. */
const WRITE = `
import mmap, os, struct, sys, time
path, board, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
cell = mmap.mmap(os.open(board, os.O_RDWR), 4096)
end = time.monotonic() + seconds
n = 0
while time.monotonic() < end:
    n += 1
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, str(n).ljust(64).encode())
    os.close(fd)
    struct.pack_into('<q', cell, 0, n)
    time.sleep(0.003)
print(n)
`

/** Opens the file and reads a number, which must not be below the one on the board before. */
const READ = `
import mmap, os, struct, sys, time
path, board, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
cell = mmap.mmap(os.open(board, os.O_RDWR), 4096)
end = time.monotonic() + seconds
reads = 0
while time.monotonic() < end:
    least = struct.unpack_from('<q', cell, 0)[0]
    fd = os.open(path, os.O_RDONLY)
    bytes = os.read(fd, 64)
    if not bytes.strip().isdigit(): print(f'{bytes} instead of {least}', flush=True)
    got = int(bytes)
    os.close(fd)
    reads += 1
    if got < least: print(f'{got} instead of {least}', flush=True)
print('reads', reads)
`

const shared = new SharedLab(3)

/** Programs that run all the time: who is woken does not run on at once. */
function busy(): () => void {
  const children = [1, 2].map(() => spawn(process.execPath, ['-e', 'for (;;) {}']))
  return () => {
    for (const child of children) child.kill('SIGKILL')
  }
}

async function readsWhileWritten(readers: Host, writer: Host, path: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-board-'))
  const stop = busy()
  try {
    const board = join(dir, 'board')
    writeFileSync(board, Buffer.alloc(4096))
    // As long as what is written over it: a reader beside a write may see the new size before the new bytes.
    await writer.run('sh', '-c', `printf %-64s 0 >${path}`)
    const on = (host: Host, program: string) =>
      calling(host, 'exec python3 -c "$1" "$2" "$3" "$4" 2>&1', program, path, board, `${SECONDS}`)
    const said = await Promise.all([
      on(writer, WRITE),
      ...Array.from({ length: READERS }, () => on(readers, READ)),
    ])
    assert.match(said[0] ?? '', /^[1-9]\d+\n$/)
    for (const words of said.slice(1)) assert.match(words, /^reads [1-9]\d+\n$/, words)
  } finally {
    stop()
    rmSync(dir, { recursive: true })
  }
}

for (const [who, number] of [
  ['a node that does not own the volume', 1],
  ['its owner', 2],
] as const) {
  test(`who opens a file on ${who} reads what another node wrote and closed before, beside others that open it`, () => {
    const volume = shared.name('db')
    return withVolumeOfThree(shared, volume, (lab) =>
      readsWhileWritten(lab.host(number), lab.host(3), `/mnt/weft/${volume}/file`),
    )
  })
}

test('the lab ends, and what is left there is sound', () => shared.end())

test.run()
