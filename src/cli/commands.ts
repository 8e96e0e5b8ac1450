import type { Command } from './command.ts'

/** One line of the list: the words and positionals of a command, what it does, and where it stands. */
export interface CommandRow {
  /** 'volume create' */
  readonly words: string
  /** '<target>' or '[name]', as yargs reads them */
  readonly places: string
  readonly describe: string
  /** Loaded when the command is asked for: start-up pays for one command, not for forty. */
  load(): Promise<{ readonly command: Command }>
}

/** Words that have commands below them. */
export const GROUPS: Readonly<Record<string, string>> = {
  volume: 'Volumes: create, list, inspect, resize, cos, repl, move, delete',
  drive: 'Drives of this node: list, add, drain, remove',
  cluster: 'The cluster: create, invite, join, status, coordinator, repair',
  node: 'Nodes of the cluster: list, drain, remove',
  synergy: 'Drives of an HPE Synergy frame: connect, status, allocate, release',
  policy: 'When drives of a frame are taken and given back by themselves',
  key: 'Who can open a volume: list, add, remove, rotate, backup, split, lock',
  debug: 'Look inside a running node',
}

export const COMMANDS: readonly CommandRow[] = [
  row('up', '', 'Start the node', () => import('./commands/up.ts')),
  row('down', '', 'Stop the node: flush, unmount, end', () => import('./commands/down.ts')),
  row(
    'status',
    '',
    'Show the node, its mounts, volumes, drives and problems',
    () => import('./commands/status.ts'),
  ),
  row(
    'why',
    '<path>',
    'Explain why calls on a file or volume failed, and what to do',
    () => import('./commands/why.ts'),
  ),
  row(
    'mount',
    '<target>',
    'Mount the namespace; starts the node if none runs',
    () => import('./commands/mount.ts'),
  ),
  row('umount', '<target>', 'Unmount the namespace', () => import('./commands/umount.ts')),
  row(
    'attach',
    '<volume> <target>',
    'Mount one volume for this node alone, with the writeback cache on',
    () => import('./commands/attach.ts'),
  ),
  row('detach', '<target>', 'End an exclusive mount', () => import('./commands/detach.ts')),
  row('volume create', '<name>', 'Create a volume', () => import('./commands/volume-create.ts')),
  row('volume list', '', 'List the volumes', () => import('./commands/volume-list.ts')),
  row(
    'volume inspect',
    '<volume>',
    'Show one volume in full',
    () => import('./commands/volume-inspect.ts'),
  ),
  row(
    'volume cos',
    '<volume> <class>',
    'Move a volume to another class of drive',
    () => import('./commands/volume-cos.ts'),
  ),
  row(
    'volume resize',
    '<volume> <size>',
    'Change the size of a volume',
    () => import('./commands/volume-resize.ts'),
  ),
  row(
    'volume delete',
    '<volume>',
    'Delete a volume and everything in it',
    () => import('./commands/volume-delete.ts'),
  ),
  row(
    'volume repl',
    '<volume> <copies>',
    'Give a volume more or fewer copies',
    () => import('./commands/volume-repl.ts'),
  ),
  row(
    'volume move',
    '<volume> <node>',
    'Have another node own a volume',
    () => import('./commands/volume-move.ts'),
  ),
  row('drive list', '', 'List the drives', () => import('./commands/drive-list.ts')),
  row(
    'drive add',
    '<place>',
    'Make a whole disk or an empty directory a drive',
    () => import('./commands/drive-add.ts'),
  ),
  row(
    'drive status',
    '<drive>',
    'Show one drive, and how far it is emptied',
    () => import('./commands/drive-status.ts'),
  ),
  row(
    'drive locate',
    '<drive>',
    'Switch the LED of its bay',
    () => import('./commands/drive-locate.ts'),
  ),
  row(
    'drive drain',
    '<drive>',
    'Move everything on a drive to the others of this node',
    () => import('./commands/drive-drain.ts'),
  ),
  row(
    'drive remove',
    '<drive>',
    'Take an empty drive out of this node',
    () => import('./commands/drive-remove.ts'),
  ),
  row(
    'synergy connect',
    '<url>',
    'Connect the appliance of the frame that this server is in',
    () => import('./commands/synergy-connect.ts'),
  ),
  row(
    'synergy status',
    '',
    'Show the drives this node has of the frame, and what goes on',
    () => import('./commands/synergy-status.ts'),
  ),
  row(
    'synergy free',
    '',
    'List the drives that the frame could give this node',
    () => import('./commands/synergy-free.ts'),
  ),
  row(
    'synergy allocate',
    '',
    'Take drives of the frame into use',
    () => import('./commands/synergy-allocate.ts'),
  ),
  row(
    'synergy release',
    '<drive>',
    'Empty a drive of the frame and give it back',
    () => import('./commands/synergy-release.ts'),
  ),
  row(
    'synergy reconcile',
    '',
    'Compare what was meant, the appliance and this host, and put it right',
    () => import('./commands/synergy-reconcile.ts'),
  ),
  row('synergy logout', '', 'Forget the appliance', () => import('./commands/synergy-logout.ts')),
  row(
    'policy set',
    '',
    'Say when drives are taken and given back',
    () => import('./commands/policy-set.ts'),
  ),
  row('policy show', '', 'Show what is set', () => import('./commands/policy-show.ts')),
  row(
    'policy plan',
    '',
    'Show what the policy would do now, and why',
    () => import('./commands/policy-plan.ts'),
  ),
  row(
    'policy log',
    '',
    'Show what the policy did and refused, and why',
    () => import('./commands/policy-log.ts'),
  ),
  row(
    'cluster create',
    '<cluster>',
    'Make a cluster of this node',
    () => import('./commands/cluster-create.ts'),
  ),
  row(
    'cluster invite',
    '',
    'Print one line with which another node joins',
    () => import('./commands/cluster-invite.ts'),
  ),
  row(
    'cluster invites',
    '',
    'List the invites, or revoke one',
    () => import('./commands/cluster-invites.ts'),
  ),
  row(
    'cluster join',
    '<invite>',
    'Make this node one of a cluster',
    () => import('./commands/cluster-join.ts'),
  ),
  row(
    'cluster status',
    '',
    'Show the nodes and how they are reached',
    () => import('./commands/cluster-status.ts'),
  ),
  row(
    'cluster coordinator',
    '[action] [to]',
    'Show where the coordinator is, or move it to an etcd',
    () => import('./commands/cluster-coordinator.ts'),
  ),
  row('node list', '', 'List the nodes of the cluster', () => import('./commands/node-list.ts')),
  row(
    'cluster repair',
    '',
    'Show or change how the cluster mends itself',
    () => import('./commands/cluster-repair.ts'),
  ),
  row(
    'node drain',
    '<node>',
    'Move everything that a node holds to others',
    () => import('./commands/node-drain.ts'),
  ),
  row(
    'node remove',
    '<node>',
    'Take a node out of the cluster, for ever',
    () => import('./commands/node-remove.ts'),
  ),
  row(
    'key create',
    '',
    "Make a person's key pair; needs no node",
    () => import('./commands/key-create.ts'),
  ),
  row('key list', '[volume]', 'List who can open a volume', () => import('./commands/key-list.ts')),
  row(
    'key add',
    '<volume>',
    'Let a passphrase or a person open a volume',
    () => import('./commands/key-add.ts'),
  ),
  row(
    'key remove',
    '<volume> <slot>',
    'Take a slot away; the last one is refused',
    () => import('./commands/key-remove.ts'),
  ),
  row('key rotate', '<volume>', 'Begin a new key epoch', () => import('./commands/key-rotate.ts')),
  row(
    'key export',
    '<volume>',
    'Write a wrapped backup of the keys',
    () => import('./commands/key-export.ts'),
  ),
  row(
    'key import',
    '<volume> <file>',
    'Give a volume the slots of a backup',
    () => import('./commands/key-import.ts'),
  ),
  row(
    'key split',
    '<volume>',
    'Make a slot that several people open together',
    () => import('./commands/key-split.ts'),
  ),
  row(
    'key recover',
    '<volume> <shares..>',
    'Open a volume with the shares of a split key',
    () => import('./commands/key-recover.ts'),
  ),
  row(
    'key lock',
    '<volume>',
    'Forget the key of a volume until it is unlocked',
    () => import('./commands/key-lock.ts'),
  ),
  row('key unlock', '<volume>', 'Open a locked volume', () => import('./commands/key-unlock.ts')),
  row(
    'key drill',
    '<volume> [file]',
    'Prove that a backup opens the volume, changing nothing',
    () => import('./commands/key-drill.ts'),
  ),
  row(
    'scrub',
    '[volume]',
    'Read every copy through, and mend what is damaged',
    () => import('./commands/scrub.ts'),
  ),
  row('fsck', '[volume]', 'Check metadata, journal and chunks', () => import('./commands/fsck.ts')),
  row(
    'doctor',
    '',
    'Check what this machine offers, and print what mends each finding',
    () => import('./commands/doctor.ts'),
  ),
  row(
    'bench',
    '<dir>',
    'Measure a mounted volume, or any directory',
    () => import('./commands/bench.ts'),
  ),
  row(
    'upgrade',
    '',
    'Restart the daemon under its mounts, from this build or another',
    () => import('./commands/upgrade.ts'),
  ),
  row(
    'debug metrics',
    '',
    'Print the figures of the node in Prometheus form',
    () => import('./commands/debug-metrics.ts'),
  ),
  row(
    'debug openapi',
    '',
    'Print the OpenAPI document of the control API',
    () => import('./commands/debug-openapi.ts'),
  ),
  row(
    'debug request',
    '<method> <path> [body]',
    'Send one request to the control API',
    () => import('./commands/debug-request.ts'),
  ),
  row(
    'debug report',
    '',
    'Collect what a bug report needs; no secrets, no file names',
    () => import('./commands/debug-report.ts'),
  ),
]

function row(
  words: string,
  places: string,
  describe: string,
  load: CommandRow['load'],
): CommandRow {
  return { words, places, describe, load }
}
