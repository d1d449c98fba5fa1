import type { OnApplicationShutdown, OnModuleDestroy } from '@nestjs/common';

/** A process that is emptied first, while its API still answers, and closed last. */
export interface Drainable {
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** Ends the execution plane with the application: agents first, connections last. */
export class Lifecycle implements OnModuleDestroy, OnApplicationShutdown {
  constructor(private readonly process: Drainable) {}

  async onModuleDestroy(): Promise<void> {
    await this.process.drain();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.process.close();
  }
}
