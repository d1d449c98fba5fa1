import type { MessageParam } from '@anthropic-ai/sdk/resources/messages';
import type { Conversation } from './conversation.js';
import type { Report } from './output.js';
import type { TaskLimits } from './task.js';

export interface CompactionParts {
  conversation: Conversation;
  limits: Pick<TaskLimits, 'contextTokens' | 'compactAtTokens'>;
  /** Asks the model for its summary of these messages. @returns undefined where it gave none */
  summarise: (messages: MessageParam[]) => Promise<string | undefined>;
  report: Report;
}

/** The last replies that stay as they are: so much of what the conversation may hold. */
const KEPT_SHARE = 0.25;
/** Times in a row that a summary is asked for and makes no room. */
const MOST_ATTEMPTS = 3;

/** Puts the model's own summary in the place of the older part of a conversation before that outgrows the model's context. */
export class Compaction {
  private attempts = 0;

  constructor(private readonly parts: CompactionParts) {}

  /**
   * Makes room where the last reply has said that it is short, or what came since makes it so. A summary that fails leaves the
   * conversation as it is.
   *
   * @returns false where the conversation is as long as the model's context. @throws what `summarise` throws
   */
  async makeRoom(): Promise<boolean> {
    const { conversation, limits } = this.parts;
    const { tokens } = conversation;
    const reckoned = tokens + conversation.addedTokens;
    // After a summary nobody has counted yet.
    if (tokens === 0) return true;
    if (reckoned < limits.compactAtTokens) {
      this.attempts = 0;
      return true;
    }
    this.attempts += 1;
    if (this.attempts <= MOST_ATTEMPTS && (await this.shorten())) return true;
    // What is only reckoned ends nobody: the model itself says where it is too long.
    return tokens < limits.contextTokens;
  }

  /** Makes room in any case. @returns whether there is some now. @throws what `summarise` throws */
  async shorten(): Promise<boolean> {
    const { tokens, addedTokens } = this.parts.conversation;
    return this.compact(tokens + addedTokens);
  }

  private async compact(tokens: number): Promise<boolean> {
    const { conversation, limits, summarise, report } = this.parts;
    const older = conversation.olderPart(limits.compactAtTokens * KEPT_SHARE);
    if (older === undefined) return false;
    const summary = await summarise(older.messages);
    if (summary === undefined) {
      const text = 'The model gave no summary of the conversation, which stays as it is.';
      report({ type: 'log', source: 'agent', text });
      return false;
    }
    conversation.replace(older, summary);
    report({ type: 'compacted', replies: older.replies, tokens });
    return true;
  }
}
