import { SetupFault } from '../setup/run.mjs';

/**
 * The label of an image that these scripts made to stand in for one of that name. What is built on it inherits the word, but
 * not under its own name.
 */
export function labelOf(name) {
  return `capstan.stand-in=${name}`;
}

/** True where this name is in that Docker, and an image that these scripts made. @param docker see `makeBases` */
export async function isStandIn(docker, name) {
  return hasImage(docker, name, '--filter', `label=${labelOf(name)}`);
}

/** @throws SetupFault where one of the names is another image than a stand-in: others may build on it */
export async function demandFree(docker, names) {
  for (const name of names) {
    if ((await hasImage(docker, name)) && !(await isStandIn(docker, name)))
      throw new SetupFault(`This Docker has an image ${name} of somebody else's, which a stand-in would replace.`);
  }
}

async function hasImage(docker, name, ...filter) {
  return /^[0-9a-f]{12,}$/m.test(await docker(['image', 'ls', '--quiet', ...filter, name]));
}
