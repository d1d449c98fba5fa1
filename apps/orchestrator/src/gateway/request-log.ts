import type { Logger } from '@capstan/platform';
import type { ApiFault } from './api-fault.js';
import { countRefusal, countRequest } from './gateway-metrics.js';
import type { GatewayOrder } from './gateway-order.js';
import type { RequestRecord } from './request-record.js';

const REQUEST_ID = /^[\w-]{1,80}$/;

/** Tells log and figures of the requests of one agent. */
export class RequestLog {
  constructor(
    private readonly order: GatewayOrder,
    private readonly log: Logger,
  ) {}

  answered(record: RequestRecord): void {
    const { tokens, requestId, ...rest } = record;
    countRequest(record);
    const id = REQUEST_ID.test(requestId) ? { requestId } : {};
    this.log.info({ ...this.who(), ...rest, ...id, ...tokens, msg: 'model request' });
  }

  refused(fault: ApiFault): void {
    countRefusal(fault);
    // Messages and causes may repeat what the agent has sent.
    const { status, type, cause } = fault;
    const code = /^[a-z]+-[a-z]+(?=:)/.exec(fault.message)?.[0];
    this.log.warn({
      ...this.who(),
      status,
      type,
      ...(code === undefined ? {} : { code }),
      ...(cause === undefined ? {} : { fault: nameOf(cause) }),
      msg: 'model request refused',
    });
  }

  private who(): Pick<GatewayOrder, 'agentId' | 'taskId' | 'tenant'> {
    const { agentId, taskId, tenant } = this.order;
    return { agentId, taskId, tenant };
  }
}

/** A system error's code, down the chain of causes, or the error's name. */
function nameOf(error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
  }
  return error instanceof Error ? error.name : typeof error;
}
