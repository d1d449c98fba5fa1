import { readHubConfig } from './hub.config.js';

const ENV = { CAPSTAN_HUB_STATE_DIR: '/var/lib/hub', CAPSTAN_DATABASE_URL: 'postgresql:///hub' };

test('the environment becomes one configuration, with defaults', () => {
  expect(readHubConfig(ENV)).toMatchObject({
    hubId: 'hub',
    host: '127.0.0.1',
    port: 7400,
    stateDirectory: '/var/lib/hub',
  });
});

test('every fault of the environment is named at once', () => {
  const read = () => readHubConfig({ CAPSTAN_HUB_ID: 'Not an id', CAPSTAN_HUB_PORT: '70000' });
  expect(read).toThrow(/CAPSTAN_HUB_ID.*CAPSTAN_HUB_PORT.*CAPSTAN_HUB_STATE_DIR.*CAPSTAN_DATABASE_URL/s);
});

test('a hub that would carry tokens in clear text over a network does not start', () => {
  const everywhere = { ...ENV, CAPSTAN_HUB_HOST: '0.0.0.0' };
  expect(() => readHubConfig(everywhere)).toThrow('CAPSTAN_HUB_TLS=auto');
  expect(readHubConfig({ ...everywhere, CAPSTAN_HUB_TLS: 'auto' }).tls).toEqual({
    source: 'auto',
    ends: 'hub',
    pin: 'own',
  });
  const proxied = { ...everywhere, CAPSTAN_HUB_TLS_ENDS: 'proxy', CAPSTAN_HUB_PUBLIC_URL: 'https://hub.example' };
  expect(readHubConfig(proxied).tls).toEqual({ source: 'off', ends: 'proxy', pin: 'none' });
});

test.each([
  [{ CAPSTAN_HUB_TLS: 'files' }, 'CAPSTAN_HUB_TLS_CERT'],
  [{ CAPSTAN_HUB_TLS: 'auto', CAPSTAN_HUB_TLS_CERT: '/c.pem' }, 'CAPSTAN_HUB_TLS=files only'],
  [{ CAPSTAN_HUB_TLS_ENDS: 'proxy' }, 'CAPSTAN_HUB_PUBLIC_URL=https'],
  [{ CAPSTAN_HUB_TLS: 'auto', CAPSTAN_HUB_TLS_PIN: 'short' }, 'CAPSTAN_HUB_TLS_PIN'],
  [
    { CAPSTAN_HUB_TLS_ENDS: 'proxy', CAPSTAN_HUB_PUBLIC_URL: 'https://hub.example', CAPSTAN_HUB_TLS_PIN: 'own' },
    'the proxy’s',
  ],
])('settings of TLS that cannot work are refused with what to change: %j', (change, sentence) => {
  expect(() => readHubConfig({ ...ENV, ...change })).toThrow(sentence);
});
