/** Answers each request on one subject with the bytes it was given first. Arguments: server, seed of an nkey, bytes. */
import { connect, nkeyAuthenticator } from 'nats';
import { serveParent } from '../child.ts';

const [servers = '', seed = '', bytes = '0'] = process.argv.slice(2);
const answer = Buffer.alloc(Number(bytes), 7);
const connection = await connect({ servers, authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)) });
connection.subscribe('agent.status', { callback: (_error, message) => message.respond(answer) });
await connection.flush();
await serveParent({ isReady: true });
await connection.close();
