// deadline: 1800 s
import { test } from 'uvu'
import { cutPower } from '../support/power-run.ts'

/** WEFT_CUTS: how many; each takes about twenty seconds. */
const cuts = Number(process.env.WEFT_CUTS ?? 12)

test(`what fsync promised outlives ${cuts} cuts in power`, () => cutPower(cuts, 8))

test.run()
