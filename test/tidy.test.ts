import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import ts from 'typescript'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

/**
 * What a machine can hold of the house style: which room imports which, who owns an outside package, who may read the clock,
 * and left-over markers. Each finding says why, and what to do instead.
 */

const root = resolve(import.meta.dirname, '../..')

/** Rows from the floor up. A room may import any room of a lower row, never a neighbour. */
const ROWS: readonly (readonly string[])[] = [
  ['base'],
  ['disk', 'crypto', 'drives'],
  ['meta', 'chunks', 'journal', 'lease', 'coordinator', 'net'],
  // One owned volume's journal, view, staging and chunks as one thing; the rooms above see that, not the parts.
  ['store'],
  ['vfs', 'volumes', 'cluster', 'provision', 'replication'],
  [
    'fuse',
    'api',
    'frontends/docker',
    'frontends/csi',
    'frontends/marathon',
    'frontends/kubernetes',
    'frontends/s3',
    'frontends/web',
  ],
]

/** Rooms outside the rows. `types` holds declarations and is imported by nobody. */
const ABOVE_ALL = ['daemon', 'main']

/** Imports that the table forbids and we allow all the same: 'from > to', and why. An entry that nobody uses is red. */
const IMPORT_EXCEPTIONS: Readonly<Record<string, string>> = {}

/** Files behind a door that others may take directly, and why: 'room > file'. */
const DOOR_EXCEPTIONS: Readonly<Record<string, string>> = {
  'fuse > src/base/errors.ts':
    'the keeper lives for ever and stays small: the door of base loads pino',
  'fuse > src/base/clock.ts': 'as above',
  'fuse > src/base/random.ts': 'as above',
}

/** Outside packages and the rooms that may import them, so that leaving one is one folder's work. */
const PACKAGE_OWNERS: Readonly<Record<string, readonly string[]>> = {
  'sodium-native': ['crypto'],
  'shamir-secret-sharing': ['crypto'],
  lmdb: ['meta', 'coordinator'],
  'fuse-native': ['fuse'],
  hyperswarm: ['net'],
  hyperdht: ['net'],
  '@hyperswarm/secret-stream': ['net'],
  protomux: ['net'],
  etcd3: ['coordinator'],
  yargs: ['cli', 'main'],
  undici: ['provision'],
  fastify: ['api', 'frontends/*'],
  '@fastify/swagger': ['api'],
  pino: ['base'],
  koffi: ['base'],
}

/** Files that may read the machine's clock, its timers or its randomness themselves; all others are given Clock and Random. */
const CLOCK_EXCEPTIONS: Readonly<Record<string, string>> = {
  'src/base/clock.ts': 'the real Clock',
  'src/base/random.ts': 'the real Random',
}

/** Files besides src/main.ts that may end the process. */
const EXIT_EXCEPTIONS: Readonly<Record<string, string>> = {}

interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
  readonly line: number
}

interface Source {
  /** From the project's root: src/fuse/wire/header.ts */
  readonly path: string
  readonly text: string
  readonly tree: ts.SourceFile
  readonly imports: readonly Import[]
}

function walk(folder: string): string[] {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return walk(path)
    return path.endsWith('.ts') ? [path] : []
  })
}

function read(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8')
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true)
  const imports: Import[] = []
  visit(tree, (node) => {
    let specifier: ts.Node | undefined
    let typeOnly = false
    if (ts.isImportDeclaration(node)) {
      specifier = node.moduleSpecifier
      typeOnly = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
    } else if (ts.isExportDeclaration(node)) {
      specifier = node.moduleSpecifier
      typeOnly = node.isTypeOnly
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      specifier = node.arguments[0]
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      specifier = node.argument.literal
      typeOnly = true
    }
    if (specifier && ts.isStringLiteral(specifier))
      imports.push({ specifier: specifier.text, typeOnly, line: lineOf(tree, node) })
  })
  return { path, text, tree, imports }
}

function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node)
  node.forEachChild((child) => visit(child, see))
}

function lineOf(tree: ts.SourceFile, node: ts.Node): number {
  return tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1
}

