// deadline: 1200 s
import { test } from 'uvu'
import { killUnderLoad } from '../support/kill-run.ts'

/** WEFT_KILLS: how many; each takes about three seconds. */
const kills = Number(process.env.WEFT_KILLS ?? 80)

test(`writers do not notice ${kills} deaths of the daemon`, () => killUnderLoad(kills))

test.run()
