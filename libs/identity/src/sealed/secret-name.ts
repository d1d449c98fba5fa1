const NAME = /^[A-Z_][A-Z0-9_]{0,126}$/;
/** What steers a program, its loader, its tools or its way to the model is the instance's alone. */
const RESERVED = new Set(
  ['PATH', 'HOME', 'TMPDIR', 'LANG', 'SHELL', 'USER', 'LOGNAME', 'PWD', 'OLDPWD', 'IFS', 'ENV', 'TERM', 'DISPLAY']
    .concat(['EDITOR', 'VISUAL', 'PAGER', 'PROMPT_COMMAND', 'CDPATH', 'GLOBIGNORE', 'SHELLOPTS', 'HOSTNAME'])
    .concat(['JAVA_TOOL_OPTIONS', 'CLASSPATH', 'RUBYOPT', 'RUBYLIB', 'GCONV_PATH', 'LOCPATH', 'NLSPATH', 'TZDIR'])
    .concat(['SSL_CERT_FILE', 'SSL_CERT_DIR', 'OPENSSL_CONF', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY']),
);
const RESERVED_PREFIXES = [
  'LD_',
  'DYLD_',
  'MALLOC_',
  'LC_',
  'BASH',
  'PS',
  'NODE_',
  'PYTHON',
  'PERL',
  'GIT_',
  'SSH_',
].concat(['ANTHROPIC_', 'CLAUDE_', 'CAPSTAN_', 'NPM_CONFIG_', 'XDG_']);

/** Whether an agent's secret may have this name: `[A-Z_][A-Z0-9_]*`, and nothing that changes how programs run. */
export function isSecretName(name: string): boolean {
  return NAME.test(name) && !RESERVED.has(name) && !RESERVED_PREFIXES.some((prefix) => name.startsWith(prefix));
}
