import type { ContentBlock, ContentBlockParam, MessageParam } from '@anthropic-ai/sdk/resources/messages';

/** Where a reply stands, and by how much the conversation has grown with it; 0 where nobody has counted before it. */
interface Mark {
  index: number;
  growth: number;
}

/** What may be left out of a conversation. */
export interface OlderPart {
  /** Index of the reply that stays as the first. */
  end: number;
  /** Replies before it. */
  replies: number;
  /** Everything before it, as it was said. */
  messages: MessageParam[];
}

/** Code has about three characters to a token; text of any kind has more. */
const CHARACTERS_PER_TOKEN = 3;
/** Characters of the operator's words that stay word by word, the newest first. */
const MOST_WORDS = 60_000;

/** What the agent and its model have said, as each request repeats it: the task first, then replies and answers in turn. */
export class Conversation {
  private list: MessageParam[];
  private marks: Mark[] = [];
  private readonly operators = new WeakSet<ContentBlockParam>();
  /** What it holds as the model counted it in its last reply; 0 where that is not known. */
  tokens = 0;
  /** Characters that it was told since. */
  private told = 0;

  constructor(private readonly task: string) {
    this.list = [{ role: 'user', content: task }];
  }

  get messages(): MessageParam[] {
    return [...this.list];
  }

  /** Tokens of what it has been told since its last reply, which nobody has counted yet: reckoned, and rather too high. */
  get addedTokens(): number {
    return Math.ceil(this.told / CHARACTERS_PER_TOKEN);
  }

  /**
   * A reply of the model's, unchanged: it checks that its own blocks come back as it sent them.
   *
   * @param tokens of the prompt and of the reply, as the model counted them
   */
  addReply(content: ContentBlock[], tokens: number): void {
    const growth = this.tokens === 0 ? 0 : tokens - this.tokens;
    this.tokens = tokens;
    this.told = 0;
    if (content.length === 0) return;
    this.marks.push({ index: this.list.length, growth });
    this.list.push({ role: 'assistant', content });
  }

  /** What the model is told next; in one message with what it was told since its last reply. */
  tell(...blocks: ContentBlockParam[]): void {
    this.told += JSON.stringify(blocks).length;
    const last = this.list.at(-1);
    if (last?.role !== 'user') this.list.push({ role: 'user', content: blocks });
    else this.list.splice(-1, 1, { role: 'user', content: [...blocksOf(last), ...blocks] });
  }

  /** What the operator has written: it outlives every summary. */
  hear(words: readonly string[]): void {
    const blocks = words.map((text): ContentBlockParam => ({ type: 'text', text }));
    for (const block of blocks) this.operators.add(block);
    this.tell(...blocks);
  }

  /**
   * What is older than the last replies, which with their answers stay as they are: so no call is ever parted from its result.
   *
   * @param keepTokens that the last replies may have together; the very last stays in any case
   * @returns undefined where there is nothing older than the last reply
   */
  olderPart(keepTokens: number): OlderPart | undefined {
    const replies = this.marks.findIndex((_, at) => at > 0 && this.tokensFrom(at) <= keepTokens);
    const first = replies > 0 ? replies : this.marks.length - 1;
    const end = this.marks[first]?.index;
    if (first < 1 || end === undefined) return undefined;
    return { end, replies: first, messages: this.list.slice(0, end) };
  }

  /** Puts a summary in the place of the older part; the task and the operator's words stay as they were said. */
  replace({ end, messages }: OlderPart, summary: string): void {
    const words = this.lastWords(messages.flatMap(blocksOf).filter((block) => this.operators.has(block)));
    const content: ContentBlockParam[] = [{ type: 'text', text: this.task }, ...words, { type: 'text', text: summary }];
    this.list = [{ role: 'user', content }, ...this.list.slice(end)];
    this.marks = this.marks
      .filter(({ index }) => index >= end)
      .map(({ index, growth }) => ({ index: index - end + 1, growth }));
    this.tokens = 0;
  }

  private tokensFrom(at: number): number {
    return this.marks.slice(at).reduce((sum, { growth }) => sum + growth, 0);
  }

  private lastWords(words: ContentBlockParam[]): ContentBlockParam[] {
    let characters = 0;
    const isKept = (block: ContentBlockParam): boolean => {
      characters += block.type === 'text' ? block.text.length : 0;
      return characters <= MOST_WORDS;
    };
    return words.reverse().filter(isKept).reverse();
  }
}

function blocksOf({ content }: MessageParam): ContentBlockParam[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}
