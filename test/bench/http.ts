import { Agent, type IncomingMessage, request } from 'node:http';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/** A server, with kept connections to it; fetch would cost the measuring process several times as much. */
export class HttpPeer implements Disposable {
  private readonly agent: Agent;
  private readonly base: string;
  private readonly token: string | undefined;

  /** @param base `http://host:port`, or the path of a unix socket */
  constructor(base: string, token?: string, connections = 32) {
    this.base = base;
    this.token = token;
    this.agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** One exchange of JSON. @throws Error with status and body where the answer is no 2xx */
  async call<T>(method: 'GET' | 'POST', path: string, body?: string): Promise<T> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (this.token !== undefined) headers['authorization'] = `Bearer ${this.token}`;
    if (body !== undefined) {
      headers['content-type'] = 'application/json';
      headers['content-length'] = String(Buffer.byteLength(body));
    }
    const options = { agent: this.agent, method, headers };
    const outgoing = this.base.startsWith('/')
      ? request({ ...options, socketPath: this.base, path })
      : request(`${this.base}${path}`, options);
    outgoing.end(body);
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    const answer = await text(response);
    const status = response.statusCode ?? 0;
    if (status < 200 || status > 299) throw new Error(`${method} ${path}: ${String(status)} ${answer}`);
    return JSON.parse(answer) as T;
  }

  [Symbol.dispose](): void {
    this.agent.destroy();
  }
}