/** src/fuse/wire/x.ts → fuse; src/frontends/s3/x.ts → frontends/s3; src/main.ts → main */
function roomOf(path: string): string {
  const parts = path.replace(/^src\//, '').split('/')
  if (parts.length === 1) return (parts[0] ?? '').replace(/\.ts$/, '')
  return parts[0] === 'frontends' && parts.length > 2 ? `frontends/${parts[1]}` : (parts[0] ?? '')
}

/** The project path a relative specifier means, undefined for packages. */
function targetOf(source: Source, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined
  return relative(root, resolve(root, dirname(source.path), specifier))
}

function packageOf(specifier: string): string | undefined {
  if (specifier.startsWith('.') || specifier.startsWith('node:')) return undefined
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function rowOf(room: string): number {
  return ROWS.findIndex((row) => row.includes(room))
}

/** Why `from` may not import `to`; '' when it may. */
function forbidden(from: string, to: string, typeOnly: boolean): string {
  if (ABOVE_ALL.includes(from)) {
    return to === 'main' ? 'nobody imports main.ts; move what is needed into a room' : ''
  }
  if (ABOVE_ALL.includes(to))
    return `nobody imports ${to}: declare an interface here and let daemon pass the real thing in`
  if (to === 'cli')
    return 'the CLI is a client of the control socket and holds nothing that others need'
  if (from === 'cli') {
    if (to === 'base') return ''
    if (to === 'api')
      return typeOnly
        ? ''
        : 'the CLI speaks to api over the socket: use `import type`, it keeps no code'
    return 'the CLI knows only the control socket: ask for it in api and call that'
  }
  const fromRow = rowOf(from)
  const toRow = rowOf(to)
  if (fromRow < 0) return `room ${from} has no row: put it into ROWS, lowest row that works`
  if (toRow < 0) return `room ${to} has no row: put it into ROWS, lowest row that works`
  if (toRow < fromRow) return ''
  return toRow === fromRow
    ? 'neighbours do not know each other: declare an interface here and let daemon wire it'
    : 'rooms import only rows below: declare an interface here and let daemon pass the upper room in'
}

function all(findings: readonly string[]): void {
  if (findings.length === 0) return
  const error = new Error(`${findings.length} found\n  ${findings.join('\n  ')}`)
  // uvu prints message and stack, and the stack begins with the message.
  error.stack = ''
  throw error
}

const sources = walk('src').map(read)
const tests = [...walk('test'), ...walk('scripts')].map(read)

test('src has sources to look at', () => {
  assert.ok(sources.some((source) => source.path === 'src/base/index.ts'))
  assert.ok(sources.flatMap((source) => source.imports).length > 0)
})

test('the table refuses what it has to refuse', () => {
  assert.is(forbidden('vfs', 'meta', false), '')
  assert.is(forbidden('daemon', 'fuse', false), '')
  assert.is(forbidden('cli', 'api', true), '')
  assert.match(forbidden('cli', 'api', false), /import type/)
  assert.match(forbidden('cli', 'vfs', true), /control socket/)
  assert.match(forbidden('vfs', 'fuse', false), /rows below/)
  assert.match(forbidden('meta', 'journal', false), /neighbours/)
  assert.match(forbidden('frontends/s3', 'frontends/csi', false), /neighbours/)
  assert.match(forbidden('fuse', 'daemon', false), /nobody imports/)
  assert.match(forbidden('attic', 'base', false), /no row/)
})

test('a room imports only the rows below it', () => {
  const used = new Set<string>()
  const findings: string[] = []
  for (const source of sources) {
    const from = roomOf(source.path)
    for (const { specifier, typeOnly, line } of source.imports) {
      const target = targetOf(source, specifier)
      if (target === undefined) continue
      const to = roomOf(target)
      if (to === from) continue
      const reason = forbidden(from, to, typeOnly)
      if (!reason) continue
      if (IMPORT_EXCEPTIONS[`${from} > ${to}`]) used.add(`${from} > ${to}`)
      else findings.push(`${source.path}:${line} ${from} imports ${to}: ${reason}`)
    }
  }
  for (const entry of Object.keys(IMPORT_EXCEPTIONS))
    if (!used.has(entry)) findings.push(`exception '${entry}' is used by nobody: take it out`)
  all(findings)
})

test('a room is entered through its door', () => {
  const findings: string[] = []
  for (const source of sources) {
    const from = roomOf(source.path)
    for (const { specifier, line } of source.imports) {
      const target = targetOf(source, specifier)
      if (target === undefined) continue
      const to = roomOf(target)
      if (to === from || to === 'main' || target === `src/${to}/index.ts`) continue
      if (DOOR_EXCEPTIONS[`${from} > ${target}`]) continue
      findings.push(
        `${source.path}:${line} reaches into ${to} (${specifier}): import ../${to}/index.ts, and export there what is missing`,
      )
    }
  }
  for (const source of tests) {
    const own = /^test\/(frontends\/[^/]+|[^/]+)\//.exec(source.path)?.[1]
    for (const { specifier, line } of source.imports) {
      const target = targetOf(source, specifier)
      if (!target?.startsWith('src/')) continue
      const to = roomOf(target)
      if (to === own || target === `src/${to}/index.ts`) continue
      findings.push(
        `${source.path}:${line} reaches into ${to} (${specifier}): a test reaches into its own room only, and takes others by the door`,
      )
    }
  }
  all(findings)
})

test('a door says first what the room promises', () => {
  const findings: string[] = []
  for (const source of sources) {
    if (!/\/index\.ts$/.test(source.path) || source.path !== `src/${roomOf(source.path)}/index.ts`)
      continue
    const paragraph = /^\/\*\*([\s\S]*?)\*\//.exec(source.text)?.[1] ?? ''
    if (paragraph.replace(/[\s*]+/g, ' ').length < 80)
      findings.push(
        `${source.path}: begin with a paragraph: what it promises, who calls it, invariants`,
      )
  }
  for (const room of new Set(sources.map((source) => roomOf(source.path)))) {
    if (room === 'main' || room === 'types' || existsSync(join(root, `src/${room}/index.ts`)))
      continue
    findings.push(`src/${room} has no index.ts: nobody can enter it`)
  }
  all(findings)
})

test('an outside package has its owning rooms', () => {
  const findings: string[] = []
  for (const source of sources) {
    const room = roomOf(source.path)
    if (room === 'types') continue
    for (const { specifier, line } of source.imports) {
      const name = packageOf(specifier)
      const owners = name === undefined ? undefined : PACKAGE_OWNERS[name]
      if (!owners || owners.includes(room)) continue
      if (owners.some((owner) => owner.endsWith('/*') && room.startsWith(owner.slice(0, -1))))
        continue
      findings.push(
        `${source.path}:${line} imports ${name}, which only ${owners.join(', ')} may: leaving a package must be one folder's work; call that room`,
      )
    }
  }
  all(findings)
})

test('a built-in module is named with node:', () => {
  const builtins =
    /^(assert|buffer|child_process|crypto|dgram|events|fs|http|https|net|os|path|process|stream|timers|tls|url|util|v8|vm|worker_threads|zlib)(\/|$)/
  const findings: string[] = []
  for (const source of [...sources, ...tests])
    for (const { specifier, line } of source.imports)
      if (builtins.test(specifier))
        findings.push(`${source.path}:${line} imports '${specifier}': write 'node:${specifier}'`)
  all(findings)
})

/** What a node asks of the machine's clock, timers or dice; '' when nothing. */
function clockUse(node: ts.Node): string {
  if (ts.isPropertyAccessExpression(node)) {
    const name = `${node.expression.getText()}.${node.name.text}`
    const forbiddenNames = ['Date.now', 'Math.random', 'performance.now', 'process.hrtime']
    return forbiddenNames.includes(name) ? name : ''
  }
  if (ts.isNewExpression(node) && node.expression.getText() === 'Date')
    return (node.arguments?.length ?? 0) === 0 ? 'new Date()' : ''
  if (ts.isIdentifier(node) && ['setTimeout', 'setInterval'].includes(node.text)) {
    // A property or method of that name is someone else's: socket.setTimeout(…), clock.setTimeout.
    const parent = node.parent
    if (ts.isPropertyAccessExpression(parent) && parent.name === node)
      return parent.expression.getText() === 'globalThis' ? node.text : ''
    return ts.isPropertyAssignment(parent) || ts.isMethodDeclaration(parent) ? '' : node.text
  }
  return ''
}

test('time and chance are passed in', () => {
  const findings: string[] = []
  for (const source of sources) {
    if (CLOCK_EXCEPTIONS[source.path]) continue
    visit(source.tree, (node) => {
      const use = clockUse(node)
      if (use)
        findings.push(
          `${source.path}:${lineOf(source.tree, node)} uses ${use}: take a Clock or Random by constructor, so that tests and simulation own time and chance`,
        )
    })
    for (const { specifier, line } of source.imports)
      if (specifier.startsWith('node:timers') || specifier === 'node:perf_hooks')
        findings.push(`${source.path}:${line} imports ${specifier}: take a Clock by constructor`)
  }
  for (const path of Object.keys(CLOCK_EXCEPTIONS))
    if (!existsSync(join(root, path)))
      findings.push(`exception for ${path}, which does not exist: take it out`)
  all(findings)
})

test('only main.ts ends the process', () => {
  const findings: string[] = []
  for (const source of sources) {
    if (source.path === 'src/main.ts' || EXIT_EXCEPTIONS[source.path]) continue
    visit(source.tree, (node) => {
      if (!ts.isPropertyAccessExpression(node)) return
      const name = `${node.expression.getText()}.${node.name.text}`
      if (name === 'process.exit' || name === 'process.abort')
        findings.push(
          `${source.path}:${lineOf(source.tree, node)} calls ${name}: throw, or return an exit code; main.ts closes what is open and leaves`,
        )
    })
  }
  for (const path of Object.keys(EXIT_EXCEPTIONS))
    if (!existsSync(join(root, path)))
      findings.push(`exception for ${path}, which does not exist: take it out`)
  all(findings)
})

test('nothing is left over', () => {
  // Spelled so that this file does not find itself.
  const marker = new RegExp(
    `\\b(${['FIX', 'TO', 'XX'].map((a, i) => a + ['ME', 'DO', 'X'][i]).join('|')})\\b`,
  )
  const findings: string[] = []
  for (const source of [...sources, ...tests]) {
    source.text.split('\n').forEach((text, index) => {
      if (marker.test(text))
        findings.push(
          `${source.path}:${index + 1} has a left-over marker: do it, or open an issue and say what is missing`,
        )
    })
    visit(source.tree, (node) => {
      if (!ts.isPropertyAccessExpression(node) || !ts.isCallExpression(node.parent)) return
      if (node.name.text === 'only' && node.expression.getText() === 'test')
        findings.push(
          `${source.path}:${lineOf(source.tree, node)} runs one test alone: take .only out, the others are not run`,
        )
    })
  }
  all(findings)
})

test('tests use no uvu hooks and do not forget to run', () => {
  const findings: string[] = []
  for (const source of tests) {
    if (!source.path.endsWith('.test.ts')) continue
    let suites = 0
    let runs = 0
    for (const { specifier } of source.imports)
      if (specifier === 'uvu' && /\btest\b/.test(source.text)) suites ||= 1
    visit(source.tree, (node) => {
      if (!ts.isCallExpression(node)) return
      const call = node.expression.getText()
      if (call === 'suite') suites++
      if (/^\w+\.run$/.test(call) && node.arguments.length === 0) runs++
      if (/^\w+\.(before|after)(\.each)?$/.test(call))
        findings.push(
          `${source.path}:${lineOf(source.tree, node)} uses ${call}: a hook that throws makes uvu green; build a world in the test and close it in finally`,
        )
    })
    if (suites === 0) findings.push(`${source.path}: no uvu test in a test file`)
    else if (runs === 0) findings.push(`${source.path}: .run() is missing, so no test runs`)
  }
  all(findings)
})

test.run()
