import { resolve } from 'node:path'
import { type Asking, askingBy, credentials, type Exchange } from '../oneview/asking.ts'
import type { Body } from '../oneview/fixtures.ts'
import { entryOf } from '../oneview/storing.ts'
import type { Question } from './ask-appliance.ts'
import type { Appliance } from './lab-appliance.ts'
import type { Host } from './lab-host.ts'

const ASK = resolve(import.meta.dirname, 'ask-appliance.js')
const VERSION = 1600

/** Whoever sits before the appliance of a lab's frame and moves drives by hand, from one of its hosts. Knows nothing of weft. */
export class FrameOperator {
  readonly #asking: Asking

  private constructor(asking: Asking) {
    this.#asking = asking
  }

  static async at(host: Host, appliance: Appliance): Promise<FrameOperator> {
    const { url, certificate } = appliance
    const exchange: Exchange = async (method, path, said) => {
      const question: Question = { url, certificate, method, path, said }
      return JSON.parse(await host.run(process.execPath, ASK, JSON.stringify(question)))
    }
    const asking = askingBy(exchange, credentials(appliance), VERSION)
    await asking.login()
    return new FrameOperator(asking)
  }

  /** A JBOD of the drive in this bay. */
  async reserve(bay: number, name: string, more: Body = {}): Promise<Body> {
    const [enclosure] = await this.#asking.list('/rest/drive-enclosures')
    const bays = enclosure?.driveBays as { uri: string }[]
    const driveBayUris = [bays[bay - 1]?.uri]
    const task = await this.#done('POST', '/rest/sas-logical-jbods', {
      body: { name, driveBayUris, eraseData: false, ...more },
    })
    const { resourceUri } = task.associatedResource as { resourceUri: string }
    return (await this.#asking.ask('GET', resourceUri)).body
  }

  /** The host's blade has these JBODs from now on, and no others. */
  async zone({ name }: Host, jbods: readonly Body[]): Promise<void> {
    const profiles = await this.#asking.list('/rest/server-profiles')
    const profile = profiles.find((one) => one.name === name)
    const sasLogicalJBODs = jbods.map((jbod, i) => entryOf(i + 1, jbod))
    const localStorage = { ...(profile?.localStorage as Body), sasLogicalJBODs }
    await this.#done('PUT', String(profile?.uri), { body: { ...profile, localStorage } })
  }

  async release(jbod: Body): Promise<void> {
    await this.#done('DELETE', String(jbod.uri), { headers: { 'If-Match': '*' } })
  }

  async #done(...asked: Parameters<Asking['work']>): Promise<Body> {
    const task = await this.#asking.work(...asked)
    if (task.taskState === 'Completed') return task
    throw new Error(`${asked[0]} ${asked[1]} ended in ${JSON.stringify(task.taskErrors)}`)
  }
}
