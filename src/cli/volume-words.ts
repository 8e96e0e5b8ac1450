import { CliError } from './cli-error.ts'
import { withNext } from './words.ts'

/** What a refused part of a specification looks like on a command line. */
const EXAMPLES: Readonly<Record<string, string>> = {
  name: 'weft volume create mysql_vol --size 100G',
  size: 'weft volume create NAME --size 100G',
  repl: 'weft volume create NAME --repl 1',
  cos: 'weft volume create NAME --cos 3',
}
const WHOLE = 'weft volume create size=100G,repl=1,cos=3,name=mysql_vol'

/**
 * The node's words on a specification (volumes/spec.ts), with a command line in the next step.
 * @param example of this command for the part that was refused; undefined takes that of volume create
 */
export async function sayingSpec<T>(work: () => Promise<T>, example?: string): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof CliError) || error.op !== 'volume.spec') throw error
    const { key } = error.subject
    const line = example ?? EXAMPLES[String(key)] ?? WHOLE
    throw withNext(error, `${error.next.replace(/, as in .*$/, '')}, as in: ${line}`)
  }
}
