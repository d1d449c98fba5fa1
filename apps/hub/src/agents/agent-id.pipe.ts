import { Injectable, type PipeTransform } from '@nestjs/common';
import { type AgentId, agentId } from '@capstan/protocol';

/** An agent's id in a path. @throws WireFault `id-malformed` */
@Injectable()
export class AgentIdPipe implements PipeTransform<string, AgentId> {
  transform(value: string): AgentId {
    return agentId(value);
  }
}
