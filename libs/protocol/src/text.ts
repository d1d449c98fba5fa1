// C0 but \t and \n, DEL, C1; and the marks that reorder what stands around them (CVE-2021-42574, "Trojan Source").
const unsafe = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text of an agent or a peer, made safe to print on a terminal: no control characters but tab and newline. */
export function stripControl(text: string): string {
  return text.replace(unsafe, '');
}
