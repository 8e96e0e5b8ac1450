import type { Host } from '../test/support/lab-host.ts'

const FILL = `
import os, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
blocks = [os.urandom(1 << 20) for _ in range(16)]
begun = time.monotonic()
for n in range(int(sys.argv[2])): os.write(fd, blocks[n % 16])
os.fsync(fd)
print(time.monotonic() - begun)
`

/** Write a file of so many MiB on a host, and sync it. @returns seconds */
export async function fill(host: Host, path: string, mebibytes: number): Promise<number> {
  return Number(await host.run('python3', '-c', FILL, path, `${mebibytes}`))
}
