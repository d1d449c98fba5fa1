import { TestHub, until } from '../test/peers.js';
import { linkContract, type LinkWorld, type WorldTerms } from '../test/link.contract.js';
import { MemoryLinks } from './memory-pair.js';

jest.setTimeout(30_000);

describe('a link over WebSocket', () => {
  linkContract(async ({ heartbeat, ...limits }: WorldTerms): Promise<LinkWorld> => {
    const hub = await TestHub.start({ limits, ...(heartbeat?.hub === undefined ? {} : { heartbeat: heartbeat.hub }) });
    const spoke = hub.spoke({ limits, ...(heartbeat?.spoke === undefined ? {} : { heartbeat: heartbeat.spoke }) });
    let sessions = 0;
    return {
      async connect() {
        const spokeEnd = await until(() => spoke.links[sessions]);
        sessions += 1;
        const hubEnd = await until(() => hub.links.find((link) => link.sessionId === spokeEnd.sessionId));
        return { hubEnd, spokeEnd };
      },
      async [Symbol.asyncDispose]() {
        await spoke[Symbol.asyncDispose]();
        await hub[Symbol.asyncDispose]();
      },
    };
  });
});

describe('a link in memory', () => {
  linkContract(({ heartbeat = {}, ...limits }: WorldTerms): Promise<LinkWorld> => {
    const links = new MemoryLinks({ instanceId: 'harbor', heartbeat, limits });
    const open: { close(code: string, sentence: string): Promise<void> }[] = [];
    return Promise.resolve({
      connect() {
        const pair = links.connect();
        open.push(pair.hubEnd, pair.spokeEnd);
        return Promise.resolve(pair);
      },
      async [Symbol.asyncDispose]() {
        for (const end of open) await end.close('closed', 'The test is over.');
      },
    });
  });
});
