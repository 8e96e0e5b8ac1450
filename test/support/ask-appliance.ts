/**
 * One request to an appliance from where this process is: a lab's wire is only reached from its hosts. What to ask comes as JSON in
 * the first argument, what was heard goes out as JSON.
 */
import { Agent } from 'node:https'
import { exchangeOver, type Said } from '../oneview/asking.ts'

export interface Question {
  readonly url: string
  /** PEM of who is trusted. */
  readonly certificate: string
  readonly method: string
  readonly path: string
  readonly said: Said
}

const { url, certificate, method, path, said } = JSON.parse(process.argv[2] ?? '') as Question
const agent = new Agent({ ca: certificate })
process.stdout.write(JSON.stringify(await exchangeOver(agent, url)(method, path, said)))
agent.destroy()
