/** A file the test runner must report red: a promise is never settled and nothing keeps the event loop alive. */
import { test } from 'uvu'

test('never settles', async () => {
  await new Promise(() => {})
})
test.run()
