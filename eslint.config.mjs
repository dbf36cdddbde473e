import stylistic from '@stylistic/eslint-plugin'

const node = Object.fromEntries([
  'require', 'module', 'exports', '__dirname', '__filename', 'process', 'Buffer', 'console', 'URL', 'URLSearchParams', 'setTimeout',
  'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'queueMicrotask', 'performance', 'AbortController',
  'AbortSignal', 'EventTarget', 'TextEncoder', 'TextDecoder', 'structuredClone', 'global', 'gc'
].map(name => [name, 'readonly']))

export default [
  { ignores: ['build/', 'coverage/', 'node_modules/', 'toonstore-tour/', 'test/c/'] },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: { ecmaVersion: 2023, globals: node },
    plugins: { stylistic },
    rules: {
      'no-undef': 'error',
      'no-unused-vars': ['error', { caughtErrors: 'none' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'no-shadow': 'error',
      'no-unreachable': 'error',
      'no-dupe-keys': 'error',
      'no-dupe-class-members': 'error',
      'no-fallthrough': 'error',
      'no-constant-condition': ['error', { checkLoops: false }],
      'no-self-compare': 'error',
      'no-throw-literal': 'error',
      'prefer-promise-reject-errors': 'off',
      eqeqeq: 'error',
      'stylistic/semi': ['error', 'never'],
      'stylistic/indent': ['error', 2, { SwitchCase: 1 }],
      'stylistic/quotes': ['error', 'single', { avoidEscape: true, allowTemplateLiterals: 'always' }],
      'stylistic/comma-dangle': ['error', 'never'],
      'stylistic/space-before-function-paren': ['error', 'always'],
      'stylistic/keyword-spacing': 'error',
      'stylistic/space-infix-ops': 'error',
      'stylistic/space-before-blocks': 'error',
      'stylistic/object-curly-spacing': ['error', 'always'],
      'stylistic/comma-spacing': 'error',
      'stylistic/arrow-spacing': 'error',
      'stylistic/no-trailing-spaces': 'error',
      'stylistic/eol-last': 'error',
      'stylistic/no-multiple-empty-lines': ['error', { max: 1 }],
      'stylistic/max-len': ['error', { code: 125, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true, ignoreUrls: true }]
    }
  },
  { files: ['**/*.js'], languageOptions: { sourceType: 'commonjs' } },
  { files: ['**/*.mjs'], languageOptions: { sourceType: 'module' } },
  {
    files: ['test/**', 'bench/**'],
    rules: { 'stylistic/max-len': 'off' },
    languageOptions: {
      globals: { describe: 'readonly', it: 'readonly', before: 'readonly', after: 'readonly', beforeEach: 'readonly', afterEach: 'readonly' }
    }
  }
]
