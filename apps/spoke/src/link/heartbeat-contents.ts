import { HeartbeatContents as Contents } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import { Injectable } from '@nestjs/common';

/** What the spoke says in each heartbeat, and who hears the hub's and, before it, its Welcome's epochs. */
@Injectable()
export class HeartbeatContents extends Contents {
  constructor() {
    super(createLogger('spoke.heartbeat'));
  }
}
