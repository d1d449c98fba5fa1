/** Why an agent ends; codes of the protocol, `submitted` aside. */
export type EndReason =
  | 'submitted'
  | 'agent-iterations'
  | 'agent-budget'
  | 'agent-timeout'
  | 'agent-no-submit'
  | 'agent-context'
  | 'agent-crashed'
  | 'model-unavailable';

/** One line that the orchestrator reads. */
export type OutputLine =
  | { type: 'log'; source: 'agent' | 'tool' | 'model'; text: string }
  | { type: 'submit'; summary: string }
  /** So many replies have given way to a summary; the conversation held so many tokens. */
  | { type: 'compacted'; replies: number; tokens: number }
  | { type: 'end'; reason: EndReason };

/** Takes what the agent has to tell. */
export type Report = (line: OutputLine) => void;

const LONGEST_TEXT = 8_000;

/** Reports as JSON lines. */
export function jsonLines(stream: NodeJS.WritableStream): Report {
  return (line) => {
    const short = line.type === 'log' ? { ...line, text: line.text.slice(0, LONGEST_TEXT) } : line;
    stream.write(`${JSON.stringify(short)}\n`);
  };
}
