/**
 * Holds the links of many instances to one hub. Arguments: the hub's address, its token's file, how many, process trees
 * in each, and the prefix of their ids. Prints a line when all are linked; another one each time all are linked again after they were cut.
 */
import { readFileSync } from 'node:fs';
import { drive } from '../load.ts';
import { HttpPeer } from '../http.ts';
import { serveParent } from '../child.ts';
import { SimSpoke } from './sim-spoke.ts';

/** One address may have 32 places before authentication. */
const AT_ONCE = 16;

const [hubUrl = '', tokenFile = '', count = '1', trees = '0', prefix = 'sim'] = process.argv.slice(2);
using hub = new HttpPeer(hubUrl, readFileSync(tokenFile, 'utf8').trim(), AT_ONCE);
const spokes: SimSpoke[] = [];
let linked = 0;
const all = Promise.withResolvers<void>();
const onLinked = () => {
  linked += 1;
  if (linked === Number(count)) all.resolve();
  else if (linked > Number(count) && linked % Number(count) === 0)
    console.log(JSON.stringify({ linkedAgainAt: Date.now() }));
};
await drive(Number(count), AT_ONCE, async () => {
  const spoke = new SimSpoke(`${prefix}-${String(spokes.length)}`, hubUrl, onLinked);
  spokes.push(spoke);
  await spoke.join(hub);
  for (let tree = 0; tree < Number(trees); tree += 1) await spoke.startTree(`${spoke.instanceId}-${String(tree)}`);
});
await all.promise;
await serveParent({ linked });
await Promise.all(spokes.map((spoke) => spoke.close()));
