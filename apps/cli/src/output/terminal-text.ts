/**
 * Text that may come from agents and peers, made safe for a terminal: no control characters but newline and tab, no
 * changes of writing direction. The same rule as protocol's `stripControl`; here so that `--help` need not load it.
 */
export function terminalText(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '');
}
