# The addon: the engine (C11) and the bridge to Node (C++17) in one library. Switches, given to node-gyp or npm run build --:
#   --toonstore_sanitize=address,undefined    instrument for sanitizers
#   --toonstore_coverage=1                    instrument for gcov
{
  'variables': {
    'toonstore_sanitize%': '',
    'toonstore_coverage%': 0,
  },
  'targets': [
    {
      'target_name': 'toonstore',
      'sources': [
        '<!@(node -p "[\'base\',\'os\',\'toon\',\'log\',\'index\',\'cache\',\'column\',\'store\',\'query\',\'resp\',\'napi\'].flatMap(r => { try { return fs.readdirSync(\'csrc/\' + r).filter(f => /[.]cc?$/.test(f)).map(f => \'csrc/\' + r + \'/\' + f) } catch { return [] } }).join(\' \')")',
      ],
      'include_dirs': ['csrc', '<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=9', 'NAPI_DISABLE_CPP_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED', '_GNU_SOURCE'],
      'cflags': ['-fvisibility=hidden', '-Wall', '-Wextra', '-Wno-unused-parameter', '-pthread'],
      'cflags_c': ['-std=c11'],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': ['-std=c++17', '-fvisibility-inlines-hidden'],
      'xcode_settings': {
        'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
        'GCC_C_LANGUAGE_STANDARD': 'c11',
        'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
        'MACOSX_DEPLOYMENT_TARGET': '11.0',
        'OTHER_CFLAGS': ['-O3'],
      },
      'configurations': {
        'Release': {'defines': ['NDEBUG'], 'cflags': ['-O3']},
      },
      'conditions': [
        # A worker thread that ends unloads the library while the engine's threads may still run in it.
        ['OS=="linux"', {'ldflags': ['-Wl,-z,nodelete', '-pthread']}],
        ['toonstore_sanitize!=""', {
          'cflags': ['-fsanitize=<(toonstore_sanitize)', '-fno-omit-frame-pointer', '-g'],
          'ldflags': ['-fsanitize=<(toonstore_sanitize)'],
          'xcode_settings': {
            'OTHER_CFLAGS': ['-fsanitize=<(toonstore_sanitize)'],
            'OTHER_LDFLAGS': ['-fsanitize=<(toonstore_sanitize)'],
          },
        }],
        ['toonstore_coverage==1', {
          'cflags': ['--coverage', '-O0'],
          'ldflags': ['--coverage'],
        }],
      ],
    },
  ],
}
