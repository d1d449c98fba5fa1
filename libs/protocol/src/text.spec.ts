import { stripControl } from './text.js';

describe('stripControl', () => {
  it('takes the escape from a sequence that would clear the screen or retitle the terminal', () => {
    expect(stripControl('\u001b[2Jok\u001b]0;owned\u0007')).toBe('[2Jok]0;owned');
    expect(stripControl('\u009b31mred')).toBe('31mred');
  });

  it('takes what overwrites a line or reorders it', () => {
    expect(stripControl('safe\rrm\b\u007f')).toBe('saferm');
    expect(stripControl('a\u202eb\u2066c\u200f')).toBe('abc');
  });

  it('keeps text, tabs and newlines', () => {
    expect(stripControl('één\t€\n🚢')).toBe('één\t€\n🚢');
  });
});
