// deadline: 240 s
import { test } from 'uvu'
import { killUnderLoad } from '../support/kill-run.ts'

test('writers on both kinds of mount do not notice that the daemon is killed', () =>
  killUnderLoad(6))

test.run()
