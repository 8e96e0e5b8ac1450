import type { Host } from './lab-host.ts'

export async function shell(host: Host, command: string): Promise<string> {
  return (await host.run('bash', '-ec', command)).trim()
}

/**
 * A large file and many small ones, each fsynced: of syncfs a FUSE server is not told (docs/compat.md).
 * @param largeMib of the large one · @returns what `sums` says of them
 */
export async function fill(host: Host, point: string, largeMib: number): Promise<string> {
  await shell(
    host,
    `dd if=/dev/urandom of=${point}/large bs=1M count=${largeMib} conv=fsync status=none
     mkdir ${point}/many; for n in $(seq 100); do echo $n >${point}/many/$n; done
     sync ${point}/many/* ${point}/many
     for n in $(seq 20); do echo line $n >>${point}/log; sync ${point}/log; done`,
  )
  return await sums(host, point)
}

export async function sums(host: Host, point: string): Promise<string> {
  return await shell(host, `cd ${point} && find . -type f | sort | xargs sha256sum`)
}
