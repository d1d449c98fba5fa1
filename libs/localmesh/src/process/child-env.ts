/** Variables of our own environment that the mesh's processes need; a secret is never among them. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'LANG',
  'LC_ALL',
  'TZ',
  'TMPDIR',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'CAPSTAN_LOG_LEVEL',
  'CAPSTAN_HUB_REARM',
];

/** The environment that every process of the mesh starts from. */
export function childEnv(from: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const passed = PASSED_ON.flatMap((name) => {
    const value = from[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(passed), NODE_ENV: 'production' };
}
