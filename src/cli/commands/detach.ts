import type { Command } from '../command.ts'
import { force, unmount } from './umount.ts'

export const command: Command = {
  positionals: {
    target: { type: 'string', describe: 'The directory it is attached at, not its name' },
  },
  options: { force },
  examples: [['weft detach /var/lib/mysql', 'Flush, unmount, and let others write again']],
  run: (context, args) => unmount(context, args, '/v1/detach', 'detached'),
}
