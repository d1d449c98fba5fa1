import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { HealthModule, MetricsController, type ReadinessChecks } from '@capstan/platform';
import { AgentsController } from './api/agents.controller.js';
import { CommandsController, QueueController } from './api/commands.controller.js';
import { EventsController } from './api/events.controller.js';
import { Killswitch } from './killswitch/killswitch.service.js';
import { Lifecycle, type Drainable } from './lifecycle.js';
import { SandboxesController } from './api/sandboxes.controller.js';
import { SecretsController } from './api/secrets.controller.js';
import { TasksController } from './api/tasks.controller.js';
import { AgentSecrets } from './secrets/agent-secrets.js';
import { Monitor } from './monitor/monitor.service.js';
import { VitalsWatch } from './monitor/vitals-watch.js';
import { AgentQueue } from './queue/agent.queue.js';
import { Admission } from './spawner/admission.service.js';
import { Messages } from './spawner/messages.service.js';
import { SandboxCheck } from './spawner/sandbox-check.js';
import { AgentEvents } from './valkey/agent.events.js';
import { AgentStore } from './valkey/agent.store.js';

/** What the API serves, built before Nest is. */
export interface ApiParts {
  admission: Admission;
  secrets: AgentSecrets;
  store: AgentStore;
  events: AgentEvents;
  monitor: Monitor;
  vitals: VitalsWatch;
  killswitch: Killswitch;
  messages: Messages;
  queue: AgentQueue;
  sandboxes: SandboxCheck;
  checks: ReadinessChecks;
  /** Whether something that a former life has left may live yet. */
  hasOrphans: () => boolean;
  /** What ends with the application. */
  process: Drainable;
}

/** The HTTP face of the orchestrator. */
@Module({})
export class OrchestratorModule {
  static register(parts: ApiParts): DynamicModule {
    const providers: Provider[] = [
      { provide: Admission, useValue: parts.admission },
      { provide: AgentSecrets, useValue: parts.secrets },
      { provide: AgentStore, useValue: parts.store },
      { provide: AgentEvents, useValue: parts.events },
      { provide: Monitor, useValue: parts.monitor },
      { provide: VitalsWatch, useValue: parts.vitals },
      { provide: Killswitch, useValue: parts.killswitch },
      { provide: Messages, useValue: parts.messages },
      { provide: AgentQueue, useValue: parts.queue },
      { provide: SandboxCheck, useValue: parts.sandboxes },
      { provide: Lifecycle, useValue: new Lifecycle(parts.process) },
    ];
    return {
      module: OrchestratorModule,
      imports: [
        HealthModule.register({ checks: () => parts.checks, degradations: () => ({ orphans: parts.hasOrphans }) }),
      ],
      controllers: [
        AgentsController,
        CommandsController,
        QueueController,
        TasksController,
        EventsController,
        SecretsController,
        SandboxesController,
        MetricsController,
      ],
      providers,
    };
  }
}
