import type { KeyList, KeySlotInfo, VolumeInfo } from '../api/index.ts'
import { CliError } from './cli-error.ts'
import { type Context, volumePath } from './command.ts'
import { withNext } from './words.ts'

/**
 * What opens a volume, for whoever came with something that does not.
 * @param work sends the request
 * @throws CliError of the node; when nothing fitted, with the slots there are and what each takes
 */
export async function sayingSlots<T>(
  context: Context,
  volume: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    if (error.code !== 'ENOKEY' && error.code !== 'EKEYREJECTED') throw error
    const list = await slotsOf(context, volume)
    if (list === null) throw error
    const { name } = list.volume
    const slots = list.keys.map((slot) => `${slot.id} (${slotWords(slot)})`).join(', ')
    const ways = list.keys.map((slot) => wayOf(slot, name)).filter((way) => way !== null)
    // A slot of that kind is there, so it may be a slip of the finger or of the file.
    const again =
      error.code === 'EKEYREJECTED' ? 'try another passphrase, key file or set of shares, or ' : ''
    const next =
      ways.length === 0
        ? `on a node that has one of these slots, or with a backup: weft key import ${name} FILE`
        : `${again}give what a slot takes: ${ways.join(', or ')}`
    throw withNext(error, next, `${error.message}; the slots of ${name} are ${slots}`)
  }
}

/** null when the node does not say: the first error is the one that counts then. */
async function slotsOf(context: Context, volume: string): Promise<KeyList | null> {
  try {
    return await context.node.get<KeyList>(volumePath(volume, '/keys'))
  } catch (error) {
    if (error instanceof CliError) return null
    throw error
  }
}

function slotWords({ kind, name, threshold, shares }: KeySlotInfo): string {
  if (kind === 'node') return name === 'this node' ? name : `another node, ${name}`
  const label = name === kind ? '' : `, ${name}`
  return kind === 'shares' ? `${threshold} of ${shares} shares${label}` : `${kind}${label}`
}

function wayOf({ kind, name, threshold, id }: KeySlotInfo, volume: string): string | null {
  switch (kind) {
    case 'node':
      return name === 'this node' ? `weft key unlock ${volume} (slot ${id})` : null
    case 'passphrase':
      return `weft key unlock ${volume} --passphrase (slot ${id})`
    case 'recipient':
      return `weft key unlock ${volume} --identity KEYFILE (slot ${id})`
    case 'shares':
      return `weft key recover ${volume} with ${threshold} share files (slot ${id})`
  }
}

/** A backup that the node refused, with the name of the file and of the volume it is of. */
export async function sayingBackup<T>(
  context: Context,
  volume: string,
  file: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof CliError) || error.op !== 'key.import') throw error
    const { backupOf } = error.subject
    if (typeof backupOf === 'string') {
      const { volumes } = await context.node.get<{ volumes: VolumeInfo[] }>('/v1/volumes')
      const owner = volumes.find(({ id }) => id === backupOf)?.name
      const nextOwner = owner ?? 'OTHER'
      throw withNext(
        error,
        `name a backup of ${volume}, made by weft key export ${volume}${owner === undefined ? '' : `; this one is for weft ${context.command} ${nextOwner} ${file}`}`,
        `${file} is a backup of ${owner === undefined ? `a volume that this node does not have (id ${backupOf})` : `volume ${owner}`}, not of ${volume}`,
      )
    }
    if (error.code !== 'EINVAL' || error.subject.volume !== undefined) throw error
    throw withNext(
      error,
      `name a whole file made by: weft key export ${volume} --out FILE`,
      error.message.replace(/^this is/, `${file} is`),
    )
  }
}
