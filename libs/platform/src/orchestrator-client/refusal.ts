import { isFaultCode, type LocalFault, WireFault } from '@capstan/protocol';
import { orchestratorAway } from './local-http.js';

/**
 * What an answer that is no success means. Only a coded refusal below 500 is final, and only one of what was sent: a wrong
 * token is no fault of whoever ordered.
 */
export function refusalOf(status: number, text: string): WireFault | LocalFault {
  const code = codeOf(text);
  const isOurs = status === 401 || status === 403 || status >= 500;
  if (isOurs || !isFaultCode(code)) {
    return orchestratorAway(new Error(`status ${String(status)}: ${text.slice(0, 300)}`));
  }
  return new WireFault(code, 'orchestrator');
}

function codeOf(text: string): string {
  try {
    const { code } = JSON.parse(text) as { code?: unknown };
    return typeof code === 'string' ? code : '';
  } catch {
    return '';
  }
}
