/**
 * cli: the commands a person types. It promises: the exit codes of exit-codes.ts; --json on every command, one object
 * on standard output; errors on standard error that say what was tried on what, why it was refused and what to do next,
 * never a stack trace; secrets never taken from the command line; nothing on standard output but the answer.
 *
 * main.ts calls runCli. It talks to a node over its control socket and knows of other rooms only the types of api.
 * Invariants: only what a command needs is loaded (`weft --help` loads no command); a request is never sent twice,
 * unless it surely did not arrive; what takes long is a job that is polled, so Ctrl-C always works.
 */
export { type CliCall, runCli } from './run.ts'
export type { Terminal } from './terminal.ts'
