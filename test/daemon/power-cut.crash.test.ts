// deadline: 240 s
import { test } from 'uvu'
import { cutPower } from '../support/power-run.ts'

test('what fsync promised outlives a cut in power', () => cutPower(2, 4))

test.run()
