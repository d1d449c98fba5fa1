import { Controller, Get } from '@nestjs/common';
import { SandboxCheck, type SandboxState } from '../spawner/sandbox-check.js';

/** What agents can run in here. */
@Controller('sandboxes')
export class SandboxesController {
  constructor(private readonly sandboxes: SandboxCheck) {}

  /** What agents can run in, the default first. What does not work now comes with the reason. */
  @Get()
  list(): Promise<SandboxState[]> {
    return this.sandboxes.states();
  }
}
