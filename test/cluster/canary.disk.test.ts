import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseInvite, rotateClusterKeys } from '../../src/cluster/index.ts'
import { discoveryTopic, inviteKeyPair } from '../../src/crypto/index.ts'
import { copyOfSecrets } from './canary.ts'
import { inWorld } from './world.ts'

/** Every way a secret is commonly written out. */
function spellings(secret: Buffer): string[] {
  const forms = ['latin1', 'hex', 'base64', 'base64url'] as const
  // base64 of bytes inside other bytes starts at any of three places; the inner part shows in one of them.
  const inner = [0, 1, 2].map((skip) => secret.subarray(skip).toString('base64').slice(0, 36))
  return [...forms.map((form) => secret.toString(form).replace(/=+$/, '')), ...inner]
}

function holds(text: string, secret: Buffer): boolean {
  return spellings(secret).some((spelling) => text.includes(spelling))
}

test('no secret of the cluster or of an invite is in the coordinator, in a home, in a log, or in an invite', () =>
  inWorld(async (world) => {
    const { a, coordinator } = world
    const line = await world.invite()
    await world.join(world.machine('node-b'), line)
    const c = await world.member('node-c')
    const invite = parseInvite(line)
    const before = await copyOfSecrets(a.authority)
    await rotateClusterKeys(a.authority)
    await a.membership?.refresh()
    const after = await copyOfSecrets(c.authority)
    const second = await world.invite()

    const kept = (await coordinator.list(''))
      .map(({ key, value }) => `${key}\n${value.toString('latin1')}`)
      .join('\n')
    const homes = [a, c].map((node) => readFileSync(join(node.home, 'cluster.json'), 'latin1'))
    const logs = [a, c].map((node) => node.lines.join('\n'))
    const everywhere = [kept, ...homes, ...logs].join('\n')
    const lines = [line, second].map(
      (one) => `${one}\n${Buffer.from(one.slice(6), 'base64url').toString('latin1')}`,
    )
    assert.ok(kept.includes(a.key), 'the search looks at the right bytes')
    for (const { seed, secret, signSecretKey } of [before, after]) {
      for (const one of [seed, secret, signSecretKey, discoveryTopic(secret)]) {
        assert.not(holds(everywhere, one))
        assert.not(holds(lines.join('\n'), one))
      }
    }
    const pair = inviteKeyPair(invite.seed)
    assert.ok(holds(everywhere, pair.publicKey))
    assert.ok(holds(lines.join('\n'), invite.seed))
    for (const one of [invite.seed, pair.secretKey]) assert.not(holds(everywhere, one))
    for (const node of [a, c]) assert.not(holds(everywhere, node.authority.self.keys.seed))
  }))

test.run()
