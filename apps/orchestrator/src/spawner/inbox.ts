import { createHash } from 'node:crypto';
import { WireFault, type AgentId } from '@capstan/protocol';

/** What the operator tells a running agent. */
export interface OperatorMessage {
  /** Made by whoever sends it: the same one, repeated, is delivered once. */
  messageId: string;
  text: string;
}

/** What has become of a message. */
export interface MessageNotice {
  agentId: AgentId;
  messageId: string;
  /** ISO 8601. */
  at: string;
  /** `missed`: the agent has ended without it, or its orchestrator has. */
  state: 'waiting' | 'taken' | 'missed';
}

/** A message as the agent gets it. */
export interface NumberedMessage extends OperatorMessage {
  /** From 1 in each inbox. */
  sequence: number;
}

const MOST_WAITING = 20;
const MOST_IN_ALL = 200;

/**
 * Words of the operator for one agent, from GO to the submission that is accepted. In memory: they are the life's that they
 * came in.
 */
export class Inbox {
  /** Digest of each text, by the message's id. */
  private readonly ids = new Map<string, string>();
  private messages: NumberedMessage[] = [];
  private taken = 0;
  private isClosed = false;
  private hasEnded = false;

  /**
   * @param takesMessages whether the agent's runtime ever asks for any
   * @param tell of what becomes of each; must not throw
   */
  constructor(
    private readonly agentId: AgentId,
    private readonly takesMessages: boolean,
    private readonly tell: (notice: MessageNotice) => void,
  ) {}

  /** Whether something was not handed out yet. */
  get hasWaiting(): boolean {
    return this.ids.size > this.taken;
  }

  /**
   * @returns whether it is new: the same one, repeated, is delivered once
   * @throws {WireFault} `messages-unsupported`, `agent-ended`, `messages-full`, `message-exists`
   */
  add(message: OperatorMessage): boolean {
    const digest = digestOf(message);
    const known = this.ids.get(message.messageId);
    if (known !== undefined && known !== digest) throw new WireFault('message-exists');
    this.demandOpen();
    if (known !== undefined) return false;
    if (this.ids.size - this.taken >= MOST_WAITING || this.ids.size >= MOST_IN_ALL)
      throw new WireFault('messages-full');
    this.ids.set(message.messageId, digest);
    this.messages.push({ ...message, sequence: this.ids.size });
    this.say(message, 'waiting');
    return true;
  }

  private demandOpen(): void {
    if (!this.takesMessages) throw new WireFault('messages-unsupported');
    if (this.isClosed || this.hasEnded) throw new WireFault('agent-ended');
  }

  /**
   * What is behind the message that the agent has had last; nobody asks for what is before it again. All of it where that one is
   * not known here: it came in an earlier life of the orchestrator, or there was none.
   */
  takeAfter(last: string): readonly NumberedMessage[] {
    this.messages = this.messages.slice(this.messages.findIndex(({ messageId }) => messageId === last) + 1);
    for (const message of this.messages.filter(({ sequence }) => sequence > this.taken)) this.say(message, 'taken');
    this.taken = this.ids.size;
    return this.messages;
  }

  /** The agent's work is accepted, so that it hears nothing more; or it is not, and it does, unless it is gone by then. */
  setClosed(isClosed: boolean): void {
    this.isClosed = isClosed;
  }

  /** The agent is gone. May be repeated. */
  end(): void {
    this.hasEnded = true;
    for (const message of this.messages.filter(({ sequence }) => sequence > this.taken)) this.say(message, 'missed');
    this.messages = [];
  }

  private say({ messageId }: OperatorMessage, state: MessageNotice['state']): void {
    this.tell({ agentId: this.agentId, messageId, at: new Date().toISOString(), state });
  }
}

/** SHA-256 of its text, in hex. */
export function digestOf({ text }: OperatorMessage): string {
  return createHash('sha256').update(text).digest('hex');
}
