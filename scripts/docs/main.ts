/**
 * Writes what the documents take from the code (codes, environment, policy, APIs); with `--check` fails where they differ, where
 * docs/threat-model.md names a test that is not there, and where a variable or a room is named nowhere.
 */
import { codes } from './codes.ts';
import { configuration } from './configuration.ts';
import { missingTests } from './named-tests.ts';
import { unnamedRooms } from './rooms.ts';
import { apiDocuments } from './openapi/openapi.ts';
import { fileOf, routeTable } from './openapi/table.ts';
import { putFile, putSections } from './section.ts';
import { unnamedVariables } from './variables.ts';

const isCheck = process.argv.includes('--check');
const apis = await apiDocuments();
const stale = await putSections([await codes(), ...configuration(), ...apis.map(routeTable)], isCheck);
for (const api of apis) {
  if (await putFile(fileOf(api), JSON.stringify(api.document), isCheck)) stale.push(fileOf(api));
}
const faults = isCheck
  ? [
      ...stale.map((page) => `${page} is not what the code says, or is not formatted: npm run gen`),
      ...missingTests(),
      ...unnamedVariables(),
      ...unnamedRooms(),
    ]
  : [];
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exitCode = 1;
