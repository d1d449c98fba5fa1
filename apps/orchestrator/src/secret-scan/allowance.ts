import type { SecretScanPolicy } from '@capstan/platform';

/** Whether the owner lets a rule's findings pass at this path. */
export function isAllowed({ allow }: SecretScanPolicy, path: Buffer, rule: string): boolean {
  const text = path.toString('utf8');
  return allow.some((each) => {
    if (each.rule !== rule) return false;
    return each.path.endsWith('/*') ? text.startsWith(each.path.slice(0, -1)) : each.path === text;
  });
}
