import type { ServerResponse } from 'node:http';
import { streamOf } from './model-stream.js';
import { Upstream, type UpstreamRequest } from './model-upstream.js';

/**
 * A model that lets nobody go on before `count` agents have asked: then they are known to live at the same time. Each is
 * told to write the file that its work item names, and to submit.
 */
export class ModelRally implements AsyncDisposable {
  private readonly waiting = new Map<string, ServerResponse>();
  /** Names of the files of all who were here at once. */
  met: string[] = [];

  private upstream: Upstream | undefined;

  private constructor(
    private readonly count: number,
    private readonly whileAllAreHere: () => Promise<void>,
  ) {}

  /** @param whileAllAreHere awaited once all have asked and before anybody goes on */
  static async start(count: number, whileAllAreHere = (): Promise<void> => Promise.resolve()): Promise<ModelRally> {
    const rally = new ModelRally(count, whileAllAreHere);
    rally.upstream = await Upstream.start((response, request) => rally.answer(response, request));
    return rally;
  }

  get url(): string {
    return this.upstream?.url ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.upstream?.[Symbol.asyncDispose]();
  }

  private answer(response: ServerResponse, { body }: UpstreamRequest): void {
    const messages = body['messages'] as unknown[];
    if (messages.length > 1) return call(response, 'submit', { summary: 'Write the file' });
    this.waiting.set(fileOf(messages), response);
    if (this.waiting.size < this.count) return;
    this.met = [...this.waiting.keys()];
    void this.whileAllAreHere().finally(() => this.release());
  }

  private release(): void {
    for (const [path, each] of this.waiting) call(each, 'edit', { path, content: `Written as ${path}.\n` });
    this.waiting.clear();
  }
}

function fileOf(messages: unknown[]): string {
  return /[a-z0-9-]+\.md/.exec(JSON.stringify(messages))?.[0] ?? '';
}

function call(response: ServerResponse, name: string, input: object): void {
  streamOf(response, [{ type: 'tool_use', id: `toolu_${name}`, name, input }], { input: 10, output: 10 });
}
