/**
 * provision: drives on demand. A provisioner gives drives and takes them back; intents make each step survive a crash; the
 * policy says when. Called by the daemon.
 */
export type { FreeDrive, HeldDrive, Provisioner, Step } from './provisioner.ts'
