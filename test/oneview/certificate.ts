import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificate {
  readonly certPath: string
  readonly keyPath: string
  /** SHA-256 of the certificate's DER, lower case hex. */
  readonly sha256: string
}

/** Self-signed, for an address and localhost, as an appliance out of its box: one that lies in `dir` is used again. */
export function certificateIn(dir: string, address: string): Certificate {
  const [certPath, keyPath] = [join(dir, 'certificate.pem'), join(dir, 'key.pem')]
  mkdirSync(dir, { recursive: true })
  if (!existsSync(certPath) || !existsSync(keyPath)) make(certPath, keyPath, address)
  const { fingerprint256 } = new X509Certificate(readFileSync(certPath))
  return { certPath, keyPath, sha256: fingerprint256.replaceAll(':', '').toLowerCase() }
}

function make(certPath: string, keyPath: string, address: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const subjects = `subjectAltName=IP:${address},DNS:localhost`
  const names = ['-subj', '/CN=oneview-simulator', '-addext', subjects]
  const files = ['-keyout', keyPath, '-out', certPath]
  execFileSync('openssl', ['req', '-x509', '-days', '30', ...key, ...names, ...files], {
    stdio: 'ignore',
    timeout: 20_000,
  })
}
