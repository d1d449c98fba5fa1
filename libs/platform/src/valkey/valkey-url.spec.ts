import { LocalFault } from '@capstan/protocol';
import { parseValkeyUrl } from './valkey-url.js';

describe('a Valkey URL', () => {
  it.each([
    ['redis://host', { host: 'host', port: 6379 }],
    ['valkey://host:7000/3', { host: 'host', port: 7000, db: 3 }],
    ['redis://ada:p%40ss@host:1', { host: 'host', port: 1, username: 'ada', password: 'p@ss' }],
    ['rediss://[::1]:1', { host: '::1', port: 1, tls: {} }],
    ['unix:///run/valkey.sock', { path: '/run/valkey.sock' }],
    ['unix:///run/valkey.sock?db=2', { path: '/run/valkey.sock', db: 2 }],
    [
      'redis+unix://ada:secret@/run/a%20b/valkey.sock',
      { path: '/run/a b/valkey.sock', username: 'ada', password: 'secret' },
    ],
  ])('%s', (text, address) => {
    expect(parseValkeyUrl(text)).toEqual(address);
  });

  it.each(['', 'host:6379', 'http://host', 'unix://', 'redis://', 'redis://host/x', 'redis://:hunter2@host/x'])(
    'refuses "%s" and does not repeat it',
    (text) => {
      const parse = (): unknown => parseValkeyUrl(text);
      expect(parse).toThrow(LocalFault);
      expect(parse).not.toThrow(/hunter2/);
    },
  );
});
