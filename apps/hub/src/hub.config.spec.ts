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
  expect(() => readHubConfig({ ...ENV, CAPSTAN_HUB_HOST: '0.0.0.0' })).toThrow('CAPSTAN_HUB_BEHIND_TLS');
  expect(readHubConfig({ ...ENV, CAPSTAN_HUB_HOST: '0.0.0.0', CAPSTAN_HUB_BEHIND_TLS: 'true' }).host).toBe('0.0.0.0');
});
