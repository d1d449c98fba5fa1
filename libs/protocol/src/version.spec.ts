import { readFileSync } from 'node:fs';
import { CAPSTAN_VERSION } from './version.js';

test('the version is that of package.json', () => {
  expect(JSON.parse(readFileSync('package.json', 'utf8'))).toMatchObject({ version: CAPSTAN_VERSION });
});
