/** A file the test runner must report red: the module throws before any test is declared. */
throw new Error('cannot load')
