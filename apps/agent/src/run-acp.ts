import { Readable, Writable } from 'node:stream';
import {
  ClientSideConnection,
  ndJsonStream,
  PROTOCOL_VERSION,
  type Client,
  type NewSessionResponse,
  type PromptResponse,
  type RequestPermissionRequest,
  type RequestPermissionResponse,
  type SessionNotification,
} from '@agentclientprotocol/sdk';
import { eachLine, startProgram, type ProgramStart, type ProgramWork } from './program-process.js';

/**
 * Speaks the Agent Client Protocol with a program over its standard streams: one session, whose first prompt is the task. It is
 * offered neither files nor terminals of ours: it is in the sandbox itself.
 */
export function openConversation(start: ProgramStart): ProgramWork {
  const { program, directory, prompt: task, say } = start;
  const process = startProgram(start);
  eachLine(process.stderr, say);
  const client = new RecordingClient(program.allow, say);
  const stream = ndJsonStream(
    Writable.toWeb(process.stdin) as WritableStream<Uint8Array>,
    Readable.toWeb(process.stdout) as ReadableStream<Uint8Array>,
  );
  const agent = new ClientSideConnection(() => client, stream);
  const ended = process.ended.then((end): never => {
    throw new Error(`The program ended with ${String(end)} before its turn did.`);
  });
  ended.catch(() => undefined);
  const open = async (): Promise<string> => {
    await agent.initialize({ protocolVersion: PROTOCOL_VERSION, clientCapabilities: {} });
    // The package's own types of these answers cannot be resolved by name from its declarations.
    const opened = (await agent.newSession({ cwd: directory, mcpServers: [] })) as NewSessionResponse;
    return opened.sessionId;
  };
  let session: Promise<string> | undefined;
  const turn = async (text: string): Promise<string> => {
    const sessionId = await (session ??= open());
    const prompt = [{ type: 'text' as const, text }];
    const { stopReason } = (await agent.prompt({ sessionId, prompt })) as PromptResponse;
    client.flush();
    if (stopReason !== 'end_turn') throw new Error(`The program stopped its turn: ${stopReason}.`);
    return client.lastMessage;
  };
  return {
    work: (again) => {
      const turned = turn(again ?? task);
      turned.catch(() => undefined);
      return Promise.race([turned, ended]);
    },
    [Symbol.dispose]: () => process[Symbol.dispose](),
  };
}

/** Answers an agent's questions by the owner's policy, and tells of everything that it does. */
export class RecordingClient implements Client {
  /** What the agent has said since it last did something. */
  lastMessage = '';
  private isSaying = false;

  /** @param allowed kinds of tool calls that the owner permits. */
  constructor(
    private readonly allowed: readonly string[],
    private readonly say: (text: string) => void,
  ) {}

  requestPermission({ toolCall, options }: RequestPermissionRequest): Promise<RequestPermissionResponse> {
    const kind = toolCall.kind ?? 'other';
    const isAllowed = this.allowed.includes(kind);
    // Never for always: the next call is asked about again, and recorded.
    const wanted = isAllowed ? 'allow_once' : 'reject_once';
    const option = options.find((each) => each.kind === wanted);
    const answer = option === undefined ? 'not answered' : isAllowed ? 'allowed' : 'refused';
    this.flush();
    this.say(`Permission to ${kind} “${toolCall.title ?? toolCall.toolCallId}”: ${answer} by the owner's policy.`);
    if (option === undefined) return Promise.resolve({ outcome: { outcome: 'cancelled' } });
    return Promise.resolve({ outcome: { outcome: 'selected', optionId: option.optionId } });
  }

  sessionUpdate({ update }: SessionNotification): Promise<void> {
    if (update.sessionUpdate === 'agent_message_chunk') {
      if (!this.isSaying) this.lastMessage = '';
      this.isSaying = true;
      if (update.content.type === 'text') this.lastMessage += update.content.text;
      return Promise.resolve();
    }
    this.flush();
    if (update.sessionUpdate === 'tool_call') this.say(`${update.kind ?? 'other'}: ${update.title}`);
    return Promise.resolve();
  }

  /** Says what the agent has said in pieces. */
  flush(): void {
    if (this.isSaying && this.lastMessage.trim() !== '') this.say(this.lastMessage.trim());
    this.isSaying = false;
  }
}
