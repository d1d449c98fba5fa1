import { HeartbeatContents as Contents } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import { Injectable } from '@nestjs/common';

/** What the hub says in each heartbeat, and who hears those of the instances. */
@Injectable()
export class HeartbeatContents extends Contents {
  constructor() {
    super(createLogger('hub.heartbeat'));
  }
}
