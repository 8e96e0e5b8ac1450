import { renameSync, writeFileSync } from 'node:fs'
import type { Claim, Drive } from './model.ts'
import type { Simulator } from './simulator.ts'

const POLL_MS = 200

/** One line of the audit: a drive, and whom it belongs to. */
export interface AuditLine extends Claim {
  readonly capacityGB: number
  readonly media: Drive['media']
  readonly interfaceType: Drive['interfaceType']
  readonly health: Drive['health']
}

/** Keeps a file that says whom each drive belongs to. @returns what ends it */
export function keepAudit(simulator: Simulator, path: string): () => void {
  let last = ''
  const look = () => {
    const text = JSON.stringify(auditOf(simulator))
    if (text === last) return
    last = text
    writeFileSync(`${path}.new`, text)
    renameSync(`${path}.new`, path)
  }
  look()
  const timer = setInterval(look, POLL_MS)
  return () => clearInterval(timer)
}

function auditOf({ frame }: Simulator): AuditLine[] {
  return frame.audit().map((claim) => {
    const { capacityGB, media, interfaceType, health } = frame.drive(claim.serialNumber)
    return { ...claim, capacityGB, media, interfaceType, health }
  })
}
