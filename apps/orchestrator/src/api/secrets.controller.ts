import { Controller, Get } from '@nestjs/common';
import { AgentSecrets } from '../secrets/agent-secrets.js';

/** Names of agents only; the secrets themselves never leave. */
@Controller('secrets')
export class SecretsController {
  constructor(private readonly secrets: AgentSecrets) {}

  /** Agents that wait for the secrets that their spawn has brought, and that a restart has lost. */
  @Get('wanted')
  wanted(): { agentIds: string[] } {
    return { agentIds: this.secrets.wanted() };
  }
}
