import 'reflect-metadata';
import { request } from 'node:http';
import { createServer, type Server } from 'node:net';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Body, Controller, Get, type INestApplication, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { LocalFault, WireFault } from '@capstan/protocol';
import { IsInt, IsString } from 'class-validator';
import { HealthModule } from '../health/health.module.js';
import { BearerGuard, tokenMatches } from './bearer.guard.js';
import { listen, parseListenTarget } from './listen.js';
import { ProblemFilter } from './problem.filter.js';
import { requestValidation } from './request-validation.js';

class SampleBody {
  @IsString()
  name!: string;

  @IsInt()
  size!: number;
}

@Controller()
class SampleController {
  @Get('wire')
  wire(): never {
    throw new WireFault('policy-budget', 'private detail');
  }
  @Get('local')
  local(): never {
    throw new LocalFault('disk-broken', 'The disk is broken.', 'private detail');
  }
  @Get('crash')
  crash(): never {
    throw new Error('private detail');
  }
  @Post('sized')
  sized(@Body() body: SampleBody): SampleBody {
    return body;
  }
}

@Module({
  imports: [HealthModule.register({ checks: () => ({ disk: () => Promise.reject(new Error('private detail')) }) })],
  controllers: [SampleController],
})
class SampleModule {}

const TOKEN = 'a-token';
let directory: string;
let socketPath: string;
let app: INestApplication;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'capstan-http-'));
  socketPath = join(directory, 'app.sock');
  app = await NestFactory.create(SampleModule, { logger: false });
  app.useGlobalFilters(new ProblemFilter());
  app.useGlobalPipes(requestValidation());
  app.useGlobalGuards(new BearerGuard(tokenMatches(TOKEN)));
  await listen(app, { path: socketPath });
});

afterAll(async () => {
  await app.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Answer {
  status: number;
  type: string | undefined;
  body: Record<string, unknown>;
  text: string;
}

function ask(path: string, options: { token?: string | null; method?: string; body?: string } = {}): Promise<Answer> {
  const { token = TOKEN, method = 'GET', body } = options;
  const headers = {
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    'content-type': 'application/json',
  };
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, method, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.once('end', () => {
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'],
          text,
          body: JSON.parse(text) as Record<string, unknown>,
        });
      });
    });
    call.once('error', reject);
    call.end(body);
  });
}

describe('problem documents', () => {
  it.each([
    ['/wire', 422, 'policy-budget'],
    ['/local', 500, 'disk-broken'],
    ['/crash', 500, 'internal'],
    ['/nowhere', 404, 'not-found'],
  ])('%s answers %i with the code %s and no private detail', async (path, status, code) => {
    const answer = await ask(path);
    expect(answer).toMatchObject({ status, body: { status, code, type: `urn:capstan:problem:${code}` } });
    expect(answer.type).toMatch(/^application\/problem\+json/);
    expect(answer.text).not.toContain('private');
  });

  it('names every wrong field of a body, unknown ones too', async () => {
    const { status, body } = await ask('/sized', { method: 'POST', body: '{"size":"big","colour":1}' });
    expect({ status, code: body['code'] }).toEqual({ status: 400, code: 'validation' });
    expect((body['errors'] as { field: string }[]).map(({ field }) => field).sort()).toEqual([
      'colour',
      'name',
      'size',
    ]);
  });

  it.each(['{"name":', '"text"', '[1]'])('refuses the body %s with 400', async (body) => {
    expect(await ask('/sized', { method: 'POST', body })).toMatchObject({ status: 400, body: { code: 'validation' } });
  });

  it('refuses a body that is too large with 413', async () => {
    const body = JSON.stringify({ name: 'x'.repeat(200_000), size: 1 });
    expect(await ask('/sized', { method: 'POST', body })).toMatchObject({ status: 413 });
  });
});

describe('the token', () => {
  it.each([null, '', 'wrong', `${TOKEN}x`])('is demanded on a unix socket too: %j is refused', async (token) => {
    expect(await ask('/wire', { token })).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  it('is not asked for by /health, which says healthy and nothing of the parts', async () => {
    expect(await ask('/health', { token: null })).toMatchObject({ status: 200, body: { status: 'healthy' } });
    const ready = await ask('/health/ready', { token: null });
    expect(ready.status).toBe(503);
    expect(ready.text).not.toMatch(/disk|private/);
  });
});

describe('listening', () => {
  it('opens a socket for its owner only', () => {
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
  });

  it('says so where somebody else listens, on a socket and on a port', async () => {
    const other = await NestFactory.create(SampleModule, { logger: false });
    const taken = await takenPort();
    const port = (taken.address() as { port: number }).port;
    for (const target of [{ path: socketPath }, { host: '127.0.0.1', port }]) {
      await expect(listen(other, target)).rejects.toMatchObject({ code: 'port-in-use' });
    }
    await other.close();
    taken.close();
  });

  it('does not replace a file that is no socket', async () => {
    const file = join(directory, 'precious');
    writeFileSync(file, 'x');
    await expect(listen(app, { path: file })).rejects.toMatchObject({ code: 'port-in-use' });
  });

  it.each([
    ['3001', { host: '127.0.0.1', port: 3001 }],
    ['0.0.0.0:1', { host: '0.0.0.0', port: 1 }],
    ['[::1]:1', { host: '::1', port: 1 }],
    ['/run/a.sock', { path: '/run/a.sock' }],
    ['unix:///run/a.sock', { path: '/run/a.sock' }],
  ])('reads %s', (text, target) => {
    expect(parseListenTarget(text)).toEqual(target);
  });

  it.each(['', 'port', '70000', 'a:b:1'])('refuses "%s"', (text) => {
    expect(() => parseListenTarget(text)).toThrow(expect.objectContaining({ code: 'listen-malformed' }));
  });
});

async function takenPort(): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
