/** A file the test runner must report red: there is nothing to run. */
import { test } from 'uvu'

test.run()
